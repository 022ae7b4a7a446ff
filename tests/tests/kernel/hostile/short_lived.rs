//! Containers that start and end faster than pages are fetched. The page keeps its size, sums are exact, and nothing
//! stays behind.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::ensure;
use netmon_tests::{
    fake_engine::{Container, Endpoint, task_labels},
    figures::Figures,
    netmon::Netmon,
    netns::Netns,
    page::Page,
    patience::{slowness, until},
    traffic,
};

use super::{MEMORY, entries};
use crate::world::{Cable, DEVICE, World, agree, quiet, ready};

/// How many batches of containers there are, and how many containers in each.
const BATCHES: usize = 4;
const BATCH: usize = 15;
/// The limit of series, with room for a few of the containers.
const SERIES: usize = 1000;
/// The row with the sum of the containers over the limit.
const OVER: &str = "(over the limit)";

#[test]
fn short_lived_containers_over_the_limit_are_one_sum_that_is_the_kernels() -> anyhow::Result<()> {
    let mut world = World::new()?.with_real_times();
    let (a, b) = world.pair(Cable::Bridge)?;
    quiet(&[&a, &b])?;
    let netmon = world.netmon(&[&format!("--limit.series={SERIES}"), "--container.linger=6s"])?;
    ready(&netmon, 2)?;
    let before = netmon.page()?;
    let (descriptors, memory) = (netmon.descriptors()?, netmon.memory()?);
    let (mut counted, mut gone, mut seen) = (0, 0, BTreeMap::new());
    // The counts of series that have left the page, plus the counts that the page has now.
    let mut look = |seen: &mut BTreeMap<String, u64>| {
        let page = netmon.page()?;
        let now = of_jobs(&page);
        for (container, last) in &*seen {
            match now.get(container) {
                Some(count) => ensure!(count >= last, "{container} fell from {last} to {count}"),
                None => gone += last,
            }
        }
        *seen = now;
        Ok((page, gone + seen.values().sum::<u64>()))
    };
    for batch in 0..BATCHES {
        for number in 0..BATCH {
            counted += live(&world, &netmon, batch * BATCH + number, SocketAddr::new(a.address, 9))?.transmit_packets;
            look(&mut seen)?;
        }
        until("sums to be the kernel's", || {
            let (page, all) = look(&mut seen)?;
            ensure!(all == counted, "{all} of {counted}: {seen:?}");
            let service = [("service", "jobs"), ("network", "net")];
            let sum = page.count("netmon_service_network_transmit_packets_total", &service)?;
            ensure!(sum == counted, "the service has {sum} of {counted}");
            Ok(())
        })?;
        let page = netmon.page()?;
        ensure!(
            page.samples.len() <= SERIES,
            "the page has {} series",
            page.samples.len()
        );
        ensure!(seen.contains_key(OVER), "nothing is summed up: {seen:?}");
        ensure!(seen.len() > 1, "nobody is shown: {seen:?}");
        traffic::ping(&a.netns, b.address, 5)?;
        agree(&netmon, &a, "net")?;
        agree(&netmon, &b, "net")?;
    }
    let warnings = netmon
        .said()
        .into_iter()
        .filter(|line| line.contains("more than a limit allows"));
    ensure!(warnings.clone().count() == 1, "{:?}", warnings.collect::<Vec<_>>());
    netmon.page_until("everything to be forgotten", |page| {
        // The bridge's namespace belongs to no container here. The containers leave deleted devices behind there, and
        // up to 2,048 keys may stay for drops on them.
        let dropped = page.all("netmon_unattributed_drops_total", &[("cause", "foreign_namespace")]);
        let foreign = dropped.iter().map(|it| it.value).sum::<f64>();
        for (map, others) in [("TRAFFIC", 0.0), ("DROPS", foreign), ("TCP", 0.0), ("ADDRESSES", 0.0)] {
            let (now, then) = (entries(page, map)?, entries(&before, map)?);
            ensure!(
                now as f64 <= (then + 8) as f64 + others,
                "{map} has {now} keys, {then} before, {others} of others"
            );
        }
        let over = page.count("netmon_over_limit", &[("limit", "series")])?;
        ensure!(over == 0, "{over} are over the limit");
        Ok(())
    })?;
    ensure!(
        netmon.descriptors()? <= descriptors + 2,
        "{} descriptors",
        netmon.descriptors()?
    );
    let grown = netmon.memory()?.saturating_sub(memory);
    ensure!(grown < MEMORY, "netmon has grown by {grown} bytes");
    Ok(())
}

/// The rows of the service's containers.
fn of_jobs(page: &Page) -> BTreeMap<String, u64> {
    let rows = page.all(
        "netmon_container_network_transmit_packets_total",
        &[("service", "jobs"), ("network", "net")],
    );
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters in tests are whole and far below 2^53"
    )]
    let row =
        |it: &netmon_tests::page::Sample| (it.labels.get("container").cloned().unwrap_or_default(), it.value as u64);
    rows.into_iter().map(row).collect()
}

