//! The life of namespaces and their devices: how they are found, what is heard of them, and how they end and linger.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Closed, Departed, Ended, Interface, Namespace, Owner, Scope, State, range};
use crate::model::{
    health::AttachFailure,
    interface::{Device, DeviceKind, DeviceList, InterfaceId, NetnsId},
    ledger::Ledger,
    netns::{DeviceChange, Listing, NetnsFile, Role},
    programs::Handle,
};

/// How many devices of one container are watched. Docker creates one for each network; a container with more creates
/// them itself. A container that creates thousands must not crowd out the others. The engine's devices get as many
/// entries again.
pub(super) const DEVICES_PER_NAMESPACE: usize = 64;

/// How many interfaces that a container created itself linger after they were deleted.
pub(super) const LINGERING_PER_NAMESPACE: usize = 64;

/// How many namespaces are remembered after they stopped lingering. A directory that is unmounted for a while may
/// have held all namespaces of a node.
pub(super) const PARTED: usize = 4_096;

/// How long the programs of a deleted device stay where they are: a device that only moved out of its namespace is about
/// to be deleted. It is also how long a slot rests before the kernel is asked whether its programs are gone.
pub const SLOT_REST: Duration = Duration::from_secs(1);

impl State {
    /// Takes in a listing of the directory. Closes the namespaces that are no longer listed, and returns the files
    /// that have to be read.
    pub fn listed(&mut self, listing: Listing, now: Instant) -> Vec<NetnsFile> {
        self.misfits.listed(&listing);
        let files: BTreeMap<PathBuf, NetnsFile> = listing
            .files
            .into_iter()
            .map(|file| (file.path.clone(), file))
            .collect();
        if !self.was_listed {
            self.was_listed = true;
            let roles = files.iter().map(|(path, file)| (path.clone(), file.role.clone()));
            self.first_listing = roles.collect();
        }
        self.first_listing
            .retain(|path, role| *role == Role::Sandbox || files.contains_key(path));
        // The engine mounts the node's namespace when the first container joins it: the same one under another name.
        let node = files.values().find(|file| file.role == Role::Node);
        for namespace in self.namespaces.values_mut() {
            if let (Role::Node, Some(node)) = (&namespace.file.role, node)
                && namespace.file.inode == node.inode
            {
                namespace.file = node.clone();
            }
        }
        let mut gone: Vec<_> = self
            .namespaces
            .iter()
            .filter(|(_, namespace)| files.get(&namespace.file.path) != Some(&namespace.file))
            .map(|(netns, namespace)| (namespace.seen, *netns))
            .collect();
        gone.sort_unstable();
        for (_, netns) in gone {
            self.close_namespace(netns, now);
        }
        let known: BTreeSet<_> = self
            .namespaces
            .values()
            .map(|namespace| namespace.file.path.clone())
            .collect();
        // Where a name is used again, the inode may be, too: only a look can tell.
        let look = |file: &NetnsFile| file.role.reuses_names() || !known.contains(&file.path);
        files.into_values().filter(look).collect()
    }

    /// Takes those of these files out that are known namespaces' which rest, and returns these namespaces.
    pub fn resting(&self, files: &mut Vec<NetnsFile>, rests: impl Fn(NetnsId) -> bool) -> Vec<NetnsId> {
        let resting: HashMap<_, _> = self
            .namespaces
            .iter()
            .filter(|(netns, _)| rests(**netns))
            .map(|(netns, namespace)| (&namespace.file, *netns))
            .collect();
        let resting = |file: &NetnsFile| resting.get(file).copied();
        let netns = files.iter().filter_map(resting).collect();
        files.retain(|file| resting(file).is_none());
        netns
    }

