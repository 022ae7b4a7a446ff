//! The registry's entry for one interface, while it exists and while it lingers.

use std::{sync::Arc, time::Instant};

use super::{Owner, Scope, Stamp};
use crate::{
    model::{
        buffers::Queue,
        counters::{DeviceCounters, Directions, Totals, Traffic},
        interface::{Device, InterfaceId},
        ledger::{Ledger, Reading},
        netns::{DeviceChange, NetnsFile},
        programs::{Attached, Handle},
        times::Times,
    },
    network,
};

/// An interface that exists.
#[derive(Debug)]
pub struct Interface {
    /// The device, as last read.
    pub device: Arc<Device>,
    /// Its owner, once known.
    pub owner: Option<Owner>,
    /// What it counted.
    pub ledger: Ledger,
    /// The programs on it.
    pub programs: Programs,
    /// Its queue, if it has one.
    pub queue: Option<Queue>,
    /// When it was first seen.
    pub first_seen: Instant,
    /// Its counters as the kernel reported them when it stopped.
    final_counters: Directions<Option<DeviceCounters>>,
    /// How many packets its programs had missed when this was last checked.
    unseen: u64,
    /// It had programs once, and somebody else detached them.
    was_detached: bool,
    failures: u32,
    was_up: bool,
    /// When the entry was made.
    pub(super) created: Stamp,
}

/// Whether programs count on an interface.
#[derive(Debug)]
pub enum Programs {
    /// They are not attached yet.
    Waiting,
    /// They are attached.
    Attached(Attached),
    /// They could not be attached. The next attempt is due at this time.
    Failed(Instant),
}

impl Programs {
    /// The programs, if they are attached.
    #[must_use]
    pub const fn attached(&self) -> Option<&Attached> {
        match self {
            Self::Attached(attached) => Some(attached),
            Self::Waiting | Self::Failed(_) => None,
        }
    }

    /// Their handle, if they are attached.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        self.attached().map(|attached| attached.handle)
    }

    /// What they have counted so far.
    #[must_use]
    pub fn read(&self) -> Option<Directions<Traffic>> {
        self.attached().map(|attached| attached.counts.read())
    }
}

impl Interface {
    /// The entry for a device that was just seen.
    #[must_use]
    pub fn new(device: Device, ledger: Ledger, created: Stamp, now: Instant) -> Self {
        Self {
            was_up: device.up,
            device: Arc::new(device),
            owner: None,
            ledger,
            programs: Programs::Waiting,
            queue: None,
            first_seen: now,
            final_counters: Directions::default(),
            unseen: 0,
            was_detached: false,
            failures: 0,
            created,
        }
    }

    /// The entry for a new device that no look has read. The message carries what it has counted up to now.
    pub(super) fn from_change(change: &DeviceChange, created: Stamp, now: Instant) -> Self {
        let mut interface = Self::new(change.device.clone(), Ledger::default(), created, now);
        if let (Some(receive), Some(transmit)) = (change.counters.receive, change.counters.transmit) {
            interface.observe(None, Directions { receive, transmit }, None);
        }
        interface.on_change(change);
        interface
    }

    /// Takes in the device's current description. A device that was up and is down now keeps its name and addresses.
    /// The engine takes a container's interface down, renames it and moves it out, and its last values belong to
    /// `eth0`.
    pub(super) fn describe(&mut self, device: Device) {
        let stopped = self.was_up && !device.up;
        self.was_up |= device.up;
        if stopped {
            Arc::make_mut(&mut self.device).up = false;
        } else if *self.device != device {
            self.device = Arc::new(device);
        }
    }

    /// Takes in its owner. A known owner stays known after the engine has forgotten it.
    pub(super) fn belongs_to(&mut self, owner: Option<Owner>) {
        if owner.is_some() {
            self.owner = owner;
        }
    }

    /// Takes in a change. A device that stopped or was deleted reports its final counters. A device that is up again
    /// will count on.
    ///
    /// A change also describes the device. The first look may come before the engine has set the name and the
    /// hardware address, and the container may end before the next look. Its network is then found by those.
    pub(super) fn on_change(&mut self, change: &DeviceChange) {
        self.describe(Device {
            addresses: self.device.addresses.clone(),
            ..change.device.clone()
        });
        self.final_counters = if change.is_last_word() {
            Directions {
                receive: later(self.final_counters.receive, change.counters.receive),
                transmit: later(self.final_counters.transmit, change.counters.transmit),
            }
        } else {
            Directions::default()
        };
    }

    /// Whether a change may be about this device. It may be about another device with the same nsid and ifindex, of a
    /// container that ended just before. The two differ in their hardware addresses, once the engine has set them.
    pub(super) fn may_be(&self, device: &Device) -> bool {
        device.mac == self.device.mac || self.owner.as_ref().is_none_or(Owner::is_own_device)
    }

    /// Messages were lost: the counters received may not be the final ones.
    pub(super) fn forget_final_counters(&mut self) {
        self.final_counters = Directions::default();
    }

    /// Takes in a reading of the device, made between two readings of the programs' counters.
    pub fn observe(
        &mut self,
        before: Option<Directions<Traffic>>,
        device: Directions<DeviceCounters>,
        after: Option<Directions<Traffic>>,
    ) {
        let reading = |before, device, after| Reading { before, device, after };
        self.ledger.observe(Directions {
            receive: reading(
                before.map(|before| before.receive),
                device.receive,
                after.map(|after| after.receive),
            ),
            transmit: reading(
                before.map(|before| before.transmit),
                device.transmit,
                after.map(|after| after.transmit),
            ),
        });
    }

