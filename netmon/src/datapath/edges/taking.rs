//! Takes edges out of the kernel's map: of namespaces that are gone, of strangers, and to make room.

use std::collections::{BTreeMap, BTreeSet};

use netmon_common::{
    connection::MAP_ADDRESSES,
    edges::{Edge, Key, MAP, MAP_SOCKETS},
    share::MAP as MAP_SHARES,
};

use super::{
    EdgesMap,
    convert::{counts, id},
};
use crate::{
    datapath::{DatapathError, batch, share::Shares, store::Store, tracepoint::descriptor},
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

    /// Takes these edges out of the map, and returns what they had. What happens later is counted from 0 on.
    ///
    /// # Errors
    /// The kernel refuses: the first error. What was taken before is in `last`.
    pub fn take_edges(
        &mut self,
        edges: &BTreeSet<EdgeId>,
        last: &mut Vec<(EdgeId, EdgeCounts)>,
    ) -> Result<(), DatapathError> {
        self.take(|key| edges.contains(&id(key)), last)
    }

    /// Deletes the edges of these namespaces, unless they are watched by now.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn forget_unwatched(&mut self, foreign: &BTreeSet<NetnsId>) -> Result<(), DatapathError> {
        let unwatched = foreign.iter().filter(|netns| !self.shares.is_watched(**netns));
        let unwatched: BTreeSet<NetnsId> = unwatched.copied().collect();
        self.take(|key| unwatched.contains(&NetnsId(key.netns)), &mut Vec::new())
    }

    /// Takes edges out of the map, and adds what they had to `last`. Goes on after an error, and returns the first.
    fn take(&mut self, gone: impl Fn(&Key) -> bool, last: &mut Vec<(EdgeId, EdgeCounts)>) -> Result<(), DatapathError> {
        self.shares.correct_soon();
        let mut keys: Vec<Key> = Vec::new();
        self.each(|key, _| {
            if gone(&key) {
                keys.push(key);
            }
        })?;
        let map = descriptor(self.attached.shared_hash(MAP)?);
        let (mut result, mut taken) = (Ok(()), BTreeMap::new());
        for key in keys {
            match batch::take(map, batch::ONE, &key) {
                Ok(edges) => {
                    let edges: Option<Vec<Edge>> = edges;
                    for edge in edges.into_iter().flatten() {
                        *taken.entry(NetnsId(key.netns)).or_default() += 1;
                        if self.shares.is_watched(NetnsId(key.netns)) {
                            let open = edge.opened.wrapping_sub(edge.closed);
                            self.unended = self.unended.wrapping_add(open);
                        }
                        last.push((id(&key), counts(&edge)));
                    }
                }
                Err(error) => {
                    result = result.and(Err(DatapathError::of("delete the counts of TCP connections", error)));
                }
            }
        }
        // There is room again from now on, not only once the numbers are corrected.
        let before = self.attached.shares()?;
        let freed = Shares::free(&mut self.attached.hash(MAP_SHARES)?, &before, &taken);
        result.and(freed)
    }
}
