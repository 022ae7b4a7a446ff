//! What the kernel's programs counted for each service on this node: drops and TCP. Containers that ended are included.
//!
//! The kernel counts by namespace and device. A service's sum gets what each count has grown by since it was last read:
//! by a scrape, or when it was taken out of the kernel's maps with its namespace. So a sum never falls, and no count is
//! in it twice. A container that no scrape saw is in it when it no longer lingers.
//!
//! A sum has what the containers' own series have. What was shown as unattributed is in none of them.

#[cfg(test)]
use std::path::PathBuf;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Namespace, ServiceKey, State};
#[cfg(test)]
use super::{NetnsFile, Role, Stamp};
use crate::model::{
    drops::{Drop, DropKey},
    edges::LastEdge,
    events::{EventSums, LastCounts},
    interface::{InterfaceId, NetnsId},
    inventory::Identity,
    place::{Attribution, Place},
    tcp::{Events, Made, Segments},
};

/// The ifindex of loopback in every namespace.
const LOOPBACK: u32 = 1;
/// How many edges of namespaces that are gone are kept until a scrape asks for them.
const MOST_LAST_EDGES: usize = 16_384;

/// The sums, and how much of the kernel's counts is in them.
#[derive(Debug, Default)]
pub struct ServiceEvents {
    pub(super) sums: BTreeMap<ServiceKey, EventSums>,
    drops: BTreeMap<DropKey, u64>,
    made: BTreeMap<InterfaceId, Made>,
    segments: BTreeMap<(NetnsId, Arc<str>), Segments>,
    /// Namespaces that are over, and of which the kernel may still have counts.
    departing: BTreeSet<NetnsId>,
    /// Programs count connections. A service without any then has none, instead of an unknown number.
    sees_connections: bool,
}

/// A namespace that no longer lingers, until its last counts are in its service's sums.
#[derive(Debug)]
pub struct Departed {
    namespace: Namespace,
    /// The networks of its devices, by ifindex.
    networks: BTreeMap<u32, Arc<str>>,
    /// What was taken out of the kernel's map so far, by network.
    events: BTreeMap<Arc<str>, Events>,
}

impl Departed {
    /// A namespace whose devices are all gone. For some of them it is `decided` on which network they were.
    pub(super) fn new(namespace: Namespace, decided: impl Iterator<Item = (u32, Arc<str>)>) -> Self {
        let before = namespace.sandbox().into_iter().flat_map(|it| &it.networks_before);
        let before = before.map(|(ifindex, network)| (*ifindex, Arc::clone(network)));
        Self {
            networks: before.chain(decided).collect(),
            namespace,
            events: BTreeMap::new(),
        }
    }

    /// One of which nothing is known.
    #[cfg(test)]
    pub(in crate::observe) fn unknown() -> Self {
        let file = NetnsFile {
            path: PathBuf::new(),
            inode: 1,
            role: Role::Sandbox,
        };
        let namespace = Namespace::new(file, false, Stamp::default());
        Self::new(namespace, std::iter::empty())
    }

    /// Its container.
    fn identity(&self) -> Option<&Arc<Identity>> {
        container(&self.namespace)
    }

    /// The network of a device.
    fn network(&self, ifindex: u32) -> Arc<str> {
        let known = self.networks.get(&ifindex).filter(|_| ifindex > LOOPBACK);
        known.cloned().unwrap_or_default()
    }

    /// Takes in the last counts of its networks. Returns their final shares of its TCP segments.
    fn segments(&mut self) -> Vec<(Arc<str>, Segments)> {
        let events = &self.events;
        let Some(sandbox) = self.namespace.sandbox_mut() else {
            return Vec::new();
        };
        let networks = events.keys().chain(sandbox.passed_before.keys());
        let share = |network: &Arc<str>| {
            let passed = sandbox.passed_before.get(network).copied().unwrap_or_default();
            events.get(network).copied().unwrap_or_default().segments(passed)
        };
        let shares: BTreeMap<_, _> = networks.map(|network| (Arc::clone(network), share(network))).collect();
        // The kernel's count of the whole was read before these.
        sandbox.tcp.observe(None, shares.into_iter().collect(), false);
        let shares = sandbox.tcp.iter();
        shares.map(|(network, share)| (Arc::clone(network), share)).collect()
    }
}

