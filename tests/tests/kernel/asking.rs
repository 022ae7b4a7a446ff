//! How much netmon asks of the engine.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::ensure;
use netmon_tests::{
    fake_engine::{Container, Endpoint, FakeEngine, Network},
    patience::until,
};

use crate::world::World;

/// The list that every full sync asks for.
const LIST: &str = "/containers/json";
const CONTAINERS: usize = 30;
/// How long descriptions are held back.
const HELD: Duration = Duration::from_secs(3);

fn sandbox(number: usize) -> PathBuf {
    Path::new("/nowhere").join(format!("{number:012x}"))
}

fn name(number: usize) -> String {
    format!("c{number}")
}

fn start(engine: &FakeEngine, number: usize) {
    let endpoint = Endpoint {
        network: "net".to_owned(),
        address: format!("10.1.0.{number}"),
        ..Endpoint::default()
    };
    engine.start_container(Container {
        name: name(number),
        sandbox: sandbox(number),
        endpoints: vec![endpoint],
        ..Container::default()
    });
}

/// Waits for so many full syncs after `what` was done, and returns the requests before the last of them.
fn during_syncs(engine: &FakeEngine, syncs: usize, what: impl FnOnce()) -> anyhow::Result<Vec<String>> {
    let begin = engine.requests().len();
    what();
    until("full syncs", || {
        let mut requests = engine.requests().split_off(begin);
        let lists: Vec<_> = (0..requests.len()).filter(|at| requests[*at] == LIST).collect();
        ensure!(lists.len() > syncs, "{} syncs", lists.len());
        requests.truncate(lists[syncs]);
        Ok(requests)
    })
}

/// How many of these requests are for a container's description.
fn descriptions(requests: &[String]) -> usize {
    let is_description = |path: &&String| path.starts_with("/containers/") && *path != LIST;
    requests.iter().filter(is_description).count()
}

#[test]
fn an_idle_engine_is_asked_for_its_lists_and_one_that_starts_a_container_for_that_one() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.times += ",sync=1s";
    let engine = &world.engine;
    engine.network(Network {
        name: "net".to_owned(),
        driver: "overlay".to_owned(),
        ..Network::default()
    });
    for number in 0..CONTAINERS {
        start(engine, number);
    }
    // It is never ready: the containers have no namespaces.
    let _netmon = world.netmon(&[])?;
    until("every container to be described", || {
        let described = (0..CONTAINERS).filter(|number| engine.was_asked_for(&name(*number)));
        ensure!(described.count() == CONTAINERS);
        Ok(())
    })?;
    during_syncs(engine, 1, || {})?;

    // Five for each full sync, of which there is one a minute otherwise. Up to four are from the next one.
    let syncs = 4;
    let idle = during_syncs(engine, syncs, || {})?;
    ensure!(idle.len() <= 5 * syncs + 4, "{idle:?}");
    ensure!(descriptions(&idle) == 0, "{idle:?}");

    // The start of a container is one question, and no sync asks for it again.
    let busy = during_syncs(engine, 2, || start(engine, CONTAINERS))?;
    ensure!(engine.was_asked_for(&name(CONTAINERS)), "nobody asked for it");
    ensure!(descriptions(&busy) == 1 && busy.len() <= 3 * 5 + 1, "{busy:?}");

    // What happens without an event is found by the next list.
    let secret = during_syncs(engine, 2, || engine.restart_secretly(&name(7), &sandbox(77)))?;
    ensure!(descriptions(&secret) == 1, "{secret:?}");
    Ok(())
}

#[test]
fn the_lists_for_whoever_is_held_back_are_shared_and_become_rare() -> anyhow::Result<()> {
    let world = World::new()?;
    let engine = &world.engine;
    let netmon = world.netmon(&[])?;
    netmon.wait_ready()?;
    let begin = engine.requests().len();
    let held = 10;
    for number in 0..held {
        engine.hold(&name(number));
    }
    for number in 0..held {
        // Without an address no list has what netmon looks for.
        engine.start_container(Container {
            name: name(number),
            sandbox: sandbox(number),
            ..Container::default()
        });
    }
    until("all of them to be asked for", || {
        let asked = (0..held).filter(|number| engine.was_requested(&name(*number)));
        ensure!(asked.count() == held);
        Ok(())
    })?;
    thread::sleep(HELD);
    let requests = engine.requests().split_off(begin);
    let lists = requests.iter().filter(|path| *path == LIST).count();
    ensure!((1..=3 * held).contains(&(lists + held)), "{lists} lists, {requests:?}");
    for number in 0..held {
        engine.release(&name(number));
    }
    Ok(())
}
