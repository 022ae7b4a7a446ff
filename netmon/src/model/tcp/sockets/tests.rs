//! When sockets are counted, and what is taken from a count.

use netmon_common::tcp::{STATES, Tcp};

use super::{Before, Counted, Events, Listed, MOST_LASTING, Purpose, Sockets};

const ESTABLISHED: usize = 1;
const LISTEN: usize = 10;

fn events(established: i64, listening: i64) -> Events {
    let mut counts = Tcp::ZERO;
    counts.states[ESTABLISHED] = established.cast_unsigned();
    counts.states[LISTEN] = listening.cast_unsigned();
    Events::from(counts)
}

/// A list of so many established sockets, while so many changed their state.
fn list(events: &Events, established: u64, changed: u64) -> Listed {
    let mut now = [0; STATES];
    now[ESTABLISHED] = established;
    Listed {
        before: events.before(&now),
        events: *events,
        changed,
    }
}

/// A count by one such list.
fn count(events: &Events, established: u64, changed: u64) -> Counted {
    Counted::of(&[list(events, established, changed)]).expect("a list")
}

/// After how many comparisons with the same figure the sockets have to be counted; at most 1,000.
fn due_after(sockets: &mut Sockets, events: &Events, in_use: u64) -> Option<u32> {
    (1..=1000).find(|_| {
        sockets.compare(events, in_use);
        sockets.is_due()
    })
}

#[test]
fn an_inexact_count_is_used_and_repeated_until_one_is_exact() {
    let mut sockets = Sockets::default();
    assert!(!sockets.is_due(), "a new namespace has no sockets from before");
    sockets.counted(None);
    assert!(sockets.is_due());
    let seen = events(2, 0);
    sockets.counted(Some(count(&seen, 5, 1)));
    assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 5);
    assert!(sockets.is_due());
    sockets.counted(None);
    assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 5, "none is no better");
    sockets.counted(Some(count(&seen, 4, 0)));
    assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 4);
    assert!(!sockets.is_due());
    sockets.recount();
    assert!(sockets.is_due());
}

#[test]
fn a_socket_that_came_and_went_is_a_change() {
    let seen = events(3, 1);
    let mut counts = *seen.counts();
    counts.round_trips[0] += 1;
    assert_eq!(seen.changed_sockets(&Events::from(counts)), 0);
    counts.accepts += 1;
    assert_eq!(seen.changed_sockets(&Events::from(counts)), 1);
    assert_eq!(seen.changed_sockets(&events(1, 2)), 3);
}

#[test]
fn as_many_as_the_kernel_says_are_not_counted_anew() {
    let mut sockets = Sockets::default();
    assert_eq!(due_after(&mut sockets, &events(3, 1), 4), None);
}

#[test]
fn a_difference_that_lasts_is_made_good_by_one_count() {
    for in_use in [3, 5] {
        let mut sockets = Sockets::default();
        let seen = events(3, 1);
        assert_eq!(due_after(&mut sockets, &seen, in_use), Some(2));
        sockets.counted(Some(count(&seen, in_use, 0)));
        assert_eq!(due_after(&mut sockets, &seen, in_use), None);
    }
}

#[test]
fn what_differs_this_way_and_that_way_is_busy_and_not_wrong() {
    let mut sockets = Sockets::default();
    for _ in 0..1000 {
        for in_use in [5, 3, 4, 5, 4, 3] {
            sockets.compare(&events(3, 1), in_use);
            assert!(!sockets.is_due());
        }
    }
}

#[test]
fn a_difference_that_a_count_does_not_mend_is_counted_ever_more_rarely() {
    let mut sockets = Sockets::default();
    let seen = events(3, 1);
    let mut waits = Vec::new();
    for _ in 0..8 {
        waits.extend(due_after(&mut sockets, &seen, 9));
        sockets.counted(Some(count(&seen, 4, 0)));
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, MOST_LASTING, MOST_LASTING, MOST_LASTING]);
    // Once they agree for long, the next difference is as good as the first.
    sockets.compare(&seen, 4);
    assert_eq!(due_after(&mut sockets, &seen, 9), Some(MOST_LASTING));
    sockets.counted(Some(count(&seen, 4, 0)));
    for _ in 0..2 * MOST_LASTING {
        sockets.compare(&seen, 4);
    }
    assert_eq!(due_after(&mut sockets, &seen, 9), Some(2));
}

#[test]
fn what_differs_by_chance_is_soon_counted_no_more() {
    let mut sockets = Sockets::default();
    let counts = busy(&mut sockets);
    assert!((1..10).contains(&counts), "{counts} counts");
}

/// Compares the sockets of a namespace that is never still for long, and counts them when they are due. Returns how
/// often that was.
fn busy(sockets: &mut Sockets) -> u32 {
    let (mut random, mut counts) = (1_u32, 0);
    for accepts in 0..10_000 {
        let mut seen = *events(3, 1).counts();
        seen.accepts = accepts;
        let seen = Events::from(seen);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        sockets.compare(&seen, 3 + u64::from(random >> 16) % 3);
        if sockets.is_due() {
            counts += 1;
            sockets.counted(Some(count(&seen, 4, 0)));
        }
    }
    counts
}

#[test]
fn a_difference_in_a_namespace_that_is_still_again_is_no_chance() {
    let mut sockets = Sockets::default();
    busy(&mut sockets);
    let seen = events(3, 1);
    sockets.compare(&seen, 4);
    assert_eq!(due_after(&mut sockets, &seen, 5), Some(2));
    sockets.counted(Some(count(&seen, 4, 0)));
    assert!(due_after(&mut sockets, &seen, 5) > Some(8), "the count changed nothing");
}

