//! Devices in namespaces that are none of netmon's business, and that are never still.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use netmon_tests::patience::at_rest;

use super::Scene;

/// How many networks of a Swarm are on the node.
const NETWORKS: usize = 50;
/// How long a device that is none of netmon's is never still.
const RESTLESS: Duration = Duration::from_secs(10);
/// A pause after twenty changes: netmon always has the time to look, and the messages themselves cost little.
const PAUSE: Duration = Duration::from_millis(20);

/// Each message about a device in a namespace that has an nsid, and that netmon does not know, may be of a new container.
#[test]
fn a_device_of_somebody_elses_that_is_never_still_costs_a_share_of_a_processor() -> anyhow::Result<()> {
    let mut scene = Scene::new(&[])?;
    let networks = (0..NETWORKS)
        .map(|number| {
            let network = scene.world.sandbox(&format!("1-{number:010}"))?;
            network.run("ip link add br0 type bridge")?;
            Ok(network)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    scene.world.other("foreign")?;
    let foreign = scene.world.others.last().context("it was just made")?;
    scene.world.home.run(&format!(
        "ip link add f0 type veth peer name f1 netns {}",
        foreign.path().display()
    ))?;
    let batch = scene.world.scratch.path().join("restless");
    std::fs::write(&batch, "link set f1 up\nlink set f1 down\n".repeat(10))?;
    // The networks' namespaces are read first.
    at_rest("netmon's work", || {
        Ok(u64::try_from(scene.netmon.processor_time()?.as_millis())?)
    })?;
    let (begin, before) = (Instant::now(), scene.netmon.processor_time()?);
    let mut rounds = 0;
    while begin.elapsed() < RESTLESS {
        foreign.run(&format!("ip -batch {}", batch.display()))?;
        rounds += 1;
        thread::sleep(PAUSE);
    }
    let (used, took) = (scene.netmon.processor_time()?.saturating_sub(before), begin.elapsed());
    ensure!(used < took / 5, "{used:?} of a processor in {took:?}, {rounds} rounds");
    drop(networks);
    scene.is_unharmed().map(drop)
}
