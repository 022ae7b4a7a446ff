//! The programs on loopback: they come back, and none is left behind.

use std::time::Duration;

use anyhow::ensure;
use netmon_tests::{
    netns::Netns,
    patience::until,
    resolver::{ENGINES, Resolver, ask_all, query, shown},
};

use super::{counts_dns, shows};
use crate::world::{Cable, World};

/// The number of netmons' filters on the loopback of a namespace.
fn filters(netns: &Netns) -> anyhow::Result<usize> {
    let text = netns.run("tc filter show dev lo egress")?;
    Ok(text.lines().filter(|line| line.contains("dns_loopback")).count())
}

fn queries(count: u16) -> Vec<Vec<u8>> {
    (0..count).map(|id| query(id, "noerror", 1, None)).collect()
}

#[test]
fn a_killed_netmon_leaves_a_filter_that_the_next_one_replaces_and_none_stays_at_the_end() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, _b) = world.pair(Cable::Bridge)?;
    let server = Resolver::start(&a.netns, ENGINES.ip(), Duration::ZERO)?;
    let netmon = world.netmon(&["--bpf.attach=clsact"])?;
    counts_dns(&netmon)?;
    ask_all(&a.netns, server.address, &queries(20))?;
    shows(&netmon, "docker", &[("query A", 20), ("noerror", 20), ("observed", 20)])?;
    netmon.kill()?;
    ensure!(filters(&a.netns)? == 1, "the kernel keeps a filter");
    // Nobody counts that.
    ask_all(&a.netns, server.address, &queries(5))?;
    let netmon = world.netmon(&["--bpf.attach=clsact"])?;
    counts_dns(&netmon)?;
    ask_all(&a.netns, server.address, &queries(30))?;
    shows(&netmon, "docker", &[("query A", 30), ("noerror", 30), ("observed", 30)])?;
    ensure!(filters(&a.netns)? == 1, "{} filters are there", filters(&a.netns)?);
    netmon.terminate()?;
    ensure!(filters(&a.netns)? == 0, "a filter stays");
    Ok(())
}

#[test]
fn a_program_that_somebody_detached_is_attached_again_and_goes_on_counting() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.times.push_str(",program-check=200ms");
    let (a, _b) = world.pair(Cable::Bridge)?;
    let server = Resolver::start(&a.netns, ENGINES.ip(), Duration::ZERO)?;
    let netmon = world.netmon(&["--bpf.attach=clsact"])?;
    counts_dns(&netmon)?;
    ask_all(&a.netns, server.address, &queries(20))?;
    a.netns.run("tc qdisc del dev lo clsact")?;
    until("the program to be back", || {
        ensure!(filters(&a.netns)? == 1, "it is not there");
        Ok(())
    })?;
    ask_all(&a.netns, server.address, &queries(30))?;
    shows(&netmon, "docker", &[("query A", 50), ("noerror", 50), ("observed", 50)])?;
    let detached = [("reason", "detached")];
    let page = netmon.page()?;
    ensure!(page.count("netmon_attach_failures_total", &detached)? == 1);
    Ok(())
}

#[test]
fn a_container_that_ends_keeps_its_last_counts_for_the_linger() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, _b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&["--container.linger=3s"])?;
    counts_dns(&netmon)?;
    let server = Resolver::start(&a.netns, ENGINES.ip(), Duration::ZERO)?;
    ask_all(&a.netns, server.address, &queries(40))?;
    drop(server);
    // No scrape has seen any of them.
    world.end(a)?;
    shows(&netmon, "docker", &[("query A", 40), ("noerror", 40), ("observed", 40)])?;
    netmon.page_until("its series to end", |page| {
        ensure!(shown(page, "a", "docker").is_err(), "they are there");
        Ok(())
    })?;
    netmon.page_until("its slot to be free", |page| {
        let slots = page.count("netmon_bpf_map_entries", &[("map", "DNS")])?;
        ensure!(slots == 1, "{slots} are taken");
        Ok(())
    })
}

#[test]
fn without_the_collector_nothing_is_on_loopback() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, _b) = world.pair(Cable::Bridge)?;
    let server = Resolver::start(&a.netns, ENGINES.ip(), Duration::ZERO)?;
    let netmon = world.netmon(&["--bpf.attach=clsact", "--no-collector.dns"])?;
    crate::world::ready(&netmon, 2)?;
    ask_all(&a.netns, server.address, &queries(5))?;
    let page = netmon.page()?;
    ensure!(page.all("netmon_container_dns_queries_total", &[]).is_empty());
    ensure!(filters(&a.netns)? == 0, "a filter is there");
    Ok(())
}
