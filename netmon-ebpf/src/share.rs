//! Room in a map that all namespaces share. It is checked only before a new key is created, and used only when the key
//! was created.
//!
//! Kernel facts relied on: none. If several CPUs create keys at the same moment, each may find room before the others have
//! used it. So a namespace may take one key more for every other CPU. The daemon corrects the number of keys now
//! and then.

use netmon_common::share::{STRANGERS, Share};

use crate::{counter, maps::Map};

/// Room for one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    share: *mut Share,
    /// Whether the key may have the device. Beyond its share, a namespace's new keys have none: it can have any number of
    /// devices, but the rest of a key is limited.
    pub(crate) has_device: bool,
}

impl Room {
    /// Counts the key that was created.
    #[inline(always)]
    pub(crate) fn take(self) {
        // SAFETY: the value exists while the program runs.
        unsafe { counter::add_small(&raw mut (*self.share).keys, 1) };
    }
}

/// What a namespace may do about a missing key. `None`: it must not be created.
#[inline(always)]
pub(crate) fn look(shares: &impl Map<u64, Share>, netns: u64) -> Option<Room> {
    let (share, is_watched) = of(shares, netns)?;
    // SAFETY: the value exists while the program runs. Others may write meanwhile, see the module.
    let has_device = unsafe { (*share).keys < (*share).room };
    if has_device || is_watched {
        Some(Room { share, has_device })
    } else {
        None
    }
}

/// The share of a namespace, and whether it is its own. The others have one together.
#[inline(always)]
pub(crate) fn of(shares: &impl Map<u64, Share>, netns: u64) -> Option<(*mut Share, bool)> {
    // A variable, because a reference to a constant would become one more section of read-only data, and so a map.
    let strangers = STRANGERS;
    match shares.find(&netns) {
        Some(share) if netns != strangers => Some((share, true)),
        _ => Some((shares.find(&strangers)?, false)),
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::share::{STRANGERS, Share};

    use super::look;
    use crate::testing::Table;

    const WATCHED: u64 = 7;
    const STRANGER: u64 = 8;

    /// The shares of a watched namespace and of all others: how many keys of how many.
    fn shares(watched: (u32, u32), strangers: (u32, u32)) -> Table<u64, Share> {
        let share = |(keys, room)| Share { keys, room, noted: 0 };
        Table::with([(WATCHED, share(watched)), (STRANGERS, share(strangers))])
    }

    fn keys(shares: &Table<u64, Share>) -> (Option<u32>, Option<u32>) {
        let keys = |netns| shares.get(&netns).map(|share| share.keys);
        (keys(WATCHED), keys(STRANGERS))
    }

    /// Creates a key. Whether it may have the device; `None` if it may not be created.
    fn create(shares: &Table<u64, Share>, netns: u64) -> Option<bool> {
        let room = look(shares, netns)?;
        room.take();
        Some(room.has_device)
    }

    #[test]
    fn a_watched_namespace_uses_its_own_share() {
        let shares = shares((0, 9), (0, 9));
        assert_eq!(create(&shares, WATCHED), Some(true));
        assert_eq!(keys(&shares), (Some(1), Some(0)));
    }

    #[test]
    fn a_look_uses_nothing() {
        let shares = shares((0, 9), (0, 9));
        assert!([WATCHED, STRANGER].iter().all(|netns| look(&shares, *netns).is_some()));
        assert_eq!(keys(&shares), (Some(0), Some(0)));
    }

    #[test]
    fn a_watched_namespace_without_a_share_left_no_longer_distinguishes_its_devices() {
        let shares = shares((8, 9), (0, 9));
        assert_eq!(create(&shares, WATCHED), Some(true));
        assert_eq!(create(&shares, WATCHED), Some(false));
        assert_eq!(keys(&shares), (Some(10), Some(0)), "a key without a device is one, too");
    }

    #[test]
    fn all_others_use_one_share_together() {
        let shares = shares((0, 9), (0, 9));
        assert_eq!([STRANGER, STRANGERS, 9].map(|it| create(&shares, it)), [Some(true); 3]);
        assert_eq!(keys(&shares), (Some(0), Some(3)));
    }

    #[test]
    fn others_get_no_key_once_their_share_is_used_up() {
        let shares = shares((0, 9), (9, 9));
        // 0 is the namespace that is not known, not a watched one that is called 0.
        assert_eq!([STRANGER, STRANGERS].map(|it| create(&shares, it)), [None; 2]);
        assert_eq!(keys(&shares), (Some(0), Some(9)));
        assert_eq!(create(&shares, WATCHED), Some(true));
    }

    #[test]
    fn a_share_is_as_large_as_the_daemon_says() {
        let shares = shares((20, 21), (0, 9));
        assert_eq!([WATCHED; 2].map(|it| create(&shares, it)), [Some(true), Some(false)]);
    }

    #[test]
    fn before_the_daemon_has_written_shares_there_is_no_room() {
        assert_eq!(create(&Table::default(), WATCHED), None);
    }
}
