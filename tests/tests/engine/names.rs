//! Names that move: each figure is of whoever has the name now.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    lab::Engine,
    page::{Page, Sample},
    traffic,
};

use crate::{
    ground::{Ground, ping},
    lifetimes::{TEARDOWN, is_last, plus},
};

const NETWORK: &str = "own";
/// These begin with a sample of a round trip, which not every connection gives.
const SAMPLED: &str = "netmon_container_tcp_round_trip_time_seconds";

#[test]
fn every_figure_is_of_whoever_has_the_name_now() -> anyhow::Result<()> {
    names_move(&Ground::new(Engine::Installed)?)
}

#[test]
fn every_figure_is_of_whoever_has_the_name_now_on_a_newer_engine() -> anyhow::Result<()> {
    names_move(&Ground::new(Engine::New)?)
}

fn names_move(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    node.docker(&format!("network create {NETWORK}"))?;
    node.start_container("peer", &format!("--network {NETWORK}"))?;
    made_anew(ground)?;
    renamed(ground)?;
    of_two_projects(ground)?;
    left_behind(ground)
}

/// Flags of a container that Compose starts for that service of that project.
fn flags(service: &str, project: &str) -> String {
    format!(
        "--network {NETWORK} --label com.docker.compose.service={service} --label com.docker.compose.project={project}"
    )
}

/// The name goes to a new container, while the series of the former one linger.
fn made_anew(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    node.start_container("web", &flags("web", "shop"))?;
    use_it(ground, "web", 30)?;
    let (families, first) = (is_the_kernels(ground, "web")?, ground.agrees("web", NETWORK)?);
    node.docker("rm -f web")?;
    node.start_container("web", &flags("web", "shop"))?;
    use_it(ground, "web", 7)?;
    let id = node.inspect("web")?;
    let id = id
        .pointer("/Id")
        .and_then(serde_json::Value::as_str)
        .context("it has no id")?;
    ground.netmon.page_until("the new container to have the name", |page| {
        let labels = [("container", "web"), ("container_id", id), ("state", "observed")];
        page.one("netmon_container_info", &labels).map(drop)
    })?;
    let anew = is_the_kernels(ground, "web")?;
    ensure!(
        anew == families,
        "of the first container: {families:?}, of the second: {anew:?}"
    );
    let second = ground.agrees("web", NETWORK)?;
    let page = ground.netmon.page()?;
    for family in &families - &["netmon_container_info".to_owned()].into() {
        for sample in of(&page, "web").filter(|sample| sample.name == family) {
            ensure!(
                sample.has(&[("service", "web"), ("stack", "shop")]),
                "it is of another: {sample:?}"
            );
            let same = of(&page, "web").filter(|it| it.name == family && it.labels == sample.labels);
            ensure!(same.count() == 1, "it is there twice: {sample:?}");
        }
    }
    let labels = [("service", "web"), ("stack", "shop"), ("network", NETWORK)];
    is_last(
        plus(first, second),
        page.figures("netmon_service_network", &labels)?,
        TEARDOWN,
    )
    .context("the service does not have both")
}

/// The container gets another name, and all that it counted goes with it.
fn renamed(ground: &Ground) -> anyhow::Result<()> {
    let before = is_the_kernels(ground, "web")?;
    ground.node().docker("rename web web-old")?;
    ground.netmon.page_until("nothing to have the former name", |page| {
        let left: Vec<_> = of(page, "web").collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })?;
    let after = is_the_kernels(ground, "web-old")?;
    ensure!(after == before, "before: {before:?}, after: {after:?}");
    Ok(())
}

