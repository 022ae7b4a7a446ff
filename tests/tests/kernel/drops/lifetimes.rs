//! Drops of containers that come and go, and of namespaces that are nobody's.

use std::{net::SocketAddr, time::Duration};

use anyhow::ensure;
use netmon_tests::{filter::Filter, netns::Netns, patience::within, traffic};

use super::{Drops, FAMILIES, Where};
use crate::world::{Cable, World, ready};

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
    let netmon = world.netmon(&["--container.linger=3s"])?;
    ready(&netmon, 2)?;
    let drops = Drops::since_now(&netmon)?;
    let filter = Filter::new(&b.netns, "input", "udp dport 9999 drop")?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9999), 30, 100)?;
    drop(filter);
    world.end(b)?;
    drops.are(&[(Where::Container("b", "net"), "NETFILTER_DROP", 30)])?;
    within(Duration::from_secs(10), "the series to end", || {
        let left = netmon.page()?.all(FAMILIES[0], &[("container", "b")]).len();
        ensure!(left == 0, "{left} series are left");
        Ok(())
    })
}

#[test]
fn what_is_lost_in_a_namespace_of_nobodys_is_said_to_be_nobodys() -> anyhow::Result<()> {
    let mut world = World::new()?;
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
    traffic::datagrams(&foreign, "127.0.0.1:9".parse()?, 25, 100)?;
    let kernel = foreign.nstat("UdpNoPorts")?;
    within(Duration::from_secs(45), "the drops to be nobody's", || {
        let now = count()?;
        ensure!(now - before >= kernel as f64, "{} of {kernel}", now - before);
        Ok(())
    })?;
    drops.are_none()
}
