//! Full syncs, the list of networks, the node, limits, and the loss of the connection.

use std::sync::Arc;

use super::{LINGER, Stage, World, container, ended, network};
use crate::{
    docker::{
        convert::Change,
        question::{Answer, Question},
        roster::containers::{ROUTINE_AT_ONCE, URGENT_AT_ONCE},
    },
    model::inventory::{ContainerId, Node},
};

const WHOLE: [Question; 3] = [Question::Node, Question::Networks, Question::Containers];

fn ids(count: usize) -> Vec<ContainerId> {
    (0..count).map(|number| format!("c{number:03}").into()).collect()
}

fn asked(containers: &[ContainerId]) -> Vec<Question> {
    containers.iter().cloned().map(Question::Container).collect()
}

#[test]
fn a_sync_asks_for_everything_and_then_for_every_container() {
    let mut world = World::new();
    world.roster.sync();
    assert_eq!(world.questions(1), WHOLE);
    assert!(!world.roster.synced());
    world.networks(&["net"], true);
    world.list(ids(2));
    assert!(!world.roster.synced(), "no container is described yet");
    assert_eq!(world.questions(2), asked(&ids(2)));
    for id in ids(2) {
        world.answer(&container(&id, "a", 1), Stage::Running);
    }
    assert!(world.roster.synced(), "the node is not waited for");
    assert!(!world.roster.synced(), "it is said once");
    world.news();
    assert_eq!(world.inventory.containers.len(), 2);
    assert_eq!(world.inventory.node, None);
}

#[test]
fn a_sync_ends_although_containers_are_gone_or_have_no_answer() {
    let mut world = World::new();
    world.roster.sync();
    world.questions(1);
    world.roster.networks(None);
    world.list(ids(2));
    world.questions(2);
    world.no_answer("c000", Answer::NotFound);
    assert!(!world.roster.synced());
    world.no_answer("c001", Answer::Nothing);
    assert!(world.roster.synced());
    assert!(world.roster.tracks.is_empty());
}

#[test]
fn a_sync_finds_what_is_gone_by_asking_for_it() {
    let mut world = World::synced(&["net"], 1);
    let (c1, c2) = (container("c1", "a", 1), container("c2", "b", 2));
    world.runs(&c1, 10);
    world.runs(&c2, 20);
    world.roster.sync();
    assert_eq!(world.questions(30), WHOLE);
    world.list(vec!["c2".into()]);
    assert_eq!(world.known("c1"), Some(c1.clone()), "a list ends nothing");
    assert_eq!(world.questions(31), asked(&["c1".into(), "c2".into()]));
    world.no_answer("c1", Answer::NotFound);
    world.answer(&c2, Stage::Running);
    assert_eq!(world.known("c1"), Some(ended(&c1)));
    assert_eq!(world.known("c2"), Some(c2));
}

#[test]
fn a_container_newer_than_the_list_is_not_missing() {
    let mut world = World::synced(&["net"], 1);
    world.roster.sync();
    world.questions(10);
    world.runs(&container("c1", "a", 1), 12);
    world.list(Vec::new());
    world.asks_nothing();
    assert!(world.known("c1").is_some_and(|known| known.running));
}

#[test]
fn what_is_asked_for_already_is_not_asked_for_twice_by_a_sync() {
    let mut world = World::synced(&["net"], 1);
    world.event(Change::Started, "c1", 10);
    world.asks_for("c1", 11);
    world.roster.sync();
    world.questions(12);
    world.networks(&["net"], true);
    world.list(vec!["c1".into()]);
    world.asks_nothing();
    assert!(!world.roster.synced());
    world.answer(&container("c1", "a", 1), Stage::Running);
    assert!(world.roster.synced());
}

#[test]
fn a_sync_that_finds_a_container_between_two_attempts_has_found_nothing() {
    let mut world = World::synced(&["net"], 1);
    world.roster.sync();
    world.questions(10);
    world.list(vec!["c1".into()]);
    world.questions(11);
    world.answer(&ended(&container("c1", "a", 1)), Stage::Restarting);
    assert_eq!(world.known("c1"), None);
    assert!(world.roster.tracks.is_empty());
}

