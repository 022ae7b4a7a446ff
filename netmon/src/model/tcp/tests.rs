//! What the counts of TCP are, and how they are divided among networks.

use std::sync::Arc;

use netmon_common::tcp::{STATES, Tcp};

use super::{Before, CONNECTION_STATES, Events, FAILURE_REASONS, NO_NETWORK, Segments, Shares};

fn sent(sent: u64) -> Segments {
    Segments {
        sent,
        ..Segments::default()
    }
}

fn shares<const N: usize>(shares: [(&str, u64); N]) -> Vec<(Arc<str>, Segments)> {
    shares
        .into_iter()
        .map(|(network, count)| (Arc::from(network), sent(count)))
        .collect()
}

/// Takes the same reading twice: the rest is shown once two readings have found it.
fn observe_twice(counts: &mut Shares, whole: Segments, shares: Vec<(Arc<str>, Segments)>) {
    counts.observe(Some(whole), shares.clone(), false);
    counts.observe(Some(whole), shares, false);
}

fn shown(shares: &Shares, network: &str) -> u64 {
    let share = shares.iter().find(|(name, _)| &***name == network);
    share.expect("a share").1.sent
}

#[test]
fn the_tables_are_in_the_order_of_a_page() {
    assert!(FAILURE_REASONS.is_sorted());
    // This state is not in the table, and comes after it.
    let states = CONNECTION_STATES.iter().map(|(state, _)| *state);
    assert!(states.chain(["time_wait"]).is_sorted());
}

#[test]
fn the_shares_are_the_whole_of_a_new_namespace() {
    let mut counts = Shares::default();
    observe_twice(&mut counts, sent(10), shares([("front", 6), ("back", 1)]));
    assert_eq!((shown(&counts, "front"), shown(&counts, "back")), (6, 1));
    assert_eq!(shown(&counts, NO_NETWORK), 3);
}

#[test]
fn what_was_before_netmon_is_in_nobodys_share() {
    let mut counts = Shares::default();
    counts.observe(Some(sent(1000)), shares([("front", 2)]), true);
    assert_eq!(shown(&counts, NO_NETWORK), 0);
    for _ in 0..2 {
        counts.observe(Some(sent(1010)), shares([("front", 9)]), true);
    }
    assert_eq!((shown(&counts, "front"), shown(&counts, NO_NETWORK)), (9, 3));
}

#[test]
fn a_share_never_falls() {
    let mut counts = Shares::default();
    observe_twice(&mut counts, sent(10), shares([("front", 6)]));
    // The programs were read later than the kernel's count.
    counts.observe(Some(sent(11)), shares([("front", 9)]), false);
    assert_eq!((shown(&counts, "front"), shown(&counts, NO_NETWORK)), (9, 4));
    observe_twice(&mut counts, sent(20), shares([("front", 8)]));
    assert_eq!((shown(&counts, "front"), shown(&counts, NO_NETWORK)), (9, 11));
}

#[test]
fn a_segment_between_tcp_and_the_hook_is_nobodys_for_no_moment() {
    let mut counts = Shares::default();
    let mut observe = |whole: u64, front: u64| {
        counts.observe(Some(sent(whole)), shares([("front", front)]), false);
        (shown(&counts, "front"), shown(&counts, NO_NETWORK))
    };
    assert_eq!(observe(7, 6), (6, 0));
    assert_eq!(observe(7, 7), (7, 0));
    // Two over loopback, and one that has not reached the hook.
    assert_eq!(observe(13, 10), (10, 0));
    assert_eq!(observe(13, 11), (11, 2));
    assert_eq!(observe(13, 11), (11, 2));
}

#[test]
fn the_last_reading_of_a_namespace_is_shown() {
    let mut counts = Shares::default();
    counts.observe(Some(sent(9)), shares([("front", 6)]), false);
    counts.end();
    assert_eq!((shown(&counts, "front"), shown(&counts, NO_NETWORK)), (6, 3));
    // While it lingers, its shares are read further.
    counts.observe(Some(sent(9)), shares([("front", 7)]), false);
    assert_eq!((shown(&counts, "front"), shown(&counts, NO_NETWORK)), (7, 3));
}