#[test]
fn what_was_exact_stays_unless_a_count_of_a_busy_namespace_refutes_it() {
    let seen = events(2, 0);
    let counted = |established, doubt| {
        let mut sockets = Sockets::default();
        sockets.counted(Some(count(&seen, 100, 0)));
        assert_eq!(due_after(&mut sockets, &seen, 101), Some(2));
        sockets.counted(Some(count(&seen, established, doubt)));
        (seen.connections(ESTABLISHED, sockets.before()), sockets.is_due())
    };
    for established in [95, 100, 105] {
        assert_eq!(counted(established, 5), (100, false));
    }
    assert_eq!(counted(106, 5), (106, true));
    assert_eq!(counted(94, 5), (94, true));
    assert_eq!(counted(101, 0), (101, false));
}

#[test]
fn what_was_never_counted_exactly_is_no_reason_to_doubt_a_count() {
    let seen = events(2, 0);
    let mut sockets = Sockets::default();
    // The first count of a namespace from before netmon. It is near what the programs say.
    sockets.counted(Some(count(&seen, 3, 5)));
    assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 3);
    assert!(sockets.is_due());
    sockets.counted(Some(count(&seen, 4, 5)));
    assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 4);
    assert!(sockets.is_due());
    // A count that turned out to have missed something.
    sockets.counted(Some(count(&seen, 4, 0)));
    sockets.recount();
    sockets.counted(Some(count(&seen, 5, 5)));
    assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 5);
}

#[test]
fn a_state_with_less_than_no_socket_is_a_difference_whatever_the_sum() {
    let mut sockets = Sockets::default();
    // The change to the established state was lost, so that the closing socket leaves a state in which none was.
    assert_eq!(due_after(&mut sockets, &events(-1, 2), 1), Some(2));
    assert_eq!(sockets.before(), &Before::default());
}

#[test]
fn a_change_between_two_states_that_was_lost_is_found_by_a_verification() {
    const SYN_SENT: usize = 2;
    let mut counts = *events(2, 0).counts();
    counts.states[SYN_SENT] = 1;
    let seen = Events::from(counts);
    let mut sockets = Sockets::default();
    assert_eq!(due_after(&mut sockets, &seen, 3), None, "the sum is right");
    assert_eq!(sockets.purpose(), Purpose::Verification(Box::default()));
    sockets.verified(&count(&seen, 3, 0));
    assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 3);
    assert_eq!(seen.connections(SYN_SENT, sockets.before()), 0);
    assert_eq!(sockets.purpose(), Purpose::Verification(Box::new(seen)));
}

#[test]
fn a_verification_of_a_busy_namespace_changes_only_what_it_refutes() {
    let seen = events(100, 0);
    let verified = |established, doubt| {
        let mut sockets = Sockets::default();
        sockets.verified(&count(&seen, established, doubt));
        (seen.connections(ESTABLISHED, sockets.before()), sockets.purpose())
    };
    let unverified = Purpose::Verification(Box::default());
    assert_eq!(verified(95, 5), (100, unverified));
    assert_eq!(verified(94, 5), (94, Purpose::Correction));
    assert_eq!(verified(94, 0), (94, Purpose::Verification(Box::new(seen))));
}

#[test]
fn a_verification_does_not_do_for_a_correction() {
    let mut sockets = Sockets::default();
    sockets.recount();
    sockets.verified(&count(&events(1, 0), 1, 0));
    assert_eq!(sockets.purpose(), Purpose::Correction);
}

#[test]
fn lists_of_a_namespace_that_is_never_still_refute_what_is_far_from_all_of_them() {
    let seen = events(100, 0);
    let verified = |lists: [u64; 5]| {
        let mut sockets = Sockets::default();
        let lists = lists.map(|established| list(&seen, established, 1000));
        sockets.verified(&Counted::of(&lists).expect("lists"));
        (seen.connections(ESTABLISHED, sockets.before()), sockets.is_due())
    };
    assert_eq!(verified([139, 141, 140, 143, 140]), (140, true));
    assert_eq!(verified([60, 58, 61, 60, 62]), (60, true));
    // These may be chance.
    assert_eq!(verified([101, 101, 101, 101, 101]), (100, false));
    assert_eq!(verified([110, 105, 110, 108, 112]), (100, false));
    // One list that has nothing to do with the others makes all of them doubtful.
    assert_eq!(verified([120, 150, 121, 120, 122]), (100, false));
}

#[test]
fn one_exact_list_is_worth_more_than_all_others() {
    let seen = events(100, 0);
    let others = [140; 4].map(|established| list(&seen, established, 9));
    let counted = Counted::of(&[&others[..], &[list(&seen, 101, 0)]].concat()).expect("lists");
    assert!(counted.is_exact());
    assert_eq!(seen.connections(ESTABLISHED, &counted.before), 101);
    assert_eq!(Counted::of(&[]), None);
}

#[test]
fn what_was_never_counted_is_awaited_until_it_is_or_cannot_be() {
    let seen = events(3, 1);
    for (first, is_due) in [(Some(count(&seen, 4, 0)), false), (None, true)] {
        let mut sockets = Sockets::default();
        assert!(!sockets.is_awaited(), "a new namespace has no sockets from before");
        sockets.await_first();
        assert_eq!(sockets.purpose(), Purpose::Correction);
        // A comparison says nothing of numbers that nobody knows.
        sockets.compare(&seen, 9);
        assert!(sockets.is_awaited() && sockets.is_due());
        sockets.counted(first);
        assert_eq!((sockets.is_awaited(), sockets.is_due()), (false, is_due));
    }
}
