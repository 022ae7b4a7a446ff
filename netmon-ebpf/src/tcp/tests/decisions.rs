//! What is decided from numbers alone: errors, states, samples and buckets.

use netmon_common::tcp::{
    FAILURE_OTHER, FAILURE_REFUSED, FAILURE_RESET, FAILURE_TIMEOUT, FAILURE_UNREACHABLE, FAILURES, ROUND_TRIP_BOUNDS,
    ROUND_TRIP_BUCKETS, ROUND_TRIP_SAMPLING, STATES, Tcp,
};

use super::{CLOSE, ESTABLISHED, FIN_WAIT_1, LISTEN, SYN_RECEIVED, SYN_SENT, after, go};
use crate::{
    connection::failure::of_error,
    tcp::{bucket, count_state, is_new, is_sampled, round_trip, shared, was_counted},
};

#[test]
fn segments_that_were_lost_on_the_way_to_the_device_had_been_counted() {
    // Sent, NET_XMIT_DROP, NET_XMIT_CN, EPERM, ENOBUFS.
    for error in [0, 1, 2, -1, -105] {
        assert!(was_counted(error), "{error}");
    }
    // EAGAIN, EINVAL, EHOSTUNREACH.
    for error in [-11, -22, -113] {
        assert!(!was_counted(error), "{error}");
    }
}

#[test]
fn a_failed_connection_has_the_reason_of_its_error() {
    let reasons = [
        (FAILURE_REFUSED, [111].as_slice()),
        (FAILURE_TIMEOUT, &[110]),
        (FAILURE_UNREACHABLE, &[100, 101, 112, 113]),
        (FAILURE_RESET, &[104]),
        // EPERM, EPIPE, ECONNABORTED, and what is no error of the kernel's.
        (FAILURE_OTHER, &[1, 32, 103, -111, i32::MAX]),
    ];
    for (reason, errors) in reasons {
        for error in errors {
            assert_eq!(of_error(*error), reason, "{error}");
        }
    }
}

/// So many sockets in each of these states, and none in others.
fn states<const N: usize>(sockets: [(usize, u64); N]) -> [u64; STATES] {
    let mut states = [0; STATES];
    for (state, count) in sockets {
        states[state] = count;
    }
    states
}

#[test]
fn a_connection_to_another_is_in_one_state_at_a_time() {
    let connected = Tcp {
        connects: 1,
        states: states([(ESTABLISHED, 1)]),
        ..Tcp::ZERO
    };
    assert_eq!(after(&[CLOSE, SYN_SENT, ESTABLISHED], 0), connected);
    let closed = Tcp {
        states: states([]),
        ..connected
    };
    assert_eq!(after(&[CLOSE, SYN_SENT, ESTABLISHED, FIN_WAIT_1, CLOSE], 0), closed);
}

#[test]
fn an_accepted_connection_does_not_end_the_listening() {
    let mut tcp = after(&[CLOSE, LISTEN], 0);
    tcp.accumulate(&after(&[LISTEN, SYN_RECEIVED, ESTABLISHED], 0));
    let accepted = Tcp {
        accepts: 1,
        states: states([(ESTABLISHED, 1), (LISTEN, 1)]),
        ..Tcp::ZERO
    };
    assert_eq!(tcp, accepted);
    // The listening socket itself ends.
    assert_eq!(after(&[CLOSE, LISTEN, CLOSE], 0), Tcp::ZERO);
}

#[test]
fn a_connection_that_was_not_established_failed() {
    let mut failures = [0; FAILURES];
    failures[FAILURE_REFUSED] = 1;
    let refused = Tcp { failures, ..Tcp::ZERO };
    assert_eq!(after(&[CLOSE, SYN_SENT, CLOSE], FAILURE_REFUSED), refused);
    // One that another gave up is no failed connect of this end's.
    assert_eq!(after(&[LISTEN, SYN_RECEIVED, CLOSE], FAILURE_REFUSED), Tcp::ZERO);
    // Nor is one that ends with an error.
    let established = Tcp {
        connects: 1,
        ..Tcp::ZERO
    };
    assert_eq!(
        after(&[CLOSE, SYN_SENT, ESTABLISHED, CLOSE], FAILURE_REFUSED),
        established
    );
}

#[test]
fn a_state_that_was_entered_before_counting_began_is_left_all_the_same() {
    let mut tcp = Tcp::ZERO;
    go(&mut tcp, &[ESTABLISHED, FIN_WAIT_1], 0);
    assert_eq!(tcp.states, states([(ESTABLISHED, u64::MAX), (FIN_WAIT_1, 1)]));
    go(&mut tcp, &[CLOSE, ESTABLISHED], 0);
    assert_eq!(tcp.states, states([(FIN_WAIT_1, 1)]));
}

#[test]
fn a_state_that_no_socket_has_is_not_counted() {
    let mut tcp = Tcp::ZERO;
    // SAFETY: the counts exist, and nobody else has them.
    let counts = unsafe { shared(&raw mut tcp) };
    for state in [12, 20, -1] {
        count_state(counts, 7, state, || 0);
        count_state(counts, state, 7, || 0);
    }
    count_state(counts, 7, 11, || 0);
    assert_eq!(tcp.states, states([(11, 1)]));
}

#[test]
fn one_acknowledgement_in_several_is_sampled_whatever_the_step_is() {
    let sampling = ROUND_TRIP_SAMPLING as usize;
    for step in [1_u32, 2, 8, 64, 1448, 2896, 65_160] {
        let rounds = 80_000_u32;
        let sampled = (0..rounds)
            .filter(|round| is_sampled(round.wrapping_mul(step).wrapping_add(0x1234_5678)))
            .count();
        let expected = rounds as usize / sampling;
        assert!(
            sampled.abs_diff(expected) < expected / 4,
            "step {step}: {sampled} instead of {expected}"
        );
    }
}

#[test]
fn an_acknowledgement_is_new_if_it_is_beyond_the_last_one() {
    assert!(is_new(1001, 1000));
    assert!(!is_new(1000, 1000), "the same once more");
    assert!(!is_new(999, 1000), "an old one");
    assert!(is_new(5, u32::MAX - 5), "sequence numbers wrap");
    assert!(!is_new(u32::MAX - 5, 5), "an old one from before they wrapped");
}

#[test]
fn a_round_trip_is_an_eighth_of_what_the_kernel_stores() {
    assert_eq!([0, 7, 8, 8_000].map(round_trip), [0, 0, 1, 1_000]);
}

#[test]
fn a_bound_is_in_the_bucket_below_it() {
    for (index, bound) in ROUND_TRIP_BOUNDS.into_iter().enumerate() {
        assert_eq!((bucket(bound), bucket(bound + 1)), (index, index + 1));
    }
    assert_eq!((bucket(1), bucket(u32::MAX)), (0, ROUND_TRIP_BUCKETS - 1));
}
