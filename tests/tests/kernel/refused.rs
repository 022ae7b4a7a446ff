//! A netmon whose programs the kernel refuses counts without them, unless that is an update's fault.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    netmon::{Netmon, binary},
    traffic, unloadable,
};

use crate::world::{Cable, World, agree};

/// An id of a service, as Swarm makes them.
const SERVICE: &str = "--docker.service=k0u5hjwk2v6z2n9v0c3z8b1q7";
/// The exit status of a netmon without its programs.
const WITHOUT: i32 = 3;

/// A netmon whose programs no kernel accepts.
fn unloadable(world: &World) -> anyhow::Result<PathBuf> {
    let path = world.scratch.path().join("unloadable");
    unloadable::write(&binary()?, &path)?;
    Ok(path)
}

fn start(world: &World, build: &PathBuf, flags: &[&str]) -> anyhow::Result<Netmon> {
    let mut command = Command::new(build);
    command.args(world.flags(flags));
    world.spawn(&command)
}

#[test]
fn an_update_whose_programs_are_refused_where_those_before_were_not_ends_with_3_and_says_why() -> anyhow::Result<()> {
    let world = World::new()?;
    world.engine.ended(Some(0));
    let mut command = world.home.command("");
    command.arg(unloadable(&world)?).args(world.flags(&[SERVICE]));
    let ended = command.output()?;
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    ensure!(ended.status.code() == Some(WITHOUT), "{}: {said}", ended.status);
    for words in [
        "The verifier says: ",
        "netmon: the kernel refuses this netmon's programs for traffic",
    ] {
        ensure!(said.contains(words), "it does not say {words:?}: {said}");
    }
    Ok(())
}

#[test]
fn where_programs_were_never_accepted_netmon_counts_without_them_and_the_next_one_knows() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let build = unloadable(&world)?;
    let (a, b) = world.pair(Cable::Bridge)?;
    // None before; one that was killed; one that had none either.
    for before in [None, Some(137), Some(i64::from(WITHOUT))] {
        world.engine.ended(before);
        let netmon = start(&world, &build, &[SERVICE]).with_context(|| format!("{before:?} before"))?;
        netmon.wait_ready()?;
        traffic::ping(&a.netns, b.address, 20)?;
        agree(&netmon, &a, "net")?;
        let page = netmon.page()?;
        let success = page.value("netmon_scrape_collector_success", &[("collector", "traffic")])?;
        ensure!(success < 0.5, "collector traffic has success {success}");
        let warnings: Vec<String> = netmon.said().into_iter().filter(|it| it.contains(" WARN ")).collect();
        ensure!(warnings.len() == 1, "{warnings:#?}");
        let (status, _) = netmon.terminate()?;
        ensure!(status.code() == Some(WITHOUT), "{before:?} before: {status}");
    }
    Ok(())
}

#[test]
fn without_a_swarm_a_netmon_whose_programs_are_refused_ends_as_every_other() -> anyhow::Result<()> {
    let world = World::new()?;
    world.engine.ended(Some(0));
    let netmon = start(&world, &unloadable(&world)?, &[])?;
    let (status, _) = netmon.terminate()?;
    ensure!(status.success(), "{status}");

    // One that has its programs asks nobody, and ends with 0.
    let netmon = world.netmon(&[SERVICE])?;
    let (status, _) = netmon.terminate()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[test]
fn an_engine_that_does_not_answer_keeps_no_netmon_from_counting() -> anyhow::Result<()> {
    let world = World::new()?;
    let build = unloadable(&world)?;
    let nowhere = format!("--docker.host=unix://{}/nowhere", world.scratch.path().display());
    let mut command = Command::new(&build);
    let flags = world.flags(&[SERVICE]);
    command
        .args(flags.iter().filter(|it| !it.starts_with("--docker.host")))
        .arg(nowhere);
    let netmon = world.spawn(&command)?;
    ensure!(netmon.get("/-/healthy")?.status == 200, "it is not healthy");
    let (status, _) = netmon.terminate()?;
    ensure!(status.code() == Some(WITHOUT), "{status}");
    Ok(())
}
