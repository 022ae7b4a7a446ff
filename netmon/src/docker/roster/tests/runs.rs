//! The life of one container: its starts and ends, and answers before, between and after them.

use super::{Container, LINGER, Stage, World, after_its_end, container, ended, own, place};
use crate::{
    docker::{convert::Change, question::Answer},
    model::inventory::Sandbox,
};

/// A world that knows the network of all containers here.
fn world() -> World {
    World::synced(&["net"], 1)
}

#[test]
fn a_start_is_asked_about_and_its_answer_is_the_news() {
    let mut world = world();
    world.event(Change::Started, "c1", 10);
    assert!(!world.news(), "nothing is known yet");
    world.asks_for("c1", 11);
    world.asks_nothing();
    let c1 = container("c1", "a", 1);
    world.answer(&c1, Stage::Running);
    assert!(world.news());
    assert_eq!(world.known("c1"), Some(c1));
    assert_eq!(world.roster.next_expiry(), None);
    world.asks_nothing();
}

#[test]
fn a_container_that_comes_onto_its_network_is_asked_about_before_it_starts() {
    let mut world = world();
    world.event(Change::Connected, "c1", 10);
    world.asks_for("c1", 11);
    world.event(Change::Started, "c1", 12);
    world.asks_nothing();
    // A description from before the start contains nothing of use. The start event causes another question.
    let not_yet = ended(&container("c1", "a", 1));
    world.answer(&not_yet, Stage::NotStarted);
    assert_eq!(world.known("c1"), None);
    world.asks_for("c1", 13);
}

#[test]
fn several_events_before_the_question_are_one_question() {
    let mut world = world();
    world.event(Change::Connected, "c1", 10);
    world.event(Change::Connected, "c1", 11);
    world.event(Change::Started, "c1", 12);
    world.asks_for("c1", 13);
    world.answer(&container("c1", "a", 1), Stage::Running);
    world.asks_nothing();
}

#[test]
fn events_during_an_open_question_ask_once_more() {
    let mut world = world();
    let mut c1 = container("c1", "a", 1);
    world.runs(&c1, 10);
    world.event(Change::Connected, "c1", 20);
    world.asks_for("c1", 21);
    world.event(Change::Connected, "c1", 22);
    world.event(Change::Altered, "c1", 23);
    world.asks_nothing();
    c1.endpoints.push(place(2));
    world.answer(&c1, Stage::Running);
    assert_eq!(world.known("c1"), Some(c1.clone()));
    world.asks_for("c1", 24);
    c1.endpoints.push(place(3));
    world.answer(&c1, Stage::Running);
    assert_eq!(world.known("c1"), Some(c1));
    world.asks_nothing();
}

#[test]
fn what_is_not_known_is_not_asked_about_for_a_detail() {
    let mut world = world();
    world.event(Change::Altered, "c1", 10);
    world.event(Change::Disconnected, "c1", 11);
    world.event(Change::Removed, "c1", 12);
    world.asks_nothing();
    world.roster.event(Change::Nothing, 13, world.now);
    world.asks_nothing();
}

#[test]
fn a_change_of_what_runs_is_asked_about() {
    let mut world = world();
    world.runs(&container("c1", "a", 1), 10);
    for change in [Change::Altered, Change::Disconnected, Change::Connected] {
        world.event(change, "c1", 20);
        world.asks_for("c1", 21);
        world.no_answer("c1", Answer::Nothing);
    }
    assert_eq!(world.known("c1"), Some(container("c1", "a", 1)), "no answer is no news");
}

#[test]
fn an_end_is_believed_without_asking() {
    let mut world = world();
    let c1 = container("c1", "a", 1);
    world.runs(&c1, 10);
    world.event(Change::Died, "c1", 20);
    world.asks_nothing();
    assert_eq!(world.known("c1"), Some(ended(&c1)));
    world.event(Change::Disconnected, "c1", 21);
    world.event(Change::Removed, "c1", 22);
    world.asks_nothing();
    assert_eq!(world.known("c1"), Some(ended(&c1)));
}

#[test]
fn an_event_older_than_the_answer_is_not_believed_but_asked_about() {
    let mut world = world();
    let c1 = container("c1", "a", 1);
    world.runs(&c1, 10);
    world.event(Change::Died, "c1", 9);
    assert_eq!(world.known("c1"), Some(c1.clone()));
    world.asks_for("c1", 11);
    world.answer(&c1, Stage::Running);
    assert_eq!(world.known("c1"), Some(c1));
}

#[test]
fn an_end_before_the_question_is_left_to_the_answer() {
    let mut world = world();
    let c1 = container("c1", "a", 1);
    world.event(Change::Started, "c1", 10);
    world.event(Change::Died, "c1", 11);
    world.asks_for("c1", 12);
    world.event(Change::Died, "c1", 11);
    world.answer(&c1, Stage::Running);
    assert_eq!(world.known("c1"), Some(c1), "it was started again before the question");
}

