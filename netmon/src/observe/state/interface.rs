//! One interface's page in the book, while it is there and after.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Owner, Scope};
use crate::{
    datapath::attach::Attachment,
    model::{
        buffers::Queue,
        counters::{DeviceCounters, Directions, Totals, Traffic},
        interface::{Device, InterfaceId},
        ledger::{Ledger, Reading},
    },
    netns::{discover::NetnsFile, watch::DeviceChange},
    network,
};

/// How long after a failure to attach it is tried again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest time between two tries: a slot may have become free.
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// An interface that is there.
#[derive(Debug)]
pub struct Interface {
    /// The device, as last looked at.
    pub device: Arc<Device>,
    /// Whose it is, once that is known.
    pub owner: Option<Owner>,
    /// What it counted.
    pub ledger: Ledger,
    /// The programs on it.
    pub programs: Programs,
    /// Its queue, where it has one.
    pub queue: Option<Queue>,
    /// When it was first seen.
    pub first_seen: Instant,
    /// What the kernel said it had counted when it stopped.
    final_counters: Directions<Option<DeviceCounters>>,
    /// How many packets its programs had unseen when it was last made sure that they are still there.
    unseen: u64,
    /// It had programs once, and somebody took them off.
    was_detached: bool,
    failures: u32,
    was_up: bool,
}

/// Whether programs count on an interface.
#[derive(Debug)]
pub enum Programs {
    /// Not yet.
    Waiting,
    /// They do.
    Attached(Attachment),
    /// They could not be attached; to be tried again then.
    Failed(Instant),
}

impl Programs {
    /// Takes the programs out, if there are any.
    pub fn take(&mut self) -> Option<Attachment> {
        match std::mem::replace(self, Self::Waiting) {
            Self::Attached(attachment) => Some(attachment),
            Self::Waiting | Self::Failed(_) => None,
        }
    }

    /// What they counted so far.
    #[must_use]
    pub fn read(&self) -> Option<Directions<Traffic>> {
        match self {
            Self::Attached(attachment) => Some(attachment.read()),
            Self::Waiting | Self::Failed(_) => None,
        }
    }
}

