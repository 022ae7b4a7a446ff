//! Connections that break after an idle time.

use netmon_common::edges::{Clock, IDLE_BOUNDS};

use super::{
    super::{note_clock, retransmitted},
    CLOSE, ECONNRESET, ESTABLISHED, FIN_WAIT_2, Object as _, SECOND, SYN_SENT, Sockets as _, World,
};

const CLOSE_WAIT: u64 = 8;
const FIN_WAIT_1: u64 = 4;

impl World {
    /// The other end of a connection is heard, at this second.
    fn hears(&self, socket: u64, second: u64) {
        self.jiffies.set(second * SECOND);
        self.kernel.write(
            socket,
            self.tcp_heard(),
            u32::try_from(second * SECOND).expect("it is early").to_ne_bytes(),
        );
    }

    /// A segment is sent again at this second: the attempt of that number.
    fn sends_again(&self, socket: u64, second: u64, attempt: u8) {
        self.jiffies.set(second * SECOND);
        self.kernel.write(socket, self.socket_state(), [1]);
        self.kernel.write(socket, self.tcp_attempts(), [attempt]);
        retransmitted(self, &[socket, 0]);
    }

    /// The connection ends at this second, from this state, with this error.
    fn ends(&self, socket: u64, second: u64, state: u64, error: i32) {
        self.jiffies.set(second * SECOND);
        self.kernel.write(socket, self.socket_error(), error.to_ne_bytes());
        self.changes(socket, state, CLOSE);
    }

    /// How many broke, by their idle time.
    fn broke(&self) -> [u64; IDLE_BOUNDS.len()] {
        self.edge().1.idle_breaks
    }
}

#[test]
fn a_reset_after_an_idle_time_is_counted_by_that_time() {
    for (idle, wanted) in [
        (59, [0, 0, 0, 0, 0]),
        (60, [1, 0, 0, 0, 0]),
        (300, [0, 1, 0, 0, 0]),
        (901, [0, 0, 1, 0, 0]),
        (960, [0, 0, 0, 1, 0]),
        (90_000, [0, 0, 0, 0, 1]),
    ] {
        let world = World::new();
        let socket = world.opened();
        world.hears(socket, 100);
        world.ends(socket, 100 + idle, ESTABLISHED, ECONNRESET);
        assert_eq!(world.broke(), wanted, "{idle}");
    }
}

#[test]
fn a_reset_breaks_only_what_waits_for_something_to_do() {
    for (state, error, wanted) in [
        (CLOSE_WAIT, 32, 1),
        // The application had closed it.
        (FIN_WAIT_1, ECONNRESET, 0),
        (FIN_WAIT_2, ECONNRESET, 0),
        // Nobody reset it: it was closed, or its time was up.
        (ESTABLISHED, 0, 0),
        (ESTABLISHED, 110, 0),
    ] {
        let world = World::new();
        let socket = world.opened();
        world.hears(socket, 100);
        world.ends(socket, 100 + 901, state, error);
        assert_eq!(world.broke()[2], wanted, "{state} {error}");
    }
}

#[test]
fn silence_after_an_idle_time_is_counted_at_the_end() {
    let world = World::new();
    let socket = world.opened();
    world.hears(socket, 100);
    // The first may be a probe for a lost tail. The others come ever later.
    for (second, attempt) in [(1001, 0), (1002, 1), (1004, 2), (1900, 9)] {
        world.sends_again(socket, second, attempt);
    }
    assert_eq!(world.broke(), [0; 5], "somebody may answer");
    world.ends(socket, 2000, FIN_WAIT_1, 110);
    assert_eq!(world.broke(), [0, 0, 1, 0, 0]);
}

#[test]
fn whoever_answers_in_the_end_has_not_broken() {
    let world = World::new();
    let socket = world.opened();
    world.hears(socket, 100);
    world.sends_again(socket, 1001, 0);
    world.hears(socket, 1002);
    world.ends(socket, 1010, FIN_WAIT_2, 0);
    assert_eq!(world.broke(), [0; 5]);
    // It is idle for longer the next time, and then nobody answers.
    let socket = world.opened();
    world.hears(socket, 100);
    world.sends_again(socket, 200, 0);
    world.hears(socket, 201);
    world.sends_again(socket, 600, 0);
    world.ends(socket, 700, FIN_WAIT_1, 0);
    assert_eq!(world.broke(), [0, 1, 0, 0, 0]);
}

#[test]
fn what_is_lost_while_there_is_something_to_do_is_no_idle_time() {
    let world = World::new();
    let socket = world.opened();
    world.hears(socket, 100);
    // The first attempts come at once, and the way stays broken.
    for (second, attempt) in [(100, 0), (101, 1), (103, 2), (107, 3), (200, 6), (900, 12)] {
        world.sends_again(socket, second, attempt);
    }
    world.ends(socket, 1000, ESTABLISHED, 110);
    assert_eq!(world.broke(), [0; 5]);
}

#[test]
fn a_connection_that_is_being_made_has_heard_nobody() {
    let world = World::new();
    let socket = world.client();
    world.jiffies.set(90_000 * SECOND);
    world.kernel.write(socket, world.socket_state(), [2]);
    retransmitted(&world, &[socket, 0]);
    world.ends(socket, 90_000, SYN_SENT, 110);
    assert_eq!(world.broke(), [0; 5]);
}

#[test]
fn nothing_is_idle_before_the_daemon_knows_what_a_second_is() {
    let world = World::new();
    world.second.set(&0, 0);
    let socket = world.opened();
    world.hears(socket, 100);
    world.sends_again(socket, 1001, 0);
    world.ends(socket, 2000, ESTABLISHED, ECONNRESET);
    assert_eq!(world.broke(), [0; 5]);
}

#[test]
fn the_daemon_is_told_what_time_it_is() {
    let world = World::new();
    world.jiffies.set(77);
    note_clock(&world);
    let now = Clock {
        jiffies: 77,
        nanoseconds: 1_000,
    };
    assert_eq!(world.clock.get(&0), Some(now));
}