impl ServiceEvents {
    /// The sums of this container's service; `None` if it has none.
    fn of(&mut self, identity: &Identity, network: &Arc<str>) -> Option<&mut EventSums> {
        if identity.service.is_empty() {
            return None;
        }
        let key = ServiceKey::new(&identity.service, &identity.stack, network);
        Some(self.sums.entry(key).or_default())
    }

    fn drop(&mut self, drop: &Drop, identity: &Identity, network: &Arc<str>, name: impl FnOnce() -> Arc<str>) {
        let before = self.drops.insert(drop.key(), drop.packets).unwrap_or(0);
        if drop.packets > before
            && let Some(sums) = self.of(identity, network)
        {
            *sums.drops.entry(name()).or_default() += drop.packets - before;
        }
    }

    /// Takes in what the kernel deleted. It may have kept other counts with the same key.
    fn last_drop(&mut self, drop: &Drop, identity: Option<&Arc<Identity>>, network: &Arc<str>, name: &Arc<str>) {
        let before = self.drops.remove(&drop.key()).unwrap_or(0);
        if before > drop.packets {
            self.drops.insert(drop.key(), before - drop.packets);
        } else if let (1.., Some(identity)) = (drop.packets - before, identity)
            && let Some(sums) = self.of(identity, network)
        {
            *sums.drops.entry(Arc::clone(name)).or_default() += drop.packets - before;
        }
    }

    fn made(&mut self, id: InterfaceId, events: &Events, identity: &Identity, network: &Arc<str>) {
        let now = events.connections_made();
        let before = self.made.insert(id, now).unwrap_or_default();
        if now != before
            && let Some(sums) = self.of(identity, network)
        {
            sums.made.get_or_insert_default().add_since(&now, &before);
        }
    }

    fn segments(&mut self, netns: NetnsId, network: &Arc<str>, now: Segments, identity: &Identity) {
        let sees_connections = self.sees_connections;
        let before = self.segments.insert((netns, Arc::clone(network)), now);
        if before != Some(now)
            && let Some(sums) = self.of(identity, network)
        {
            let before = before.unwrap_or_default();
            sums.segments.get_or_insert_default().add_since(now, before);
            if sees_connections {
                sums.made.get_or_insert_default();
            }
        }
    }

    /// These namespaces are over. Their counts are about to be taken out of the kernel's maps.
    pub(super) fn depart<'a>(&mut self, over: impl Iterator<Item = &'a NetnsId>) {
        self.departing.extend(over);
    }

    /// Whether a namespace is over, and the kernel may still have counts of it.
    pub(super) fn is_departing(&self, netns: NetnsId) -> bool {
        self.departing.contains(&netns)
    }

    /// Forgets the counts of these namespaces: the kernel has none any more.
    fn forget(&mut self, gone: &BTreeMap<NetnsId, Departed>) {
        self.departing.retain(|netns| !gone.contains_key(netns));
        self.drops.retain(|(id, ..), _| !gone.contains_key(&id.netns));
        self.made.retain(|id, _| !gone.contains_key(&id.netns));
        self.segments.retain(|(netns, _), _| !gone.contains_key(netns));
    }

    /// The number of counts that it remembers.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.drops.len() + self.made.len() + self.segments.len() + self.departing.len()
    }
}

impl State {
    /// Sums of drops and of TCP over the containers of each service on this node.
    #[must_use]
    pub const fn service_events(&self) -> &BTreeMap<ServiceKey, EventSums> {
        &self.events.sums
    }

