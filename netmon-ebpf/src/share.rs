//! Room in a map that all namespaces share, asked for when a key is not there yet and never else.
//!
//! Kernel facts relied on: none. Of CPUs that ask at once not all may be counted (this target has no atomic addition in
//! Rust), so that at the very worst a namespace takes its share once for each CPU. What all others have together the daemon
//! counts again when it reads.

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, macros::map, maps::HashMap};
use netmon_common::share::{MAX_ENTRIES, OF_NAMESPACE, OF_STRANGERS, STRANGERS};

#[map]
static SHARES: HashMap<u64, u32> = HashMap::with_max_entries(MAX_ENTRIES, BPF_F_NO_PREALLOC);

/// What a namespace may do with a key that is not there yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Make it.
    ForAll,
    /// Make it without the device: those are as many as it likes, and all else is not.
    WithoutDevice,
    /// Nothing.
    None,
}

/// Takes room for one key.
#[inline(always)]
pub(crate) fn take(netns: u64) -> Room {
    let (share, most, over) = match SHARES.get_ptr_mut(netns) {
        Some(share) if netns != STRANGERS => (share, OF_NAMESPACE, Room::WithoutDevice),
        _ => match SHARES.get_ptr_mut(STRANGERS) {
            Some(share) => (share, OF_STRANGERS, Room::None),
            None => return Room::None,
        },
    };
    // SAFETY: a value stays while the program runs; others may write meanwhile, see the module.
    unsafe {
        if *share >= most {
            return over;
        }
        *share += 1;
    }
    Room::ForAll
}
