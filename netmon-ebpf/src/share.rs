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

#[cfg(test)]
mod tests {
    use netmon_common::share::{OF_NAMESPACE, OF_STRANGERS, STRANGERS};

    use super::{Room, take};
    use crate::testing::Table;

    const WATCHED: u64 = 7;
    const STRANGER: u64 = 8;

    fn shares(of_watched: u32, of_strangers: u32) -> Table<u64, u32> {
        Table::with([(WATCHED, of_watched), (STRANGERS, of_strangers)])
    }

    #[test]
    fn a_watched_namespace_uses_its_own_share() {
        let shares = shares(0, 0);
        assert_eq!(take(&shares, WATCHED), Room::ForAll);
        assert_eq!((shares.get(&WATCHED), shares.get(&STRANGERS)), (Some(1), Some(0)));
    }

    #[test]
    fn a_watched_namespace_without_a_share_left_no_longer_distinguishes_its_devices() {
        let shares = shares(OF_NAMESPACE - 1, 0);
        assert_eq!(take(&shares, WATCHED), Room::ForAll);
        assert_eq!(take(&shares, WATCHED), Room::WithoutDevice);
        assert_eq!(shares.get(&WATCHED), Some(OF_NAMESPACE));
    }

    #[test]
    fn all_others_use_one_share_together() {
        let shares = shares(0, 0);
        assert_eq!([STRANGER, STRANGERS, 9].map(|it| take(&shares, it)), [Room::ForAll; 3]);
        assert_eq!((shares.get(&WATCHED), shares.get(&STRANGERS)), (Some(0), Some(3)));
    }

    #[test]
    fn others_get_no_key_once_their_share_is_used_up() {
        let shares = shares(0, OF_STRANGERS);
        // 0 is the namespace that is not known, not a watched one that is called 0.
        assert_eq!([STRANGER, STRANGERS].map(|it| take(&shares, it)), [Room::None; 2]);
        assert_eq!(shares.get(&STRANGERS), Some(OF_STRANGERS));
        assert_eq!(take(&shares, WATCHED), Room::ForAll);
    }

    #[test]
    fn before_the_daemon_has_written_shares_there_is_no_room() {
        assert_eq!(take(&Table::default(), WATCHED), Room::None);
    }
}
