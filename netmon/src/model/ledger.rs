//! The ledger of one interface. It combines the device's own counters and the kernel programs' into one exact total.
//!
//! While a device exists, its own counters are right. They are right whatever happens between the hook and the
//! driver: a queue that drops, a driver that refuses, a super-packet segmented in software.
//!
//! A deleted device cannot be read, and containers end without warning. Packets after the last reading are then only
//! in the programs' map, which outlives the device. So every reading of the device also *settles* the distance
//! between the two. The last total is the map plus that distance.
//!
//! Pure: it gets readings, and does not know where they come from or when they were taken.

#[cfg(test)]
mod tests;

use super::counters::{DeviceCounters, Directions, Totals, Traffic, since};

/// The ledger of one interface, from its first sight until its series end.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    receive: Account,
    transmit: Account,
    /// The device existed before netmon started.
    is_older: bool,
    /// The device's counters at the first reading.
    before: Option<Directions<DeviceCounters>>,
}

/// A reading of the map, of the device, and of the map again. If both readings of the map are equal, no packet passed
/// in between, and the distance between device and map is exact.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// The map before the device was read; `None` while no program is attached.
    pub before: Option<Traffic>,
    /// The device's own counters.
    pub device: DeviceCounters,
    /// The map after the device was read.
    pub after: Option<Traffic>,
}

impl Ledger {
    /// The ledger of a device that existed before netmon started.
    #[must_use]
    pub fn of_older() -> Self {
        Self {
            is_older: true,
            ..Self::default()
        }
    }

    /// The ledger of a device that disappeared and came back. `last` holds its totals before that.
    #[must_use]
    pub fn of_returned(last: Directions<Totals>) -> Self {
        let account = |last: Totals| Account {
            device: last.device(),
            ..Account::default()
        };
        Self {
            is_older: true,
            before: Some(last.map(Totals::device)),
            receive: account(last.receive),
            transmit: account(last.transmit),
        }
    }

    /// Takes a reading of an existing device.
    pub fn observe(&mut self, reading: Directions<Reading>) {
        self.before.get_or_insert(reading.map(|reading| reading.device));
        self.receive.observe(reading.receive);
        self.transmit.observe(reading.transmit);
    }

    /// Whether it is known what the device counted before netmon started.
    #[must_use]
    pub const fn has_start(&self) -> bool {
        !self.is_older || self.before.is_some()
    }

    /// Whether the distance between device and map is exact in both directions.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.receive.is_settled() && self.transmit.is_settled()
    }

    /// How many packets only the device counted since the programs were attached, in both directions together.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        let of = |account: &Account| account.programs.map_or(0, |programs| programs.unseen);
        of(&self.receive) + of(&self.transmit)
    }

    /// Records that the programs are detached. Their counts are kept.
    pub fn part(&mut self) {
        self.receive.part();
        self.transmit.part();
    }

    /// Updates the totals from the map and the last distance. For a device that cannot be read, usually because it is
    /// already deleted.
    pub fn estimate(&mut self, map: Directions<Traffic>) {
        self.receive.estimate(map.receive);
        self.transmit.estimate(map.transmit);
    }

    /// Settles the ledger of a deleted device for good. It uses the kernel's last counters of the device, if there
    /// are any, and otherwise the map.
    pub fn close(&mut self, final_counters: Directions<Option<DeviceCounters>>, map: Option<Directions<Traffic>>) {
        self.receive.close(final_counters.receive, map.map(|map| map.receive));
        self.transmit
            .close(final_counters.transmit, map.map(|map| map.transmit));
    }

    /// The totals to expose. Packets and bytes count since the device was created, segments since netmon started. The
    /// segments of earlier packets are unknown, and an earlier netmon may have shown them already.
    #[must_use]
    pub fn totals(&self) -> Directions<Totals> {
        let totals = Directions {
            receive: self.receive.totals(),
            transmit: self.transmit.totals(),
        };
        totals.zip(self.before(), |totals, before| Totals {
            segments: totals.segments.saturating_sub(before.packets),
            ..totals
        })
    }

    /// The counts since netmon started.
    #[must_use]
    pub fn recent(&self) -> Directions<Totals> {
        self.totals().zip(self.before(), |totals, before| Totals {
            packets: totals.packets.saturating_sub(before.packets),
            bytes: totals.bytes.saturating_sub(before.bytes),
            errors: totals.errors.saturating_sub(before.errors),
            dropped: totals.dropped.saturating_sub(before.dropped),
            ..totals
        })
    }

    /// The device's counters from before netmon started. All of them, if the device was never read.
    fn before(&self) -> Directions<DeviceCounters> {
        let Self { receive, transmit, .. } = self;
        match self.before {
            _ if !self.is_older => Directions::default(),
            Some(before) => before,
            None => Directions {
                receive: receive.device,
                transmit: transmit.device,
            },
        }
    }
}