impl Interface {
    /// A page for a device that was just seen.
    #[must_use]
    pub fn new(device: Device, ledger: Ledger, now: Instant) -> Self {
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
        }
    }

    /// A page for a device that is new, and has not been looked at. What it counted up to now is in the news.
    pub(super) fn from_change(change: &DeviceChange, now: Instant) -> Self {
        let mut interface = Self::new(change.device.clone(), Ledger::default(), now);
        if let (Some(receive), Some(transmit)) = (change.counters.receive, change.counters.transmit) {
            interface.observe(None, Directions { receive, transmit });
        }
        interface.on_change(change);
        interface
    }

    /// Takes in what the device is like now. One that was up and is down now keeps its name and addresses: the engine
    /// takes a container's interface down, renames it and takes it out, and its last values belong to `eth0`.
    pub(super) fn describe(&mut self, device: Device) {
        let stopped = self.was_up && !device.up;
        self.was_up |= device.up;
        if stopped {
            Arc::make_mut(&mut self.device).up = false;
        } else if *self.device != device {
            self.device = Arc::new(device);
        }
    }

    /// Takes in whose it is. What was known once stays when the engine has forgotten.
    pub(super) fn belongs_to(&mut self, owner: Option<Owner>) {
        if owner.is_some() {
            self.owner = owner;
        }
    }

    /// Takes in news: a device that stopped or went tells what it counted; one that is up again will count on.
    ///
    /// And what it is like: a first look may come before the engine has given it its name and its hardware address, and
    /// the container be gone before the next one. Its network is found by those then.
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

    /// Whether news of a device may be of this one, though it may be of another's with the same number: of a container that
    /// went just before. They differ in their hardware addresses, once the engine has given this one its own.
    pub(super) fn may_be(&self, device: &Device) -> bool {
        device.mac == self.device.mac || self.owner.as_ref().is_none_or(Owner::is_own_device)
    }

    /// What was heard may not be the last word.
    pub(super) fn forget_final_counters(&mut self) {
        self.final_counters = Directions::default();
    }

    /// Takes in a reading of the device, made after the reading `before` of the programs' counters.
    pub fn observe(&mut self, before: Option<Directions<Traffic>>, device: Directions<DeviceCounters>) {
        let after = self.programs.read();
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

    /// The device could not be read: what its programs counted since tells how far it came.
    pub fn estimate(&mut self) {
        if let Some(map) = self.programs.read() {
            self.ledger.estimate(map);
        }
    }

    /// Whether the device passed packets that its programs did not see, since this was last asked.
    pub(super) fn misses_more_packets(&mut self) -> bool {
        let unseen = self.ledger.unseen();
        let before = std::mem::replace(&mut self.unseen, unseen);
        unseen > before && matches!(self.programs, Programs::Attached(_))
    }

    /// Its programs are off the device, and it waits for new ones. Gives what is left of them.
    pub(super) fn detach(&mut self) -> Option<Attachment> {
        self.ledger.part();
        self.unseen = 0;
        self.was_detached = true;
        self.programs.take()
    }

    /// Whether somebody took programs off it before.
    pub(super) const fn was_detached(&self) -> bool {
        self.was_detached
    }

    /// Whether it should get programs now.
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

    /// Takes in a failure to attach. Says whether it is the first.
    pub(super) fn fail(&mut self, now: Instant) -> bool {
        let delay = FIRST_RETRY
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST_RETRY);
        self.programs = Programs::Failed(now + delay);
        self.failures += 1;
        self.failures == 1
    }

    /// It is gone: settles its accounts.
    pub(super) fn end(mut self, id: InterfaceId, file: NetnsFile, now: Instant) -> Ended {
        self.ledger.close(self.final_counters, self.programs.read());
        let Self {
            device,
            owner,
            ledger,
            mut programs,
            ..
        } = self;
        Ended {
            id,
            file,
            device,
            owner,
            totals: ledger.totals(),
            recent: ledger.recent(),
            at: now,
            rest: programs.take(),
        }
    }
}

/// The later of two last words. A device is mostly taken down before it goes, and when it goes it may have forgotten
/// what it counted: a veth's receive counter is kept by its other end.
fn later(before: Option<DeviceCounters>, now: Option<DeviceCounters>) -> Option<DeviceCounters> {
    match (before, now) {
        (Some(before), Some(now)) if !now.follows(before) => Some(before),
        (before, now) => now.or(before),
    }
}

impl Ended {
    /// Takes in late news: what the device had counted when it stopped or went, if that is more than was known.
    pub(super) fn on_change(&mut self, change: &DeviceChange) {
        if !change.is_last_word() {
            return;
        }
        let missed = self.totals.zip(change.counters, |totals, last| {
            last.map_or_else(Totals::default, |last| totals.missed(last))
        });
        self.totals = self.totals + missed;
        self.recent = self.recent + missed;
    }

    /// Its container had made it itself: no network of the engine's accounts for it.
    pub(super) fn is_own(&self) -> bool {
        self.owner.as_ref().is_some_and(Owner::is_own_device)
    }
}

/// An interface that is gone.
#[derive(Debug)]
pub struct Ended {
    /// Which it was.
    pub id: InterfaceId,
    /// The file its namespace was mounted on.
    pub file: NetnsFile,
    /// The device, as last looked at.
    pub device: Arc<Device>,
    /// Whose it was. May become known only now, when the engine tells of a container that has ended already.
    pub owner: Option<Owner>,
    /// What it counted in all.
    pub totals: Directions<Totals>,
    /// What of that it counted since netmon came.
    pub recent: Directions<Totals>,
    /// When it went.
    pub at: Instant,
    /// Its programs and their slot, until nothing can count there any more.
    pub(super) rest: Option<Attachment>,
}
