//! The counters of packets: an array in the kernel that is mapped into netmon's memory, with one slot per interface.
//!
//! A read is one load per counter and CPU, without a system call. Only this module allocates and frees slots.

use std::{
    os::fd::AsFd,
    ptr::{NonNull, null_mut},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use netmon_common::{
    refusal,
    traffic::{DIRECTIONS, MAP, RECEIVE, TRANSMIT, Traffic, index},
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{DatapathError, host::Host};
use crate::model::{
    counters::{Directions, since},
    health::MapRow,
    programs::Counts,
};

/// A [`Traffic`] in the map. The kernel writes to it while netmon reads.
#[repr(C)]
struct Shared {
    packets: AtomicU64,
    bytes: AtomicU64,
    segments: AtomicU64,
    wire_bytes: AtomicU64,
    tcp_segments: AtomicU64,
}

const _: () = assert!(size_of::<Shared>() == size_of::<Traffic>() && align_of::<Shared>() == align_of::<Traffic>());

/// The map, in netmon's memory.
#[derive(Debug)]
pub struct TrafficMap {
    memory: NonNull<Shared>,
    cpu_ids: u32,
    slots: u32,
    free: Mutex<Free>,
}

// SAFETY: the memory is only ever read, through atomics. It stays mapped until the last owner drops the map.
#[expect(unsafe_code, reason = "a raw pointer is neither by itself")]
unsafe impl Send for TrafficMap {}
// SAFETY: as above. Shared readers use atomics.
#[expect(unsafe_code, reason = "a raw pointer is neither by itself")]
unsafe impl Sync for TrafficMap {}

#[derive(Debug)]
struct Free {
    /// Slots that were freed. They are used again before fresh ones, so that the memory in use stays small.
    returned: Vec<u32>,
    /// The first slot that was never used.
    fresh: u32,
    /// How often an allocation failed because all slots were taken.
    refused: u64,
}

/// A slot of the map, freed when dropped. By then no program may count into it.
#[derive(Debug)]
pub struct Slot(Counters);

/// The counters of a slot. They can be read after the slot was freed, but then they may be another device's.
#[derive(Clone, Debug)]
pub struct Counters {
    map: Arc<TrafficMap>,
    number: u32,
    /// The counters at the time of allocation: the slot's previous user left them there.
    zero: Directions<Traffic>,
}

impl TrafficMap {
    /// The number of entries for these numbers of CPUs.
    const fn entries(cpu_ids: u32, slots: u32) -> u32 {
        cpu_ids.saturating_mul(slots).saturating_mul(DIRECTIONS)
    }

    /// The number of entries that the array needs on this host. The programs index it by the numbers of CPUs.
    #[must_use]
    pub const fn entries_on(host: &Host, slots: u32) -> u32 {
        Self::entries(host.cpu_ids, slots)
    }

    /// Maps the array of [`Self::entries_on`] this host into memory.
    ///
    /// # Errors
    /// The kernel does not map it (`BPF_F_MMAPABLE` needs 5.5).
    #[expect(unsafe_code, reason = "mapping memory")]
    pub(super) fn map(array: impl AsFd, host: &Host, slots: u32) -> Result<Self, DatapathError> {
        let cpu_ids = host.cpu_ids;
        let failed = |error: rustix::io::Errno| DatapathError::of("map the counters into memory", error.into());
        let length = Self::bytes(cpu_ids, slots);
        // SAFETY: no address is requested, so no existing mapping is replaced.
        let memory = unsafe { mmap(null_mut(), length, ProtFlags::READ, MapFlags::SHARED, array, 0) };
        let memory = NonNull::new(memory.map_err(failed)?.cast()).ok_or_else(|| failed(rustix::io::Errno::NOMEM))?;
        let free = Mutex::new(Free {
            returned: Vec::new(),
            fresh: 0,
            refused: 0,
        });
        Ok(Self {
            memory,
            cpu_ids,
            slots,
            free,
        })
    }

    const fn bytes(cpu_ids: u32, slots: u32) -> usize {
        Self::entries(cpu_ids, slots) as usize * size_of::<Traffic>()
    }

    /// Allocates a slot. Returns `None` if all are taken, and counts that failure.
    #[must_use]
    pub fn allocate(self: &Arc<Self>) -> Option<Slot> {
        let number = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(number) = free.returned.pop() {
                number
            } else if free.fresh < self.slots {
                free.fresh += 1;
                free.fresh - 1
            } else {
                free.refused += 1;
                return None;
            }
        };
        Some(Slot(Counters {
            zero: self.read(number),
            map: Arc::clone(self),
            number,
        }))
    }

    /// How full the map is.
    #[must_use]
    pub fn row(&self) -> MapRow {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let used = u64::from(free.fresh) - free.returned.len() as u64;
        MapRow {
            map: MAP,
            entries: used,
            max_entries: self.slots.into(),
            update_failures: vec![(refusal::NAMES[refusal::FULL as usize], free.refused)],
        }
    }

    /// Sums a slot's counters over all CPUs.
    fn read(&self, slot: u32) -> Directions<Traffic> {
        Directions {
            receive: self.sum(slot, RECEIVE),
            transmit: self.sum(slot, TRANSMIT),
        }
    }

    #[expect(unsafe_code, reason = "reading mapped memory")]
    fn sum(&self, slot: u32, direction: u32) -> Traffic {
        (0..self.cpu_ids).fold(Traffic::default(), |sum, cpu| {
            let at = index(cpu, self.slots, slot, direction) as usize;
            debug_assert!(at < Self::entries(self.cpu_ids, self.slots) as usize);
            // SAFETY: slots come from `allocate` and are below `slots`. Numbers of CPUs are below `cpu_ids`, and directions below
            // DIRECTIONS. So `at` is below `entries`, for which the memory was mapped. The memory stays mapped until
            // `self` is dropped, is aligned to a page, and is read through atomics only.
            let shared = unsafe { self.memory.add(at).as_ref() };
            let Shared {
                packets,
                bytes,
                segments,
                wire_bytes,
                tcp_segments,
            } = shared;
            Traffic {
                packets: sum.packets.wrapping_add(packets.load(Ordering::Relaxed)),
                bytes: sum.bytes.wrapping_add(bytes.load(Ordering::Relaxed)),
                segments: sum.segments.wrapping_add(segments.load(Ordering::Relaxed)),
                wire_bytes: sum.wire_bytes.wrapping_add(wire_bytes.load(Ordering::Relaxed)),
                tcp_segments: sum.tcp_segments.wrapping_add(tcp_segments.load(Ordering::Relaxed)),
            }
        })
    }
}

impl Drop for TrafficMap {
    #[expect(unsafe_code, reason = "unmapping memory")]
    fn drop(&mut self) {
        // SAFETY: `map` mapped the memory with this length. Nothing can read it any more: whoever reads it owns a part of
        // the `Arc`.
        let _unmapped = unsafe { munmap(self.memory.as_ptr().cast(), Self::bytes(self.cpu_ids, self.slots)) };
    }
}

impl Slot {
    /// The slot's number, which is a constant in the interface's copy of the programs.
    #[must_use]
    pub(super) const fn number(&self) -> u32 {
        self.0.number
    }

    /// Its counters.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.0
    }
}

impl Counts for Counters {
    /// The counts since the slot was allocated.
    fn read(&self) -> Directions<Traffic> {
        self.map.read(self.number).zip(self.zero, since)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Counters { map, number, .. } = &self.0;
        let mut free = map.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.returned.push(*number);
    }
}
