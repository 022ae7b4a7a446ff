//! The counts of an interface: those of the device itself, and those of the kernel programs.

use std::ops::{Add, Sub};

pub use netmon_common::traffic::Traffic;

/// One value for each direction, as seen from the interface and so from the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions<T> {
    /// The incoming direction.
    pub receive: T,
    /// The outgoing direction.
    pub transmit: T,
}

impl<T> Directions<T> {
    /// Applies `f` to each direction.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Directions<U> {
        Directions {
            receive: f(self.receive),
            transmit: f(self.transmit),
        }
    }

    /// Applies `f` to each direction of both pairs.
    pub fn zip<U, V>(self, other: Directions<U>, mut f: impl FnMut(T, U) -> V) -> Directions<V> {
        Directions {
            receive: f(self.receive, other.receive),
            transmit: f(self.transmit, other.transmit),
        }
    }
}

/// A device's own statistics of one direction (`rtnl_link_stats64`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounters {
    /// Packets, as the driver counts them. A GSO super-packet is one packet.
    pub packets: u64,
    /// Bytes, as the driver counts them.
    pub bytes: u64,
    /// Bad packets.
    pub errors: u64,
    /// Packets dropped by the driver.
    pub dropped: u64,
}

impl DeviceCounters {
    /// Whether no value is smaller than in `earlier`. The counters of one device never fall.
    #[must_use]
    pub const fn follows(self, earlier: Self) -> bool {
        self.packets >= earlier.packets
            && self.bytes >= earlier.bytes
            && self.errors >= earlier.errors
            && self.dropped >= earlier.dropped
    }
}

/// The exposed values of one direction of one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets since the device was created.
    pub packets: u64,
    /// Bytes since the device was created.
    pub bytes: u64,
    /// Packets on the wire. Since the programs were attached, a super-packet counts as its segments.
    pub segments: u64,
    /// Transmit only: TCP segments sent by the container's sockets since the programs were attached.
    pub tcp_segments: u64,
    /// Bad packets.
    pub errors: u64,
    /// Packets dropped by the device.
    pub dropped: u64,
}

impl Totals {
    /// The part that the device itself counts.
    #[must_use]
    pub const fn device(self) -> DeviceCounters {
        DeviceCounters {
            packets: self.packets,
            bytes: self.bytes,
            errors: self.errors,
            dropped: self.dropped,
        }
    }

    /// The higher of each value.
    #[must_use]
    pub fn highest(self, other: Self) -> Self {
        let Self {
            packets,
            bytes,
            segments,
            tcp_segments,
            errors,
            dropped,
        } = other;
        Self {
            packets: self.packets.max(packets),
            bytes: self.bytes.max(bytes),
            segments: self.segments.max(segments),
            tcp_segments: self.tcp_segments.max(tcp_segments),
            errors: self.errors.max(errors),
            dropped: self.dropped.max(dropped),
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

/// The traffic between two readings. Wraps like the kernel's counters. With a single reader it never wraps.
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
