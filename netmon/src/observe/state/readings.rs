//! Readings of devices. Nobody waits for the kernel with the registry in hand, so a reading is opened, made, and closed.
//! What happened meanwhile is newer than the reading.

use std::collections::HashMap;

use super::State;
use crate::{
    datapath::traffic::Counters,
    model::{
        counters::{DeviceCounters, Directions, Traffic},
        interface::NetnsId,
    },
};

/// A reading of a namespace's devices that is being made.
#[derive(Debug)]
pub struct Opening {
    /// Its number. An interface that was created, changed its programs, or was read since has a higher one.
    number: u64,
    netns: NetnsId,
    /// The counters of the programs on each device.
    programs: Vec<(u32, Option<Counters>)>,
}

/// What the programs on each device have counted, by ifindex.
pub type Counts = HashMap<u32, Directions<Traffic>>;

impl Opening {
    /// Reads what the programs have counted by now.
    #[must_use]
    pub fn read(&self) -> Counts {
        let read = |(ifindex, counters): &(u32, Option<Counters>)| Some((*ifindex, counters.as_ref()?.read()));
        self.programs.iter().filter_map(read).collect()
    }
}

impl State {
    /// Numbers what happens now.
    pub(super) fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }

    /// Opens a reading of a namespace's devices; `None` if there are none.
    pub fn open_reading(&mut self, netns: NetnsId) -> Option<Opening> {
        let number = self.stamp();
        let counters = self
            .interfaces_of(netns)
            .map(|(ifindex, interface)| (ifindex, interface.programs.counters().cloned()));
        let programs: Vec<_> = counters.collect();
        (!programs.is_empty()).then_some(Opening {
            number,
            netns,
            programs,
        })
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
        for (ifindex, interface) in self.interfaces_of(opening.netns) {
            if interface.stamp >= opening.number {
                continue;
            }
            interface.stamp = opening.number;
            match devices.get(&ifindex) {
                Some(device) => {
                    interface.observe(before.get(&ifindex).copied(), *device, after.get(&ifindex).copied());
                }
                None => interface.estimate(),
            }
        }
    }
}
