//! How much the engine is asked: for a start, and on an idle node.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Container, Question, Stage, Summary, World, container, place};
use crate::{
    docker::{
        convert::{self, Change},
        question::Answer,
        wire,
    },
    model::inventory::ContainerId,
};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
/// The time of the first events here.
const BEGIN: i64 = 1000 * MINUTE;

/// What lists and descriptions say of a container on one network, in a run that gave it this endpoint.
fn summary(name: &str, endpoint: &str) -> Summary {
    let element = serde_json::json!({
        "Id": name, "Names": [format!("/{name}")], "State": "running",
        "NetworkSettings": { "Networks": { "net": { "NetworkID": "net", "EndpointID": endpoint } } },
    });
    let listed: wire::Listed = serde_json::from_value(element).expect("an element");
    convert::listed(listed).and_then(|it| it.summary).expect("a summary")
}

/// A container whose process began at this moment.
fn began(id: &str, at: i64) -> Container {
    let since_epoch = Duration::from_nanos(at.unsigned_abs());
    Container {
        started: Some(SystemTime::UNIX_EPOCH + since_epoch),
        ..container(id, "a", 1)
    }
}

/// A synced world with running containers of these names, and the moment after.
fn running(names: &[&str]) -> (World, i64) {
    let mut world = World::synced(&["net"], BEGIN);
    for name in names {
        world.summaries.insert((*name).into(), summary(name, "e1"));
        world.runs(&began(name, BEGIN), BEGIN + SECOND);
    }
    (world, BEGIN + 2 * SECOND)
}

fn ids(names: &[&str]) -> Vec<ContainerId> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// The containers that questions are about.
fn containers(questions: Vec<Question>) -> Vec<ContainerId> {
    let id = |question| {
        let Question::Container(id) = question else {
            return None;
        };
        Some(id)
    };
    questions.into_iter().filter_map(id).collect()
}

/// The containers that are asked for after a list at this moment with all containers of these names.
fn asked_after_a_list(world: &mut World, names: &[&str], at: i64) -> Vec<ContainerId> {
    world.roster.sync();
    assert_eq!(world.questions(at).len(), 3, "the node and the lists");
    world.roster.node(None);
    world.networks(&["net"], true);
    world.list(ids(names));
    containers(world.questions(at + 1))
}

#[test]
fn on_an_idle_node_a_sync_asks_for_no_container() {
    let names = ["c1", "c2", "c3"];
    let (mut world, at) = running(&names);
    for minute in 1..30 {
        let asked = asked_after_a_list(&mut world, &names, at + minute * MINUTE);
        assert_eq!(asked, ids(&[]), "after {minute} minutes");
        assert!(world.roster.synced());
    }
}

#[test]
fn a_sync_asks_for_whatever_changed_without_an_event() {
    let names = ["c1", "c2", "c3", "c4"];
    let (mut world, at) = running(&names);
    // One was renamed, one was restarted, one is new, one is gone.
    world.summaries.insert("c1".into(), summary("renamed", "e1"));
    world.summaries.insert("c2".into(), summary("c2", "e2"));
    world.summaries.insert("new".into(), summary("new", "e1"));
    let asked = asked_after_a_list(&mut world, &["c1", "c2", "c3", "new"], at + MINUTE);
    assert_eq!(asked, ids(&["c4", "c1", "c2", "new"]));
    assert!(!world.roster.synced(), "they are not described yet");
}

#[test]
fn what_a_list_does_not_say_enough_of_is_asked_for_at_every_sync() {
    let names = ["c1", "c2"];
    let (mut world, at) = running(&names);
    world.summaries.remove("c1");
    for minute in 1..3 {
        let asked = asked_after_a_list(&mut world, &names, at + minute * MINUTE);
        assert_eq!(asked, ids(&["c1"]));
        world.answer(&began("c1", BEGIN), Stage::Running);
    }
}

#[test]
fn a_list_that_never_agrees_with_descriptions_is_compared_with_the_one_before() {
    let names = ["c1"];
    let (mut world, at) = running(&names);
    let (described, listed) = (summary("c1", "e1"), summary("c1", "another"));
    let sync = |world: &mut World, listed: Summary, at: i64| {
        world.summaries.insert("c1".into(), listed);
        asked_after_a_list(world, &names, at).len()
    };
    let answer = |world: &mut World| {
        world.summaries.insert("c1".into(), described);
        world.answer(&began("c1", BEGIN), Stage::Running);
    };
    assert_eq!(sync(&mut world, listed, at + MINUTE), 1);
    answer(&mut world);
    assert_eq!(sync(&mut world, listed, at + 2 * MINUTE), 0);
    // An event brought another description since. The list from before it tells nothing.
    world.event(Change::Altered, "c1", at + 3 * MINUTE);
    world.asks_for("c1", at + 3 * MINUTE + 1);
    answer(&mut world);
    assert_eq!(sync(&mut world, listed, at + 4 * MINUTE), 1);
    world.no_answer("c1", Answer::Nothing);
    assert_eq!(sync(&mut world, listed, at + 5 * MINUTE), 1, "it was not described");
}

