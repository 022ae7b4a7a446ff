//! Takes edges out of the kernel's map: of namespaces that are gone, of strangers, and to make room.

use std::collections::{BTreeMap, BTreeSet};

use netmon_common::{
    connection::MAP_ADDRESSES,
    edges::{Edge, Key, MAP, MAP_SOCKETS},
    share::MAP as MAP_SHARES,
};

use super::{
    EdgesMap, READING,
    convert::{counts, id},
};
use crate::{
    datapath::{DatapathError, share::Shares, store::Store},
    model::{
        edges::{EdgeCounts, EdgeId},
        interface::NetnsId,
    },
};

impl EdgesMap {
    /// Takes the edges of the namespaces that are `gone` out of the map, and adds them to `last`. Takes back their room.
    /// Goes on after an error.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn forget(
        &mut self,
        gone: &BTreeSet<NetnsId>,
        last: &mut Vec<(EdgeId, EdgeCounts)>,
    ) -> Result<(), DatapathError> {
        let deleted = self.take(|key| gone.contains(&NetnsId(key.netns)), last);
        let unwatched = self.unwatch(|netns| gone.contains(&netns));
        deleted.and(unwatched)
    }

    /// Takes back the room of these namespaces. Goes on after an error. What is left is tried again by the next call.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn unwatch(&mut self, gone: impl Fn(NetnsId) -> bool) -> Result<(), DatapathError> {
        let before: Vec<NetnsId> = self.shares.watched().collect();
        let shares = self.shares.forget(&mut self.attached.hash(MAP_SHARES)?, gone);
        let mut sockets = self.attached.hash::<u64, u64>(MAP_SOCKETS)?;
        let gone = before.into_iter().filter(|netns| !self.shares.is_watched(*netns));
        let removed = gone
            .map(|netns| Store::remove(&mut sockets, netns.0))
            .fold(Ok(()), Result::and);
        let mut addresses = self.attached.hash(MAP_ADDRESSES)?;
        let emptied = self
            .addresses
            .forget(&mut addresses, |netns| !self.shares.is_watched(netns));
        shares.and(removed).and(emptied)
    }

    /// Takes `idle` edges out of the map, and adds what they had to `last`; what happens later is counted from 0 on. Also
    /// deletes the edges of `foreign` namespaces, unless they are watched by now.
    ///
    /// # Errors
    /// The kernel refuses: the first error. What was taken before is in `last`.
    pub fn make_room(
        &mut self,
        idle: &BTreeSet<EdgeId>,
        foreign: &BTreeSet<NetnsId>,
        last: &mut Vec<(EdgeId, EdgeCounts)>,
    ) -> Result<(), DatapathError> {
        let unwatched = foreign.iter().filter(|netns| !self.shares.is_watched(**netns));
        let unwatched: BTreeSet<NetnsId> = unwatched.copied().collect();
        let is_foreign = |key: &Key| unwatched.contains(&NetnsId(key.netns));
        let taken = self.take(|key| is_foreign(key) || idle.contains(&id(key)), last);
        last.retain(|(id, _)| !unwatched.contains(&id.interface.netns));
        taken
    }

    /// Takes edges out of the map, and adds what they had to `last`. Goes on after an error, and returns the first.
    fn take(&mut self, gone: impl Fn(&Key) -> bool, last: &mut Vec<(EdgeId, EdgeCounts)>) -> Result<(), DatapathError> {
        self.shares.correct_soon();
        let what = [READING, "delete the counts of TCP connections by their ends"];
        let (shares, unended) = (&self.shares, &mut self.unended);
        let mut taken: BTreeMap<NetnsId, u32> = BTreeMap::new();
        let result = self.attached.take(MAP, what, gone, |key: Key, edge: &Edge| {
            let netns = NetnsId(key.netns);
            *taken.entry(netns).or_default() += 1;
            if shares.is_watched(netns) {
                *unended = unended.wrapping_add(edge.opened.wrapping_sub(edge.closed));
            }
            last.push((id(&key), counts(edge)));
        });
        if taken.is_empty() {
            return result;
        }
        // There is room again from now on, not only once the numbers are corrected.
        let before = self.attached.shares()?;
        let freed = Shares::free(&mut self.attached.hash(MAP_SHARES)?, &before, &taken);
        result.and(freed)
    }
}