/// The kernel's count is read first, then the segments that passed the devices, then the retransmits.
#[test]
fn what_is_sent_while_it_is_read_is_nobodys_for_no_moment() {
    let both = |sent, retransmitted| Segments {
        sent,
        retransmitted,
        ..Segments::default()
    };
    let share = |sent, retransmitted| vec![(Arc::from("front"), both(sent, retransmitted))];
    let mut counts = Shares::default();
    // 50 segments in all when the kernel's count was read. Then ten more passed, two of them retransmits.
    counts.observe(Some(both(48, 2)), share(56, 4), false);
    assert_eq!(shown(&counts, NO_NETWORK), 0);
    // 100 in all, and all had passed. Then one is retransmitted, and only the source that is read last counts it.
    counts.observe(Some(both(94, 6)), share(93, 7), false);
    assert_eq!((shown(&counts, "front"), shown(&counts, NO_NETWORK)), (93, 0));
    counts.observe(Some(both(94, 7)), share(94, 7), false);
    assert_eq!((shown(&counts, "front"), shown(&counts, NO_NETWORK)), (94, 0));
}

/// The kernel may skip a program for an event without counting it as missed.
#[test]
fn segments_sent_again_of_which_no_program_hears_make_the_sum_no_greater_than_the_kernels() {
    let both = |sent, retransmitted| Segments {
        sent,
        retransmitted,
        ..Segments::default()
    };
    let shares = |front: u64, again: u64, back: u64| {
        vec![
            (Arc::from("front"), both(front, again)),
            (Arc::from("back"), both(back, 0)),
        ]
    };
    let mut counts = Shares::default();
    // 110 passed the front's devices. Ten of them were retransmits, and the programs missed four of these.
    observe_twice(&mut counts, both(120, 10), shares(104, 6, 20));
    let sum = |counts: &Shares| {
        counts.iter().fold(Segments::default(), |sum, (_, share)| {
            sum.zip(share, u64::saturating_add)
        })
    };
    assert_eq!(sum(&counts), both(120, 10));
    // Thirty more, five of them during the reading. The four remain excluded.
    counts.observe(Some(both(145, 10)), shares(124, 6, 30), false);
    assert_eq!((shown(&counts, "back"), shown(&counts, NO_NETWORK)), (30, 0));
    observe_twice(&mut counts, both(150, 10), shares(124, 6, 30));
    assert_eq!(sum(&counts), both(150, 10));
    // Retransmits that passed no device are in no share.
    let mut counts = Shares::default();
    observe_twice(&mut counts, both(100, 3), shares(80, 0, 20));
    assert_eq!((shown(&counts, "front"), shown(&counts, "back")), (80, 20));
    assert_eq!(sum(&counts), both(100, 3));
}

#[test]
fn without_the_kernels_count_the_shares_are_what_the_programs_say() {
    let mut counts = Shares::default();
    counts.observe(None, shares([("front", 6), ("", 2)]), false);
    assert_eq!((shown(&counts, "front"), shown(&counts, NO_NETWORK)), (6, 2));
}

#[test]
fn a_socket_that_leaves_on_another_cpu_than_it_came_on_is_gone() {
    let mut here = Tcp::ZERO;
    here.states[1] = 3;
    let mut there = Tcp::ZERO;
    there.states[1] = 0_u64.wrapping_sub(2);
    let mut events = Events::from(here);
    events.accumulate(&Events::from(there));
    assert_eq!(events.connections(1, &Before::default()), 1);
    assert_eq!(Events::from(there).connections(1, &Before::default()), 0);
}

#[test]
fn a_reset_that_is_found_to_be_none_on_another_cpu_first_is_none() {
    let mut counts = Tcp::ZERO;
    counts.resets_taken_back = 1;
    assert_eq!(Events::from(counts).resets_received(), 0);
    counts.resets_received = 5;
    assert_eq!(Events::from(counts).resets_received(), 4);
}

#[test]
fn sockets_that_were_there_before_are_counted_from_what_is_there_now() {
    let mut counts = Tcp::ZERO;
    counts.states[1] = 0_u64.wrapping_sub(2);
    let mut now = [0; STATES];
    now[1] = 5;
    let before = Events::from(counts).before(&now);
    counts.states[1] = 0_u64.wrapping_sub(6);
    assert_eq!(Events::from(counts).connections(1, &before), 1);
}

#[test]
fn round_trips_are_in_seconds_and_every_one_is_in_a_bucket() {
    let mut counts = Tcp::ZERO;
    counts.round_trips[0] = 2;
    counts.round_trips[12] = 1;
    counts.round_trip_microseconds = 700_150;
    let histogram = Events::from(counts).round_trips();
    assert_eq!(histogram.buckets.first(), Some(&(0.0001, 2)));
    assert_eq!(histogram.buckets.last(), Some(&(f64::INFINITY, 1)));
    assert_eq!(histogram.count(), 3);
    assert_eq!(histogram.sum_microseconds, 700_150);
}
