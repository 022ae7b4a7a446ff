//! How the counters of a device and of its programs compare, in one direction.

use super::super::counters::{DeviceCounters, Traffic, since};

/// Who counts a packet first: the device or the hook. Between the two, a packet waits in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// A received packet. Drivers count it and hand it to the processor's backlog, and the hook comes after that. A
    /// veth counts what its peer sent (`veth_xmit`, `veth_get_stats64`).
    Device,
    /// A sent packet. The queueing discipline comes after the hook, and may drop it. The driver counts what it gets.
    Hook,
}

/// How many packets may be between the hook and the device. A device's queue has this length by default
/// (`DEFAULT_TX_QUEUE_LEN`), and so has a processor's backlog (`net.core.netdev_max_backlog`).
pub(super) const QUEUE: i64 = 1_000;

/// What is known while programs are attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Programs {
    first: First,
    /// Device minus map, in packets and in bytes. Negative if packets are dropped between hook and driver.
    distance: (i64, i64),
    /// Whether no packet passed while the distance was measured, and none was on its way to the hook.
    exact: bool,
    /// Which of the map's figures the device agrees with.
    measure: Measure,
    /// How many packets fewer the device counted before the first reading if it measures by the wire. Zero once the
    /// measure is known.
    unsure: u64,
    /// Segments from before the programs were attached. Those of packets that only the device counted are unknown, so
    /// each such packet counts as one.
    before: u64,
    /// How many of these may turn out to have been on their way to the hook at the first reading. The map counts them.
    doubtful: u64,
    /// Packets since then that only the device counted. Another program hides them from ours (a later clsact filter
    /// of the same priority comes first), or somebody detached ours. What was shown never falls, but this may: a burst may
    /// have been on its way at two readings running.
    unseen: u64,
    /// The current estimate of that number. Packets that only the hook has counted make it lower. Packets that only
    /// the device has counted make it higher.
    balance: i64,
    /// The last exact reading, or the first one. On a busy device it may be hours old.
    reference: Reference,
    /// The last reading.
    latest: Latest,
}

/// A reading that later ones are compared with.
#[derive(Clone, Copy, Debug)]
struct Reference {
    map: Traffic,
    device: DeviceCounters,
    /// Whether no packet passed meanwhile.
    exact: bool,
}

/// A reading of the device between two readings of the map.
#[derive(Clone, Copy, Debug)]
struct Latest {
    before: Traffic,
    device: DeviceCounters,
    after: Traffic,
}

/// What a driver counts as a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// What the driver gets. A super-packet is one packet.
    Buffers,
    /// What goes on the wire. The driver gets packets that the kernel has already segmented.
    Wire,
}

impl Measure {
    const fn of(self, map: Traffic) -> (u64, u64) {
        match self {
            Self::Buffers => (map.packets, map.bytes),
            Self::Wire => (map.segments, map.wire_bytes),
        }
    }
}

impl Programs {
    /// The first reading with programs attached, after the device passed this many `segments`. The segments of
    /// packets that are `due` are among them, but the device has not counted those packets yet.
    pub(super) fn seed(
        first: First,
        (segments, due): (u64, u64),
        before: Traffic,
        device: DeviceCounters,
        after: Traffic,
    ) -> Self {
        let measure = Measure::Buffers;
        let distance = distance(device, measure.of(after));
        // What the hook has counted and the device has not.
        let ahead = due.saturating_add(after.packets.saturating_sub(segments));
        Self {
            first,
            distance,
            // A received packet may be between device and hook. Only a second reading shows that.
            exact: before == after && first == First::Hook,
            measure,
            unsure: after.segments.saturating_sub(after.packets),
            before: segments.saturating_sub(after.packets),
            doubtful: match first {
                First::Device => unsigned(QUEUE),
                First::Hook => 0,
            },
            unseen: 0,
            balance: signed(ahead).saturating_neg().max(-QUEUE),
            reference: Reference {
                map: after,
                device,
                exact: before == after,
            },
            latest: Latest { before, device, after },
        }
    }

    /// Takes in another reading.
    pub(super) fn settle(mut self, before: Traffic, device: DeviceCounters, after: Traffic) -> Self {
        let exact = before == after;
        let reference = self.reference;
        if exact {
            let counted = device.packets.saturating_sub(reference.device.packets);
            let passed = since(after, reference.map);
            if reference.exact {
                self.learn(counted, passed);
            }
            self.weigh(counted, passed);
            self.reference = Reference {
                map: after,
                device,
                exact,
            };
        }
        // If packets passed while the device was read, the distance is between those to the two readings of the map.
        let low = distance(device, self.measure.of(after));
        let high = distance(device, self.measure.of(before));
        let (floor, is_certain) = match self.first {
            First::Hook => (low, true),
            // A burst on its way to the hook raises the distance until it has arrived. The reading before does not have
            // it.
            First::Device => {
                let Latest { device, after, .. } = self.latest;
                let earlier = distance(device, self.measure.of(after));
                ((low.0.min(earlier.0), low.1.min(earlier.1)), reference.exact)
            }
        };
        let settled = (
            self.distance.0.max(floor.0).min(high.0),
            self.distance.1.max(floor.1).min(high.1),
        );
        // If the settled distance is outside that range, something was dropped in between.
        self.exact = exact && is_certain || self.exact && settled == self.distance;
        self.distance = settled;
        self.latest = Latest { before, device, after };
        self
    }