    /// Takes in what was read in a namespace. Closes another namespace that was on the same file before, and the
    /// devices that a whole list does not have.
    pub fn looked(&mut self, file: &NetnsFile, netns: NetnsId, devices: impl Into<DeviceList>, now: Instant) {
        let DeviceList { devices, is_whole } = devices.into();
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
        let returned = self.take_closed(netns);
        let was_listed_first = self.first_listing.remove(&file.path).is_some();
        let is_older = returned.is_some() || was_listed_first || self.parted.contains(&netns);
        // A device that is connected later to an older namespace is new.
        let are_older = is_older && !is_known;
        let new = || {
            let mut namespace = returned.unwrap_or_else(|| Namespace::new(file.clone(), is_older, stamp));
            namespace.set_file(file.clone());
            namespace
        };
        let namespace = self.namespaces.entry(netns).or_insert_with(new);
        namespace.kind.set_devices(&devices, self.times.device_linger, now);
        if file.role == Role::Node {
            return;
        }
        let mut missing: BTreeSet<_> = self.interfaces.range(range(netns)).map(|(id, _)| *id).collect();
        let mut known = missing.len();
        let mut refused = 0;
        let sandboxes = &self.sandboxes;
        let is_engines = |device: &Device| {
            let owner = sandboxes.owner(file, device, None);
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
                    let ledger = if are_older {
                        let mut latest = self.ended.iter_mut().rev();
                        let last = latest.find(|ended| ended.id == id).and_then(Ended::resume);
                        last.unwrap_or_else(Ledger::of_older)
                    } else {
                        Ledger::default()
                    };
                    let interface = Interface::new(device, ledger, stamp, now);
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
        // A container could end its own interfaces otherwise, and they would begin anew at the next look.
        if is_whole {
            for id in missing {
                self.close(id, now);
            }
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
            let interface = Interface::from_change(change, self.stamp(), now);
            self.interfaces.insert(id, interface);
        }
    }

    /// Whether the namespace has room for another device that no look has read.
    fn has_room(&self, netns: NetnsId) -> bool {
        self.interfaces.range(range(netns)).count() < DEVICES_PER_NAMESPACE
    }

    /// Messages were lost: the last counters received for a device may not be its final ones.
    pub fn on_overrun(&mut self) {
        self.overruns += 1;
        for interface in self.interfaces.values_mut() {
            interface.forget_final_counters();
        }
    }

    /// How often messages were lost.
    #[must_use]
    pub const fn overruns(&self) -> u64 {
        self.overruns
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
                && let Some(namespace) = self.namespace_mut(ended.id.netns)
                && let Some(sandbox) = namespace.sandbox_mut()
            {
                let passed = sandbox.passed_before.entry(Arc::clone(network)).or_default();
                *passed += ended.totals().transmit.tcp_segments;
                if !network.is_empty() {
                    sandbox.networks_before.insert(ended.id.ifindex, Arc::clone(network));
                }
            }
        }
        let is_over = |closed: &Closed| now.saturating_duration_since(closed.at) >= linger;
        let mut parted: Vec<_> = self.closed.extract_if(.., |_, closed| is_over(closed)).collect();
        parted.sort_unstable_by_key(|(netns, closed)| (closed.at, *netns));
        let has_parted = !parted.is_empty();
        for (netns, closed) in parted {
            let departed = Departed::new(closed.namespace, self.decided_networks(netns));
            self.forgotten.insert(netns, departed);
            self.parted.retain(|earlier| *earlier != netns);
            self.parted.push_back(netns);
        }
        let surplus = self.parted.len().saturating_sub(PARTED);
        self.parted.drain(..surplus);
        let closed = self.closed.keys().copied();
        self.attributions
            .forget(now, || self.namespaces.keys().copied().chain(closed).collect());
        // Only these take a service's last container away.
        let has_news = self.services.seen != self.inventories_set;
        if has_news || has_parted || !over.is_empty() {
            self.services.seen = self.inventories_set;
            self.services.retire(&over);
            self.drop_absent_services();
        }
    }

    /// The programs that are over since the last call: their device was deleted, or its namespace is out of sight. In
    /// that case they may still count.
    #[must_use]
    pub fn take_over(&mut self) -> Vec<Handle> {
        std::mem::take(&mut self.over)
    }

    /// When [`Self::expire`] next has something to remove.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        let linger = self.linger.max(SLOT_REST);
        let namespaces = self.closed.values().map(|closed| closed.at + linger);
        self.ended
            .iter()
            .map(|ended| ended.at + if ended.rest.is_some() { SLOT_REST } else { linger })
            .chain(namespaces)
            .min()
    }

    pub(super) fn close(&mut self, id: InterfaceId, now: Instant) {
        let Some(file) = self.namespaces.get(&id.netns).map(|namespace| namespace.file.clone()) else {
            return;
        };
        if let Some(mut interface) = self.interfaces.remove(&id) {
            self.name_at_last(id, &file, &mut interface);
            let ended = interface.end(id, file, now);
            if ended.is_own() {
                self.crowd_out(id.netns);
            }
            self.ended.push(ended);
        }
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
}

/// Whether a device of a namespace with this role is an interface to count.
fn counts(scope: Scope, role: &Role, device: &Device) -> bool {
    match role {
        Role::Sandbox => device.kind != DeviceKind::Loopback,
        Role::Overlay { .. } => scope.vxlan && device.kind == DeviceKind::Vxlan,
        Role::Node | Role::Ingress | Role::LoadBalancer { .. } => false,
    }
}
