//! Room in a map that all namespaces share. It is checked only before a new key is created.
//!
//! Kernel facts relied on: none. If several CPUs ask at the same moment, some requests may not be counted, because
//! this target has no atomic addition in Rust. At worst, a namespace takes its share once per CPU. The daemon
//! corrects the number of keys of unwatched namespaces when it reads.

use netmon_common::share::{OF_NAMESPACE, OF_STRANGERS, STRANGERS};

use crate::maps::Map;

/// What a namespace may do about a missing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Create it.
    ForAll,
    /// Create it without the device. A namespace can have any number of devices, but the rest of a key is limited.
    WithoutDevice,
    /// Create no key.
    None,
}

/// Reserves room for one key.
#[inline(always)]
pub(crate) fn take(shares: &impl Map<u64, u32>, netns: u64) -> Room {
    // A variable, because a reference to a constant would become one more section of read-only data, and so a map.
    let strangers = STRANGERS;
    let (share, most, over) = match shares.find(&netns) {
        Some(share) if netns != strangers => (share, OF_NAMESPACE, Room::WithoutDevice),
        _ => match shares.find(&strangers) {
            Some(share) => (share, OF_STRANGERS, Room::None),
            None => return Room::None,
        },
    };
    // SAFETY: the value exists while the program runs. Others may write meanwhile, see the module.
    unsafe {
        if *share >= most {
            return over;
        }
        *share += 1;
    }
    Room::ForAll
}
