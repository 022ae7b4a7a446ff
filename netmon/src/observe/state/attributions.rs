//! Decides once where a count of the kernel belongs.
//!
//! The kernel programs count from the first packet on, by namespace and device. Their owner becomes known a moment
//! later: netmon has to see the namespace, and the engine has to report what it is for. Until then the count is held
//! back.
//!
//! A decision stays, because a count that moves from one series to another looks like a reset and a jump. There are
//! two exceptions. First, the decision "unattributed" is replaced once the owner is reported. Second, the counts of a
//! renamed container move to its new name.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Departed, Namespace, Owner, Stamp, State, living_or_closed, range};
use crate::{
    model::{
        interface::{InterfaceId, LOOPBACK, NetnsId},
        inventory::Subnet,
        place::{Attribution, Cause, Place},
    },
    network,
};

/// How long a foreign namespace is remembered after it was last asked for: longer than the time between two scrapes.
const ASKED_AGAIN: Duration = Duration::from_mins(10);

/// A namespace's age: when it ended, and when it was first seen. The oldest comes first. Cookies give no order: each CPU
/// allocates them from a batch of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Age {
    Closed(Instant, Stamp),
    Living(Stamp),
}

/// What was decided, and what is still open and since when.
#[derive(Debug, Default)]
pub struct Attributions {
    known: BTreeMap<InterfaceId, Known>,
    /// When [`Self::forget`] last removed entries.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    asked: Instant,
    answer: Answer,
}

#[derive(Clone, Debug)]
enum Answer {
    Open(Instant),
    Decided(Attribution),
}

impl Attributions {
    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Removes foreign namespaces that were not asked for in a while: their counts are in no map any more.
    pub(super) fn forget(&mut self, now: Instant, ours: impl FnOnce() -> BTreeSet<NetnsId>) {
        let swept = *self.swept.get_or_insert(now);
        if now.saturating_duration_since(swept) < ASKED_AGAIN {
            return;
        }
        self.swept = Some(now);
        let ours = ours();
        let was_asked = |known: &Known| now.saturating_duration_since(known.asked) < ASKED_AGAIN;
        self.known
            .retain(|id, known| was_asked(known) || ours.contains(&id.netns));
    }
}

impl State {
    /// Where a count of this device belongs; `None` while that is not decided.
    pub fn attribution(&mut self, id: InterfaceId, now: Instant) -> Option<Attribution> {
        let since = match self.attributions.known.get_mut(&id) {
            Some(Known { asked, answer }) => {
                *asked = now;
                match answer {
                    Answer::Decided(attribution) => {
                        let namespace = living_or_closed(&self.namespaces, &self.closed, id.netns);
                        let place = namespace.and_then(|namespace| namespace.place.as_ref());
                        match still(attribution, place) {
                            Some(attribution) => return Some(attribution),
                            None => now,
                        }
                    }
                    Answer::Open(since) => *since,
                }
            }
            None => now,
        };
        let late = now.saturating_duration_since(since) >= self.times.name_patience;
        let attribution = self.decide(id, late);
        let answer = attribution.clone().map_or(Answer::Open(since), Answer::Decided);
        self.attributions.known.insert(id, Known { asked: now, answer });
        attribution
    }

    fn decide(&self, id: InterfaceId, late: bool) -> Option<Attribution> {
        let InterfaceId { netns, ifindex } = id;
        if netns == NetnsId(0) {
            return Some(Attribution::Nowhere(Cause::NoNamespace));
        }
        let Some(namespace) = self.namespace(netns) else {
            // What the kernel has of one that is over is its owner's, as soon as it can be taken out.
            let is_foreign = late && !self.events.is_departing(netns);
            return is_foreign.then_some(Attribution::Nowhere(Cause::ForeignNamespace));
        };
        let Some(place) = namespace.place.clone() else {
            return late.then_some(Attribution::Nowhere(Cause::Unnamed));
        };
        let network = match &place {
            Place::Overlay { network } | Place::LoadBalancer { network } => Some(Arc::clone(network)),
            _ if ifindex == 0 || ifindex == LOOPBACK => Some(Arc::default()),
            Place::Node => self.network_of_node_device(namespace, ifindex),
            Place::Container { .. } => self.network_of_interface(id),
        };
        let network = network.or_else(|| late.then(Arc::default))?;
        Some(Attribution::In { place, network })
    }

    /// The network of a container's interface, once it is known. The interface exists, lingers, or did so before.
    fn network_of_interface(&self, id: InterfaceId) -> Option<Arc<str>> {
        let living = self.interfaces.get(&id).and_then(|interface| interface.owner.as_ref());
        let owner = living.or_else(|| {
            let ended = self.ended.iter().rev().find(|ended| ended.id == id)?;
            ended.owner.as_ref()
        });
        match owner {
            Some(Owner::Container { network, .. }) if !network.is_empty() => Some(Arc::clone(network)),
            Some(Owner::Container { .. } | Owner::Overlay { .. }) => None,
            None => {
                let sandbox = self.namespace(id.netns)?.sandbox()?;
                sandbox.networks_before.get(&id.ifindex).cloned()
            }
        }
    }