#[test]
fn an_end_before_the_answer_arrives_ends_what_the_answer_describes() {
    let mut world = world();
    let c1 = container("c1", "a", 1);
    world.event(Change::Started, "c1", 10);
    world.asks_for("c1", 11);
    world.event(Change::Died, "c1", 12);
    world.answer(&c1, Stage::Running);
    assert_eq!(world.known("c1"), Some(ended(&c1)), "with all that the answer has");
    world.asks_nothing();
    world.wait(LINGER);
    assert_eq!(world.known("c1"), None);
}

#[test]
fn what_ended_before_anything_was_known_is_kept_as_it_is_described() {
    let mut world = world();
    let c1 = after_its_end(&container("c1", "a", 1));
    world.event(Change::Started, "c1", 10);
    world.event(Change::Died, "c1", 11);
    world.asks_for("c1", 12);
    world.answer(&c1, Stage::Ended);
    assert_eq!(world.known("c1"), Some(c1));
    world.wait(LINGER);
    assert_eq!(world.known("c1"), None);
}

#[test]
fn the_end_of_an_unknown_container_is_asked_about() {
    let mut world = world();
    world.event(Change::Died, "c1", 10);
    world.asks_for("c1", 11);
    world.no_answer("c1", Answer::NotFound);
    assert_eq!(world.known("c1"), None);
    assert!(world.roster.tracks.is_empty(), "nothing is left of it");
}

/// The known description of a container that ran and is described after its end.
fn remembered(ran: &Container, described: &Container) -> Container {
    let mut world = world();
    world.runs(ran, 10);
    world.event(Change::Disconnected, &ran.id, 20);
    world.asks_for(&ran.id, 21);
    world.event(Change::Died, &ran.id, 22);
    world.answer(described, Stage::Ended);
    world.asks_nothing();
    world.known(&ran.id).expect("it lingers")
}

#[test]
fn sandbox_and_places_are_kept_when_a_description_after_the_end_has_none() {
    let c1 = container("c1", "a", 1);
    assert_eq!(remembered(&c1, &after_its_end(&c1)), ended(&c1));
    // Older engines keep the sandbox.
    let described = Container {
        sandbox: own("a"),
        ..after_its_end(&c1)
    };
    assert_eq!(remembered(&c1, &described), ended(&c1));
}

#[test]
fn what_a_description_after_the_end_has_of_its_own_is_taken() {
    let c1 = container("c1", "a", 1);
    let mut described = after_its_end(&c1);
    described.identity = container("renamed", "a", 1).identity;
    let known = remembered(&c1, &described);
    assert_eq!(known.identity, described.identity);
    assert_eq!(known.endpoints, c1.endpoints);
}

#[test]
fn another_runs_sandbox_is_not_mixed_with_the_one_before() {
    let c1 = container("c1", "a", 1);
    let described = Container {
        sandbox: own("b"),
        ..after_its_end(&c1)
    };
    assert_eq!(remembered(&c1, &described), described);
}

#[test]
fn another_runs_places_are_not_lost_to_the_one_before() {
    let c1 = container("c1", "a", 1);
    let described = Container {
        endpoints: vec![place(2)],
        ..after_its_end(&c1)
    };
    assert_eq!(remembered(&c1, &described), described);
}

#[test]
fn places_that_are_the_same_are_the_same_run() {
    let mut c1 = container("c1", "a", 1);
    c1.endpoints.push(place(2));
    let described = Container {
        endpoints: vec![place(2)],
        ..after_its_end(&c1)
    };
    assert_eq!(remembered(&c1, &described), ended(&c1));
}

#[test]
fn a_restart_brings_a_new_sandbox_and_life() {
    let mut world = world();
    world.runs(&container("c1", "a", 1), 10);
    world.event(Change::Died, "c1", 20);
    world.event(Change::Started, "c1", 21);
    world.asks_for("c1", 22);
    let again = container("c1", "b", 2);
    world.answer(&again, Stage::Running);
    assert_eq!(world.known("c1"), Some(again.clone()));
    assert_eq!(world.roster.next_expiry(), None);
    world.wait(10 * LINGER);
    assert_eq!(world.known("c1"), Some(again));
}

#[test]
fn a_restart_during_an_open_question_is_asked_about_again() {
    let mut world = world();
    world.event(Change::Started, "c1", 10);
    world.asks_for("c1", 11);
    world.event(Change::Died, "c1", 12);
    world.event(Change::Started, "c1", 13);
    world.answer(&container("c1", "a", 1), Stage::Running);
    assert_eq!(world.known("c1"), Some(ended(&container("c1", "a", 1))));
    world.asks_for("c1", 14);
    world.answer(&container("c1", "b", 2), Stage::Running);
    assert_eq!(world.known("c1"), Some(container("c1", "b", 2)));
}

