//! Queries that wait, and those that wait no more.

use netmon_common::dns::{
    Asked, CODE_NOERROR, DOCKER, DURATION_BOUNDS, OUTSIDE, PATIENCE, Query, SETS, TYPE_A, UNIT, WAYS, Waiting,
};

use super::{Message, Transported::Udp, World};
use crate::dns::table::bucket;

/// Sends a query, over UDP to a resolver outside.
fn send(world: &World, port: u16, id: u16) {
    world.leaves(&Message::query(id, 1).to_port(Udp, port, 53));
}

/// Receives the response to it.
fn receive(world: &World, port: u16, id: u16) {
    world.arrives(&Message::query(id, 1).response(0).of_port(Udp, 53, port));
}

fn asked(port: u16, id: u16, resolver: u32, server: u32) -> Asked {
    Asked {
        port,
        id,
        resolver,
        server,
    }
}

/// A query that was sent at this time.
fn at(nanoseconds: u64) -> Waiting {
    Query::new(asked(1, 2, DOCKER, 3), nanoseconds).waiting()
}

/// The port and id of queries that come to lie in one set.
fn in_one_set() -> impl Iterator<Item = (u16, u16)> {
    let set = |id| Query::new(asked(5000, id, OUTSIDE, 0), 0).set();
    let wanted = set(0);
    (0..u16::MAX).filter(move |id| set(*id) == wanted).map(|id| (5000, id))
}

#[test]
fn a_query_that_is_sent_again_is_one_and_waits_from_the_first_time() {
    let world = World::new();
    send(&world, 5000, 7);
    world.pass(1_000_000);
    send(&world, 5000, 7);
    // Another port, or another id, is another query.
    send(&world, 5001, 7);
    send(&world, 5000, 8);
    world.pass(1_000_000);
    receive(&world, 5000, 7);
    let counts = world.counts(OUTSIDE);
    assert_eq!((counts.queries[TYPE_A], counts.retries, world.waiting()), (3, 1, 2));
    assert_eq!(
        (counts.responses[CODE_NOERROR], counts.duration),
        (1, 2_000_000_000 / UNIT)
    );
}

#[test]
fn a_response_that_nobody_waits_for_is_unmatched() {
    let world = World::new();
    send(&world, 5000, 7);
    receive(&world, 5000, 8);
    receive(&world, 5001, 7);
    assert_eq!((world.counts(OUTSIDE).unmatched, world.waiting()), (2, 1));
    receive(&world, 5000, 7);
    receive(&world, 5000, 7);
    let counts = world.counts(OUTSIDE);
    assert_eq!((counts.unmatched, counts.responses[CODE_NOERROR]), (3, 1));
}

#[test]
fn a_response_after_five_seconds_is_none() {
    for (microseconds, is_answered) in [(4_999_000, true), (5_001_000, false)] {
        let world = World::new();
        send(&world, 5000, 7);
        world.pass(microseconds);
        receive(&world, 5000, 7);
        let counts = world.counts(OUTSIDE);
        assert_eq!(counts.responses[CODE_NOERROR], u64::from(is_answered));
        assert_eq!(counts.unanswered, u64::from(!is_answered));
        assert_eq!((counts.unmatched, world.waiting()), (u64::from(!is_answered), 0));
    }
}

#[test]
fn whoever_asks_anew_after_five_seconds_sends_another_query() {
    let world = World::new();
    send(&world, 5000, 7);
    world.pass(6_000_000);
    send(&world, 5000, 7);
    let counts = world.counts(OUTSIDE);
    assert_eq!((counts.queries[TYPE_A], counts.retries), (2, 0));
    assert_eq!((counts.unanswered, world.waiting()), (1, 1));
    world.pass(1_024);
    receive(&world, 5000, 7);
    let counts = world.counts(OUTSIDE);
    assert_eq!((counts.responses[CODE_NOERROR], counts.duration), (1, 1_024_000 / UNIT));
}

