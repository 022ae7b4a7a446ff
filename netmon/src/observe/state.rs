//! The registry of what is watched. Pure bookkeeping: callers pass in events and times, and it does no I/O.

mod attributions;
mod events;
mod interface;
mod kinds;
mod lifecycle;
mod loopback;
mod misfits;
mod namespaces;
mod naming;
mod peers;
mod programs;
mod readings;
mod services;
#[cfg(test)]
mod tests;
mod tunnels;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::{
    attributions::Attributions,
    events::{Departed, ServiceEvents},
    interface::{Ended, Interface, Programs},
    kinds::{Devices, Kind, Node, Overlay, Sandbox, TunnelDevice},
    lifecycle::SLOT_REST,
    misfits::{Misfit, News},
    namespaces::{Closed, Namespace, Number},
    naming::Owner,
    peers::PeerNames,
    programs::Candidate,
    readings::{Counts, Opening, ReadingLock, Stamp},
    services::{ServiceKey, Services},
    tunnels::TunnelTotals,
};
use crate::model::{
    addresses::Addresses,
    counters::{Directions, Totals},
    edges::LastEdge,
    health::{AttachFailure, AttachHealth},
    histogram::Histogram,
    interface::{Device, InterfaceId, NetnsId},
    inventory::Inventory,
    netns::{NetnsFile, Role},
    programs::Handle,
    tcp::sockets::Purpose,
    times::Times,
};

/// Upper bounds of `netmon_attach_delay_seconds`.
const DELAY_BOUNDS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What is to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Attach programs to the interfaces of containers.
    pub containers: bool,
    /// Watch the VXLAN devices of overlay networks.
    pub vxlan: bool,
}

/// The registry.
#[derive(Debug)]
pub struct State {
    scope: Scope,
    linger: Duration,
    times: Times,
    inventory: Arc<Inventory>,
    sandboxes: naming::Sandboxes,
    addresses: Arc<Addresses>,
    namespaces: BTreeMap<NetnsId, Namespace>,
    interfaces: BTreeMap<InterfaceId, Interface>,
    ended: Vec<Ended>,
    closed: BTreeMap<NetnsId, Box<Closed>>,
    /// Files that the first listing of the directory contained, until they are looked at. Those whose names are given
    /// again are also left out once they are gone.
    first_listing: BTreeMap<PathBuf, Role>,
    was_listed: bool,
    /// How often the kernel dropped messages about devices.
    overruns: u64,
    /// How often programs were attached or could not be.
    attempts: u64,
    /// True once everything that existed at start-up has been read.
    has_begun: bool,
    /// How many inventories of the engine were taken in.
    inventories_set: u64,
    /// The number of the one that was taken in last.
    inventory_number: u64,
    /// Namespaces that stopped lingering, until [`Self::take_forgotten`] is called.
    forgotten: BTreeMap<NetnsId, Departed>,
    /// The same, kept for longer: a namespace whose file was only missing for a while is not new when it reappears.
    /// The first to end is the first here: cookies give no order.
    parted: VecDeque<NetnsId>,
    attributions: Attributions,
    services: Services,
    events: ServiceEvents,
    /// The last counts of namespaces that are gone, until [`Self::take_last_edges`] is called.
    last_edges: Vec<LastEdge>,
    /// What the programs counted between nodes.
    pub tunnel_totals: TunnelTotals,
    /// The names of other nodes.
    pub peer_names: PeerNames,
    /// The ifindexes of the node's devices that lead to other nodes.
    pub underlay: BTreeSet<u32>,
    /// Programs are missing on some of these, or the devices are not known.
    pub misses_underlay: bool,
    attach: AttachHealth,
    misfits: misfits::Misfits,
    /// How many readings of all namespaces were begun.
    readings_begun: u64,
    /// The last moment that was given out.
    stamp: Stamp,
    /// Programs that are over, until [`Self::take_over`] is called.
    over: Vec<Handle>,
    loopbacks: loopback::Loopbacks,
}

