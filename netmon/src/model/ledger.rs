//! The ledger of one interface. It combines the device's own counters and the kernel programs' into one exact total.
//!
//! While a device exists, its own counters are right. They are right whatever happens between the hook and the
//! driver: a queue that drops, a driver that refuses, a super-packet segmented in software.
//!
//! A deleted device cannot be read, and containers end without warning. Packets after the last reading are then only
//! in the programs' map, which outlives the device. So every reading of the device also *settles* the distance
//! between the two. The last total is the map plus that distance.
//!
//! Three rules make the totals exact:
//!
//! - What was read, and what was shown, are kept apart. An estimate is shown, and what was shown never falls. But an
//!   estimate is never compared with the device's own counters, and never refuses them.
//! - Device and hook count a packet one after the other. So a difference that may be packets between the two is
//!   believed only when a second reading has it, too.
//! - Where it is unknown whether a packet is counted already, it is not counted again.
//!
//! Pure: it gets readings, and does not know where they come from or when they were taken.

mod account;
mod programs;
#[cfg(test)]
mod tests;

use self::{account::Account, programs::First};
use super::counters::{DeviceCounters, Directions, Totals, Traffic};

/// The ledger of one interface, from its first sight until its series end.
#[derive(Clone, Debug)]
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

impl Default for Ledger {
    /// The ledger of a new device.
    fn default() -> Self {
        Self {
            receive: Account::of(First::Device),
            transmit: Account::of(First::Hook),
            is_older: false,
            before: None,
        }
    }
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

    /// The ledger of the same device after it disappeared and came back. Packets and bytes go on from what was shown.
    /// What counts since netmon started goes on from 0, because this ledger keeps what it has. `None` if it is not
    /// known what the device counted before netmon started.
    #[must_use]
    pub fn returned(&self) -> Option<Self> {
        self.has_start().then(|| Self {
            is_older: true,
            before: Some(self.totals().map(Totals::device)),
            receive: self.receive.returned(),
            transmit: self.transmit.returned(),
        })
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
        self.receive.unseen() + self.transmit.unseen()
    }

    /// Records that the programs are detached. `map` is what they counted to their end.
    pub fn part(&mut self, map: Directions<Traffic>) {
        self.receive.part(map.receive);
        self.transmit.part(map.transmit);
    }

    /// Takes in what the programs counted. Packets and bytes stay as they are: the device was not read, usually
    /// because it is deleted, and its last counters may still come.
    pub fn count(&mut self, map: Directions<Traffic>) {
        self.receive.count(map.receive);
        self.transmit.count(map.transmit);
    }

    /// Takes in what the programs counted, and estimates packets and bytes from it. For a device that could not be
    /// read.
    pub fn estimate(&mut self, map: Directions<Traffic>) {
        self.receive.estimate(map.receive);
        self.transmit.estimate(map.transmit);
    }

    /// Settles the ledger of a deleted device. It uses the kernel's last counters of the device, if there are any,
    /// and otherwise the map. If the last counters arrive later, it is called again with them and without a map.
    pub fn close(&mut self, last: Directions<Option<DeviceCounters>>, map: Option<Directions<Traffic>>) {
        self.receive.close(last.receive, map.map(|map| map.receive));
        self.transmit.close(last.transmit, map.map(|map| map.transmit));
        if let (Some(receive), Some(transmit)) = (last.receive, last.transmit) {
            // A device that was never read: all of this may be from before netmon started.
            self.before.get_or_insert(Directions { receive, transmit });
        }
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
        match self.before {
            _ if !self.is_older => Directions::default(),
            Some(before) => before,
            None => Directions {
                receive: self.receive.device(),
                transmit: self.transmit.device(),
            },
        }
    }
}
