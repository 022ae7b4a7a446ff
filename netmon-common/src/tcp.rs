//! Events of TCP connections: retransmissions, resets, connects and failures, round-trip times.

use crate::kernel::{Field, field};

/// The map of the counts: a hash map by [`Key`], with one [`Tcp`] that all CPUs add to. One for every CPU would take as
/// much memory as there may be CPUs.
pub const MAP: &str = "TCP";
/// The map of events that found no room in [`MAP`]: an array by the cause ([`crate::refusal`]), with a `u64` for every
/// CPU.
pub const MAP_LOST: &str = "TCP_LOST";
/// Load-time global: the number of arguments of `tcp_retransmit_skb`. The error is the third, from 6.17 on.
pub const GLOBAL_RETRANSMIT_ARGUMENTS: &str = "RETRANSMIT_ARGUMENTS";

/// A program and the tracepoint that it is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program.
    pub name: &'static str,
    /// The tracepoint.
    pub tracepoint: &'static str,
}

/// Every program that counts TCP events.
pub const PROGRAMS: [Program; 6] = [
    Program {
        name: "tcp_retransmit",
        tracepoint: "tcp_retransmit_skb",
    },
    Program {
        name: "tcp_retransmit_syn_ack",
        tracepoint: "tcp_retransmit_synack",
    },
    Program {
        name: "tcp_reset_sent",
        tracepoint: "tcp_send_reset",
    },
    Program {
        name: "tcp_reset_received",
        tracepoint: "tcp_receive_reset",
    },
    Program {
        name: "tcp_state",
        tracepoint: "inet_sock_set_state",
    },
    Program {
        name: "tcp_round_trip",
        tracepoint: "tcp_probe",
    },
];

/// The maximum number of keys in the map.
pub const MAX_ENTRIES: u32 = 16_384;

/// The fields that the programs read, besides [`crate::kernel::NAMESPACE`] and [`crate::connection::FIELDS`].
pub const FIELDS: &[Field] = &[
    field("PACKET_DEVICE", "sk_buff", "dev"),
    field("PACKET_CONTROL", "sk_buff", "cb"),
    field("CONTROL_SEGMENTS", "tcp_skb_cb", "tcp_gso_segs"),
    field("CONTROL_ACKNOWLEDGED", "tcp_skb_cb", "ack_seq"),
    field("TCP_UNACKNOWLEDGED", "tcp_sock", "snd_una"),
];

/// The key of the counts: an interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The cookie of the socket's namespace.
    pub netns: u64,
    /// The ifindex, in that namespace, of the device that the connection goes through; 0 if unknown.
    pub ifindex: u32,
    /// Always 0.
    pub zero: u32,
}

/// The number of reasons why a connection was not established.
pub const FAILURES: usize = 8;
/// The other end reported that no socket listens.
pub const FAILURE_REFUSED: usize = 0;
/// No answer came.
pub const FAILURE_TIMEOUT: usize = 1;
/// A router, or this host, reported that the destination is unreachable.
pub const FAILURE_UNREACHABLE: usize = 2;
/// The other end reset the connection.
pub const FAILURE_RESET: usize = 3;
/// The application gave up before the SYN was sent again.
pub const FAILURE_ABORTED: usize = 4;
/// Anything else.
pub const FAILURE_OTHER: usize = 5;
/// The application gave up after the SYN was sent again: nobody had answered.
pub const FAILURE_UNANSWERED: usize = 6;
/// This host failed it before the first SYN: there was no free local port, or no route once the port was known.
pub const FAILURE_LOCAL: usize = 7;

/// The number of states that a connection's socket can have, including 0 (`include/net/tcp_states.h`). The kernel has a
/// few more numbers, for what is no such socket.
pub const STATES: usize = 12;

/// Upper bounds of the buckets of round-trip times, in microseconds. One more bucket has all longer times.
pub const ROUND_TRIP_BOUNDS: [u32; 12] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
];
/// The number of buckets.
pub const ROUND_TRIP_BUCKETS: usize = ROUND_TRIP_BOUNDS.len() + 1;

/// One out of this many acknowledgements is sampled for its round-trip time. A power of two.
pub const ROUND_TRIP_SAMPLING: u32 = 8;

/// The counts of an interface's connections. All CPUs add to the same words.
///
/// `W` is how a word is seen: the programs have one that only adds, and adds atomically. It is as large as a `u64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp<W = u64> {
    /// Retransmitted segments of connections. With the SYN-ACKs, these are what `TcpRetransSegs` counts.
    pub retransmitted_segments: W,
    /// Retransmitted answers to connection requests.
    pub retransmitted_syn_acks: W,
    /// Resets sent.
    pub resets_sent: W,
    /// Resets received, including those that turn out to be this end's own.
    pub resets_received: W,
    /// Resets that were counted as received, and turned out to be this end's own.
    pub resets_taken_back: W,
    /// Connections established to others.
    pub connects: W,
    /// Connections accepted from others.
    pub accepts: W,
    /// Connections to others that were not established, by reason.
    pub failures: [W; FAILURES],
    /// Sockets that entered a state less those that left it, by the kernel's number of the state. Wraps below 0.
    pub states: [W; STATES],
    /// Counts of smoothed round-trip times, by bucket.
    pub round_trips: [W; ROUND_TRIP_BUCKETS],
    /// The sum of these round-trip times, in microseconds.
    pub round_trip_microseconds: W,
}

impl Tcp {
    /// All counts at 0.
    pub const ZERO: Self = Self {
        retransmitted_segments: 0,
        retransmitted_syn_acks: 0,
        resets_sent: 0,
        resets_received: 0,
        resets_taken_back: 0,
        connects: 0,
        accepts: 0,
        failures: [0; FAILURES],
        states: [0; STATES],
        round_trips: [0; ROUND_TRIP_BUCKETS],
        round_trip_microseconds: 0,
    };

    /// Adds the counts of another interface.
    pub fn accumulate(&mut self, other: &Self) {
        let Self {
            retransmitted_segments,
            retransmitted_syn_acks,
            resets_sent,
            resets_received,
            resets_taken_back,
            connects,
            accepts,
            failures,
            states,
            round_trips,
            round_trip_microseconds,
        } = other;
        let add = |sum: &mut u64, more: &u64| *sum = sum.wrapping_add(*more);
        add(&mut self.retransmitted_segments, retransmitted_segments);
        add(&mut self.retransmitted_syn_acks, retransmitted_syn_acks);
        add(&mut self.resets_sent, resets_sent);
        add(&mut self.resets_received, resets_received);
        add(&mut self.resets_taken_back, resets_taken_back);
        add(&mut self.connects, connects);
        add(&mut self.accepts, accepts);
        add(&mut self.round_trip_microseconds, round_trip_microseconds);
        for (sums, more) in [
            (&mut self.failures[..], &failures[..]),
            (&mut self.states[..], &states[..]),
            (&mut self.round_trips[..], &round_trips[..]),
        ] {
            sums.iter_mut().zip(more).for_each(|(sum, more)| add(sum, more));
        }
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self::ZERO
    }
}

const _: () = assert!(size_of::<Key>() == 16 && align_of::<Key>() == 8);
const _: () = assert!(size_of::<Tcp>() == 8 * (8 + FAILURES + STATES + ROUND_TRIP_BUCKETS) && align_of::<Tcp>() == 8);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for the promise that any bytes are a valid value")]
mod user {
    use super::{Key, Tcp};

    // SAFETY: `repr(C)`, integers and arrays of them, no padding (the assertions above). So every bit pattern is a
    // value.
    unsafe impl aya::Pod for Key {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Tcp {}
}