/// An application that cannot connect ends, and is started anew.
#[test]
fn a_crash_loop_that_no_page_shows_is_in_the_sums_of_its_service() -> anyhow::Result<()> {
    const LIVES: u64 = 6;
    const LINGER: Duration = Duration::from_secs(1);
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    quiet(&[&a, &b])?;
    let netmon = world.netmon(&[&format!("--container.linger={}s", LINGER.as_secs())])?;
    // One of the service's containers stays, and does nothing.
    let stays = begin(&world, 0)?;
    ready(&netmon, 3)?;
    let (tcp, udp) = (SocketAddr::new(b.address, 9), SocketAddr::new(stays.address, 9));
    let count = |page: &Page, family: &str, reason: &str| {
        let labels = [("service", "jobs"), ("network", "net"), ("reason", reason)];
        page.all(&format!("netmon_service_{family}_total"), &labels)
            .first()
            .map_or(0.0, |sample| sample.value)
    };
    let check = |lives: u64| {
        netmon.page_until("the sums to be exact", |page| {
            let others = page.all("netmon_container_info", &[("service", "jobs")]);
            let is_other = |sample: &&netmon_tests::page::Sample| sample.labels["container"] != stays.name;
            ensure!(!others.iter().any(is_other), "they are seen: {others:?}");
            let shown = (
                count(page, "tcp_connect_failures", "refused"),
                count(page, "packet_drops", "NO_SOCKET"),
            );
            let wanted = ((lives * 5) as f64, (lives * 7) as f64);
            ensure!(shown == wanted, "{shown:?}, not {wanted:?}");
            Ok(())
        })
    };
    check(0)?;
    for round in 0..2 {
        for number in 1..=LIVES {
            let number = usize::try_from(round * LIVES + number)?;
            let job = begin(&world, number)?;
            for _ in 0..5 {
                let refused = job.netns.within(|| Ok(TcpStream::connect(tcp)))?;
                ensure!(refused.is_err(), "somebody listens");
            }
            let port = SocketAddr::new(job.address, udp.port());
            traffic::datagrams(&a.netns, port, 7, 100)?;
            until("the engine to be asked for it", || {
                ensure!(world.engine.was_asked_for(&job.name), "it was not");
                Ok(())
            })?;
            world.engine.end_container(&job.name);
            job.netns.run(&format!("ip link del {DEVICE}"))?;
        }
        // A page within the linger would show them.
        thread::sleep(LINGER * 3 * slowness());
        check((round + 1) * LIVES)?;
    }
    Ok(())
}

/// A container that sends a few datagrams and ends. Returns the last counters of its device.
fn live(world: &World, netmon: &Netmon, number: usize, to: SocketAddr) -> anyhow::Result<Figures> {
    let Job { name, netns, .. } = begin(world, number)?;
    traffic::datagrams(&netns, to, 5, 100)?;
    // If the engine forgets the container before netmon asks for it, the packets are unattributed.
    netmon.page_until("it to be known", |page| {
        let observed = page.count("netmon_containers", &[("state", "observed")])?;
        ensure!(observed == 3, "{observed} are");
        Ok(())
    })?;
    netns.run(&format!("ip link set {DEVICE} down"))?;
    let last = netns.figures(DEVICE)?;
    world.engine.end_container(&name);
    netns.run(&format!("ip link del {DEVICE}"))?;
    Ok(last)
}

/// A container of the service. Its namespace ends with this.
struct Job {
    name: String,
    netns: Netns,
    address: IpAddr,
}

/// Starts a container of the service.
fn begin(world: &World, number: usize) -> anyhow::Result<Job> {
    let name = format!("jobs.1.{number:025}");
    let netns = world.sandbox(&format!("eeeeeeee{number:04}"))?;
    let address = format!("10.77.0.{}", number % 200 + 20);
    world.others[0].run(&format!(
        "ip link add j{number} type veth peer name {DEVICE} netns {}",
        netns.path().display()
    ))?;
    world.others[0].run(&format!("ip link set j{number} master br0 up"))?;
    netns.run(&format!("ip addr add {address}/24 dev {DEVICE}"))?;
    netns.run(&format!("ip link set {DEVICE} up"))?;
    world.engine.start_container(Container {
        name: name.clone(),
        sandbox: netns.path().to_path_buf(),
        labels: task_labels(&name),
        network_mode: "default".to_owned(),
        endpoints: vec![Endpoint {
            network: "net".to_owned(),
            mac: netns.mac(DEVICE)?,
            address: address.clone(),
            ipv6_address: String::new(),
        }],
    });
    Ok(Job {
        name,
        netns,
        address: address.parse()?,
    })
}
