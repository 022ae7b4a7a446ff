//! Which networks are to be asked who is on them, and when: a few at a time, none too often. Pure.
//!
//! The answer is long, and no event tells of changes on other nodes. So each network is asked at every full sync, and
//! soon after this node's own part in it changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::model::{inventory::NetworkId, peers::Members};

/// How many networks are asked for at once. The engine makes each answer from a walk over all that the network's gossip
/// knows.
pub(super) const AT_ONCE: usize = 2;

/// How long a network is left alone after it was asked for, however much happens on it.
pub(super) const PACE: Duration = Duration::from_secs(5);

/// What came of the question about a network.
#[derive(Debug)]
pub(in crate::docker) enum Surveyed {
    /// These are on it.
    Members(Members),
    /// This node has no part in it any more.
    NotHere,
    /// None, or an answer that makes no sense: what was known stays.
    Nothing,
}

/// The networks that this node has a part in, and who is on them.
#[derive(Debug)]
pub(super) struct MemberPoll {
    is_wanted: bool,
    networks: BTreeMap<NetworkId, Entry>,
    open: BTreeSet<NetworkId>,
}

#[derive(Debug)]
struct Entry {
    members: Option<Arc<Members>>,
    asked: Option<Instant>,
    /// Something may have changed since it was asked for.
    is_stale: bool,
}

impl MemberPoll {
    pub(super) const fn new(is_wanted: bool) -> Self {
        Self {
            is_wanted,
            networks: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    /// Takes in which networks this node has a part in. Whether that changed anything.
    pub(super) fn has_part_in(&mut self, networks: &BTreeSet<NetworkId>) -> bool {
        if !self.is_wanted {
            return false;
        }
        let before = self.networks.len();
        self.networks.retain(|network, _| networks.contains(network));
        let mut changed = self.networks.len() != before;
        for network in networks {
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

    /// This node's part in a network changed.
    pub(super) fn changed(&mut self, network: &NetworkId) {
        if let Some(entry) = self.networks.get_mut(network) {
            entry.is_stale = true;
        }
    }

    /// Wants every network asked for anew.
    pub(super) fn renew(&mut self) {
        for entry in self.networks.values_mut() {
            entry.is_stale = true;
        }
    }

    /// The network to ask for now, the one that waits longest first.
    pub(super) fn next(&mut self, now: Instant) -> Option<NetworkId> {
        if self.open.len() >= AT_ONCE {
            return None;
        }
        let open = &self.open;
        let (network, entry) = self
            .networks
            .iter_mut()
            .filter(|(network, entry)| {
                entry.is_stale && !open.contains(*network) && entry.may_be_asked_at() <= Some(now)
            })
            .min_by_key(|(_, entry)| entry.asked)?;
        entry.asked = Some(now);
        entry.is_stale = false;
        self.open.insert(Arc::clone(network));
        Some(Arc::clone(network))
    }

    /// When a network may be asked for that has to wait now; those that wait for an answer of another are asked for then.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.open.len() >= AT_ONCE {
            return None;
        }
        let waits = |(network, entry): &(&NetworkId, &Entry)| entry.is_stale && !self.open.contains(*network);
        let waiting = self.networks.iter().filter(waits);
        waiting.filter_map(|(_, entry)| entry.may_be_asked_at()).min()
    }

    /// Takes in what came of a question. Whether that changed anything.
    pub(super) fn answer(&mut self, network: &NetworkId, answer: Surveyed) -> bool {
        self.open.remove(network);
        let Some(entry) = self.networks.get_mut(network) else {
            return false;
        };
        let members = match answer {
            Surveyed::Members(members) => Some(Arc::new(members)),
            Surveyed::NotHere => None,
            Surveyed::Nothing => return false,
        };
        let is_news = entry.members != members;
        if is_news {
            entry.members = members;
        }
        is_news
    }

    /// The connection is gone, and with it all open questions.
    pub(super) fn hang_up(&mut self) {
        self.open.clear();
        self.renew();
    }

    /// Who is on the networks.
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
    fn may_be_asked_at(&self) -> Option<Instant> {
        self.asked.map(|asked| asked + PACE)
    }
}