#[test]
fn a_container_between_two_attempts_does_not_run_and_keeps_its_places() {
    let mut world = world();
    let c1 = container("c1", "a", 1);
    world.runs(&c1, 10);
    world.event(Change::Altered, "c1", 20);
    world.asks_for("c1", 21);
    world.answer(&after_its_end(&c1), Stage::Restarting);
    assert_eq!(world.known("c1"), Some(ended(&c1)));
    assert_eq!(world.roster.next_expiry(), Some(world.now + LINGER));
}

#[test]
fn a_failed_start_ends_what_ran_before() {
    let mut world = world();
    let c1 = container("c1", "a", 1);
    world.runs(&c1, 10);
    world.event(Change::Connected, "c1", 20);
    world.asks_for("c1", 21);
    let mut never = after_its_end(&c1);
    never.endpoints.clear();
    world.answer(&never, Stage::NotStarted);
    assert_eq!(world.known("c1"), Some(ended(&c1)));
    assert_eq!(world.roster.next_expiry(), Some(world.now + LINGER));
}

#[test]
fn what_the_engine_does_not_find_has_ended() {
    let mut world = world();
    let c1 = container("c1", "a", 1);
    world.runs(&c1, 10);
    world.event(Change::Altered, "c1", 20);
    world.asks_for("c1", 21);
    world.no_answer("c1", Answer::NotFound);
    assert_eq!(world.known("c1"), Some(ended(&c1)));
    world.wait(LINGER);
    assert_eq!(world.known("c1"), None);
}

#[test]
fn what_ended_is_forgotten_after_the_linger_and_not_before() {
    let mut world = world();
    world.runs(&container("c1", "a", 1), 10);
    world.event(Change::Died, "c1", 20);
    assert_eq!(world.roster.next_expiry(), Some(world.now + LINGER));
    let nearly = LINGER.mul_f64(0.999);
    world.wait(nearly);
    assert!(world.known("c1").is_some());
    world.wait(LINGER.saturating_sub(nearly));
    assert!(world.news());
    assert_eq!(world.known("c1"), None);
    assert_eq!(world.roster.next_expiry(), None);
    assert!(world.roster.tracks.is_empty());
}

#[test]
fn what_is_said_again_of_an_end_does_not_put_it_off() {
    let mut world = world();
    let c1 = container("c1", "a", 1);
    world.runs(&c1, 10);
    world.event(Change::Died, "c1", 20);
    let forgotten = world.roster.next_expiry();
    world.wait(LINGER / 2);
    world.event(Change::Died, "c1", 20);
    world.event(Change::Removed, "c1", 30);
    assert_eq!(world.roster.next_expiry(), forgotten);
}

#[test]
fn every_run_lingers_for_the_whole_time() {
    let mut world = world();
    let c1 = container("c1", "a", 1);
    world.runs(&c1, 10);
    world.event(Change::Died, "c1", 20);
    world.wait(LINGER / 2);
    // The second run ends before it is described.
    world.event(Change::Started, "c1", 30);
    world.asks_for("c1", 31);
    world.event(Change::Died, "c1", 32);
    world.answer(&after_its_end(&c1), Stage::Ended);
    assert_eq!(world.roster.next_expiry(), Some(world.now + LINGER));
    world.wait(LINGER / 2);
    // The third run is described while it runs, and its end overtakes the answer.
    world.event(Change::Started, "c1", 40);
    world.asks_for("c1", 41);
    world.event(Change::Died, "c1", 42);
    world.answer(&container("c1", "b", 1), Stage::Running);
    assert_eq!(world.roster.next_expiry(), Some(world.now + LINGER));
}

#[test]
fn what_is_forgotten_during_a_question_is_known_anew_by_its_answer() {
    let mut world = world();
    world.runs(&container("c1", "a", 1), 10);
    world.event(Change::Died, "c1", 20);
    world.event(Change::Started, "c1", 21);
    world.asks_for("c1", 22);
    world.wait(LINGER);
    assert_eq!(world.known("c1"), None);
    let again = container("c1", "b", 2);
    world.answer(&again, Stage::Running);
    assert_eq!(world.known("c1"), Some(again.clone()));
    world.wait(LINGER);
    assert_eq!(world.known("c1"), Some(again));
}

#[test]
fn an_answer_that_nobody_waits_for_is_not_taken() {
    let mut world = world();
    world.answer(&container("c1", "a", 1), Stage::Running);
    assert!(!world.news());
    let c2 = container("c2", "a", 1);
    world.runs(&c2, 10);
    world.answer(&container("c2", "b", 2), Stage::Running);
    assert_eq!(world.known("c2"), Some(c2));
    let absent = Container {
        sandbox: Sandbox::Absent,
        ..container("c2", "", 0)
    };
    world.answer(&absent, Stage::Ended);
    assert!(!world.news());
}
