//! Queries that wait, and those that wait no more.

use netmon_common::dns::{CODE_NOERROR, DURATION_BOUNDS, OUTSIDE, PATIENCE, Query, TYPE_A, UNIT, WAYS};

use super::{Message, Transported::Udp, World};
use crate::dns::bucket;

/// Sends a query, over UDP to a resolver outside.
fn send(world: &World, port: u16, id: u16) {
    world.leaves(&Message::query(id, 1).to_port(Udp, port, 53));
}

/// Receives the response to it.
fn receive(world: &World, port: u16, id: u16) {
    world.arrives(&Message::query(id, 1).response(0).of_port(Udp, 53, port));
}

/// The port and id of queries that come to lie in one set.
fn in_one_set() -> impl Iterator<Item = (u16, u16)> {
    let wanted = Query::new(5000, 0, OUTSIDE, 0).set();
    (0..u16::MAX)
        .map(|id| (5000, id))
        .filter(move |(port, id)| Query::new(*port, *id, OUTSIDE, 0).set() == wanted)
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
    let (earlier, later) = (Query::new(1, 2, 0, 1_000_000), Query::new(3, 4, 0, 9_000_000));
    assert_eq!(later.before(earlier), 0);
    assert_eq!(earlier.before(later), 8_000_000_u32.div_ceil(1_024));
    // Over the end of the clock.
    let end = (1_u64 << 41) - 1_024;
    assert_eq!(Query::new(1, 2, 0, end).before(Query::new(1, 2, 0, end + 2_048)), 2);
}

#[test]
fn a_query_is_its_port_id_and_resolver() {
    let query = Query::new(0xffff, 0xfffe, 1, 5_000_000);
    assert!(query.is(Query::new(0xffff, 0xfffe, 1, 0)));
    for other in [(0xfffe, 0xfffe, 1), (0xffff, 0xffff, 1), (0xffff, 0xfffe, 0)] {
        assert!(!query.is(Query::new(other.0, other.1, other.2, 5_000_000)));
    }
    assert_eq!((query.resolver(), Query::of_word(query.word())), (1, Some(query)));
    assert_eq!(Query::of_word(0), None);
}

#[test]
fn a_bucket_ends_at_its_bound() {
    for (index, bound) in DURATION_BOUNDS.into_iter().enumerate() {
        let units = u32::try_from(u64::from(bound) * 1_000 / UNIT).expect("bounds are small");
        assert_eq!((bucket(units), bucket(units + 1)), (index, index + 1));
    }
    assert_eq!((bucket(0), bucket(PATIENCE)), (0, DURATION_BOUNDS.len() - 1));
}