/// The ledger of one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    device: DeviceCounters,
    programs: Option<Programs>,
    /// The totals when earlier programs were detached.
    earlier: Earlier,
}

/// The totals when programs were found to be detached.
#[derive(Clone, Copy, Debug, Default)]
struct Earlier {
    packets: u64,
    segments: u64,
    tcp_segments: u64,
}

/// How many packets may be between the hook and the device, where the device counts them later. A device's queue has
/// this length by default. Packets beyond it were dropped.
const QUEUE: i64 = 1_000;

/// What is known while programs are attached.
#[derive(Clone, Copy, Debug)]
struct Programs {
    /// The last reading of the map.
    map: Traffic,
    /// Device minus map, in packets and in bytes. Negative if packets are dropped between hook and driver.
    distance: (i64, i64),
    /// Whether no packet passed while the distance was measured.
    exact: bool,
    /// Which of the map's figures the device agrees with.
    measure: Measure,
    /// Segments from before the programs were attached. Those of packets that only the device counted are unknown, so
    /// each such packet counts as one.
    before: u64,
    /// Packets since then that only the device counted. Another program hides them from ours (a later clsact filter
    /// of the same priority comes first), or somebody detached ours. This is the highest value of `balance`.
    unseen: u64,
    /// The current estimate of that number. Packets on their way from the hook to the device make it lower. Packets
    /// on their way from the device to the hook make it higher.
    balance: i64,
    /// The map and the device's packets at the time of the last exact distance.
    exact_at: (Traffic, u64),
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

impl Account {
    fn observe(&mut self, reading: Reading) {
        let Reading { before, device, after } = reading;
        if let (Some(before), Some(after)) = (before, after) {
            self.programs = Some(match self.programs {
                None => Programs::seed(self.earlier.segments(device.packets), before, device, after),
                Some(programs) => programs.settle(self.device, before, device, after),
            });
        }
        self.device = device;
    }

    fn part(&mut self) {
        let Totals {
            packets,
            segments,
            tcp_segments,
            ..
        } = self.totals();
        self.earlier = Earlier {
            packets,
            segments,
            tcp_segments,
        };
        self.programs = None;
    }

    fn is_settled(&self) -> bool {
        self.programs.is_some_and(|programs| programs.exact)
    }

    fn estimate(&mut self, map: Traffic) {
        if let Some(programs) = &mut self.programs {
            programs.map = map;
            let (packets, bytes) = programs.measured();
            self.device.packets = self.device.packets.max(packets);
            self.device.bytes = self.device.bytes.max(bytes);
        }
    }

    fn close(&mut self, final_counters: Option<DeviceCounters>, map: Option<Traffic>) {
        // The counters of one device never fall. Final counters behind the last reading are incomplete: a veth whose
        // peer was deleted first has lost its count of received packets.
        if let Some(final_counters) = final_counters.filter(|final_counters| final_counters.follows(self.device)) {
            self.device = final_counters;
            if let (Some(programs), Some(map)) = (&mut self.programs, map) {
                programs.map = map;
            }
        } else if let Some(map) = map {
            self.estimate(map);
        }
    }

