//! netmon as the README says to run it: the image on three nodes, deployed with the project's own stack.

use anyhow::{Context as _, ensure};
use netmon_tests::{
    figures::Figures,
    fleet::{Fleet, STACK, deploy, image as image_file},
    lab::{Engine, Lab, Node},
};

use crate::ground::{CONTAINER, Interface, agrees, ping, reach};

const PINGS: u64 = 200;
/// Room for ARP packets.
const OTHERS: u64 = 10;

#[test]
fn on_the_installed_engine_a_deployed_stack_counts_every_node() -> anyhow::Result<()> {
    every_node_is_counted(Engine::Installed)
}

#[test]
fn on_a_new_engine_a_deployed_stack_counts_every_node() -> anyhow::Result<()> {
    every_node_is_counted(Engine::New)
}

fn every_node_is_counted(engine: Engine) -> anyhow::Result<()> {
    let lab = Lab::up(3, engine)?;
    lab.node(1).docker("network create -d overlay --attachable wide")?;
    for number in lab.nodes() {
        lab.node(number)
            .start_container(&format!("before{number}"), "--network wide")?;
    }
    let fleet = Fleet::deploy(&lab)?;
    for number in lab.nodes() {
        lab.node(number)
            .start_container(&format!("after{number}"), "--network wide")?;
    }
    for number in lab.nodes() {
        for name in ["before", "after"] {
            counted(&fleet, &lab, number, &format!("{name}{number}"))?;
        }
        is_what_it_says(&fleet, &lab, number, "host")?;
    }
    the_image_is_what_an_engine_builds(lab.node(1))?;
    both_ends_say_the_same(&fleet, &lab)
}

/// `cargo xtask image` needs no engine. An engine that builds the same Dockerfile makes the same image.
fn the_image_is_what_an_engine_builds(node: Node<'_>) -> anyhow::Result<()> {
    let config = |image: &str| -> anyhow::Result<serde_json::Value> {
        let images: serde_json::Value = serde_json::from_str(&node.docker(&format!("image inspect {image}"))?)?;
        Ok(images.pointer("/0/Config").context("nothing was said")?.clone())
    };
    let described = node.inspect(&node.docker(&format!("ps -q --filter name={STACK}_netmon"))?)?;
    let image = described
        .pointer("/Config/Image")
        .and_then(|it| it.as_str())
        .context("no image")?;
    let made = config(image)?;
    let arguments: Vec<String> = ["version", "revision"]
        .iter()
        .filter_map(|name| {
            let value = made
                .pointer("/Labels")?
                .get(format!("org.opencontainers.image.{name}"))?
                .as_str()?;
            Some(format!("--build-arg {}={value}", name.to_uppercase()))
        })
        .collect();
    ensure!(arguments.len() == 2, "its labels do not say which it is: {made}");
    node.docker(&format!(
        "build --quiet --tag netmon:built {} --file {} {}",
        arguments.join(" "),
        deploy("Dockerfile").display(),
        image_file()?.with_file_name("context").display()
    ))?;
    let built = config("netmon:built")?;
    for name in [
        "Entrypoint",
        "Cmd",
        "Env",
        "ExposedPorts",
        "Healthcheck",
        "Labels",
        "User",
    ] {
        let (one, other) = (made.get(name), built.get(name));
        let is_nothing = |it: Option<&serde_json::Value>| it.is_none_or(|it| it.is_null() || it == "");
        ensure!(
            one == other || is_nothing(one) && is_nothing(other),
            "{name}: {one:?} and {other:?}"
        );
    }
    Ok(())
}

/// Checks that the page of a node has the kernel's counts of a container's interface, and returns them.
fn counted(fleet: &Fleet<'_>, lab: &Lab, number: u8, container: &str) -> anyhow::Result<Figures> {
    let node = lab.node(number);
    let labels = [("container", container), ("network", "wide")];
    fleet.page_until(number, container, |page| page.figures(CONTAINER, &labels).map(drop))?;
    let interface = Interface::of(node, container, "wide")?;
    agrees(
        || interface.figures(node),
        || fleet.page(number)?.figures(CONTAINER, &labels),
    )
    .with_context(|| format!("{container} on node {number}"))
}

