//! Room in the maps that all namespaces share. This module writes to the programs which namespaces are watched, and
//! corrects their numbers of keys. The map is [`netmon_common::share::MAP`].

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::BorrowedFd,
};

use netmon_common::share::{OF_DEVICE, OF_DEVICES, OF_NAMESPACE, OF_STRANGERS, STRANGERS, Share};

use super::{DatapathError, batch, store::Store};
use crate::model::interface::NetnsId;

/// How many keys a namespace may have more than its share counts. A key that is created while the daemon writes the share
/// may not count, and this costs nobody much.
const UNCOUNTED: u32 = OF_NAMESPACE / 8;

/// The numbers are corrected by one of so many readings, and by the next one after the daemon changed something: what is
/// watched, a namespace's room, or keys, which nobody else deletes. What is left is small: keys that were created while
/// a number was written.
const CORRECTED_EVERY: u32 = 4;

/// The namespaces that are watched, as the programs know them.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// How many readings it is until the next that corrects; 0 or 1 for the next one.
    rest: u32,
    watched: BTreeSet<NetnsId>,
    /// Those that have a share of their own in the map, and how many keys each may have. A namespace that is no longer
    /// watched may be among them: the kernel did not remove its share.
    with_share: BTreeMap<NetnsId, u32>,
}

impl Shares {
    /// Gives a namespace a share of its own from now on. If there is no room, it shares that of the unwatched ones.
    pub(super) fn watch(&mut self, map: &mut impl Store<u64, Share>, netns: NetnsId) -> Result<(), DatapathError> {
        self.watched.insert(netns);
        if self.has(netns) {
            return Ok(());
        }
        let (keys, room) = (0, OF_NAMESPACE);
        // Its keys so far are those of the unwatched ones.
        self.rest = 0;
        map.write(netns.0, Share { keys, room, noted: 0 })?;
        self.with_share.insert(netns, room);
        Ok(())
    }

    /// Gives a namespace room for this number of devices, which are not its own choice. The next reading writes it.
    pub(super) fn give(&mut self, netns: NetnsId, devices: usize) {
        if let Some(room) = self.with_share.get_mut(&netns) {
            let devices = u32::try_from(devices).unwrap_or(u32::MAX);
            let given = OF_NAMESPACE
                .saturating_add(devices.saturating_mul(OF_DEVICE))
                .min(OF_DEVICES);
            if *room != given {
                *room = given;
                self.rest = 0;
            }
        }
    }

    /// Has the next reading correct the numbers: keys are about to be deleted.
    pub(super) const fn correct_soon(&mut self) {
        self.rest = 0;
    }

    /// Whether the reading that begins corrects the numbers.
    pub(super) const fn corrects(&mut self) -> bool {
        self.rest = self.rest.saturating_sub(1);
        self.rest == 0
    }

    /// How many keys the unwatched namespaces have together, by a reading of all keys: how many each namespace has.
    pub(super) fn strangers(&self, keys: &BTreeMap<NetnsId, u32>) -> u32 {
        let strangers = keys.iter().filter(|(netns, _)| !self.has(**netns));
        strangers.map(|(_, keys)| keys).sum()
    }

    /// The namespaces that are watched.
    pub(super) fn watched(&self) -> impl Iterator<Item = NetnsId> {
        self.watched.iter().copied()
    }

    /// Whether a namespace is watched, with a share of its own or without.
    pub(super) fn is_watched(&self, netns: NetnsId) -> bool {
        self.watched.contains(&netns)
    }

    /// Whether a namespace has a share of its own.
    pub(super) fn has(&self, netns: NetnsId) -> bool {
        self.with_share.contains_key(&netns)
    }

