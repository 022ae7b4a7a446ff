//! What an interface counted: the device's own figures, and the kernel programs'.

use std::ops::{Add, Sub};

pub use netmon_common::traffic::Traffic;

/// One figure for each direction, as the interface itself, and so the container, sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions<T> {
    /// What came in.
    pub receive: T,
    /// What went out.
    pub transmit: T,
}

impl<T> Directions<T> {
    /// Makes a pair out of what `f` gives for each direction.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Directions<U> {
        Directions {
            receive: f(self.receive),
            transmit: f(self.transmit),
        }
    }

    /// Makes a pair out of what `f` gives for each direction of two pairs.
    pub fn zip<U, V>(self, other: Directions<U>, mut f: impl FnMut(T, U) -> V) -> Directions<V> {
        Directions {
            receive: f(self.receive, other.receive),
            transmit: f(self.transmit, other.transmit),
        }
    }
}

/// A device's own statistics for one direction (`rtnl_link_stats64`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounters {
    /// Packets, as the driver counts them: a GSO super-packet is one.
    pub packets: u64,
    /// Bytes, as the driver counts them.
    pub bytes: u64,
    /// Packets that were bad.
    pub errors: u64,
    /// Packets that the driver dropped.
    pub dropped: u64,
}

impl DeviceCounters {
    /// Whether nothing here is smaller than in `earlier`: counters of one device never fall.
    #[must_use]
    pub const fn follows(self, earlier: Self) -> bool {
        self.packets >= earlier.packets
            && self.bytes >= earlier.bytes
            && self.errors >= earlier.errors
            && self.dropped >= earlier.dropped
    }
}

/// What is exposed for one direction of one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets since the device was made.
    pub packets: u64,
    /// Bytes since the device was made.
    pub bytes: u64,
    /// Packets on the wire: super-packets count as their segments, from the moment the programs were attached.
    pub segments: u64,
    /// Transmit: TCP segments that the container's sockets sent, from the moment the programs were attached.
    pub tcp_segments: u64,
    /// Packets that were bad.
    pub errors: u64,
    /// Packets that the device dropped.
    pub dropped: u64,
}

impl Totals {
    /// What of it is the device's own.
    #[must_use]
    pub const fn device(self) -> DeviceCounters {
        DeviceCounters {
            packets: self.packets,
            bytes: self.bytes,
            errors: self.errors,
            dropped: self.dropped,
        }
    }

    /// What a device's last word adds to what was known of it; nothing if it is behind that. Nobody knows the segments of
    /// packets that only the device saw: each counts as one.
    #[must_use]
    pub fn missed(self, last: DeviceCounters) -> Self {
        let known = self.device();
        if !last.follows(known) {
            return Self::default();
        }
        let packets = last.packets - known.packets;
        Self {
            packets,
            bytes: last.bytes - known.bytes,
            segments: packets,
            tcp_segments: 0,
            errors: last.errors - known.errors,
            dropped: last.dropped - known.dropped,
        }
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let Self {
            packets,
            bytes,
            segments,
            tcp_segments,
            errors,
            dropped,
        } = other;
        Self {
            packets: self.packets + packets,
            bytes: self.bytes + bytes,
            segments: self.segments + segments,
            tcp_segments: self.tcp_segments + tcp_segments,
            errors: self.errors + errors,
            dropped: self.dropped + dropped,
        }
    }
}

impl<T: Add<Output = T>> Add for Directions<T> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, T::add)
    }
}

/// What passed between two readings. Wraps as the kernel's counters do; with one reader it never has to.
pub(crate) fn since(later: Traffic, earlier: Traffic) -> Traffic {
    let Traffic {
        packets,
        bytes,
        segments,
        wire_bytes,
        tcp_segments,
    } = earlier;
    Traffic {
        packets: later.packets.wrapping_sub(packets),
        bytes: later.bytes.wrapping_sub(bytes),
        segments: later.segments.wrapping_sub(segments),
        wire_bytes: later.wire_bytes.wrapping_sub(wire_bytes),
        tcp_segments: later.tcp_segments.wrapping_sub(tcp_segments),
    }
}

impl<T: Sub<Output = T>> Sub for Directions<T> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.zip(other, T::sub)
    }
}
