//! The ledger of one direction: what was read of the device and of its programs, and what was shown.

use super::{
    super::counters::{DeviceCounters, Totals, Traffic},
    Reading,
    programs::{First, Programs, QUEUE, unsigned},
};

/// The ledger of one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    /// Who counts a packet first.
    first: First,
    /// The device's own counters, as last read. Never an estimate.
    device: DeviceCounters,
    /// What the present programs counted, as last read. Zero if there are none.
    map: Traffic,
    /// How device and map compare; `None` until both were read.
    programs: Option<Programs>,
    /// The totals when earlier programs were detached.
    earlier: Earlier,
    /// The highest totals that were known or estimated. They never fall.
    shown: Totals,
}

/// The totals when programs were found to be detached.
#[derive(Clone, Copy, Debug, Default)]
struct Earlier {
    /// The device's packets at that time. It may count some of them only later.
    packets: u64,
    segments: u64,
    tcp_segments: u64,
}

impl Earlier {
    /// All segments, if no programs have counted since.
    const fn segments(self, packets: u64) -> u64 {
        self.segments + packets.saturating_sub(self.packets)
    }

    /// How many of those packets the device has still to count. Their segments are known.
    const fn due(self, packets: u64) -> u64 {
        self.packets.saturating_sub(packets)
    }
}

impl Account {
    pub(super) fn of(first: First) -> Self {
        Self {
            first,
            device: DeviceCounters::default(),
            map: Traffic::default(),
            programs: None,
            earlier: Earlier::default(),
            shown: Totals::default(),
        }
    }

    /// The account of the same device after it came back. Its programs are others.
    pub(super) fn returned(self) -> Self {
        Self {
            device: self.device,
            shown: Totals {
                segments: 0,
                tcp_segments: 0,
                ..self.shown
            },
            ..Self::of(self.first)
        }
    }

    pub(super) const fn device(&self) -> DeviceCounters {
        self.device
    }

    #[cfg(test)]
    pub(super) const fn is_compared(&self) -> bool {
        self.programs.is_some()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.programs.is_some_and(Programs::is_settled)
    }

    pub(super) fn unseen(&self) -> u64 {
        self.programs.map_or(0, Programs::unseen)
    }

    pub(super) const fn totals(&self) -> Totals {
        self.shown
    }

    pub(super) fn observe(&mut self, reading: Reading) {
        let Reading { before, device, after } = reading;
        if self.first == First::Device {
            // These were on their way to the hook at the last reading, and its programs have counted them since.
            let due = self.earlier.due(device.packets);
            self.earlier.packets -= due;
            // More cannot be on their way. The rest only says that the device does not count super-packets as was learnt.
            let twice = due.min(unsigned(QUEUE));
            self.earlier.segments = self.earlier.segments.saturating_sub(twice);
        }
        if let (Some(before), Some(after)) = (before, after) {
            self.compare(before, device, after);
        }
        self.device = device;
        self.show();
    }

    pub(super) fn part(&mut self, map: Traffic) {
        self.count(map);
        self.earlier = Earlier {
            packets: self.programs.map_or(self.earlier.packets, |it| it.parted_at(map)),
            segments: self.programs.map_or(self.earlier.segments, |it| it.segments(map)),
            tcp_segments: self.earlier.tcp_segments + map.tcp_segments,
        };
        self.programs = None;
        self.map = Traffic::default();
        self.show();
    }

    pub(super) fn count(&mut self, map: Traffic) {
        self.map = map;
        self.show();
    }

    pub(super) fn estimate(&mut self, map: Traffic) {
        self.count(map);
        if let Some(programs) = self.programs {
            let (packets, bytes) = programs.estimate(map);
            self.shown.packets = self.shown.packets.max(packets);
            self.shown.bytes = self.shown.bytes.max(bytes);
        }
    }

    pub(super) fn close(&mut self, last: Option<DeviceCounters>, map: Option<Traffic>) {
        // The counters of one device never fall. Last counters behind the last reading are incomplete: a veth whose
        // peer was deleted first has lost its count of received packets.
        if let Some(last) = last.filter(|last| last.follows(self.device)) {
            if let Some(map) = map.or_else(|| self.programs.map(|_| self.map)) {
                self.compare(map, last, map);
                self.programs = self.programs.map(Programs::at_rest);
            }
            self.device = last;
            self.show();
        } else if let Some(map) = map {
            self.estimate(map);
        }
    }

    /// Takes in what the device counted between two readings of the map.
    fn compare(&mut self, before: Traffic, device: DeviceCounters, after: Traffic) {
        self.map = after;
        let seed = || {
            let (segments, due) = (self.earlier.segments(device.packets), self.earlier.due(device.packets));
            Programs::seed(self.first, (segments, due), before, device, after)
        };
        let settle = |programs: Programs| programs.settle(before, device, after);
        self.programs = Some(self.programs.map_or_else(seed, settle));
    }

    fn show(&mut self) {
        self.shown = self.shown.highest(self.known());
    }

    /// The totals by what was read, without estimates.
    pub(super) fn known(&self) -> Totals {
        let DeviceCounters {
            packets,
            bytes,
            errors,
            dropped,
        } = self.device;
        Totals {
            packets,
            bytes,
            segments: self.programs.map_or_else(
                || self.earlier.segments(packets),
                |programs| programs.segments(self.map),
            ),
            tcp_segments: self.earlier.tcp_segments + self.map.tcp_segments,
            errors,
            dropped,
        }
    }
}