/// Checks that everything works with only the rights that the stack gives.
pub(crate) fn is_what_it_says(fleet: &Fleet<'_>, lab: &Lab, number: u8, state: &str) -> anyhow::Result<()> {
    let page = fleet.page(number)?;
    for sample in page.all("netmon_scrape_collector_success", &[]) {
        ensure!(sample.value > 0.0, "node {number}: {sample:?}");
    }
    let may: Vec<&str> = page
        .all("netmon_process_capability_info", &[])
        .into_iter()
        .filter_map(|sample| sample.labels.get("capability").map(String::as_str))
        .collect();
    ensure!(
        may == ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"],
        "node {number}: netmon may {may:?}"
    );
    let log = fleet.log(number);
    for trouble in ["WARN", "ERROR", "panicked"] {
        ensure!(!log.contains(trouble), "node {number}: {log}");
    }
    let service = format!("{STACK}_netmon");
    page.one(
        "netmon_container_info",
        &[("service", &service), ("stack", STACK), ("state", state)],
    )?;
    let node = lab.node(number);
    let container = fleet.container(node)?;
    let described = node.inspect(&container)?;
    let at = |pointer: &str| described.pointer(pointer).cloned().unwrap_or_default();
    ensure!(at("/HostConfig/Privileged") == false, "it is privileged");
    ensure!(at("/HostConfig/ReadonlyRootfs") == true, "its root can be written");
    ensure!(
        at("/HostConfig/CapDrop") == serde_json::json!(["ALL"]),
        "{}",
        at("/HostConfig/CapDrop")
    );
    ensure!(at("/HostConfig/Memory") != 0, "its memory has no limit");
    // The command of the image's health check.
    node.docker(&format!("exec {container} /netmon healthcheck"))?;
    let elsewhere = "-e NETMON_WEB_LISTEN_ADDRESS=127.0.0.1:1";
    let error = node
        .docker(&format!("exec {elsewhere} {container} /netmon healthcheck"))
        .expect_err("nobody listens there");
    ensure!(
        format!("{error:#}").contains("no netmon answers at 127.0.0.1:1"),
        "{error:#}"
    );
    Ok(())
}

/// Checks that one node receives what the other sends, and that both count it between them, by network and remote
/// node.
pub(crate) fn both_ends_say_the_same(fleet: &Fleet<'_>, lab: &Lab) -> anyhow::Result<()> {
    let ends = [(1, "after1"), (2, "after2")];
    let address = lab.node(2).address_of("after2", "wide")?;
    reach(lab.node(1), "after1", address)?;
    let outer = |number: u8, other: u8| {
        let page = fleet.page(number)?;
        let peer = lab.node(other).address();
        let of = |peer: &str| page.figures("netmon_overlay", &[("network", "wide"), ("peer", peer)]);
        // A manager knows the other nodes by name.
        of(&peer).or_else(|_| of(&format!("n{other}")))
    };
    let look = || -> anyhow::Result<Vec<Figures>> {
        let mut all = Vec::new();
        for (number, container) in ends {
            all.push(counted(fleet, lab, number, container)?);
        }
        all.push(outer(1, 2)?);
        all.push(outer(2, 1)?);
        Ok(all)
    };
    let before = look()?;
    ping(lab.node(1), "after1", address, PINGS)?;
    let more: Vec<Figures> = look()?
        .into_iter()
        .zip(before)
        .map(|(after, before)| after.since(before))
        .collect();
    for figures in &more {
        for packets in [figures.receive_packets, figures.transmit_packets] {
            ensure!(
                (PINGS..PINGS + OTHERS).contains(&packets),
                "{PINGS} pings, and what they are charged as: {more:#?}"
            );
        }
    }
    ensure!(
        more[0].transmit_packets == more[1].receive_packets && more[1].transmit_packets == more[0].receive_packets,
        "what one container sends the other receives: {more:#?}"
    );
    ensure!(
        more[2].transmit_packets == more[3].receive_packets && more[3].transmit_packets == more[2].receive_packets,
        "what one node sends the other receives: {more:#?}"
    );
    Ok(())
}