    /// The device could not be read: estimates its counters from what its programs counted since.
    pub fn estimate(&mut self) {
        if let Some(map) = self.programs.read() {
            self.ledger.estimate(map);
        }
    }

    /// Whether the device has passed packets that its programs did not see, since this was last called.
    pub(super) fn misses_more_packets(&mut self) -> bool {
        let unseen = self.ledger.unseen();
        let before = std::mem::replace(&mut self.unseen, unseen);
        unseen > before && matches!(self.programs, Programs::Attached(_))
    }

    /// Its device was not read, usually because it is deleted: takes in what its programs counted since.
    pub(super) fn count(&mut self) {
        if let Some(map) = self.programs.read() {
            self.ledger.count(map);
        }
    }

    /// Its programs were detached, so they have counted everything. It waits for new ones.
    pub(super) fn detach(&mut self) {
        if let Some(map) = self.programs.read() {
            self.ledger.part(map);
        }
        self.unseen = 0;
        self.was_detached = true;
        self.programs = Programs::Waiting;
    }

    /// Whether somebody else has detached its programs before.
    pub(super) const fn was_detached(&self) -> bool {
        self.was_detached
    }

    /// Whether programs should be attached to it now.
    pub(super) fn waits(&self, scope: Scope, now: Instant) -> bool {
        let wanted = match &self.owner {
            None => false,
            Some(Owner::Overlay { .. }) => scope.vxlan,
            Some(Owner::Container { network, started, .. }) => scope.containers && *started && !network.is_empty(),
        };
        let due = match self.programs {
            Programs::Waiting => true,
            Programs::Failed(retry_at) => retry_at <= now,
            Programs::Attached(_) => false,
        };
        wanted && due && self.device.up && network::is_counted(self.device.kind)
    }

    pub(super) const fn retry_at(&self) -> Option<Instant> {
        match self.programs {
            Programs::Failed(at) => Some(at),
            Programs::Waiting | Programs::Attached(_) => None,
        }
    }

    /// Takes in a failed attach. Returns whether it is the first.
    pub(super) fn fail(&mut self, times: &Times, now: Instant) -> bool {
        self.programs = Programs::Failed(now + times.attach_delay(self.failures));
        self.failures += 1;
        self.failures == 1
    }

    /// The interface was deleted: settles its totals for good.
    pub(super) fn end(mut self, id: InterfaceId, file: NetnsFile, now: Instant) -> Ended {
        self.ledger.close(self.final_counters, self.programs.read());
        let Self {
            device,
            owner,
            ledger,
            programs,
            created,
            ..
        } = self;
        Ended {
            id,
            file,
            device,
            owner,
            ledger,
            at: now,
            created,
            is_continued: false,
            rest: programs.handle(),
        }
    }
}

/// The later of two sets of final counters. A device is mostly taken down before it is deleted. At its deletion it
/// may have lost its counters: the other end of a veth keeps its receive counter.
fn later(before: Option<DeviceCounters>, now: Option<DeviceCounters>) -> Option<DeviceCounters> {
    match (before, now) {
        (Some(before), Some(now)) if !now.follows(before) => Some(before),
        (before, now) => now.or(before),
    }
}

impl Ended {
    /// Takes in a late change: the device's final counters.
    pub(super) fn on_change(&mut self, change: &DeviceChange) {
        if !change.is_last_word() {
            return;
        }
        self.on_last_counters(change.counters);
    }

    /// The device appears again. Returns the ledger with which a new entry counts on; `None` if it was never read.
    pub(super) fn resume(&mut self) -> Option<Ledger> {
        self.is_continued = true;
        self.ledger.returned()
    }

    /// Takes in late counters of the device, if they are not behind those that were read.
    pub(super) fn on_last_counters(&mut self, last: Directions<Option<DeviceCounters>>) {
        if !self.is_continued {
            self.ledger.close(last, None);
        }
    }

    /// Its totals.
    #[must_use]
    pub fn totals(&self) -> Directions<Totals> {
        self.ledger.totals()
    }

    /// The part of its totals that was counted since netmon started.
    #[must_use]
    pub fn recent(&self) -> Directions<Totals> {
        self.ledger.recent()
    }

    /// Whether its container created it: it belongs to no network of the engine.
    pub(super) fn is_own(&self) -> bool {
        self.owner.as_ref().is_some_and(Owner::is_own_device)
    }
}

/// An interface that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its id.
    pub id: InterfaceId,
    /// The file its namespace was mounted on.
    pub file: NetnsFile,
    /// The device, as last read.
    pub device: Arc<Device>,
    /// Its owner. It may become known only now, when the engine reports a container that has already ended.
    pub owner: Option<Owner>,
    /// What it counted.
    ledger: Ledger,
    /// When it ended.
    pub at: Instant,
    /// When its entry was made.
    pub(super) created: Stamp,
    /// It was closed while its namespace's file was missing, and a new entry counts from its totals on.
    is_continued: bool,
    /// Its programs, until they are given up.
    pub(super) rest: Option<Handle>,
}