impl State {
    /// An empty registry. Series of ended containers and deleted interfaces stay for `linger`.
    #[must_use]
    pub fn new(scope: Scope, linger: Duration) -> Self {
        Self {
            scope,
            linger,
            times: Times::default(),
            inventory: Arc::default(),
            sandboxes: naming::Sandboxes::default(),
            addresses: Arc::default(),
            namespaces: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            ended: Vec::new(),
            closed: BTreeMap::new(),
            first_listing: BTreeMap::new(),
            was_listed: false,
            overruns: 0,
            attempts: 0,
            has_begun: false,
            inventories_set: 0,
            inventory_number: 0,
            forgotten: BTreeMap::new(),
            parted: VecDeque::new(),
            attributions: Attributions::default(),
            services: Services::default(),
            events: ServiceEvents::default(),
            last_edges: Vec::new(),
            tunnel_totals: TunnelTotals::default(),
            peer_names: PeerNames::new(Times::default().name_patience),
            underlay: BTreeSet::new(),
            misses_underlay: false,
            attach: AttachHealth {
                delay: Histogram::new(&DELAY_BOUNDS),
                waiting: None,
                longest_wait: None,
                failures: AttachFailure::ALL.map(|reason| (reason, 0)).into(),
            },
            misfits: misfits::Misfits::default(),
            readings_begun: 0,
            stamp: Stamp::default(),
            over: Vec::new(),
            loopbacks: loopback::Loopbacks::default(),
        }
    }

    /// The same registry, with these waiting times.
    #[must_use]
    pub fn with_times(self, times: Times) -> Self {
        Self {
            times,
            peer_names: PeerNames::new(times.name_patience),
            ..self
        }
    }

    /// How long netmon waits before it acts or decides.
    #[must_use]
    pub const fn times(&self) -> &Times {
        &self.times
    }

    /// How long the series of ended containers and deleted interfaces stay.
    #[must_use]
    pub const fn linger(&self) -> Duration {
        self.linger
    }

    /// The engine's last inventory.
    #[must_use]
    pub const fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// Whose each address on a network is, on any node.
    #[must_use]
    pub const fn addresses(&self) -> &Arc<Addresses> {
        &self.addresses
    }

