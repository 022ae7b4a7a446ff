//! Readings of devices. The registry is not locked while the kernel answers, so a reading is opened, made, and closed.
//! What happens to a device meanwhile is newer than the reading.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::State;
use crate::{
    datapath::traffic::Counters,
    model::{
        counters::{DeviceCounters, Directions, Traffic},
        interface::{InterfaceId, NetnsId},
    },
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
    /// When it was opened.
    stamp: Stamp,
    netns: NetnsId,
    /// The devices, and the counters of the programs on each.
    devices: Vec<(u32, Option<Counters>)>,
}

/// A moment: later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

/// What the programs on each device have counted, by ifindex.
pub type Counts = HashMap<u32, Directions<Traffic>>;

impl Opening {
    /// Reads what the programs have counted by now.
    #[must_use]
    pub fn read(&self) -> Counts {
        let read = |(ifindex, counters): &(u32, Option<Counters>)| Some((*ifindex, counters.as_ref()?.read()));
        self.devices.iter().filter_map(read).collect()
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
        let stamp = self.stamp();
        let counters = self
            .interfaces_of(netns)
            .map(|(ifindex, interface)| (ifindex, interface.programs.counters().cloned()));
        let devices: Vec<_> = counters.collect();
        (!devices.is_empty()).then_some(Opening { stamp, netns, devices })
    }

    /// Takes in a reading: the devices' counters, read between two readings of the programs'. A device that is not
    /// among them is deleted already.
    pub fn close_reading(
        &mut self,
        opening: &Opening,
        before: &Counts,
        devices: &HashMap<u32, Directions<DeviceCounters>>,
        after: &Counts,
    ) {
        for (ifindex, _) in &opening.devices {
            let id = InterfaceId {
                netns: opening.netns,
                ifindex: *ifindex,
            };
            let counters = devices.get(ifindex).copied();
            match self.interfaces.get_mut(&id) {
                Some(interface) if interface.created < opening.stamp => match counters {
                    // Counters of programs that are no longer the device's say nothing about it.
                    Some(device) if interface.programs_since > opening.stamp => interface.observe(None, device, None),
                    Some(device) => {
                        interface.observe(before.get(ifindex).copied(), device, after.get(ifindex).copied());
                    }
                    None => interface.estimate(),
                },
                _ => {
                    let mut ended = self.ended.iter_mut().rev();
                    let was_there =
                        ended.find(|it| it.id == id && it.created < opening.stamp && it.closed > opening.stamp);
                    if let (Some(ended), Some(last)) = (was_there, counters) {
                        ended.on_last_counters(last.map(Some));
                    }
                }
            }
        }
    }

    /// The devices of a namespace could not be read: estimates their counters from what their programs counted since.
    pub fn estimate(&mut self, netns: NetnsId) {
        for (_, interface) in self.interfaces_of(netns) {
            interface.estimate();
        }
    }
}