    /// Corrects the numbers of keys, by a reading of all keys: how many each namespace has. If one was wrong, the next
    /// reading corrects them, too: what is created while a number is written may not count.
    ///
    /// `before` is what the map had before that reading, so every key that it counts was there to be read. If a share
    /// counts more than were read, keys were deleted since, or it counts some that there are not.
    pub(super) fn settle(
        &mut self,
        map: &mut impl Store<u64, Share>,
        before: &BTreeMap<NetnsId, Share>,
        keys: &BTreeMap<NetnsId, u32>,
    ) -> Result<(), DatapathError> {
        let noted = before.get(&NetnsId(STRANGERS)).map_or(0, |it| it.noted);
        map.write(STRANGERS, of_strangers(self.strangers(keys), noted))?;
        self.rest = CORRECTED_EVERY;
        for (netns, before) in before {
            let Some(room) = self.with_share.get(netns).copied() else {
                continue;
            };
            let keys = keys.get(netns).copied().unwrap_or(0);
            if room != before.room || before.keys > keys || keys - before.keys > UNCOUNTED {
                let noted = before.noted;
                self.rest = 0;
                map.write(netns.0, Share { keys, room, noted })?;
            }
        }
        Ok(())
    }

    /// Gives back the room of keys that were deleted: how many of each namespace. A key that is created at the same moment may
    /// not count.
    pub(super) fn free(
        map: &mut impl Store<u64, Share>,
        before: &BTreeMap<NetnsId, Share>,
        deleted: &BTreeMap<NetnsId, u32>,
    ) -> Result<(), DatapathError> {
        let strangers = NetnsId(STRANGERS);
        let mut freed: BTreeMap<NetnsId, u32> = BTreeMap::new();
        for (netns, keys) in deleted {
            let netns = if before.contains_key(netns) { *netns } else { strangers };
            *freed.entry(netns).or_default() += keys;
        }
        let written = freed.into_iter().filter_map(|(netns, deleted)| {
            let before = before.get(&netns)?;
            let keys = before.keys.saturating_sub(deleted);
            Some(map.write(netns.0, Share { keys, ..*before }))
        });
        written.fold(Ok(()), Result::and)
    }

    /// Removes the shares of the namespaces that are `gone`, and those that could not be removed earlier. Goes on after
    /// an error, and returns the first.
    pub(super) fn forget(
        &mut self,
        map: &mut impl Store<u64, Share>,
        gone: impl Fn(NetnsId) -> bool,
    ) -> Result<(), DatapathError> {
        self.watched.retain(|netns| !gone(*netns));
        let with_share = self.with_share.keys().copied();
        let gone: Vec<NetnsId> = with_share.filter(|netns| !self.watched.contains(netns)).collect();
        if !gone.is_empty() {
            self.rest = 0;
        }
        let removed = gone.into_iter().map(|netns| {
            map.remove(netns.0)?;
            self.with_share.remove(&netns);
            Ok(())
        });
        removed.fold(Ok(()), Result::and)
    }
}

/// Reads the shares of a map.
pub(super) fn read(map: BorrowedFd<'_>) -> Result<BTreeMap<NetnsId, Share>, DatapathError> {
    let mut shares = BTreeMap::new();
    batch::read(map, batch::ONE, |netns: u64, share: &[Share]| {
        shares.extend(share.first().map(|share| (NetnsId(netns), *share)));
    })
    .map_err(|error| DatapathError::of("read how many counts each namespace has", error))?;
    Ok(shares)
}

/// Lets the programs create keys. Before this they create none.
pub(super) fn begin(map: &mut impl Store<u64, Share>) -> Result<(), DatapathError> {
    map.write(STRANGERS, of_strangers(0, 0))
}