#[test]
fn every_container_is_asked_for_again_within_some_hours_and_not_all_at_once() {
    let names: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut world, at) = running(&names);
    let mut asked = Vec::new();
    for minute in 1..=80 {
        let mut now = asked_after_a_list(&mut world, &names, at + minute * MINUTE);
        assert!(now.len() < 20, "{} in one minute", now.len());
        while !now.is_empty() {
            for id in &now {
                world.answer(&began(id, BEGIN), Stage::Running);
            }
            asked.append(&mut now);
            now = containers(world.questions(at + minute * MINUTE + 2));
        }
    }
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), names.len());
}

#[test]
fn after_events_that_may_be_lost_a_sync_asks_for_every_container() {
    let names = ["c1", "c2"];
    let (mut world, at) = running(&names);
    world.roster.hang_up();
    assert_eq!(asked_after_a_list(&mut world, &names, at + MINUTE), ids(&names));
    let (mut world, at) = running(&names);
    world.roster.distrust();
    assert_eq!(asked_after_a_list(&mut world, &names, at + MINUTE), ids(&names));
}

/// As engines report it: connected, the process begins, started. The description is held back until the end.
#[test]
fn a_start_is_one_question() {
    let began_at = BEGIN + 300;
    for started_first in [true, false] {
        let mut world = World::synced(&["net"], BEGIN);
        world.event(Change::Connected, "c1", BEGIN + 100);
        world.asks_for("c1", BEGIN + 101);
        world.event(Change::Connected, "c1", BEGIN + 200);
        if started_first {
            world.event(Change::Started, "c1", BEGIN + 400);
        }
        world.answer(&began("c1", began_at), Stage::Running);
        if !started_first {
            world.event(Change::Started, "c1", BEGIN + 400);
        }
        world.asks_nothing();
        assert!(world.known("c1").is_some_and(|known| known.running));
    }
}

#[test]
fn a_start_that_the_answer_does_not_show_is_another_question() {
    // Connected after the process began.
    let mut world = World::synced(&["net"], BEGIN);
    world.event(Change::Started, "c1", BEGIN + 100);
    world.asks_for("c1", BEGIN + 101);
    world.event(Change::Connected, "c1", BEGIN + 200);
    world.answer(&began("c1", BEGIN + 99), Stage::Running);
    world.asks_for("c1", BEGIN + 201);
    world.answer(&began("c1", BEGIN + 99), Stage::Running);
    world.event(Change::Connected, "c1", BEGIN + 300);
    world.asks_for("c1", BEGIN + 301);

    // Started again meanwhile, and the end between was heard of.
    let mut world = World::synced(&["net"], BEGIN);
    world.event(Change::Started, "c1", BEGIN + 100);
    world.asks_for("c1", BEGIN + 101);
    world.event(Change::Died, "c1", BEGIN + 200);
    world.event(Change::Started, "c1", BEGIN + 300);
    world.answer(&began("c1", BEGIN + 299), Stage::Running);
    world.asks_for("c1", BEGIN + 301);

    // Started again much later, and the end between was not heard of.
    let (mut world, at) = running(&["c1"]);
    world.event(Change::Started, "c1", at + MINUTE);
    world.asks_for("c1", at + MINUTE + 1);
}

#[test]
fn endpoints_are_looked_up_once_the_container_started_and_complete_its_description() {
    let mut world = World::synced(&["net"], BEGIN);
    world.event(Change::Connected, "c1", BEGIN + 100);
    world.asks_for("c1", BEGIN + 101);
    let look = |world: &mut World| {
        world.now += Duration::from_secs(1);
        let _waits = world.roster.lookup_question(world.now);
        world.now += Duration::from_secs(1);
        world.roster.lookup_question(world.now)
    };
    assert_eq!(look(&mut world), None, "no list has its endpoints before it starts");
    world.event(Change::Started, "c1", BEGIN + 400);
    let asked = Question::Endpoints(["c1".into()].into());
    assert_eq!(look(&mut world), Some(asked));
    world
        .roster
        .endpoints([("c1".into(), vec![place(7)])].into(), world.now);
    let forgotten = Container {
        endpoints: Vec::new(),
        ..began("c1", BEGIN + 300)
    };
    world.answer(&forgotten, Stage::Ended);
    assert_eq!(world.known("c1").expect("it lingers").endpoints, [place(7)]);
    assert_eq!(look(&mut world), None);
}

#[test]
fn nodes_of_one_time_do_not_sync_at_the_same_moment() {
    let time = Duration::from_secs(30);
    let mut parts: Vec<_> = (0..100)
        .map(|node| super::super::spread(&format!("node{node}"), time))
        .collect();
    assert!(parts.iter().all(|part| *part < time));
    parts.sort();
    parts.dedup();
    assert!(parts.len() > 90);
    assert!(parts[0] < time / 10 && parts[parts.len() - 1] > time * 9 / 10);
}