    /// Takes in a count of dropped packets. `name` returns the running kernel's name of its reason. What is shown as
    /// unattributed is in no service's sum, also later.
    pub fn count_drop(&mut self, drop: &Drop, attribution: &Attribution, name: impl FnOnce() -> Arc<str>) {
        match attribution {
            Attribution::In {
                place: Place::Container { identity },
                network,
            } => self.events.drop(drop, identity, network, name),
            Attribution::Nowhere(_) if self.has_sandbox(drop.interface.netns) => {
                self.events.drops.insert(drop.key(), drop.packets);
            }
            Attribution::In { .. } | Attribution::Nowhere(_) => {}
        }
    }

    /// Programs count connections.
    pub const fn sees_connections(&mut self) {
        self.events.sees_connections = true;
    }

    /// Takes in a count of a container's TCP events.
    pub fn count_connections(&mut self, id: InterfaceId, events: &Events, identity: &Identity, network: &Arc<str>) {
        self.events.made(id, events, identity, network);
    }

    /// Takes in the networks' shares of a container's TCP segments, as they are shown.
    pub(super) fn count_segments(&mut self, netns: NetnsId) {
        let Some(namespace) = self.namespace(netns) else { return };
        let (Some(identity), Some(sandbox)) = (container(namespace), namespace.sandbox()) else {
            return;
        };
        let identity = Arc::clone(identity);
        let shares: Vec<_> = sandbox.tcp.iter().map(|(it, share)| (Arc::clone(it), share)).collect();
        for (network, share) in shares {
            self.events.segments(netns, &network, share, &identity);
        }
    }

    /// Takes in the last counts of namespaces that no longer linger. `is_all` says that the kernel has none of them any
    /// more; otherwise another call follows.
    pub fn count_last(&mut self, last: &LastCounts, departed: &mut BTreeMap<NetnsId, Departed>, is_all: bool) {
        for (drop, name) in &last.drops {
            // Whether an unplaced one is a loss is not known.
            if let (Some(its), false) = (departed.get(&drop.interface.netns), drop.unplaced) {
                let network = its.network(drop.interface.ifindex);
                self.events.last_drop(drop, its.identity(), &network, name);
            }
        }
        self.events.sees_connections |= last.events.is_some();
        for (id, events) in last.events.iter().flatten() {
            if let Some(its) = departed.get_mut(&id.netns) {
                let network = its.network(id.ifindex);
                its.events.entry(Arc::clone(&network)).or_default().accumulate(events);
                if let Some(identity) = its.identity() {
                    self.events.made(*id, events, identity, &network);
                }
            }
            self.events.made.remove(id);
        }
        for (id, counts) in &last.edges {
            // Nobody may ask for them, for however long.
            if self.last_edges.len() < MOST_LAST_EDGES {
                let its = departed.get(&id.interface.netns);
                let near = its.and_then(|its| Some((Arc::clone(its.identity()?), its.network(id.interface.ifindex))));
                let (id, counts) = (*id, *counts);
                self.last_edges.push(LastEdge { id, counts, near });
            }
        }
        if is_all {
            // Without programs, the kernel's counts of the whole are all that there is.
            for (netns, its) in departed.iter_mut().filter(|_| last.events.is_some()) {
                let shares = its.segments();
                if let Some(identity) = its.identity() {
                    for (network, share) in shares {
                        self.events.segments(*netns, &network, share, identity);
                    }
                }
            }
            self.events.forget(departed);
        }
        self.drop_absent_services();
    }

    /// The edges of namespaces that are gone, which were taken out of the kernel's map since the last call.
    pub fn take_last_edges(&mut self) -> Vec<LastEdge> {
        std::mem::take(&mut self.last_edges)
    }

    fn has_sandbox(&self, netns: NetnsId) -> bool {
        self.namespace(netns).is_some_and(|it| it.sandbox().is_some())
    }
}

/// The container that a namespace belongs to.
fn container(namespace: &Namespace) -> Option<&Arc<Identity>> {
    match &namespace.place {
        Some(Place::Container { identity }) => Some(identity),
        Some(Place::Overlay { .. } | Place::LoadBalancer { .. } | Place::Node) | None => None,
    }
}