/// Two projects have a service of the same name on one network.
fn of_two_projects(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    for (number, project) in (1..).zip(["east", "west"]) {
        let container = format!("{project}-api-1");
        node.start_container(&container, &flags("api", project))?;
        use_it(ground, &container, 10 * number)?;
    }
    for project in ["east", "west"] {
        let container = format!("{project}-api-1");
        is_the_kernels(ground, &container)?;
        let its = ground.agrees(&container, NETWORK)?;
        let page = ground.netmon.page()?;
        for sample in of(&page, &container) {
            ensure!(
                sample.has(&[("service", "api"), ("stack", project)]),
                "it is another project's: {sample:?}"
            );
        }
        let labels = [("service", "api"), ("stack", project), ("network", NETWORK)];
        let sum = page.figures("netmon_service_network", &labels)?;
        ensure!(
            sum == its,
            "the service of {project} has {sum:?}, and its container {its:?}"
        );
    }
    Ok(())
}

/// A container whose network was another's that is gone.
fn left_behind(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    node.start_container("guest", "--network container:web-old")?;
    let is = |state: &str, shares_with: &str| {
        ground.netmon.page_until("the guest's state", |page| {
            let labels = [("container", "guest"), ("state", state), ("shares_with", shares_with)];
            page.one("netmon_container_info", &labels).map(drop)
        })
    };
    is("shared", "web-old")?;
    node.docker("rm -f web-old")?;
    is("orphaned", "")?;
    ground.netmon.page_until("the other's series to end", |page| {
        let left: Vec<_> = of(page, "web-old").collect();
        ensure!(left.is_empty(), "{left:?}");
        let families: BTreeSet<_> = of(page, "guest").map(|sample| &*sample.name).collect();
        ensure!(
            families == ["netmon_container_info"].into(),
            "the guest has no interface of its own: {families:?}"
        );
        Ok(())
    })
}

/// Traffic of each kind between the peer and a container, and datagrams for which nobody listens there.
fn use_it(ground: &Ground, container: &str, count: u32) -> anyhow::Result<()> {
    let node = ground.node();
    ground.agrees(container, NETWORK)?;
    let netns = |container: &str| node.namespace(&node.sandbox(container)?);
    let (peer, it) = (netns("peer")?, netns(container)?);
    let address = node.address_of(container, NETWORK)?;
    ping(node, "peer", address, count.into())?;
    traffic::datagrams(&peer, SocketAddr::new(address, 9), count, 100)?;
    traffic::tcp(&it, &peer, node.address_of("peer", NETWORK)?, 1000)
}

/// Checks a container's counts by its namespace's. Returns the families that name it.
fn is_the_kernels(ground: &Ground, container: &str) -> anyhow::Result<BTreeSet<String>> {
    let node = ground.node();
    let netns = node.namespace(&node.sandbox(container)?)?;
    ground.agrees(container, NETWORK)?;
    let (no_ports, sent) = (netns.nstat_at_rest("UdpNoPorts")?, netns.nstat_at_rest("TcpOutSegs")?);
    ground.netmon.page_until("its figures to be the kernel's", |page| {
        let whole = |family: &str| page.count(family, &[("container", container)]);
        let drops = [("container", container), ("network", NETWORK), ("reason", "NO_SOCKET")];
        let on = |network| {
            let labels = [("container", container), ("network", network)];
            page.count("netmon_container_tcp_sent_segments_total", &labels)
        };
        let shown = [
            whole("netmon_container_udp_no_ports_total")?,
            page.count("netmon_container_packet_drops_total", &drops)?,
            on(NETWORK)? + on("")?,
        ];
        let kernels = [no_ports, no_ports, sent];
        ensure!(shown == kernels, "{shown:?} is shown of {kernels:?}");
        let families = of(page, container).map(|sample| sample.name.clone());
        Ok(families.filter(|name| !name.starts_with(SAMPLED)).collect())
    })
}

/// The samples that name a container.
fn of<'a>(page: &'a Page, container: &'a str) -> impl Iterator<Item = &'a Sample> {
    let names = move |sample: &&Sample| sample.has(&[("container", container)]);
    page.samples.iter().filter(names)
}
