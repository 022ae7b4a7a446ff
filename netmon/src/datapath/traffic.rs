//! The counters of packets: arrays in the kernel that are mapped into netmon's memory, with one slot per interface.
//!
//! A read is one load per counter and CPU, without a system call. Only this module allocates and frees slots.
//!
//! The kernel allocates an array as a whole, for every CPU that there may be. So there are several small ones, and each is
//! made when the first interface needs it.

#[cfg(test)]
mod tests;

use std::{
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use netmon_common::traffic::{DIRECTIONS, MAP, RECEIVE, TRANSMIT, Traffic, index};

use super::{
    DatapathError,
    host::Host,
    mapped::Mapped,
    slots::{self, SLOTS, Slots},
};
use crate::model::{
    counters::{Directions, since},
    health::MapRow,
    programs::Counts,
};

/// The words of a [`Traffic`], in the order of its fields.
const WORDS: usize = size_of::<Traffic>() / size_of::<u64>();

/// An array, in netmon's memory.
#[derive(Debug)]
struct Array {
    memory: Mapped,
    cpu_ids: u32,
}

/// All slots, and the arrays that they are in.
#[derive(Debug)]
pub struct TrafficMap {
    cpu_ids: u32,
    slots: Arc<Slots<Array>>,
}

/// A slot, freed when dropped. By then no program may count into it.
#[derive(Debug)]
pub struct Slot {
    slot: slots::Slot<Array>,
    counters: Counters,
}

/// The counters of a slot. They can be read after the slot was freed, but then they may be another device's.
#[derive(Clone, Debug)]
pub struct Counters {
    array: Arc<Array>,
    /// The slot's place in the array.
    place: u32,
    /// The counters at the time of allocation: the slot's previous user left them there.
    zero: Directions<Traffic>,
}

impl TrafficMap {
    /// No arrays yet, for this number of slots.
    pub(super) fn new(host: &Host, slots: u32) -> Self {
        Self {
            cpu_ids: host.cpu_ids,
            slots: Arc::new(Slots::new(slots)),
        }
    }

    /// The number of entries that an array needs on this host. The programs index it by the numbers of CPUs.
    #[must_use]
    pub const fn entries_on(host: &Host) -> u32 {
        Array::entries(host.cpu_ids)
    }

    /// Allocates a slot. Returns `None` if all are taken, and counts that failure. `create` makes the array of this number,
    /// with [`Self::entries_on`] this host, if the slot is the first one in it.
    ///
    /// # Errors
    /// There is no such array: what `create` returns, or the kernel does not map it (`BPF_F_MMAPABLE` needs 5.5). The slot
    /// stays free.
    pub(super) fn allocate<F: AsFd>(
        &self,
        create: impl FnOnce(u32) -> Result<F, DatapathError>,
    ) -> Result<Option<Slot>, DatapathError> {
        let slot = self
            .slots
            .allocate(|number| Array::map(create(number)?, self.cpu_ids))?;
        Ok(slot.map(|slot| {
            let (array, place) = (Arc::clone(slot.array()), slot.place());
            let zero = array.read(place);
            Slot {
                slot,
                counters: Counters { array, place, zero },
            }
        }))
    }

    /// How full the map is.
    #[must_use]
    pub fn row(&self) -> MapRow {
        self.slots.row(MAP)
    }
}

impl Array {
    /// The number of entries for this number of CPUs.
    const fn entries(cpu_ids: u32) -> u32 {
        cpu_ids.saturating_mul(SLOTS).saturating_mul(DIRECTIONS)
    }

    /// Maps an array into memory, which has as many entries as that.
    fn map(array: impl AsFd, cpu_ids: u32) -> Result<Self, DatapathError> {
        let memory = Mapped::new(array, Self::entries(cpu_ids) as usize * WORDS)?;
        Ok(Self { memory, cpu_ids })
    }

    /// Sums the counters of a place over all CPUs.
    #[inline]
    fn read(&self, place: u32) -> Directions<Traffic> {
        let mut sums = Directions::<Traffic>::default();
        let words = self.memory.words();
        for cpu in 0..self.cpu_ids {
            // The other direction's are behind these.
            let at = index(cpu, SLOTS, place, RECEIVE) as usize * WORDS;
            let both = words.get(at..).and_then(<[_]>::first_chunk::<{ 2 * WORDS }>);
            debug_assert!(both.is_some(), "places and CPUs are within the array");
            if let Some((receive, rest)) = both.and_then(|both| both.split_first_chunk::<WORDS>()) {
                add(&mut sums.receive, receive);
                if let Some(transmit) = rest.first_chunk() {
                    add(&mut sums.transmit, transmit);
                }
            }
        }
        sums
    }
}

const _: () = assert!(DIRECTIONS == 2 && RECEIVE == 0 && TRANSMIT == 1);

/// Adds a CPU's counters.
#[inline]
fn add(sum: &mut Traffic, [packets, bytes, segments, wire_bytes, tcp_segments]: &[AtomicU64; WORDS]) {
    let add = |sum: &mut u64, more: &AtomicU64| *sum = sum.wrapping_add(more.load(Ordering::Relaxed));
    add(&mut sum.packets, packets);
    add(&mut sum.bytes, bytes);
    add(&mut sum.segments, segments);
    add(&mut sum.wire_bytes, wire_bytes);
    add(&mut sum.tcp_segments, tcp_segments);
}

impl Slot {
    /// The slot's number.
    #[must_use]
    pub(super) const fn number(&self) -> u32 {
        self.slot.number()
    }

    /// Its counters.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Counts for Counters {
    /// The counts since the slot was allocated.
    fn read(&self) -> Directions<Traffic> {
        self.array.read(self.place).zip(self.zero, since)
    }
}
