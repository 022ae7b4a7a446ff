//! Drops of containers that start and end, and of namespaces that no container has.

use std::{net::SocketAddr, time::Duration};

use anyhow::ensure;
use netmon_tests::{
    filter::Filter,
    netns::Netns,
    patience::{until, within},
    traffic,
};

use super::{Drops, FAMILIES, Where};
use crate::world::{Cable, DEVICE, Member, World, ready};

#[test]
fn what_was_lost_before_the_engine_told_of_the_container_is_counted() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    world.engine.end_container("b");
    let netmon = world.netmon(&[])?;
    ready(&netmon, 1)?;
    let drops = Drops::since_now(&netmon)?;
    let _filter = Filter::new(&b.netns, "input", "udp dport 9999 drop")?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9999), 30, 100)?;
    drops.are_none()?;
    world.engine.start_container(b.container("net")?);
    drops.are(&[(Where::Container("b", "net"), "NETFILTER_DROP", 30)])
}

#[test]
fn the_last_drops_of_a_container_linger_and_its_name_can_be_used_again() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&["--container.linger=8s"])?;
    ready(&netmon, 2)?;
    let drops = Drops::since_now(&netmon)?;
    let filter = Filter::new(&b.netns, "input", "udp dport 9999 drop")?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9999), 30, 100)?;
    drop(filter);
    world.end(b)?;
    drops.are(&[(Where::Container("b", "net"), "NETFILTER_DROP", 30)])?;
    within(Duration::from_secs(20), "the series to end", || {
        let left = netmon.page()?.all(FAMILIES[0], &[("container", "b")]).len();
        ensure!(left == 0, "{left} series are left");
        Ok(())
    })?;
    // With the series, its counts leave the kernel's maps.
    let log = netmon.log();
    ensure!(!log.contains("cannot delete"), "{log}");

    // A container that takes over the name starts at 0.
    let b = successor(&world, &a, "bbbbbbbbbbbb")?;
    ready(&netmon, 2)?;
    let drops = Drops::since_now(&netmon)?;
    ensure!(drops.before.is_empty(), "it has its predecessor's: {:?}", drops.before);
    let counted = traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9), 20, 100)?;
    ensure!(counted == 20, "{counted} of 20 were sent");
    drops.are(&[(
        Where::Container("b", "net"),
        "NO_SOCKET",
        b.netns.nstat_at_rest("UdpNoPorts")?,
    )])
}

#[test]
fn a_successor_takes_the_series_over_while_its_predecessors_values_linger() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::since_now(&netmon)?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9), 100, 100)?;
    drops.are(&[(
        Where::Container("b", "net"),
        "NO_SOCKET",
        b.netns.nstat_at_rest("UdpNoPorts")?,
    )])?;
    world.end(b)?;
    let b = successor(&world, &a, "ffffffffffff")?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9), 30, 100)?;
    // One label set is one series: the page no longer has the series of the container that ended.
    drops.are(&[(
        Where::Container("b", "net"),
        "NO_SOCKET",
        b.netns.nstat_at_rest("UdpNoPorts")?,
    )])
}

#[test]
fn what_is_lost_while_a_container_starts_is_counted_from_the_first() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    world.end(b)?;
    netmon.page_until("the container to have ended", |page| {
        let ended = page.count("netmon_containers", &[("state", "ended")])?;
        ensure!(ended == 1, "it has not");
        Ok(())
    })?;
    let drops = Drops::since_now(&netmon)?;
    let late = plug(&world, &a, "late", "dddddddddddd")?;
    let to = SocketAddr::new(late.address, 9);
    // Before the engine reports the container, while it does, and afterwards. A page is fetched in the first of these
    // phases.
    traffic::datagrams(&a.netns, to, 100, 100)?;
    drops.are_none()?;
    traffic::datagrams(&a.netns, to, 50, 100)?;
    world.engine.start_container(late.container("net")?);
    traffic::datagrams(&a.netns, to, 50, 100)?;
    ready(&netmon, 2)?;
    traffic::datagrams(&a.netns, to, 100, 100)?;
    let kernel = late.netns.nstat_at_rest("UdpNoPorts")?;
    ensure!(kernel >= 300, "the kernel counted {kernel} of 300");
    drops.are(&[(Where::Container("late", "net"), "NO_SOCKET", kernel)])
}

/// A container with the name and the address of one that ended.
fn successor(world: &World, a: &Member, netns: &str) -> anyhow::Result<Member> {
    let member = plug(world, a, "b", netns)?;
    world.engine.start_container(member.container("net")?);
    Ok(member)
}

/// A namespace on the bridge, in the place of one that was removed. The engine does not report it.
fn plug(world: &World, a: &Member, name: &str, netns: &str) -> anyhow::Result<Member> {
    let netns = world.sandbox(netns)?;
    let bridge = &world.others[0];
    let there = netns.path().display();
    bridge.run(&format!("ip link add veth1 type veth peer name {DEVICE} netns {there}"))?;
    bridge.run("ip link set veth1 master br0 up")?;
    netns.run(&format!("ip addr add 10.77.0.2/24 dev {DEVICE}"))?;
    netns.run(&format!("ip addr add fd77::2/64 dev {DEVICE} nodad"))?;
    netns.run(&format!("ip link set {DEVICE} up"))?;
    // This takes a while on a busy machine.
    until("the port to forward", || {
        let port = bridge.run("bridge link show dev veth1")?;
        ensure!(port.contains("state forwarding"), "it does not: {port}");
        Ok(())
    })?;
    let lladdr = netns.mac(DEVICE)?;
    a.netns.run(&format!(
        "ip neigh replace 10.77.0.2 lladdr {lladdr} dev {DEVICE} nud permanent"
    ))?;
    Ok(Member {
        name: name.to_owned(),
        netns,
        address: "10.77.0.2".parse()?,
        ipv6_address: "fd77::2".parse()?,
    })
}

#[test]
fn what_is_lost_in_a_namespace_of_nobodys_is_said_to_be_nobodys() -> anyhow::Result<()> {
    let mut world = World::new()?.with_real_times();
    let (_a, _b) = world.pair(Cable::Bridge)?;
    let foreign = Netns::new(&world.scratch.path().join("others"), "foreign")?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::since_now(&netmon)?;
    let count = || -> anyhow::Result<f64> {
        let labels = [("reason", "NO_SOCKET"), ("cause", "foreign_namespace")];
        let page = netmon.page()?;
        Ok(page
            .all("netmon_unattributed_drops_total", &labels)
            .iter()
            .map(|it| it.value)
            .sum())
    };
    let before = count()?;
    // The count covers all unwatched namespaces of the machine. These are far more drops than those of all tests that
    // run beside this one.
    traffic::datagrams(&foreign, "127.0.0.1:9".parse()?, 20_000, 100)?;
    let kernel = foreign.nstat_at_rest("UdpNoPorts")?;
    ensure!(kernel >= 10_000, "the kernel dropped only {kernel}");
    within(Duration::from_secs(45), "the drops to be nobody's", || {
        let now = count()?;
        ensure!(now - before >= kernel as f64, "{} of {kernel}", now - before);
        Ok(())
    })?;
    drops.are_none()
}
