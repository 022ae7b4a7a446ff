//! Decides which networks to ask for their members, and when: a few at a time, and none too often. Pure.
//!
//! The answer is long, and no event reports changes on other nodes. So each network is asked at every full sync, and
//! soon after this node's own containers on it changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    docker::question::MembersAnswer,
    model::{
        inventory::{Endpoint, NetworkId},
        peers::Members,
    },
};

/// How many networks are asked at the same time. For each answer the engine walks all entries of the network's
/// gossip.
pub(super) const AT_ONCE: usize = 2;

/// The networks that this node has containers on, and their members.
#[derive(Debug)]
pub(super) struct MemberPoll {
    is_wanted: bool,
    /// How long a network is not asked again after a question.
    pace: Duration,
    networks: BTreeMap<NetworkId, Entry>,
    /// `docker_gwbridge`. The descriptions of containers on these networks do not list it.
    gateway_bridge: Option<NetworkId>,
    open: BTreeSet<NetworkId>,
}

#[derive(Debug)]
struct Entry {
    members: Option<Arc<Members>>,
    asked: Option<Instant>,
    /// Something may have changed since the last question.
    is_stale: bool,
}

impl MemberPoll {
    pub(super) const fn new(is_wanted: bool, pace: Duration) -> Self {
        Self {
            is_wanted,
            pace,
            networks: BTreeMap::new(),
            gateway_bridge: None,
            open: BTreeSet::new(),
        }
    }

    /// Takes in the networks that this node has containers on, and the one by which these leave. Returns whether that
    /// changed anything.
    pub(super) fn has_part_in(&mut self, networks: &BTreeSet<NetworkId>, gateway_bridge: Option<NetworkId>) -> bool {
        if !self.is_wanted {
            return false;
        }
        self.gateway_bridge = gateway_bridge.filter(|_| !networks.is_empty());
        let before = self.networks.len();
        let gateway_bridge = &self.gateway_bridge;
        self.networks
            .retain(|network, _| networks.contains(network) || gateway_bridge.as_ref() == Some(network));
        let mut changed = self.networks.len() != before;
        for network in networks.iter().chain(gateway_bridge) {
            if !self.networks.contains_key(network) {
                let entry = Entry {
                    members: None,
                    asked: None,
                    is_stale: true,
                };
                self.networks.insert(Arc::clone(network), entry);
                changed = true;
            }
        }
        changed
    }

    /// A container changed that has these endpoints.
    pub(super) fn changed(&mut self, endpoints: &[Endpoint]) {
        let mut is_asked = false;
        for endpoint in endpoints {
            if let Some(entry) = self.networks.get_mut(&endpoint.network) {
                entry.is_stale = true;
                is_asked = true;
            }
        }
        let gateway_bridge = self.gateway_bridge.as_ref().filter(|_| is_asked);
        if let Some(entry) = gateway_bridge.and_then(|bridge| self.networks.get_mut(bridge)) {
            entry.is_stale = true;
        }
    }

    /// Marks every network to be asked again.
    pub(super) fn renew(&mut self) {
        for entry in self.networks.values_mut() {
            entry.is_stale = true;
        }
    }

    /// The network to ask now. The one that has waited longest comes first.
    pub(super) fn next(&mut self, now: Instant) -> Option<NetworkId> {
        if self.open.len() >= AT_ONCE {
            return None;
        }
        let open = &self.open;
        let (network, entry) = self
            .networks
            .iter_mut()
            .filter(|(network, entry)| {
                entry.is_stale && !open.contains(*network) && entry.may_be_asked_at(self.pace) <= Some(now)
            })
            .min_by_key(|(_, entry)| entry.asked)?;
        entry.asked = Some(now);
        entry.is_stale = false;
        self.open.insert(Arc::clone(network));
        Some(Arc::clone(network))
    }

    /// When the next waiting network may be asked. `None` while all questions are in use: then the next answer wakes
    /// the caller.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.open.len() >= AT_ONCE {
            return None;
        }
        let waits = |(network, entry): &(&NetworkId, &Entry)| entry.is_stale && !self.open.contains(*network);
        let waiting = self.networks.iter().filter(waits);
        waiting.filter_map(|(_, entry)| entry.may_be_asked_at(self.pace)).min()
    }

    /// Takes in the result of a question. Returns whether that changed anything.
    pub(super) fn answer(&mut self, network: &NetworkId, answer: MembersAnswer) -> bool {
        self.open.remove(network);
        let Some(entry) = self.networks.get_mut(network) else {
            return false;
        };
        let members = match answer {
            MembersAnswer::Members(members) => Some(Arc::new(members)),
            MembersAnswer::NotHere => None,
            MembersAnswer::Nothing => return false,
        };
        let is_news = entry.members != members;
        if is_news {
            entry.members = members;
        }
        is_news
    }

    /// The connection was lost, and all open questions with it.
    pub(super) fn hang_up(&mut self) {
        self.open.clear();
        self.renew();
    }

    /// The members of the networks.
    pub(super) fn members(&self) -> BTreeMap<NetworkId, Option<Arc<Members>>> {
        let known = |(network, entry): (&NetworkId, &Entry)| (Arc::clone(network), entry.members.clone());
        self.networks.iter().map(known).collect()
    }

    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }
}

impl Entry {
    fn may_be_asked_at(&self, pace: Duration) -> Option<Instant> {
        self.asked.map(|asked| asked + pace)
    }
}
