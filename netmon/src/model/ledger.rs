//! One interface's accounts: how the device's own counters and the kernel programs' make one exact total.
//!
//! While a device lives its own counters are the truth, whatever happened between the hook and the driver (a queue
//! that drops, a driver that refuses, a super-packet cut in software). When it is gone they can no longer be read, and
//! containers end without warning: the packets after the last reading are then known only to the programs' map, which
//! outlives the device. So every reading of the device also *settles* how far the two are apart, and the last total is
//! the map plus that distance.
//!
//! Pure: it is given readings and knows neither where they come from nor when they were taken.

#[cfg(test)]
mod tests;

use super::counters::{DeviceCounters, Directions, Totals, Traffic, since};

/// The accounts of one interface, from the moment it was first seen until its series are gone.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    receive: Account,
    transmit: Account,
    /// The device was there before netmon.
    is_older: bool,
    /// What it had counted when it was first read.
    before: Option<Directions<DeviceCounters>>,
}

/// A reading of the map, of the device, and of the map again. Where both readings of the map agree, no packet passed
/// in between, and the distance between device and map is exact.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// The map before the device was read; nothing while no program is attached.
    pub before: Option<Traffic>,
    /// The device's own counters.
    pub device: DeviceCounters,
    /// The map after the device was read.
    pub after: Option<Traffic>,
}

impl Ledger {
    /// The accounts of a device that was there before netmon was.
    #[must_use]
    pub fn of_older() -> Self {
        Self {
            is_older: true,
            ..Self::default()
        }
    }

    /// The accounts of a device that was out of sight and is back, when it had counted that much.
    #[must_use]
    pub fn of_returned(last: Directions<Totals>) -> Self {
        Self {
            is_older: true,
            before: Some(last.map(Totals::device)),
            ..Self::default()
        }
    }

    /// Takes a reading of a living device.
    pub fn observe(&mut self, reading: Directions<Reading>) {
        self.before.get_or_insert(reading.map(|reading| reading.device));
        self.receive.observe(reading.receive);
        self.transmit.observe(reading.transmit);
    }

    /// Whether the distance between device and map is exact in both directions.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.receive.is_settled() && self.transmit.is_settled()
    }

    /// How many packets only the device saw since programs were attached, in both directions together.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        let of = |account: &Account| account.programs.map_or(0, |programs| programs.unseen);
        of(&self.receive) + of(&self.transmit)
    }

    /// The programs are not on the device any more. What they counted is kept.
    pub fn part(&mut self) {
        self.receive.part();
        self.transmit.part();
    }

    /// The device cannot be read, mostly because it is about to be found gone: its totals are what the map and the last
    /// distance give.
    pub fn estimate(&mut self, map: Directions<Traffic>) {
        self.receive.estimate(map.receive);
        self.transmit.estimate(map.transmit);
    }

    /// The device is gone: settles the accounts for good with what the kernel said of it at its end, where it said
    /// anything, else with what the map holds.
    pub fn close(&mut self, final_counters: Directions<Option<DeviceCounters>>, map: Option<Directions<Traffic>>) {
        self.receive.close(final_counters.receive, map.map(|map| map.receive));
        self.transmit
            .close(final_counters.transmit, map.map(|map| map.transmit));
    }

    /// What to expose: packets and bytes since the device was made, and what only netmon knows since netmon came. How
    /// many segments the packets before were nobody knows, and what an earlier netmon counted must not be counted again.
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

    /// What it counted since netmon came.
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

    /// What the device had counted before netmon came: of one that was never read, everything.
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

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    device: DeviceCounters,
    programs: Option<Programs>,
    /// What programs had counted that were on the device earlier.
    earlier: Earlier,
}

/// What was known when programs were found to be off the device.
#[derive(Clone, Copy, Debug, Default)]
struct Earlier {
    packets: u64,
    segments: u64,
    tcp_segments: u64,
}

/// How many packets may wait between the hook and the device, and be counted by it later: a device's queue has room for as
/// many, if nobody changes it. More than that were dropped on the way.
const QUEUE: i64 = 1_000;

/// What is known once programs count beside the device.
#[derive(Clone, Copy, Debug)]
struct Programs {
    /// The last reading of the map.
    map: Traffic,
    /// Device minus map, in packets and in bytes. Signed: what is dropped between hook and driver makes it negative.
    distance: (i64, i64),
    /// Whether the distance was taken while nothing passed.
    exact: bool,
    /// Which of the map's figures the device's follow.
    measure: Measure,
    /// Segments from before the programs were attached. Nobody knows those of packets that only the device saw, so
    /// each such packet counts as one.
    before: u64,
    /// Packets since then that only the device saw: another program hides them from ours (a later clsact filter of the
    /// same priority comes first), or somebody has taken ours off. The most there seemed to be at any time.
    unseen: u64,
    /// How many there seem to be now: fewer while packets are on their way from the hook to the device, and more while they
    /// are on their way from the device to the hook.
    balance: i64,
    /// The map and the device's packets when the distance was last exact.
    exact_at: (Traffic, u64),
}

/// What a driver counts as a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// What it is handed: a super-packet is one.
    Buffers,
    /// What goes on the wire: the driver is handed what the kernel has already cut.
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
        // Counters of one device never fall: a final_counters that is behind the last reading is not this device's whole
        // story (a veth whose peer went first has forgotten what it received).
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
    /// The segments of everything, when no programs have counted since.
    const fn segments(self, packets: u64) -> u64 {
        self.segments + packets.saturating_sub(self.packets)
    }
}

impl Programs {
    /// The first reading with programs in place, when the device had passed that many segments.
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
            // Packets passed while the device was read: the distance lies between what the two readings of the map
            // give. One settled before stays if it lies there too; if it does not, something was dropped in between.
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

    /// Takes in how many packets the device counted while so many passed the programs.
    fn weigh(&mut self, counted: u64, passed: Traffic) {
        // However super-packets are counted, a device counts no more packets than went over the wire, and no fewer than
        // it was handed.
        let (fewest, most) = (passed.packets.min(passed.segments), passed.packets.max(passed.segments));
        let more = counted.saturating_sub(most).min(i64::MAX as u64).cast_signed();
        let fewer = fewest.saturating_sub(counted).min(i64::MAX as u64).cast_signed();
        self.balance = self.balance.saturating_add(more).saturating_sub(fewer).max(-QUEUE);
        self.unseen = self.unseen.max(u64::try_from(self.balance).unwrap_or(0));
    }

    /// Which measure the device follows, as far as what passed since the last reading can tell.
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

    /// The device's packets and bytes, as the map and the distance give them.
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
