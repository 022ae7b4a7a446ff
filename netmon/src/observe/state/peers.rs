//! The names of other nodes. Each is decided once, because a count that moves from one name to another looks like a
//! series that ended and one that jumped. Pure.
//!
//! A manager reports the nodes' names, and may report them late. Until it has, a node is held back, for a while. A
//! worker gets no names. A decided name stays as long as the node is shown, also when this node is promoted or
//! demoted. `netmon_overlay_peer_info` has the hostname of each address in any case.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::model::peers::{Peer, PeerSource, Peers};

/// The names, decided and open.
#[derive(Debug)]
pub struct PeerNames {
    /// How long a node is held back until its name is known.
    patience: Duration,
    entries: BTreeMap<IpAddr, Entry>,
}

#[derive(Debug)]
struct Entry {
    first_seen: Instant,
    name: Option<Name>,
    /// It was asked for since the last [`PeerNames::take_used`].
    is_used: bool,
}

#[derive(Debug)]
struct Name {
    text: Arc<str>,
    is_hostname: bool,
}

impl PeerNames {
    /// No names yet. A node is held back for up to `patience` until its name is known.
    #[must_use]
    pub const fn new(patience: Duration) -> Self {
        Self {
            patience,
            entries: BTreeMap::new(),
        }
    }

    /// The node's name; `None` while it is not decided.
    pub fn name(&mut self, address: IpAddr, peers: &Peers, now: Instant) -> Option<Arc<str>> {
        let hostname = peers.nodes.get(&address).and_then(Peer::name);
        let hostname = hostname
            .filter(|hostname| !self.is_anothers(hostname, address))
            .cloned();
        let entry = self.entries.entry(address).or_insert_with(|| Entry {
            first_seen: now,
            name: None,
            is_used: true,
        });
        entry.is_used = true;
        let is_late = || peers.source == PeerSource::Worker || entry.first_seen + self.patience <= now;
        let decided = match (&entry.name, hostname) {
            // The node was renamed, or another node has the address now.
            (Some(Name { is_hostname: true, .. }) | None, Some(text)) => Some((text, true)),
            (None, None) if is_late() => Some((Arc::from(address.to_string()), false)),
            (Some(_), _) | (None, None) => None,
        };
        if let Some((text, is_hostname)) = decided {
            entry.name = Some(Name { text, is_hostname });
        }
        entry.name.as_ref().map(|name| Arc::clone(&name.text))
    }

    /// Every node that was asked for since the last call, with its name. The others are forgotten.
    pub fn take_used(&mut self) -> Vec<(IpAddr, Arc<str>)> {
        self.entries.retain(|_, entry| std::mem::take(&mut entry.is_used));
        let named = |(address, entry): (&IpAddr, &Entry)| Some((*address, Arc::clone(&entry.name.as_ref()?.text)));
        self.entries.iter().filter_map(named).collect()
    }

    fn is_anothers(&self, hostname: &Arc<str>, address: IpAddr) -> bool {
        let mut others = self.entries.iter().filter(|(other, _)| **other != address);
        others.any(|(_, entry)| entry.name.as_ref().is_some_and(|name| name.text == *hostname))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        sync::Arc,
        time::{Duration, Instant},
    };

    use super::PeerNames;
    use crate::model::peers::{Peer, PeerSource, Peers};

    const PATIENCE: Duration = Duration::from_secs(30);
    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 94, 0, 12));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 94, 0, 13));

    fn peers(source: PeerSource, nodes: &[(IpAddr, &str)]) -> Peers {
        let peer = |(address, hostname): &(IpAddr, &str)| {
            let peer = Peer {
                hostname: Arc::from(*hostname),
                ..Peer::default()
            };
            (*address, peer)
        };
        Peers {
            source,
            nodes: nodes.iter().map(peer).collect(),
        }
    }

    /// Empty while the name is not decided.
    fn name(names: &mut PeerNames, address: IpAddr, peers: &Peers, now: Instant) -> String {
        let name = names.name(address, peers, now);
        name.map(|name| name.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_node_waits_for_its_name_but_not_for_ever() {
        let (mut names, now) = (PeerNames::new(PATIENCE), Instant::now());
        let unknown = peers(PeerSource::Unknown, &[]);
        assert_eq!(name(&mut names, ONE, &unknown, now), "");
        assert_eq!(name(&mut names, TWO, &unknown, now), "");
        let manager = peers(PeerSource::Manager, &[(ONE, "n2")]);
        assert_eq!(name(&mut names, ONE, &manager, now), "n2");
        // The node has just joined, and the manager was not asked since.
        assert_eq!(name(&mut names, TWO, &manager, now), "");
        assert_eq!(name(&mut names, TWO, &manager, now + PATIENCE), "10.94.0.13");
    }

    #[test]
    fn on_a_worker_nodes_are_their_addresses_at_once() {
        let (mut names, now) = (PeerNames::new(PATIENCE), Instant::now());
        let worker = peers(PeerSource::Worker, &[]);
        assert_eq!(name(&mut names, ONE, &worker, now), "10.94.0.12");
    }

    #[test]
    fn a_name_stays_through_promotion_and_demotion() {
        let (mut names, now) = (PeerNames::new(PATIENCE), Instant::now());
        let worker = peers(PeerSource::Worker, &[]);
        let manager = peers(PeerSource::Manager, &[(ONE, "n2"), (TWO, "n3")]);
        assert_eq!(name(&mut names, ONE, &worker, now), "10.94.0.12");
        assert_eq!(name(&mut names, TWO, &manager, now), "n3");
        assert_eq!(name(&mut names, ONE, &manager, now), "10.94.0.12");
        assert_eq!(name(&mut names, TWO, &worker, now), "n3");
        // Only the names of nodes that are shown stay.
        assert_eq!(names.take_used().len(), 2);
        assert_eq!(name(&mut names, TWO, &worker, now), "n3");
        assert_eq!(names.take_used(), [(TWO, Arc::from("n3"))]);
        assert_eq!(name(&mut names, ONE, &manager, now), "n2");
    }

    #[test]
    fn another_node_on_the_same_address_has_its_own_name() {
        let (mut names, now) = (PeerNames::new(PATIENCE), Instant::now());
        for hostname in ["n2", "n7"] {
            let manager = peers(PeerSource::Manager, &[(ONE, hostname)]);
            assert_eq!(name(&mut names, ONE, &manager, now), hostname);
        }
    }

    #[test]
    fn no_two_nodes_have_one_name() {
        let (mut names, now) = (PeerNames::new(PATIENCE), Instant::now());
        let manager = peers(PeerSource::Manager, &[(ONE, "n2"), (TWO, "n2")]);
        assert_eq!(name(&mut names, ONE, &manager, now), "n2");
        assert_eq!(name(&mut names, TWO, &manager, now), "");
        assert_eq!(name(&mut names, TWO, &manager, now + PATIENCE), "10.94.0.13");
        assert_eq!(name(&mut names, ONE, &manager, now + PATIENCE), "n2");
    }
}