#[test]
fn a_long_list_is_asked_for_a_few_at_a_time() {
    let all = ids(3 * ROUTINE_AT_ONCE);
    let mut world = World::synced(&["net"], 1);
    world.roster.sync();
    world.questions(10);
    world.networks(&["net"], true);
    world.list(all.clone());
    assert_eq!(world.questions(11), asked(&all[..ROUTINE_AT_ONCE]));
    world.answer(&container(&all[3], "a", 1), Stage::Running);
    assert_eq!(world.questions(12), asked(&all[ROUTINE_AT_ONCE..=ROUTINE_AT_ONCE]));
    // Events do not wait for the rest of the list.
    world.event(Change::Started, "new", 13);
    world.asks_for("new", 14);
    // Nor does an event about a container further down in the list.
    world.event(Change::Altered, &all[20], 15);
    world.asks_for(&all[20], 16);
    world.answer(&container(&all[20], "b", 2), Stage::Running);
    for id in &all {
        world.no_answer(id, Answer::NotFound);
        world.questions(17);
    }
    for id in &all {
        world.no_answer(id, Answer::NotFound);
    }
    assert!(world.roster.synced(), "each was asked for in its turn");
    assert_eq!(world.roster.routine_open, 0);
}

#[test]
fn many_starts_are_asked_for_together_and_not_all_at_once() {
    let all = ids(2 * URGENT_AT_ONCE);
    let mut world = World::synced(&["net"], 1);
    for id in &all {
        world.event(Change::Started, id, 10);
    }
    assert_eq!(world.questions(11), asked(&all[..URGENT_AT_ONCE]));
    world.no_answer(&all[0], Answer::Nothing);
    world.answer(&container(&all[1], "a", 1), Stage::Running);
    assert_eq!(world.questions(12), asked(&all[URGENT_AT_ONCE..URGENT_AT_ONCE + 2]));
    assert_eq!(world.roster.urgent_open, URGENT_AT_ONCE);
}

#[test]
fn hanging_up_keeps_what_is_known_and_forgets_what_was_asked() {
    let mut world = World::synced(&["net"], 1);
    let (c1, c2) = (container("c1", "a", 1), container("c2", "b", 2));
    world.runs(&c1, 10);
    world.runs(&c2, 20);
    world.event(Change::Died, "c2", 21);
    world.event(Change::Altered, "c1", 30);
    world.event(Change::Started, "c3", 31);
    world.roster.event(Change::Networks, 32, world.now);
    assert_eq!(world.questions(33).len(), 3);
    world.event(Change::Started, "c4", 34);
    world.roster.event(Change::Node, 35, world.now);
    world.roster.sync();
    world.roster.hang_up();
    world.asks_nothing();
    assert!(!world.roster.synced());
    assert_eq!((world.roster.urgent_open, world.roster.routine_open), (0, 0));
    assert_eq!(world.known("c1"), Some(c1));
    assert_eq!(world.known("c2"), Some(ended(&c2)));
    assert_eq!(world.inventory.networks.len(), 1);
    assert_eq!(world.roster.tracks.len(), 2);
    // Lingering containers expire without a connection too.
    world.wait(LINGER);
    assert_eq!(world.known("c2"), None);
    world.roster.sync();
    assert_eq!(world.questions(40), WHOLE);
}

#[test]
fn an_unknown_network_of_a_container_asks_for_the_networks_once() {
    let mut world = World::synced(&[], 1);
    world.event(Change::Started, "c1", 10);
    world.asks_for("c1", 11);
    world.answer(&container("c1", "a", 1), Stage::Running);
    assert_eq!(world.questions(12), [Question::Networks]);
    world.asks_nothing();
    // Not again, even if the list does not contain it.
    world.networks(&[], true);
    world.asks_nothing();
    // The list is newer than this container's question, so the network does not exist.
    world.event(Change::Altered, "c1", 11);
    assert_eq!(world.questions(12), asked(&["c1".into()]));
    world.answer(&container("c1", "a", 1), Stage::Running);
    world.asks_nothing();
}

#[test]
fn a_known_network_of_a_container_asks_for_nothing() {
    let mut world = World::synced(&["net"], 1);
    world.runs(&container("c1", "a", 1), 10);
    world.asks_nothing();
}

