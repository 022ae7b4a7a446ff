//! Room in the maps that all namespaces share. This module writes to the programs which namespaces are watched, and
//! corrects their numbers of keys after a reading. The map is [`netmon_common::share::MAP`].

use std::collections::BTreeSet;

use netmon_common::share::STRANGERS;

use super::{DatapathError, store::Store};
use crate::model::interface::NetnsId;

/// The namespaces that are watched, as the programs know them.
#[derive(Debug, Default)]
pub(super) struct Shares {
    watched: BTreeSet<NetnsId>,
    /// Those that have a share of their own in the map. A namespace that is no longer watched may be among them: the
    /// kernel did not remove its share.
    with_share: BTreeSet<NetnsId>,
}

impl Shares {
    /// Gives a namespace a share of its own from now on. If there is no room, it shares that of the unwatched ones.
    pub(super) fn watch(&mut self, map: &mut impl Store<u64, u32>, netns: NetnsId) -> Result<(), DatapathError> {
        self.watched.insert(netns);
        if self.has(netns) {
            return Ok(());
        }
        map.write(netns.0, 0)?;
        self.with_share.insert(netns);
        Ok(())
    }

    /// Whether a namespace is watched, with a share of its own or without.
    pub(super) fn is_watched(&self, netns: NetnsId) -> bool {
        self.watched.contains(&netns)
    }

    /// Whether a namespace has a share of its own.
    pub(super) fn has(&self, netns: NetnsId) -> bool {
        self.with_share.contains(&netns)
    }

    /// Sets the number of keys of all unwatched namespaces together.
    pub(super) fn settle(map: &mut impl Store<u64, u32>, strangers: u32) -> Result<(), DatapathError> {
        map.write(STRANGERS, strangers)
    }

    /// Sets the number of keys that a watched namespace has now.
    pub(super) fn recount(
        &self,
        map: &mut impl Store<u64, u32>,
        netns: NetnsId,
        keys: u32,
    ) -> Result<(), DatapathError> {
        if self.has(netns) {
            map.write(netns.0, keys)?;
        }
        Ok(())
    }

    /// Removes the shares of the namespaces that are `gone`, and those that could not be removed earlier. Goes on after
    /// an error, and returns the first.
    pub(super) fn forget(
        &mut self,
        map: &mut impl Store<u64, u32>,
        gone: impl Fn(NetnsId) -> bool,
    ) -> Result<(), DatapathError> {
        self.watched.retain(|netns| !gone(*netns));
        let gone: Vec<NetnsId> = self.with_share.difference(&self.watched).copied().collect();
        let removed = gone.into_iter().map(|netns| {
            map.remove(netns.0)?;
            self.with_share.remove(&netns);
            Ok(())
        });
        removed.fold(Ok(()), Result::and)
    }
}

/// Lets the programs create keys. Before this they create none.
pub(super) fn begin(map: &mut impl Store<u64, u32>) -> Result<(), DatapathError> {
    map.write(STRANGERS, 0)
}

#[cfg(test)]
mod tests {
    use netmon_common::share::STRANGERS;

    use super::{Shares, begin};
    use crate::{datapath::store::tests::Memory, model::interface::NetnsId};

    const ONE: NetnsId = NetnsId(1);
    const OTHER: NetnsId = NetnsId(2);

    #[test]
    fn a_share_that_the_kernel_did_not_take_is_none() {
        let (mut map, mut shares) = (Memory::default(), Shares::default());
        map.refused = vec![ONE.0];
        assert!(shares.watch(&mut map, ONE).is_err());
        assert_eq!((shares.is_watched(ONE), shares.has(ONE)), (true, false));
        map.refused.clear();
        assert!(shares.watch(&mut map, ONE).is_ok());
        assert!(shares.has(ONE), "it is tried again");
        assert_eq!(map.values, [(ONE.0, 0)].into());
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
        assert_eq!(
            map.values,
            [(STRANGERS, 0), (ONE.0, 0)].into(),
            "the other one is removed"
        );
        assert_eq!((shares.is_watched(ONE), shares.has(ONE)), (false, true));
        map.refused.clear();
        assert!(shares.forget(&mut map, |_| false).is_ok());
        assert_eq!(map.values, [(STRANGERS, 0)].into());
        let calls = map.calls;
        assert!(shares.forget(&mut map, |_| true).is_ok());
        assert_eq!(map.calls, calls, "nothing is left");
    }
}
