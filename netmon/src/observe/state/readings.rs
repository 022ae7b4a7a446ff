//! Readings of devices. The registry is not locked while the kernel answers, so a reading is opened, made, and closed.
//! What happens to a device meanwhile is newer than the reading.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Interface, State};
use crate::model::{
    counters::{DeviceCounters, Directions, Traffic},
    interface::{InterfaceId, NetnsId},
    programs::{Attached, Handle},
};

/// Held by whoever reads the devices of a namespace. The kernel may answer two requests in either order, and counters
/// must not be taken in after later ones. The registry is never locked when this is waited for.
#[derive(Clone, Debug, Default)]
pub struct ReadingLock(Arc<Mutex<()>>);

impl ReadingLock {
    /// Waits until nobody else is reading the namespace.
    pub fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reading of a namespace's devices that is being made.
#[derive(Debug)]
pub struct Opening {
    netns: NetnsId,
    devices: Vec<Opened>,
}

/// A device that is being read.
#[derive(Debug)]
struct Opened {
    ifindex: u32,
    /// When its entry was made.
    created: Stamp,
    programs: Option<Attached>,
}

/// A moment. No two are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

/// What the programs on each device have counted, in the order of the devices of an [`Opening`].
#[derive(Clone, Debug, Default)]
pub struct Counts(Vec<Option<Directions<Traffic>>>);

impl Opened {
    fn handle(&self) -> Option<Handle> {
        self.programs.as_ref().map(|programs| programs.handle)
    }
}

impl Opening {
    /// Reads what the programs have counted by now.
    #[must_use]
    pub fn read(&self) -> Counts {
        let read = |opened: &Opened| Some(opened.programs.as_ref()?.counts.read());
        Counts(self.devices.iter().map(read).collect())
    }
}

impl State {
    /// This moment.
    pub(super) const fn stamp(&mut self) -> Stamp {
        self.stamp.0 += 1;
        self.stamp
    }

    /// The lock for the readings of a namespace that exists.
    #[must_use]
    pub fn reading_lock(&self, netns: NetnsId) -> Option<ReadingLock> {
        self.namespaces.get(&netns).map(|namespace| namespace.reading.clone())
    }

    /// Opens a reading of a namespace's devices; `None` if there are none.
    pub fn open_reading(&mut self, netns: NetnsId) -> Option<Opening> {
        let opened = |(ifindex, interface): (u32, &mut Interface)| Opened {
            ifindex,
            created: interface.created,
            programs: interface.programs.attached().cloned(),
        };
        let devices: Vec<_> = self.interfaces_of(netns).map(opened).collect();
        (!devices.is_empty()).then_some(Opening { netns, devices })
    }

    /// Takes in a reading: the devices' counters, in the order of their ifindexes, read between two readings of the
    /// programs'. A device that is not among them is deleted already: its last counters may still come, and only they are
    /// its own.
    pub fn close_reading(
        &mut self,
        opening: &Opening,
        before: &Counts,
        devices: &[(u32, Directions<DeviceCounters>)],
        after: &Counts,
    ) {
        debug_assert!(
            devices.is_sorted_by_key(|(ifindex, _)| *ifindex),
            "devices are in order"
        );
        for (at, opened) in opening.devices.iter().enumerate() {
            let ifindex = opened.ifindex;
            let id = InterfaceId {
                netns: opening.netns,
                ifindex,
            };
            let [before, after] = [before, after].map(|Counts(counts)| counts.get(at).copied().flatten());
            let device = devices.binary_search_by_key(&ifindex, |(ifindex, _)| *ifindex);
            let device = device.ok().map(|at| devices[at].1);
            let living = self.interfaces.get_mut(&id).filter(|it| it.created == opened.created);
            match (living, device) {
                // Counters of programs that are no longer the device's say nothing about it.
                (Some(interface), Some(device)) if interface.programs.handle() != opened.handle() => {
                    interface.observe(None, device, None);
                }
                (Some(interface), Some(device)) => interface.observe(before, device, after),
                (Some(interface), None) => interface.count(),
                (None, Some(last)) => {
                    let mut ended = self.ended.iter_mut().rev();
                    if let Some(ended) = ended.find(|it| it.id == id && it.created == opened.created) {
                        ended.on_last_counters(last.map(Some));
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// The devices of a namespace are gone, it seems: takes in what their programs counted.
    pub fn count(&mut self, netns: NetnsId) {
        for (_, interface) in self.interfaces_of(netns) {
            interface.count();
        }
    }

    /// The devices of a namespace could not be read: estimates their counters from what their programs counted since.
    pub fn estimate(&mut self, netns: NetnsId) {
        for (_, interface) in self.interfaces_of(netns) {
            interface.estimate();
        }
    }
}