#[test]
fn a_list_of_networks_that_was_not_had_makes_none_newer() {
    let mut world = World::synced(&[], 1);
    world.event(Change::Started, "c1", 10);
    world.asks_for("c1", 11);
    world.roster.event(Change::Networks, 12, world.now);
    assert_eq!(world.questions(13), [Question::Networks]);
    world.roster.networks(None);
    world.answer(&container("c1", "a", 1), Stage::Running);
    assert_eq!(world.questions(14), [Question::Networks]);
}

#[test]
fn networks_that_come_and_go_are_asked_for_also_during_a_question() {
    let mut world = World::synced(&["net"], 1);
    world.roster.event(Change::Networks, 10, world.now);
    assert_eq!(world.questions(11), [Question::Networks]);
    world.roster.event(Change::Networks, 12, world.now);
    world.roster.event(Change::Networks, 13, world.now);
    world.asks_nothing();
    world.networks(&["net", "new"], true);
    assert_eq!(world.questions(14), [Question::Networks]);
    world.networks(&["new"], true);
    world.asks_nothing();
    world.news();
    let known: Vec<_> = world.inventory.networks.keys().map(|id| &**id).collect();
    assert_eq!(known, ["new"]);
}

#[test]
fn an_incomplete_list_of_networks_takes_none_away_and_none_at_all_changes_nothing() {
    let mut world = World::synced(&["net", "other"], 1);
    world.networks(&["new"], false);
    world.news();
    let known: Vec<_> = world.inventory.networks.values().map(|network| &*network.id).collect();
    assert_eq!(known, ["net", "new", "other"]);
    world.roster.networks(None);
    assert!(!world.news());
    assert_eq!(*world.inventory.networks["net"], network("net"));
}

#[test]
fn the_node_is_kept_until_it_is_another() {
    let mut world = World::new();
    let node = |role: &str| Node {
        hostname: "n1".to_owned(),
        role: role.to_owned(),
        ..Node::default()
    };
    world.roster.event(Change::Node, 1, world.now);
    assert_eq!(world.questions(2), [Question::Node]);
    world.roster.node(Some(node("worker")));
    assert!(world.news());
    world.roster.event(Change::Node, 3, world.now);
    assert_eq!(world.questions(4), [Question::Node]);
    world.roster.node(None);
    assert!(!world.news());
    world.roster.node(Some(node("worker")));
    assert!(!world.news());
    world.roster.node(Some(node("manager")));
    assert!(world.news());
    assert_eq!(world.inventory.node.as_deref(), Some(&node("manager")));
}

#[test]
fn an_inventory_is_news_only_if_it_is_another() {
    let mut world = World::new();
    assert!(!world.news(), "an empty one is none");
    world.roster.networks(None);
    world.networks(&[], true);
    assert!(!world.news());
    world.networks(&["net"], true);
    assert!(world.news());
    world.networks(&["net"], true);
    assert!(!world.news());
    let c1 = container("c1", "a", 1);
    world.runs(&c1, 10);
    assert!(world.news());
    assert!(!world.news());
    world.event(Change::Altered, "c1", 20);
    world.asks_for("c1", 21);
    world.answer(&c1, Stage::Running);
    assert!(!world.news(), "the same again");
    // The container ended and started again between two inventories.
    world.event(Change::Died, "c1", 30);
    world.event(Change::Started, "c1", 31);
    world.asks_for("c1", 32);
    world.answer(&c1, Stage::Running);
    assert!(!world.news());
}

#[test]
fn what_did_not_change_is_shared_between_inventories() {
    let mut world = World::synced(&["net"], 1);
    world.runs(&container("c1", "a", 1), 10);
    world.news();
    let before = world.inventory.clone();
    world.networks(&["net", "new"], true);
    assert!(world.news());
    assert!(Arc::ptr_eq(&before.networks["net"], &world.inventory.networks["net"]));
    assert!(Arc::ptr_eq(&before.containers["c1"], &world.inventory.containers["c1"]));
    world.event(Change::Died, "c1", 20);
    assert!(world.news());
    assert!(before.containers["c1"].running, "what was handed out stays as it was");
}