#[test]
fn a_full_set_gives_up_the_query_that_has_waited_longest() {
    let world = World::new();
    let queries: Vec<_> = in_one_set().take(WAYS + 2).collect();
    for (port, id) in &queries[..WAYS] {
        send(&world, *port, *id);
        world.pass(1_000);
    }
    assert_eq!((world.counts(OUTSIDE).untracked, world.waiting()), (0, WAYS));
    let (port, id) = queries[WAYS];
    send(&world, port, id);
    assert_eq!((world.counts(OUTSIDE).untracked, world.waiting()), (1, WAYS));
    // The first one is no longer known, and all others are.
    for (port, id) in &queries[..=WAYS] {
        receive(&world, *port, *id);
    }
    let counts = world.counts(OUTSIDE);
    assert_eq!((counts.unmatched, counts.responses[CODE_NOERROR]), (1, WAYS as u64));
    // One that is given up after five seconds had no answer.
    for (port, id) in &queries[..WAYS] {
        send(&world, *port, *id);
    }
    world.pass(6_000_000);
    let (port, id) = queries[WAYS + 1];
    send(&world, port, id);
    assert_eq!(world.counts(OUTSIDE).unanswered, 1);
}

#[test]
fn queries_are_what_became_of_them() {
    let world = World::new();
    for number in 0..2_000 {
        send(&world, 1_024 + number % 300, number);
        world.pass(if number == 1_000 { 5_500_000 } else { 100 });
        if number % 3 == 0 {
            receive(&world, 1_024 + number % 300, number);
        }
    }
    let counts = world.counts(OUTSIDE);
    let over: u64 = counts.responses.iter().sum::<u64>() + counts.unanswered + counts.untracked;
    let waiting = world.waiting() as u64;
    assert_eq!(counts.queries.iter().sum::<u64>(), over + waiting);
    assert!(
        counts.untracked > 0 && counts.unanswered > 0 && waiting > 300,
        "{counts:?}"
    );
}

#[test]
fn a_clock_that_another_cpu_read_a_moment_later_makes_nobody_wait() {
    assert_eq!(at(9_000_000).before(at(1_000_000)), 0);
    assert_eq!(at(1_000_000).before(at(9_000_000)), 8_000_000_u32.div_ceil(1_024));
    // Over the end of the clock, where the time is never 0.
    let end = (1_u64 << 41) - 1_024;
    assert_eq!(at(end).before(at(end + 3_072)), 3);
    assert_eq!(at(0).word(), at(1_024).word());
}

#[test]
fn a_query_is_its_port_id_resolver_and_server() {
    let query = |asked| Query::new(asked, 5_000_000);
    let one = asked(0xffff, 0xfffe, OUTSIDE, 7);
    let same = |other: Asked| {
        let (one, other) = (query(one), query(other));
        one.set() == other.set() && one.waiting().is(other.waiting())
    };
    assert!(same(one));
    for other in [
        Asked { port: 0xfffe, ..one },
        Asked { id: 0xffff, ..one },
        Asked {
            resolver: DOCKER,
            ..one
        },
        Asked { server: 8, ..one },
    ] {
        assert!(!same(other), "{other:?}");
    }
    let waiting = query(one).waiting();
    assert_eq!(
        (waiting.resolver(), Waiting::of_word(waiting.word())),
        (OUTSIDE, Some(waiting))
    );
    assert_eq!(Waiting::of_word(0), None);
}

#[test]
fn no_two_ports_and_ids_have_one_set_and_word() {
    let mut all = std::collections::BTreeSet::new();
    for port in (1_024..65_000).step_by(97) {
        for id in (0..65_000).step_by(131) {
            let query = Query::new(asked(port, id, OUTSIDE, 1), 0);
            assert!(
                query.set() < SETS && all.insert((query.set(), query.waiting().word())),
                "{port}, {id}"
            );
        }
    }
}

#[test]
fn the_same_query_to_several_servers_is_one_to_each() {
    let world = World::new();
    let query = Message::query(7, 1);
    for server in [1, 2, 3] {
        world.leaves(&query.at_server(server).to_port(Udp, 5000, 53));
    }
    for server in [1, 3] {
        world.pass(1_000);
        world.arrives(&query.response(0).at_server(server).of_port(Udp, 53, 5000));
    }
    let counts = world.counts(OUTSIDE);
    assert_eq!((counts.queries[TYPE_A], counts.retries), (3, 0));
    assert_eq!(
        (counts.responses[CODE_NOERROR], counts.unmatched, world.waiting()),
        (2, 0, 1)
    );
}

#[test]
fn a_bucket_ends_at_its_bound() {
    for (index, bound) in DURATION_BOUNDS.into_iter().enumerate() {
        let units = u32::try_from(u64::from(bound) * 1_000 / UNIT).expect("bounds are small");
        assert_eq!((bucket(units), bucket(units + 1)), (index, index + 1));
    }
    assert_eq!((bucket(0), bucket(PATIENCE)), (0, DURATION_BOUNDS.len() - 1));
}
