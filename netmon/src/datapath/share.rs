//! Room in the maps that all namespaces share. This module writes to the programs which namespaces are watched, and
//! corrects their numbers of keys after a reading. The map is [`netmon_common::share::MAP`].

use std::collections::BTreeSet;

use aya::maps::{HashMap, Map, MapData};
use netmon_common::share::STRANGERS;

use super::DatapathError;
use crate::model::interface::NetnsId;

/// The namespaces that are watched, as the programs know them.
#[derive(Debug, Default)]
pub(super) struct Shares {
    watched: BTreeSet<NetnsId>,
    /// Those of them that have a share of their own.
    with_share: BTreeSet<NetnsId>,
}

impl Shares {
    /// Gives a namespace a share of its own from now on. If there is no room, it shares that of the unwatched ones.
    pub(super) fn watch(&mut self, map: &mut Map, netns: NetnsId) -> Result<(), DatapathError> {
        self.watched.insert(netns);
        if self.has(netns) {
            return Ok(());
        }
        write(map, netns.0, 0)?;
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
    pub(super) fn settle(map: &mut Map, strangers: u32) -> Result<(), DatapathError> {
        write(map, STRANGERS, strangers)
    }

    /// Sets the number of keys that a watched namespace has now.
    pub(super) fn recount(&self, map: &mut Map, netns: NetnsId, keys: u32) -> Result<(), DatapathError> {
        if self.has(netns) {
            write(map, netns.0, keys)?;
        }
        Ok(())
    }

    /// Removes the shares of the namespaces that are `gone`, as far as the kernel lets it.
    pub(super) fn forget(&mut self, map: &mut Map, gone: impl Fn(NetnsId) -> bool) -> Result<(), DatapathError> {
        self.watched.retain(|netns| !gone(*netns));
        let gone: Vec<NetnsId> = self.with_share.extract_if(.., |netns| gone(*netns)).collect();
        let mut map: HashMap<&mut MapData, u64, u32> = map.try_into().map_err(DatapathError::map)?;
        let removed = gone
            .iter()
            .map(|netns| map.remove(&netns.0).map_err(DatapathError::map));
        removed.fold(Ok(()), Result::and)
    }
}

/// Lets the programs create keys. Before this they create none.
pub(super) fn begin(map: &mut Map) -> Result<(), DatapathError> {
    write(map, STRANGERS, 0)
}

fn write(map: &mut Map, netns: u64, keys: u32) -> Result<(), DatapathError> {
    let mut map: HashMap<&mut MapData, u64, u32> = map.try_into().map_err(DatapathError::map)?;
    map.insert(netns, keys, 0).map_err(DatapathError::map)
}