    /// The decided networks of a namespace's devices, by ifindex.
    pub(super) fn decided_networks(&self, netns: NetnsId) -> impl Iterator<Item = (u32, Arc<str>)> {
        let known = self.attributions.known.range(range(netns));
        known.filter_map(|(id, known)| match &known.answer {
            Answer::Decided(Attribution::In { network, .. }) => Some((id.ifindex, Arc::clone(network))),
            Answer::Decided(Attribution::Nowhere(_)) | Answer::Open(_) => None,
        })
    }

    /// The network of one of the node's devices: a bridge network's bridge, or a port of it. Empty for any other
    /// device; `None` for a device that was not seen yet.
    fn network_of_node_device(&self, node: &Namespace, ifindex: u32) -> Option<Arc<str>> {
        let devices = node.devices()?;
        let device = devices.get(ifindex)?;
        let bridge = device.master.and_then(|master| devices.get(master)).unwrap_or(device);
        Some(network::network_of_bridge(&bridge.name, &self.inventory).unwrap_or_default())
    }

    /// The addresses of the node's devices.
    pub fn node_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let nodes = self.namespaces.values().filter_map(Namespace::node);
        let devices = nodes.flat_map(|node| node.devices.iter());
        devices.flat_map(|device| device.addresses.iter().copied())
    }

    /// The prefixes of addresses that may be beyond a gateway, and of which it is known whose they are: nodes, and the subnets
    /// of overlay networks that have several of one family. The most important are the first.
    pub fn known_beyond_gateways(&self) -> impl Iterator<Item = Subnet> {
        let whole = |address: IpAddr| Subnet {
            address,
            prefix: if address.is_ipv4() { 32 } else { 128 },
        };
        // Devices have these, too, and no gateway leads there.
        let is_near = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
            IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
        };
        let overlays = self
            .inventory
            .networks
            .values()
            .filter(|network| network.driver == "overlay");
        let subnets = overlays.flat_map(|network| {
            let (ipv4, ipv6): (Vec<_>, Vec<_>) = network.subnets.iter().partition(|subnet| subnet.address.is_ipv4());
            [ipv4, ipv6].into_iter().filter(|family| family.len() > 1).flatten()
        });
        let nodes = self.node_addresses().chain(self.addresses.nodes().iter().copied());
        let nodes = nodes.filter(move |address| !is_near(address));
        nodes.map(whole).chain(subnets.copied())
    }

    /// The namespace that is shown for each place. Several may have the same place: a container's old namespace, and
    /// that of a container which took its name. Of those that exist, the one seen last is shown. If none exists, it is
    /// the one that ended last.
    #[must_use]
    pub fn standing(&self) -> BTreeMap<&Place, NetnsId> {
        self.by_age()
            .into_iter()
            .filter_map(|(netns, namespace)| Some((namespace.place.as_ref()?, netns)))
            .collect()
    }

    /// The ended namespaces, sorted by when they ended, then those that exist, sorted by when they were first seen.
    pub(super) fn by_age(&self) -> Vec<(NetnsId, &Namespace)> {
        let mut closed: Vec<_> = self.closed.iter().collect();
        closed.sort_by_key(|(_, closed)| (closed.at, closed.namespace.seen));
        let mut living: Vec<_> = self.namespaces.iter().collect();
        living.sort_by_key(|(_, namespace)| namespace.seen);
        let closed = closed.into_iter().map(|(netns, closed)| (*netns, &closed.namespace));
        let living = living.into_iter().map(|(netns, namespace)| (*netns, namespace));
        closed.chain(living).collect()
    }

    /// How a namespace compares with others by age. `None` if it is not known any more.
    pub(super) fn age(&self, netns: NetnsId) -> Option<Age> {
        let living = self.namespaces.get(&netns).map(|it| Age::Living(it.seen));
        living.or_else(|| {
            let closed = self.closed.get(&netns)?;
            Some(Age::Closed(closed.at, closed.namespace.seen))
        })
    }

    /// Whether a device was deleted from a namespace that stays, the node's or a network's. Nothing will be counted
    /// for it any more.
    #[must_use]
    pub fn is_lost(&self, id: InterfaceId) -> bool {
        let devices = self.namespaces.get(&id.netns).and_then(Namespace::devices);
        id.ifindex > LOOPBACK && devices.is_some_and(|devices| devices.get(id.ifindex).is_none())
    }

    /// Removes the decisions about these devices: their ifindexes may be reused.
    pub fn forget_attributions(&mut self, gone: &BTreeSet<InterfaceId>) {
        self.attributions.known.retain(|id, _| !gone.contains(id));
    }

    /// The namespaces that stopped lingering since the last call. The kernel's counts for them can be deleted.
    pub fn take_forgotten(&mut self) -> BTreeMap<NetnsId, Departed> {
        let forgotten = std::mem::take(&mut self.forgotten);
        self.events.depart(forgotten.keys());
        self.attributions
            .known
            .retain(|id, _| !forgotten.contains_key(&id.netns));
        forgotten
    }
}

/// The decision, with the current name of its place. `None` if it was made without knowledge that has arrived since: the
/// engine did not answer, or the directory was not visible.
fn still(attribution: &Attribution, place: Option<&Place>) -> Option<Attribution> {
    match (attribution, place) {
        (Attribution::In { network, .. }, Some(place)) => Some(Attribution::In {
            place: place.clone(),
            network: Arc::clone(network),
        }),
        (Attribution::Nowhere(Cause::Unnamed | Cause::ForeignNamespace), Some(_)) => None,
        (attribution, _) => Some(attribution.clone()),
    }
}
