//! Why connections fail, by their sockets.

use netmon_common::tcp::{FAILURE_ABORTED, FAILURE_LOCAL, FAILURE_REFUSED, FAILURE_UNANSWERED, FAILURES};

use super::{CLOSE, HERE, OF_IPV4, SYN_SENT, Sockets as _, World, state_changed};
use crate::kernel::UNSET;

/// Which reason a failed connection has: the socket's error, what it sent, and how much of that again.
fn reason(world: &World, error: i32, sent: u32, again: u32) -> usize {
    let socket = world.socket(HERE);
    world.kernel.write(socket, world.socket_error(), error.to_ne_bytes());
    // The places of the fields, also in a world that does not know them.
    world.kernel.write(socket, 116, sent.to_ne_bytes());
    world.kernel.write(socket, 120, again.to_ne_bytes());
    reason_of(world, socket)
}

fn reason_of(world: &World, socket: u64) -> usize {
    let before = world.of(HERE, OF_IPV4).failures;
    state_changed(world, &[socket, SYN_SENT as u64, CLOSE as u64]);
    let after = world.of(HERE, OF_IPV4).failures;
    let mut changed = (0..FAILURES).filter(|reason| after[*reason] != before[*reason]);
    changed.next().expect("it failed")
}

#[test]
fn a_connection_that_is_given_up_has_the_reason_of_what_was_sent() {
    let world = World::new();
    assert_eq!(reason(&world, 0, 0, 0), FAILURE_LOCAL);
    assert_eq!(reason(&world, 0, 1, 0), FAILURE_ABORTED);
    assert_eq!(reason(&world, 0, 2, 1), FAILURE_UNANSWERED);
    // An error says more.
    let refused = 111;
    assert_eq!(reason(&world, refused, 0, 0), FAILURE_REFUSED);
    assert_eq!(reason(&world, refused, 2, 1), FAILURE_REFUSED);
}

#[test]
fn who_closes_before_anything_was_sent_has_given_up() {
    let of = |shutdown: u8, world: &World| {
        let socket = world.socket(HERE);
        world.kernel.write(socket, 124, shutdown.to_ne_bytes());
        reason_of(world, socket)
    };
    for (shutdown, reason) in [(0, FAILURE_LOCAL), (3, FAILURE_ABORTED)] {
        assert_eq!(of(shutdown, &World::new()), reason);
    }
    let world = World {
        socket_shutdown: UNSET,
        ..World::new()
    };
    assert_eq!(of(3, &world), FAILURE_LOCAL, "it is not known");
}

#[test]
fn on_a_kernel_without_a_field_connections_that_are_given_up_have_fewer_reasons() {
    let without = |world: World| [(0, 0), (1, 0), (2, 1)].map(|(sent, again)| reason(&world, 0, sent, again));
    let world = World {
        tcp_segments_sent: UNSET,
        ..World::new()
    };
    let wanted = [FAILURE_ABORTED, FAILURE_ABORTED, FAILURE_UNANSWERED];
    assert_eq!(without(world), wanted);
    let world = World {
        tcp_retransmits: UNSET,
        ..World::new()
    };
    let wanted = [FAILURE_LOCAL, FAILURE_ABORTED, FAILURE_ABORTED];
    assert_eq!(without(world), wanted);
}
