//! The registry of what is watched. Pure bookkeeping: callers pass in events and times, and it does no I/O.

mod interface;
mod namespaces;
mod naming;
mod peers;
mod programs;
mod readings;
mod services;
mod sites;
#[cfg(test)]
mod tests;
mod tunnels;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::{
    interface::{Ended, Interface, Programs},
    namespaces::{Departed, Namespace, Number, TunnelDevice},
    naming::Owner,
    peers::PeerNames,
    programs::Candidate,
    readings::{Counts, Opening},
    services::{ServiceKey, Services},
    sites::Sites,
    tunnels::Outers,
};
use crate::{
    datapath::attach::Attachment,
    model::{
        counters::{Directions, Totals},
        health::{AttachFailure, AttachHealth},
        histogram::Histogram,
        interface::{Device, DeviceKind, InterfaceId, NetnsId},
        inventory::{ContainerId, Inventory},
        ledger::Ledger,
        netns::{DeviceChange, Listing, NetnsFile, Role},
        times::Times,
    },
};

/// How many devices of one container are watched. Docker creates one for each network; a container with more creates
/// them itself. A container that creates thousands must not crowd out the others. The engine's devices get as many
/// entries again.
const DEVICES_PER_NAMESPACE: usize = 64;
/// How many interfaces that a container created itself linger after they were deleted.
const LINGERING_PER_NAMESPACE: usize = 64;

/// How many namespaces are remembered after they stopped lingering. A directory that is unmounted for a while may
/// have held all namespaces of a node.
const PARTED: usize = 4_096;