    fn totals(&self) -> Totals {
        let DeviceCounters {
            packets,
            bytes,
            errors,
            dropped,
        } = self.device;
        let segments = self.programs.map_or_else(
            || self.earlier.segments(packets),
            |programs| programs.before + programs.unseen + programs.map.segments,
        );
        Totals {
            packets,
            bytes,
            segments,
            tcp_segments: self.earlier.tcp_segments + self.programs.map_or(0, |programs| programs.map.tcp_segments),
            errors,
            dropped,
        }
    }
}

impl Earlier {
    /// All segments, if no programs have counted since.
    const fn segments(self, packets: u64) -> u64 {
        self.segments + packets.saturating_sub(self.packets)
    }
}

impl Programs {
    /// The first reading with programs attached, after the device passed this many `segments`.
    fn seed(segments: u64, before: Traffic, device: DeviceCounters, after: Traffic) -> Self {
        let measure = Measure::Buffers;
        Self {
            map: after,
            distance: distance(device, measure.of(after)),
            exact: before == after,
            measure,
            before: segments.saturating_sub(after.packets),
            unseen: 0,
            balance: 0,
            exact_at: (after, device.packets),
        }
    }

    fn settle(mut self, earlier: DeviceCounters, before: Traffic, device: DeviceCounters, after: Traffic) -> Self {
        let exact = before == after;
        if exact {
            if self.exact {
                let (map, packets) = self.exact_at;
                let passed = since(after, map);
                self.weigh(device.packets.saturating_sub(packets), passed);
            }
            self.exact_at = (after, device.packets);
            self.measure = self.follow(since(after, self.map), device.packets.saturating_sub(earlier.packets));
            self.distance = distance(device, self.measure.of(after));
            self.exact = true;
        } else {
            // Packets passed while the device was read. The distance is between those to the two readings of the map.
            // If the settled distance is outside that range, something was dropped in between.
            let low = distance(device, self.measure.of(after));
            let high = distance(device, self.measure.of(before));
            let clamped = (
                self.distance.0.clamp(low.0, high.0),
                self.distance.1.clamp(low.1, high.1),
            );
            self.exact = self.exact && clamped == self.distance;
            self.distance = clamped;
        }
        self.map = after;
        self
    }

    /// Compares the packets that the device `counted` with those that `passed` the programs.
    fn weigh(&mut self, counted: u64, passed: Traffic) {
        // However super-packets are counted, the device counts at most the packets on the wire, and at least the
        // packets that it got.
        let (fewest, most) = (passed.packets.min(passed.segments), passed.packets.max(passed.segments));
        let more = counted.saturating_sub(most).min(i64::MAX as u64).cast_signed();
        let fewer = fewest.saturating_sub(counted).min(i64::MAX as u64).cast_signed();
        self.balance = self.balance.saturating_add(more).saturating_sub(fewer).max(-QUEUE);
        self.unseen = self.unseen.max(u64::try_from(self.balance).unwrap_or(0));
    }

    /// Which measure the device follows, as far as the traffic since the last reading shows it.
    fn follow(self, passed: Traffic, device_packets: u64) -> Measure {
        if !self.exact || passed.packets == passed.segments {
            self.measure
        } else if device_packets == passed.segments {
            Measure::Wire
        } else if device_packets == passed.packets {
            Measure::Buffers
        } else {
            self.measure
        }
    }

    /// The device's packets and bytes, computed from the map and the distance.
    fn measured(self) -> (u64, u64) {
        let (packets, bytes) = self.measure.of(self.map);
        (
            packets.saturating_add_signed(self.distance.0),
            bytes.saturating_add_signed(self.distance.1),
        )
    }
}

fn distance(device: DeviceCounters, (packets, bytes): (u64, u64)) -> (i64, i64) {
    (
        device.packets.wrapping_sub(packets).cast_signed(),
        device.bytes.wrapping_sub(bytes).cast_signed(),
    )
}
