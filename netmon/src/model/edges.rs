//! Who talks to whom over TCP, as the kernel sees it: edges by interface and address, without names.

use std::{net::IpAddr, sync::Arc};

pub use netmon_common::edges::IDLE_BOUNDS;
use netmon_common::tcp::FAILURES;

use super::{interface::InterfaceId, inventory::Identity};

/// An edge: connections with the same ends, seen from one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId {
    /// The interface of this end. Its ifindex is 0 if the connections' device is not known.
    pub interface: InterfaceId,
    /// Which of the two this end is.
    pub side: Side,
    /// The server's port; 0 if the kernel had no room to tell.
    pub port: u16,
    /// The other end.
    pub far: Far,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that connects.
    Client,
    /// The one that accepts.
    Server,
}

impl Side {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// What the kernel knows of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Far {
    /// It has this address.
    Address(IpAddr),
    /// It is beyond a gateway.
    Outside,
    /// The namespace had no room for another edge.
    Over,
}

/// What has happened on an edge since the kernel counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeCounts {
    /// Connections that were established.
    pub opened: u64,
    /// Of these, the connections that have ended.
    pub closed: u64,
    /// Payload that this end sent, each byte once.
    pub sent_bytes: u64,
    /// Payload that this end received.
    pub received_bytes: u64,
    /// Segments that this end retransmitted.
    pub retransmitted_segments: u64,
    /// Connections that a reset ended, whichever end sent it.
    pub resets: u64,
    /// Connections that were not established, by reason.
    pub failures: [u64; FAILURES],
    /// Connections that were idle and then broke, by [`IDLE_BOUNDS`].
    pub idle_breaks: [u64; IDLE_BOUNDS.len()],
    /// The round-trip times of ended connections.
    pub round_trips: RoundTrips,
}

/// Round-trip times of connections, one for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrips {
    /// How many there are.
    pub count: u64,
    /// Their sum in microseconds.
    pub microseconds: u64,
}

impl RoundTrips {
    /// Adds others.
    pub const fn add(&mut self, more: Self) {
        self.count = self.count.wrapping_add(more.count);
        self.microseconds = self.microseconds.wrapping_add(more.microseconds);
    }
}

/// An edge at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeReading {
    /// The edge.
    pub id: EdgeId,
    /// What happened, on ended connections and on open ones.
    pub counts: EdgeCounts,
    /// How many connections are open.
    pub live: u64,
    /// Their round-trip times at this moment.
    pub round_trips: RoundTrips,
}

/// What was taken out of the kernel's map of an edge whose namespace is gone.
#[derive(Clone, Debug)]
pub struct LastEdge {
    /// The edge.
    pub id: EdgeId,
    /// What it had.
    pub counts: EdgeCounts,
    /// The container that the namespace was, and the network of the edge's interface.
    pub near: Option<(Arc<Identity>, Arc<str>)>,
}

impl EdgeCounts {
    /// Adds what happened elsewhere or later.
    pub fn accumulate(&mut self, more: &Self) {
        self.combine(more, u64::wrapping_add);
    }

    /// What happened since an earlier count. Where this one is less, nothing did.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        since.combine(earlier, u64::saturating_sub);
        since
    }

    /// The higher of each pair of counts.
    #[must_use]
    pub fn or_higher(&self, other: &Self) -> Self {
        let mut higher = *self;
        higher.combine(other, u64::max);
        higher
    }

    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        let Self {
            opened,
            closed,
            sent_bytes,
            received_bytes,
            retransmitted_segments,
            resets,
            failures,
            idle_breaks,
            round_trips: RoundTrips { count, microseconds },
        } = self;
        for (one, other) in [
            (opened, other.opened),
            (closed, other.closed),
            (sent_bytes, other.sent_bytes),
            (received_bytes, other.received_bytes),
            (retransmitted_segments, other.retransmitted_segments),
            (resets, other.resets),
            (count, other.round_trips.count),
            (microseconds, other.round_trips.microseconds),
        ] {
            *one = with(*one, other);
        }
        let failures = failures.iter_mut().zip(other.failures);
        for (one, other) in failures.chain(idle_breaks.iter_mut().zip(other.idle_breaks)) {
            *one = with(*one, other);
        }
    }
}
