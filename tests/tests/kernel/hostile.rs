//! A hostile container beside two that are not. Whatever it is called, sends, or creates in its own namespace, the
//! others' figures are the kernel's. netmon grows by no more than a stated bound.

mod answers;
mod cables;
mod devices;
mod frames;
mod names;
mod restless;
mod short_lived;
mod tunnels;

use std::collections::BTreeMap;

use anyhow::ensure;
use netmon_tests::{
    fake_engine::{Container, Endpoint, compose_labels},
    netmon::Netmon,
    netns::Netns,
    page::Page,
};

use crate::world::{Cable, DEVICE, Member, World, agree, ready};

/// How much resident memory a hostile container may cost, in bytes.
const MEMORY: u64 = 24 << 20;
/// How large the page may be in bytes, with two other containers on it.
const PAGE: usize = 2 << 20;
/// How many lines of log a hostile container may cause.
const LINES: usize = 20;
/// How many keys a watched namespace may have in a map before its devices share keys. The rest is for keys without a
/// device.
const SHARE: u64 = 512 + 128;

/// Two containers that behave, a hostile one, and netmon.
struct Scene {
    netmon: Netmon,
    a: Member,
    b: Member,
    hostile: Netns,
    world: World,
    memory: u64,
    lines: usize,
}

impl Scene {
    fn new(flags: &[&str]) -> anyhow::Result<Self> {
        Self::of(World::new()?.with_real_times(), flags)
    }

    /// The same, in that world.
    fn of(mut world: World, flags: &[&str]) -> anyhow::Result<Self> {
        let (a, b) = world.pair(Cable::Bridge)?;
        let hostile = neighbour(&world, "hostile", 66)?;
        let netmon = world.netmon(flags)?;
        ready(&netmon, 3)?;
        let (memory, lines) = (netmon.memory()?, netmon.said().len());
        Ok(Self {
            netmon,
            a,
            b,
            hostile,
            world,
            memory,
            lines,
        })
    }

    /// Checks that the two are counted exactly, and that netmon has not grown.
    fn is_unharmed(&self) -> anyhow::Result<Page> {
        agree(&self.netmon, &self.a, "net")?;
        let (page, _) = agree(&self.netmon, &self.b, "net")?;
        let memory = self.netmon.memory()?.saturating_sub(self.memory);
        ensure!(memory < MEMORY, "netmon has grown by {memory} bytes");
        let size = self.netmon.get("/metrics")?.body.len();
        ensure!(size < PAGE, "the page has {size} bytes");
        let said = self.netmon.said();
        ensure!(
            said.len() < self.lines + LINES,
            "{} lines: {:#?}",
            said.len(),
            said.last()
        );
        Ok(page)
    }
}

/// Another container on the pair's bridge, which the engine reports. It has a service of its own.
fn neighbour(world: &World, name: &str, number: u8) -> anyhow::Result<Netns> {
    labelled(world, name, number, compose_labels("", name))
}

/// The same, with these labels.
fn labelled(world: &World, name: &str, number: u8, labels: BTreeMap<String, String>) -> anyhow::Result<Netns> {
    let netns = world.sandbox(&format!("cccccccccc{number:02}"))?;
    world.others[0].run(&format!(
        "ip link add n{number} type veth peer name {DEVICE} netns {}",
        netns.path().display()
    ))?;
    world.others[0].run(&format!("ip link set n{number} master br0 up"))?;
    netns.run(&format!("ip addr add 10.77.0.{number}/24 dev {DEVICE}"))?;
    netns.run(&format!("ip link set {DEVICE} up"))?;
    world.engine.start_container(Container {
        name: name.to_owned(),
        sandbox: netns.path().to_path_buf(),
        labels,
        network_mode: "default".to_owned(),
        endpoints: vec![Endpoint {
            network: "net".to_owned(),
            mac: netns.mac(DEVICE)?,
            address: format!("10.77.0.{number}"),
            ipv6_address: String::new(),
        }],
    });
    Ok(netns)
}

/// The number of keys in a map.
fn entries(page: &Page, map: &str) -> anyhow::Result<u64> {
    page.count("netmon_bpf_map_entries", &[("map", map)])
}

/// How much found no entry in a map for a reason.
fn refused(page: &Page, map: &str, reason: &str) -> anyhow::Result<u64> {
    page.count(
        "netmon_bpf_map_update_failures_total",
        &[("map", map), ("reason", reason)],
    )
}

/// How much found no entry in a map.
fn lost(page: &Page, map: &str) -> anyhow::Result<u64> {
    let refused = |reason| refused(page, map, reason);
    ["full", "no_memory", "share", "other"].into_iter().map(refused).sum()
}