/// How long the slot of a deleted device stays taken. Packets in flight at its deletion must not be counted for the
/// slot's next device. A device that only moved out of its namespace is about to be deleted.
const SLOT_REST: Duration = Duration::from_secs(1);

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
    namespaces: BTreeMap<NetnsId, Namespace>,
    interfaces: BTreeMap<InterfaceId, Interface>,
    ended: Vec<Ended>,
    departed: BTreeMap<NetnsId, Box<Departed>>,
    /// Files that the first listing of the directory contained.
    first_listing: BTreeSet<PathBuf>,
    was_listed: bool,
    /// True once everything that existed at start-up has been read.
    has_begun: bool,
    /// How many inventories of the engine were taken in.
    inventories_set: u64,
    /// Namespaces that stopped lingering, until [`Self::take_forgotten`] is called.
    forgotten: BTreeSet<NetnsId>,
    /// The same, kept for longer: a namespace whose file was only missing for a while is not new when it reappears.
    parted: BTreeSet<NetnsId>,
    sites: Sites,
    services: Services,
    /// What the programs counted between nodes.
    pub outers: Outers,
    /// The names of other nodes.
    pub peer_names: PeerNames,
    /// The ifindexes of the node's devices that lead to other nodes.
    pub underlay: BTreeSet<u32>,
    attach: AttachHealth,
    /// How many moments were numbered.
    stamps: u64,
    /// Attachments that are over, until [`Self::take_over`] is called.
    over: Vec<Attachment>,
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
            namespaces: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            ended: Vec::new(),
            departed: BTreeMap::new(),
            first_listing: BTreeSet::new(),
            was_listed: false,
            has_begun: false,
            inventories_set: 0,
            forgotten: BTreeSet::new(),
            parted: BTreeSet::new(),
            sites: Sites::default(),
            services: Services::default(),
            outers: Outers::default(),
            peer_names: PeerNames::new(Times::default().name_patience),
            underlay: BTreeSet::new(),
            attach: AttachHealth {
                delay: Histogram::new(&DELAY_BOUNDS),
                waiting: None,
                failures: AttachFailure::ALL.map(|reason| (reason, 0)).into(),
            },
            stamps: 0,
            over: Vec::new(),
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

    /// The interfaces that exist.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values()
    }

    /// The ended interfaces that still linger, the latest first.
    pub fn ended(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter().rev()
    }

    /// What the interfaces counted whose owner is `wanted`: of those that exist, then of those that linger, the latest
    /// first. If two have the same labels, the first one is shown: a new container replaces a lingering one.
    pub fn totals_of<'a, T: 'a>(
        &'a self,
        wanted: impl Fn(&'a Owner) -> Option<T> + Copy + 'a,
    ) -> impl Iterator<Item = (T, InterfaceId, &'a Arc<Device>, Directions<Totals>)> {
        let living = self.interfaces.iter().filter_map(move |(id, interface)| {
            let owner = wanted(interface.owner.as_ref()?)?;
            Some((owner, *id, &interface.device, interface.ledger.totals()))
        });
        let lingering = self.ended().filter_map(move |ended| {
            let owner = wanted(ended.owner.as_ref()?)?;
            Some((owner, ended.id, &ended.device, ended.totals))
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
            ..self.attach.clone()
        }
    }

    /// Whether a namespace that was never read before is older than netmon. Its connections have to be counted then.
    #[must_use]
    pub fn is_unread_and_older(&self, file: &NetnsFile, netns: NetnsId) -> bool {
        let is_older = self.first_listing.contains(&file.path) || self.parted.contains(&netns);
        is_older && self.namespace(netns).is_none()
    }

    /// The interfaces of one namespace, with their ifindexes.
    pub fn interfaces_of(&mut self, netns: NetnsId) -> impl Iterator<Item = (u32, &mut Interface)> {
        self.interfaces
            .range_mut(range(netns))
            .map(|(id, interface)| (id.ifindex, interface))
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

    /// Takes in a listing of the directory. Closes the namespaces that are no longer listed, and returns the files
    /// that have to be read.
    pub fn listed(&mut self, listing: Listing, now: Instant) -> Vec<NetnsFile> {
        let files: BTreeMap<PathBuf, NetnsFile> = listing
            .files
            .into_iter()
            .map(|file| (file.path.clone(), file))
            .collect();
        if !self.was_listed {
            self.was_listed = true;
            self.first_listing = files.keys().cloned().collect();
        }
        // The engine mounts the node's namespace when the first container joins it: the same one under another name.
        let node = files.values().find(|file| file.role == Role::Node);
        for namespace in self.namespaces.values_mut() {
            if let (Role::Node, Some(node)) = (&namespace.file.role, node)
                && namespace.file.inode == node.inode
            {
                namespace.file = node.clone();
            }
        }
        let gone: Vec<_> = self
            .namespaces
            .iter()
            .filter(|(_, namespace)| files.get(&namespace.file.path) != Some(&namespace.file))
            .map(|(netns, _)| *netns)
            .collect();
        for netns in gone {
            self.close_namespace(netns, now);
        }
        let known: BTreeSet<_> = self
            .namespaces
            .values()
            .map(|namespace| namespace.file.path.clone())
            .collect();
        // A sandbox's name is never reused. An overlay's name is, and its inode may be, too: only a look can tell.
        let look = |file: &NetnsFile| match file.role {
            Role::Overlay { .. } | Role::LoadBalancer { .. } | Role::Ingress => true,
            Role::Sandbox | Role::Node => !known.contains(&file.path),
        };
        files.into_values().filter(look).collect()
    }

    /// Takes in what was read in a namespace. Closes another namespace that was on the same file before.
    pub fn looked(&mut self, file: &NetnsFile, netns: NetnsId, devices: Vec<Device>, now: Instant) {
        let replaced: Vec<_> = self
            .namespaces
            .iter()
            .filter(|(known, namespace)| **known != netns && namespace.file.path == file.path)
            .map(|(known, _)| *known)
            .collect();
        for known in replaced {
            self.close_namespace(known, now);
        }
        let stamp = self.stamp();
        let is_known = self.namespaces.contains_key(&netns);
        let returned = self.take_departed(netns);
        let is_older = returned.is_some() || self.first_listing.contains(&file.path) || self.parted.contains(&netns);
        // A device that is connected later to an older namespace is new.
        let are_older = is_older && !is_known;
        let new = || {
            let mut namespace = returned.unwrap_or_else(|| Namespace::new(file.clone(), is_older));
            // A namespace that was closed and reappears may be on another file now.
            namespace.file = file.clone();
            namespace
        };
        let namespace = self.namespaces.entry(netns).or_insert_with(new);
        match file.role {
            Role::Node => {
                namespace.set_devices(devices, now);
                return;
            }
            Role::Overlay { .. } | Role::LoadBalancer { .. } | Role::Ingress => {
                namespace.set_devices(devices.clone(), now);
            }
            Role::Sandbox => {}
        }
        let known = std::mem::take(&mut namespace.tunnels);
        let tunnels = devices.iter().filter_map(|device| {
            let (vni, port) = (device.vni?, device.vxlan_port?);
            let remotes = known.get(&device.ifindex).map(|known| known.remotes.clone());
            let tunnel = TunnelDevice {
                vni,
                port,
                mtu: device.mtu,
                remotes: remotes.unwrap_or_default(),
            };
            Some((device.ifindex, tunnel))
        });
        if let Role::Overlay { .. } = file.role {
            namespace.tunnels = tunnels.collect();
        }
        let mut missing: BTreeSet<_> = self.interfaces.range(range(netns)).map(|(id, _)| *id).collect();
        let mut known = missing.len();
        let mut refused = 0;
        let sandboxes = (devices.len() > DEVICES_PER_NAMESPACE).then(|| naming::Sandboxes::new(&self.inventory));
        let is_engines = |device: &Device| {
            let owner = sandboxes.as_ref().and_then(|them| them.owner(file, device, None));
            matches!(owner, Some(Owner::Container { network, .. }) if !network.is_empty())
        };
        for device in devices {
            if !counts(self.scope, &file.role, &device) {
                continue;
            }
            let id = InterfaceId {
                netns,
                ifindex: device.ifindex,
            };
            missing.remove(&id);
            match self.interfaces.get_mut(&id) {
                Some(interface) => interface.describe(device),
                None if known < DEVICES_PER_NAMESPACE || known < 2 * DEVICES_PER_NAMESPACE && is_engines(&device) => {
                    let ledger = match self.last_totals(id) {
                        _ if !are_older => Ledger::default(),
                        Some(last) => Ledger::of_returned(last),
                        None => Ledger::of_older(),
                    };
                    let interface = Interface::new(device, ledger, now).stamped(stamp);
                    self.interfaces.insert(id, interface);
                    known += 1;
                }
                None => refused += 1,
            }
        }
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            // Every look refuses the same devices again, so only the increase is counted.
            let before = std::mem::replace(&mut namespace.refused, refused);
            if refused > before {
                *self.attach.failures.entry(AttachFailure::TooManyDevices).or_default() += refused - before;
            }
        }
        for id in missing {
            self.close(id, now);
        }
    }

    /// Takes in a change of a device of a watched namespace, with its counters when it stopped or was deleted.
    /// Returns false if the device is not in the registry; then [`Self::on_new_device`] takes the change in.
    pub fn on_device_change(&mut self, netns: NetnsId, change: &DeviceChange) -> bool {
        let ifindex = change.device.ifindex;
        let id = InterfaceId { netns, ifindex };
        if let Some(interface) = self.interfaces.get_mut(&id) {
            let called_so = self.namespaces.get(&netns).and_then(|namespace| namespace.number);
            if called_so.is_some_and(|number| number.since <= change.after) || interface.may_be(&change.device) {
                interface.on_change(change);
            }
            return true;
        }
        let is_its_own = |namespace: &Namespace| {
            // The other namespaces exist long before a device, and long after it.
            namespace.file.role == Role::Sandbox
                && counts(self.scope, &namespace.file.role, &change.device)
                && namespace.number.is_some_and(|number| number.since <= change.after)
        };
        let concerns_us = self.namespaces.get(&netns).is_some_and(is_its_own)
            && (self.has_room(netns) || self.ended.iter().any(|ended| ended.id == id));
        !concerns_us
    }

    /// Takes in a change of a device that was created after the last look, or that a look found deleted before the
    /// message arrived. The caller has checked that the namespace still has the message's nsid, so the device is not
    /// another namespace's.
    pub fn on_new_device(&mut self, netns: NetnsId, change: &DeviceChange, now: Instant) {
        let ifindex = change.device.ifindex;
        let id = InterfaceId { netns, ifindex };
        if let Some(ended) = self.ended.iter_mut().rev().find(|ended| ended.id == id) {
            ended.on_change(change);
        } else if self.has_room(netns) {
            let interface = Interface::from_change(change, now).stamped(self.stamp());
            self.interfaces.insert(id, interface);
        }
    }

    /// Whether the namespace has room for another device that no look has read.
    fn has_room(&self, netns: NetnsId) -> bool {
        self.interfaces.range(range(netns)).count() < DEVICES_PER_NAMESPACE
    }

    /// Messages were lost: the last counters received for a device may not be its final ones.
    pub fn on_overrun(&mut self) {
        for interface in self.interfaces.values_mut() {
            interface.forget_final_counters();
        }
    }

    /// Everything that existed at start-up has been read, as far as it could be.
    pub const fn finish_first_look(&mut self) {
        self.has_begun = true;
    }

    /// True once everything that existed at start-up has been read, and at least so many inventories were taken in.
    #[must_use]
    pub const fn is_synced(&self, inventories_set: u64) -> bool {
        self.has_begun && self.inventories_set >= inventories_set
    }

    /// Takes in an inventory of the engine, and names everything again.
    pub fn set_inventory(&mut self, inventory: Arc<Inventory>) {
        self.inventories_set += 1;
        self.inventory = inventory;
        self.name();
    }

    /// Finds the owner of every namespace and interface, as far as the engine has reported it.
    pub fn name(&mut self) {
        let Self {
            inventory,
            namespaces,
            interfaces,
            ended,
            departed,
            ..
        } = self;
        let sandboxes = naming::Sandboxes::new(inventory);
        let departed = departed.values_mut().map(|departed| &mut departed.namespace);
        for namespace in namespaces.values_mut().chain(departed) {
            if let Some(place) = sandboxes.place(&namespace.file) {
                namespace.place = Some(place);
            }
        }
        let mut claims = naming::Claims::default();
        for (id, interface) in &*interfaces {
            claims.keep(*id, interface.owner.as_ref());
        }
        for (id, interface) in &mut *interfaces {
            if let Some(namespace) = namespaces.get(&id.netns) {
                let owner = sandboxes.owner(&namespace.file, &interface.device, interface.owner.as_ref());
                interface.belongs_to(owner.map(|owner| claims.settle(*id, owner)));
            }
        }
        for at in 0..ended.len() {
            if ended[at].owner.is_none() {
                let Ended { file, device, .. } = &ended[at];
                let owners = || {
                    let living = interfaces.values().filter_map(|interface| interface.owner.as_ref());
                    living.chain(ended.iter().filter_map(|ended| ended.owner.as_ref()))
                };
                let claimed = |container: &ContainerId, on: &str| {
                    owners().any(|owner| match owner {
                        Owner::Container { id, network, .. } => id == container && **network == *on,
                        Owner::Overlay { .. } => false,
                    })
                };
                let owner = sandboxes.owner(file, device, None);
                let owner = owner.or_else(|| sandboxes.former_owner(file, device, claimed));
                ended[at].owner = owner;
            }
        }
    }

    /// Removes what has lingered long enough. Its service keeps the sum.
    pub fn expire(&mut self, now: Instant) {
        for ended in &mut self.ended {
            if now.saturating_duration_since(ended.at) >= SLOT_REST {
                self.over.extend(ended.rest.take());
            }
        }
        let linger = self.linger.max(SLOT_REST);
        let is_over = |ended: &mut Ended| now.saturating_duration_since(ended.at) >= linger;
        let mut over: Vec<_> = self.ended.extract_if(.., is_over).collect();
        self.over.extend(over.iter_mut().filter_map(|ended| ended.rest.take()));
        for ended in &over {
            if let Some(Owner::Container { network, .. }) = &ended.owner
                && let Some(namespace) = self.namespaces.get_mut(&ended.id.netns)
            {
                let passed = namespace.passed_before.entry(Arc::clone(network)).or_default();
                *passed += ended.totals.transmit.tcp_segments;
            }
        }
        let is_over = |departed: &Departed| now.saturating_duration_since(departed.at) >= linger;
        for (netns, _) in self.departed.extract_if(.., |_, departed| is_over(departed)) {
            self.forgotten.insert(netns);
            self.parted.insert(netns);
        }
        while self.parted.len() > PARTED {
            self.parted.pop_first();
        }
        let departed = self.departed.keys().copied();
        self.sites
            .forget(now, || self.namespaces.keys().copied().chain(departed).collect());
        self.services
            .retire(&over, &self.interfaces, &self.ended, &self.inventory);
    }

    /// Takes out the attachments that are over. To drop them asks the kernel, which the registry must not do.
    pub fn take_over(&mut self) -> Vec<Attachment> {
        std::mem::take(&mut self.over)
    }

    /// When [`Self::expire`] next has something to remove.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        let linger = self.linger.max(SLOT_REST);
        let namespaces = self.departed.values().map(|departed| departed.at + linger);
        self.ended
            .iter()
            .map(|ended| ended.at + if ended.rest.is_some() { SLOT_REST } else { linger })
            .chain(namespaces)
            .min()
    }

    /// The totals of a closed interface that still lingers. It reappears if its namespace's file was only missing for
    /// a while.
    fn last_totals(&self, id: InterfaceId) -> Option<Directions<Totals>> {
        let mut latest = self.ended.iter().rev();
        latest.find(|ended| ended.id == id).map(|ended| ended.totals)
    }

    fn close(&mut self, id: InterfaceId, now: Instant) {
        let file = self.namespaces.get(&id.netns).map(|namespace| namespace.file.clone());
        if let (Some(mut interface), Some(file)) = (self.interfaces.remove(&id), file) {
            self.name_at_last(id, &file, &mut interface);
            let ended = interface.end(id, file, now);
            if ended.is_own() {
                self.crowd_out(id.netns);
            }
            self.ended.push(ended);
        }
    }

    /// Finds the owner of an interface that ends. More may be known now than when all interfaces were last named.
    fn name_at_last(&self, id: InterfaceId, file: &NetnsFile, interface: &mut Interface) {
        if interface.owner.as_ref().is_some_and(|owner| !owner.is_own_device()) {
            return;
        }
        let mut claims = naming::Claims::default();
        for (id, other) in self.interfaces.range(range(id.netns)) {
            claims.keep(*id, other.owner.as_ref());
        }
        let sandboxes = naming::Sandboxes::new(&self.inventory);
        let owner = sandboxes.owner(file, &interface.device, interface.owner.as_ref());
        interface.belongs_to(owner.map(|owner| claims.settle(id, owner)));
    }

    /// Limits how many interfaces of a container's own making linger: it may create and delete them at any rate.
    fn crowd_out(&mut self, netns: NetnsId) {
        let of_its_own = |(_, ended): &(usize, &Ended)| ended.id.netns == netns && ended.is_own();
        let mut lingering = self.ended.iter().enumerate().filter(of_its_own);
        let oldest = lingering.next().map(|(at, _)| at);
        if let (Some(oldest), true) = (oldest, lingering.count() + 1 >= LINGERING_PER_NAMESPACE) {
            self.over.extend(self.ended.remove(oldest).rest);
        }
    }

    /// Whether the registry has the namespace on this file.
    #[must_use]
    pub fn knows(&self, path: &Path) -> bool {
        self.namespaces.values().any(|namespace| namespace.file.path == path)
    }
}

/// Whether a device of a namespace with this role is an interface to count.
fn counts(scope: Scope, role: &Role, device: &Device) -> bool {
    match role {
        Role::Sandbox => device.kind != DeviceKind::Loopback,
        Role::Overlay { .. } => scope.vxlan && device.kind == DeviceKind::Vxlan,
        Role::Node | Role::Ingress | Role::LoadBalancer { .. } => false,
    }
}

const fn range(netns: NetnsId) -> RangeInclusive<InterfaceId> {
    InterfaceId { netns, ifindex: 0 }..=InterfaceId {
        netns,
        ifindex: u32::MAX,
    }
}