    /// The device is gone, and nothing is between it and the hook any more. What only the device counted stays so.
    pub(super) fn at_rest(mut self) -> Self {
        self.unseen = self.unseen.max(unsigned(self.balance));
        self
    }

    /// Learns which measure the device follows, as far as the traffic since the last exact reading shows it.
    fn learn(&mut self, counted: u64, passed: Traffic) {
        let measure = if passed.packets == passed.segments {
            return;
        } else if counted == passed.segments {
            Measure::Wire
        } else if counted == passed.packets {
            Measure::Buffers
        } else {
            return;
        };
        let unsure = std::mem::take(&mut self.unsure);
        if measure == Measure::Wire {
            // The device counted each segment before the first reading, too. They are in the map.
            let ahead = unsure.saturating_sub(self.before);
            self.before = self.before.saturating_sub(unsure);
            self.balance = self.balance.saturating_sub(signed(ahead)).max(-QUEUE);
        }
        if measure != self.measure {
            self.measure = measure;
            self.distance = distance(self.reference.device, measure.of(self.reference.map));
        }
    }

    /// Compares the packets that the device `counted` with those that `passed` the programs.
    fn weigh(&mut self, counted: u64, passed: Traffic) {
        // However super-packets are counted, the device counts at most the packets on the wire, and at least the
        // packets that it got.
        let most = passed.packets.max(passed.segments);
        let fewest = match (self.first, self.measure) {
            // Otherwise, segments that arrived at the hook would not be missed among those of super-packets.
            (First::Device, Measure::Wire) => most,
            _ => passed.packets.min(passed.segments),
        };
        let (more, fewer) = (counted.saturating_sub(most), fewest.saturating_sub(counted));
        let earlier = self.balance;
        self.balance = earlier.saturating_add(signed(more)).saturating_sub(signed(fewer));
        match self.first {
            First::Hook => self.unseen = self.unseen.max(unsigned(self.balance)),
            First::Device => {
                let arrived = unsigned(self.balance.saturating_neg()).min(fewer);
                let arrived = arrived.min(self.doubtful).min(self.before);
                self.before -= arrived;
                self.balance = self.balance.saturating_add(signed(arrived));
                // Among super-packets, some may be missed when they begin and not when they arrive.
                let is_plain = passed.packets == passed.segments;
                self.doubtful = if is_plain { self.doubtful - arrived } else { 0 };
                // What is on its way now will have arrived at the next reading.
                self.unseen = unsigned(self.balance.min(earlier));
            }
        }
        self.balance = self.balance.max(-QUEUE);
    }

    pub(super) const fn is_settled(self) -> bool {
        self.exact
    }

    pub(super) const fn unseen(self) -> u64 {
        self.unseen
    }

    /// All segments, when the map has counted this.
    pub(super) const fn segments(self, map: Traffic) -> u64 {
        self.before + self.unseen + map.segments
    }

    /// The device's packets and bytes when the map has counted this, computed from the distance.
    pub(super) const fn estimate(self, map: Traffic) -> (u64, u64) {
        let (packets, bytes) = self.measure.of(map);
        (
            packets.saturating_add_signed(self.distance.0),
            bytes.saturating_add_signed(self.distance.1),
        )
    }

    /// How many of the device's packets are among the segments when the map has counted this. The segments of others
    /// are unknown.
    pub(super) fn parted_at(self, map: Traffic) -> u64 {
        let of = |device, map| distance(device, self.measure.of(map)).0;
        // Packets that only the device had counted are in the map by now, or are hidden and not among the segments.
        // Packets that only the hook had counted are among them. The device may count them later.
        let only_hook = signed(self.unseen).saturating_sub(self.balance).min(QUEUE);
        let by_reference = of(self.reference.device, self.reference.map).saturating_add(only_hook);
        // The reference may be old. Since then packets may have been dropped behind the hook, or the device may count
        // super-packets otherwise. The last reading shows that, but for what was between device and hook.
        let Latest { before, device, after } = self.latest;
        let (low, high) = (of(device, after), of(device, before));
        let (low, high) = match self.first {
            First::Hook => (low, high.saturating_add(QUEUE)),
            // Those that were on their way at the first reading may be among the segments twice.
            First::Device => (low.saturating_sub(QUEUE), high.saturating_add(signed(self.doubtful))),
        };
        let is_likely = (low..=high).contains(&by_reference);
        let compared = if is_likely { by_reference } else { high };
        self.measure.of(map).0.saturating_add_signed(compared)
    }
}

fn distance(device: DeviceCounters, (packets, bytes): (u64, u64)) -> (i64, i64) {
    (
        device.packets.wrapping_sub(packets).cast_signed(),
        device.bytes.wrapping_sub(bytes).cast_signed(),
    )
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Zero if it is negative.
pub(super) fn unsigned(balance: i64) -> u64 {
    u64::try_from(balance).unwrap_or(0)
}