    /// The interfaces that exist.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values()
    }

    /// The ended interfaces that still linger, the latest first.
    pub fn ended(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter().rev()
    }

    /// What the interfaces counted whose owner is `wanted`. If two have the same labels, the first one is shown. The
    /// interfaces of the namespace that stands come first ([`Self::standing`]). Of one namespace, those that exist come
    /// first, then those that linger, the latest first.
    pub fn totals_of<'a, T: 'a>(
        &'a self,
        wanted: impl Fn(&'a Owner) -> Option<T> + Copy + 'a,
    ) -> impl Iterator<Item = (T, InterfaceId, &'a Arc<Device>, Directions<Totals>)> {
        let mut totals: Vec<_> = self.unordered_totals_of(wanted).collect();
        totals.sort_by_cached_key(|(_, id, ..)| Reverse(self.age(id.netns)));
        totals.into_iter()
    }

    /// The same in any order, for whoever adds them up.
    pub fn unordered_totals_of<'a, T: 'a>(
        &'a self,
        wanted: impl Fn(&'a Owner) -> Option<T> + Copy + 'a,
    ) -> impl Iterator<Item = (T, InterfaceId, &'a Arc<Device>, Directions<Totals>)> {
        let living = self.interfaces.iter().filter_map(move |(id, interface)| {
            let owner = wanted(interface.owner.as_ref()?)?;
            Some((owner, *id, &interface.device, interface.ledger.totals()))
        });
        let lingering = self.ended().filter_map(move |ended| {
            let owner = wanted(ended.owner.as_ref()?)?;
            Some((owner, ended.id, &ended.device, ended.totals()))
        });
        living.chain(lingering)
    }

    /// Sums over the containers of each service on this node.
    #[must_use]
    pub fn services(&self) -> BTreeMap<ServiceKey, Directions<Totals>> {
        self.services.sums(&self.interfaces, &self.ended)
    }

    /// The counts of interfaces that never had an owner and no longer linger.
    #[must_use]
    pub const fn unattributed(&self) -> Directions<Totals> {
        self.services.unattributed()
    }

    /// How attaching goes: delays, failures and waiting interfaces.
    #[must_use]
    pub fn attach_health(&self, now: Instant) -> AttachHealth {
        AttachHealth {
            waiting: Some(self.waiting(now)),
            longest_wait: Some(self.longest_wait(now)),
            ..self.attach.clone()
        }
    }

    /// Numbers a reading of all namespaces that begins now.
    pub const fn begin_reading(&mut self) -> u64 {
        self.readings_begun += 1;
        self.readings_begun
    }

    /// What the sockets of a container's namespace are counted for. They have to be if the namespace is older than netmon
    /// and was never read, or if an earlier count is not right. `None` for a new namespace.
    #[must_use]
    pub fn sockets_purpose(&self, file: &NetnsFile, netns: NetnsId) -> Option<Purpose> {
        let Some(namespace) = self.namespace(netns) else {
            let is_older = self.first_listing.contains_key(&file.path) || self.parted.contains(&netns);
            return is_older.then_some(Purpose::Correction);
        };
        namespace.sandbox().map(|sandbox| sandbox.sockets.purpose())
    }

    /// The interfaces of one namespace, with their ifindexes.
    pub fn interfaces_of(&mut self, netns: NetnsId) -> impl Iterator<Item = (u32, &mut Interface)> {
        self.interfaces
            .range_mut(range(netns))
            .map(|(id, interface)| (id.ifindex, interface))
    }

    /// The interfaces of one namespace that exist.
    pub fn interfaces_in(&self, netns: NetnsId) -> impl Iterator<Item = &Interface> {
        self.interfaces.range(range(netns)).map(|(_, interface)| interface)
    }

    /// The ids of the interfaces that exist.
    pub fn interface_ids(&self) -> impl Iterator<Item = InterfaceId> {
        self.interfaces.keys().copied()
    }

    /// One interface that exists.
    #[must_use]
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(&id)
    }

    /// Everything that existed at start-up has been read, as far as it could be. Their TCP sockets may still have to be
    /// counted.
    pub const fn finish_first_look(&mut self) {
        self.has_begun = true;
    }

    /// True once everything that existed at start-up has been read, and the inventory with this number or a newer one was
    /// taken in.
    #[must_use]
    pub const fn is_synced(&self, inventory_number: u64) -> bool {
        self.has_begun && self.inventory_number >= inventory_number
    }

    /// Takes in the engine's inventory with this number.
    pub fn take_in(&mut self, (number, inventory): (u64, Arc<Inventory>)) {
        self.inventory_number = number;
        self.set_inventory(inventory);
    }

    /// Takes in an inventory of the engine, and names everything again.
    pub fn set_inventory(&mut self, inventory: Arc<Inventory>) {
        self.inventories_set += 1;
        self.addresses = Arc::new(Addresses::of(&inventory));
        self.sandboxes = naming::Sandboxes::new(Arc::clone(&inventory));
        self.inventory = inventory;
        self.misfits.inventory_changed();
        self.name();
    }

    /// Whether the registry has the namespace on this file.
    #[must_use]
    pub fn knows(&self, path: &Path) -> bool {
        self.namespaces.values().any(|namespace| namespace.file.path == path)
    }
}

const fn range(netns: NetnsId) -> RangeInclusive<InterfaceId> {
    InterfaceId { netns, ifindex: 0 }..=InterfaceId {
        netns,
        ifindex: u32::MAX,
    }
}

/// A namespace that exists, or still lingers. For whoever has borrowed another part of the registry.
fn living_or_closed<'a>(
    living: &'a BTreeMap<NetnsId, Namespace>,
    closed: &'a BTreeMap<NetnsId, Box<Closed>>,
    netns: NetnsId,
) -> Option<&'a Namespace> {
    let closed = || closed.get(&netns).map(|closed| &closed.namespace);
    living.get(&netns).or_else(closed)
}