/// The share of all unwatched namespaces, which have so many keys, and of which this was noted.
const fn of_strangers(keys: u32, noted: u64) -> Share {
    let room = OF_STRANGERS;
    Share { keys, room, noted }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use netmon_common::share::{OF_DEVICE, OF_DEVICES, OF_NAMESPACE, STRANGERS, Share};

    use super::{Shares, UNCOUNTED, begin};
    use crate::{datapath::store::tests::Memory, model::interface::NetnsId};

    const ONE: NetnsId = NetnsId(1);
    const OTHER: NetnsId = NetnsId(2);
    const STRANGER: NetnsId = NetnsId(3);

    fn keys(map: &Memory<u64, Share>) -> Vec<(u64, u32)> {
        map.values.iter().map(|(netns, share)| (*netns, share.keys)).collect()
    }

    #[test]
    fn keys_that_are_not_there_use_no_share() {
        let (mut map, mut shares) = (Memory::default(), Shares::default());
        for netns in [ONE, OTHER] {
            assert!(shares.watch(&mut map, netns).is_ok());
        }
        // How many keys the first one's share counts after a reading. The other one's were all there.
        let mut settle = |had: u32, has: u32| {
            let room = OF_NAMESPACE;
            let noted = 5;
            let share = Share { keys: had, room, noted };
            let all = [ONE.0, OTHER.0, STRANGERS].map(|netns| (netns, share));
            map.values = all.into();
            let before: BTreeMap<_, _> = all.map(|(netns, share)| (NetnsId(netns), share)).into();
            let counted = [(ONE, has), (OTHER, had), (STRANGER, 4), (NetnsId(STRANGERS), 3)];
            let counted = counted.into();
            assert_eq!(shares.strangers(&counted), 7);
            assert!(shares.settle(&mut map, &before, &counted).is_ok());
            assert_eq!(keys(&map)[0], (STRANGERS, 7));
            assert_eq!(keys(&map)[2], (OTHER.0, had));
            assert!(
                map.values.values().all(|share| share.noted == noted),
                "notes are forgotten"
            );
            keys(&map)[1].1
        };
        // They were never created, or were deleted.
        assert_eq!(settle(OF_NAMESPACE, 0), 0);
        assert_eq!(settle(OF_NAMESPACE, OF_NAMESPACE - 1), OF_NAMESPACE - 1);
        // Those that were created meanwhile are counted by the programs.
        assert_eq!(settle(5, 5 + UNCOUNTED), 5);
        assert_eq!(settle(5, 6 + UNCOUNTED), 6 + UNCOUNTED);
    }

    #[test]
    fn a_namespace_with_many_devices_has_more_room_up_to_a_bound() {
        let (mut map, mut shares) = (Memory::default(), Shares::default());
        for netns in [ONE, OTHER] {
            assert!(shares.watch(&mut map, netns).is_ok());
        }
        let mut room = |devices: usize| {
            shares.give(ONE, devices);
            shares.give(STRANGER, devices);
            let before: BTreeMap<_, _> = map
                .values
                .iter()
                .map(|(netns, share)| (NetnsId(*netns), *share))
                .collect();
            assert!(shares.settle(&mut map, &before, &[(ONE, 7)].into()).is_ok());
            assert_eq!(keys(&map), [(STRANGERS, 0), (ONE.0, 7), (OTHER.0, 0)]);
            let room = |netns: NetnsId| map.values.get(&netns.0).map(|share| share.room);
            assert_eq!(room(OTHER), Some(OF_NAMESPACE), "it was given none");
            room(ONE)
        };
        assert_eq!(room(100), Some(OF_NAMESPACE + 100 * OF_DEVICE));
        assert_eq!(room(2), Some(OF_NAMESPACE + 2 * OF_DEVICE));
        assert_eq!(room(100_000), Some(OF_DEVICES));
        assert_eq!(room(usize::MAX), Some(OF_DEVICES));
    }

    #[test]
    fn the_numbers_are_corrected_now_and_then_and_after_every_change() {
        let (mut map, mut shares) = (Memory::default(), Shares::default());
        assert!(shares.watch(&mut map, ONE).is_ok());
        // A reading that finds as many keys as the share counts, or others.
        let mut read = |shares: &mut Shares, has: u32| {
            let corrects = shares.corrects();
            if corrects {
                let before = map.values.iter().map(|(netns, share)| (NetnsId(*netns), *share));
                let before = before.collect();
                assert!(shares.settle(&mut map, &before, &[(ONE, has)].into()).is_ok());
            }
            corrects
        };
        let in_turn = |shares: &mut Shares, read: &mut dyn FnMut(&mut Shares, u32) -> bool| {
            for corrects in [true, false, false, false, true, false, false, false] {
                assert_eq!(read(shares, 0), corrects);
            }
        };
        in_turn(&mut shares, &mut read);
        assert!(read(&mut shares, 1 + UNCOUNTED), "its turn, and a number is wrong");
        assert!(read(&mut shares, 1 + UNCOUNTED), "so the next one looks again");
        assert!(!read(&mut shares, 1 + UNCOUNTED));
        shares.correct_soon();
        assert!(read(&mut shares, 0) && read(&mut shares, 0), "keys were deleted");
        shares.give(ONE, 0);
        assert!(!read(&mut shares, 0), "it has that room");
        shares.give(ONE, 100);
        assert!(read(&mut shares, 0) && read(&mut shares, 0), "it gets more");
        assert!(!read(&mut shares, 0));
        assert!(shares.watch(&mut Memory::default(), OTHER).is_ok());
        assert!(read(&mut shares, 0) && !read(&mut shares, 0), "another one is watched");
        assert!(shares.forget(&mut Memory::default(), |netns| netns == OTHER).is_ok());
        assert!(read(&mut shares, 0) && !read(&mut shares, 0), "it is watched no more");
    }

    #[test]
    fn deleted_keys_give_their_room_back_at_once() {
        let mut map = Memory::default();
        let share = |keys| Share {
            keys,
            room: OF_NAMESPACE,
            noted: 5,
        };
        let before = [(NetnsId(STRANGERS), share(30)), (ONE, share(20)), (OTHER, share(10))].into();
        let deleted = [(ONE, 15), (STRANGER, 4), (NetnsId(99), 5)].into();
        assert!(Shares::free(&mut map, &before, &deleted).is_ok());
        assert_eq!(keys(&map), [(STRANGERS, 21), (ONE.0, 5)]);
        assert_eq!(map.values.get(&ONE.0).map(|share| share.noted), Some(5));
        let deleted = [(OTHER, 11)].into();
        assert!(Shares::free(&mut map, &before, &deleted).is_ok());
        assert_eq!(map.values.get(&OTHER.0).map(|share| share.keys), Some(0));
    }

    #[test]
    fn a_share_that_the_kernel_did_not_take_is_none() {
        let (mut map, mut shares) = (Memory::default(), Shares::default());
        map.refused = vec![ONE.0];
        assert!(shares.watch(&mut map, ONE).is_err());
        assert_eq!((shares.is_watched(ONE), shares.has(ONE)), (true, false));
        map.refused.clear();
        assert!(shares.watch(&mut map, ONE).is_ok());
        assert!(shares.has(ONE), "it is tried again");
        assert_eq!(keys(&map), [(ONE.0, 0)]);
    }

    #[test]
    fn a_share_that_the_kernel_did_not_remove_is_removed_later() {
        let (mut map, mut shares) = (Memory::default(), Shares::default());
        assert!(begin(&mut map).is_ok());
        for netns in [ONE, OTHER] {
            assert!(shares.watch(&mut map, netns).is_ok());
        }
        map.refused = vec![ONE.0];
        assert!(shares.forget(&mut map, |_| true).is_err());
        assert_eq!(keys(&map), [(STRANGERS, 0), (ONE.0, 0)], "the other one is removed");
        assert_eq!((shares.is_watched(ONE), shares.has(ONE)), (false, true));
        map.refused.clear();
        assert!(shares.forget(&mut map, |_| false).is_ok());
        assert_eq!(keys(&map), [(STRANGERS, 0)]);
        let calls = map.calls;
        assert!(shares.forget(&mut map, |_| true).is_ok());
        assert_eq!(map.calls, calls, "nothing is left");
    }
}
