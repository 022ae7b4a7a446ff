//! The registry's entries for namespaces: what is known of each while it exists and while it lingers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ReadingLock, State, range};
use crate::model::{
    buffers::{Backlogs, ContainerBuffers, NodeBuffers, SoftnetLedger},
    interface::{Device, NetnsId},
    netns::{NetnsFile, Role},
    overlay::XfrmErrors,
    place::Place,
    protocols::Protocols,
    tcp::{Before, Segments, Shares},
};

/// How many nodes of a network are told apart. No Swarm that large is known. Somebody else has filled a larger table.
const REMOTES_PER_DEVICE: usize = 2_048;

/// How long a deleted device of the node stays known.
const FORMER: Duration = Duration::from_mins(1);

/// A watched namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// The file it is mounted on.
    pub file: NetnsFile,
    /// Its nsid in the node's namespace, once it has one.
    pub number: Option<Number>,
    /// Its owner, once known. It stays known after the engine has forgotten it.
    pub place: Option<Place>,
    /// It existed before netmon did, or reappeared after it stopped lingering.
    pub is_older: bool,
    /// Its protocols' counters, as last read.
    pub protocols: Option<Protocols>,
    /// Its tables and limits, as last read. Only a container's has them.
    pub buffers: ContainerBuffers,
    /// Its queues, tables and limits, as last read. Only the node's has them.
    pub node_buffers: Option<Arc<NodeBuffers>>,
    /// The sum of the CPUs' backlogs. Only the node's has it.
    softnet: SoftnetLedger,
    /// Encryption errors there, as last read. Only the node's has them: Docker encrypts in no other namespace.
    pub xfrm_errors: Option<Arc<XfrmErrors>>,
    /// Its TCP counts, divided among its networks.
    pub tcp: Shares,
    /// TCP segments sent through devices that it no longer has, by network.
    pub passed_before: BTreeMap<Arc<str>, u64>,
    /// Its TCP sockets from before the kernel programs counted. Only an older namespace has them.
    pub connections_before: Before,
    /// Its VXLAN devices, by ifindex. Only an overlay's namespace has them.
    pub tunnels: BTreeMap<u32, TunnelDevice>,
    /// How many of its devices are not watched because there are too many.
    pub(super) refused: u64,
    /// Its devices, by ifindex. Only for the namespaces of the node and of networks, which forward others' packets.
    pub devices: BTreeMap<u32, Arc<Device>>,
    /// Held by whoever reads its devices.
    pub(super) reading: ReadingLock,
    /// Deleted devices, and when they were found deleted: a late count may be theirs.
    former_devices: BTreeMap<u32, (Arc<Device>, Instant)>,
}

/// The nsid of another namespace in the node's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The nsid.
    pub nsid: i32,
    /// The namespace had the nsid at this time, and maybe earlier. A deleted namespace may have had it before.
    pub since: Instant,
}

/// A VXLAN device of an overlay's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunnelDevice {
    /// Its VNI.
    pub vni: u32,
    /// The UDP port of its tunnels.
    pub port: u16,
    /// Its MTU in bytes, which the network's containers get, too.
    pub mtu: u32,
    /// The nodes that it sends to: set up by the engine, or learnt by the device.
    pub remotes: BTreeSet<IpAddr>,
}

/// A namespace that was closed. What was counted for it lingers.
#[derive(Clone, Debug)]
pub struct Departed {
    /// What was known of it.
    pub namespace: Namespace,
    /// When it was closed.
    pub at: Instant,
}

impl Namespace {
    /// A namespace that was just found, and of which nothing is known yet.
    pub(super) fn new(file: NetnsFile, is_older: bool) -> Self {
        Self {
            file,
            number: None,
            place: None,
            is_older,
            protocols: None,
            buffers: ContainerBuffers::default(),
            node_buffers: None,
            softnet: SoftnetLedger::default(),
            xfrm_errors: None,
            tcp: Shares::default(),
            passed_before: BTreeMap::new(),
            connections_before: Before::default(),
            tunnels: BTreeMap::new(),
            refused: 0,
            devices: BTreeMap::new(),
            reading: ReadingLock::default(),
            former_devices: BTreeMap::new(),
        }
    }

    /// Takes in the list of its devices.
    pub(super) fn set_devices(&mut self, devices: Vec<Device>, now: Instant) {
        let devices = devices
            .into_iter()
            .map(|device| (device.ifindex, Arc::new(device)))
            .collect();
        let before = std::mem::replace(&mut self.devices, devices);
        self.former_devices
            .extend(before.into_iter().map(|(ifindex, device)| (ifindex, (device, now))));
        let there = &self.devices;
        self.former_devices.retain(|ifindex, (_, since)| {
            !there.contains_key(ifindex) && now.saturating_duration_since(*since) < FORMER
        });
    }

    /// A device that exists, or that was deleted a moment ago.
    pub(super) fn device(&self, ifindex: u32) -> Option<&Device> {
        let former = || self.former_devices.get(&ifindex).map(|(device, _)| device);
        self.devices.get(&ifindex).or_else(former).map(|device| &**device)
    }
}

impl State {
    /// The watched namespaces.
    #[must_use]
    pub const fn namespaces(&self) -> &BTreeMap<NetnsId, Namespace> {
        &self.namespaces
    }

    /// The closed namespaces that still linger.
    pub fn departed(&self) -> impl Iterator<Item = &Namespace> {
        self.departed.values().map(|departed| &departed.namespace)
    }

    /// The namespaces of containers, including those that still linger.
    pub fn containers(&self) -> impl Iterator<Item = NetnsId> {
        let departed = self
            .departed
            .iter()
            .map(|(netns, departed)| (*netns, &departed.namespace));
        let living = self.namespaces.iter().map(|(netns, namespace)| (*netns, namespace));
        living
            .chain(departed)
            .filter(|(_, namespace)| matches!(namespace.place, Some(Place::Container { .. })))
            .map(|(netns, _)| netns)
    }

    /// A namespace that exists or still lingers.
    #[must_use]
    pub fn namespace(&self, netns: NetnsId) -> Option<&Namespace> {
        let departed = || self.departed.get(&netns).map(|departed| &departed.namespace);
        self.namespaces.get(&netns).or_else(departed)
    }

    fn namespace_mut(&mut self, netns: NetnsId) -> Option<&mut Namespace> {
        let departed = self.departed.get_mut(&netns).map(|departed| &mut departed.namespace);
        self.namespaces.get_mut(&netns).or(departed)
    }

    /// Takes in the networks' shares of a namespace's TCP counts, as the programs counted them.
    pub fn set_segment_shares(&mut self, netns: NetnsId, shares: &BTreeMap<Arc<str>, Segments>) {
        if let Some(namespace) = self.namespace_mut(netns) {
            let whole = namespace.protocols.map(|protocols| protocols.segments);
            namespace.tcp.observe(whole, shares, namespace.is_older);
        }
    }

    /// Takes in a reading of a namespace's protocol counters.
    pub fn counted(&mut self, netns: NetnsId, protocols: Protocols) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.protocols = Some(protocols);
        }
    }

    /// Takes in how many connections conntrack follows in a container.
    pub fn set_conntrack_entries(&mut self, netns: NetnsId, conntrack_entries: Option<u64>) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.buffers.conntrack_entries = conntrack_entries;
        }
    }

    /// Takes in how many connections may wait to be accepted in a container.
    pub fn set_listen_backlog_limit(&mut self, netns: NetnsId, listen_backlog_limit: Option<u64>) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.buffers.listen_backlog_limit = listen_backlog_limit;
        }
    }

    /// Takes in the list of the node's devices.
    pub fn node_has(&mut self, netns: NetnsId, devices: Vec<Device>, now: Instant) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.set_devices(devices, now);
        }
    }

    /// The node's own namespace.
    #[must_use]
    pub fn node(&self) -> Option<(NetnsId, &Namespace)> {
        let found = self
            .namespaces
            .iter()
            .find(|(_, namespace)| namespace.file.role == Role::Node);
        found.map(|(netns, namespace)| (*netns, namespace))
    }

    /// Takes in a reading of the node's queues, tables and limits; `None` if they could not be read.
    pub fn node_bounded(&mut self, netns: NetnsId, reading: Option<(NodeBuffers, Backlogs)>) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.node_buffers = reading.map(|(buffers, backlogs)| {
                let softnet = namespace.softnet.observe(backlogs);
                Arc::new(NodeBuffers { softnet, ..buffers })
            });
        }
    }

    /// Takes in a reading of the encryption errors in the node's namespace; `None` if the kernel does not report them.
    pub fn set_xfrm_errors(&mut self, netns: NetnsId, errors: Option<XfrmErrors>) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.xfrm_errors = errors.map(Arc::new);
        }
    }

    /// Takes in the TCP sockets that a namespace had before the kernel programs counted.
    pub fn set_connections_before(&mut self, netns: NetnsId, before: Before) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.connections_before = before;
        }
    }

    /// Takes in which nodes an overlay's devices send to.
    pub fn set_remotes(&mut self, netns: NetnsId, remotes: impl IntoIterator<Item = (u32, IpAddr)>) {
        let Some(namespace) = self.namespaces.get_mut(&netns) else {
            return;
        };
        for device in namespace.tunnels.values_mut() {
            device.remotes.clear();
        }
        for (ifindex, remote) in remotes {
            if let Some(device) = namespace.tunnels.get_mut(&ifindex)
                && device.remotes.len() < REMOTES_PER_DEVICE
            {
                device.remotes.insert(remote);
            }
        }
    }

    /// Records the nsid of a namespace in the node's namespace.
    pub fn numbered(&mut self, netns: NetnsId, number: Number) {
        if let Some(namespace) = self.namespaces.get_mut(&netns)
            && namespace.number.is_none_or(|known| known.nsid != number.nsid)
        {
            namespace.number = Some(number);
        }
    }

    /// The namespace that had this nsid when a message was sent, which was later than `after`. Several may match,
    /// because the kernel reuses an nsid before netmon notices that its namespace is deleted. Then it is the last one
    /// that had the nsid for certain.
    #[must_use]
    pub fn namespace_by_number(&self, nsid: i32, after: Instant) -> Option<NetnsId> {
        let called_so = self.namespaces.iter().filter_map(|(netns, namespace)| {
            let number = namespace.number.filter(|number| number.nsid == nsid)?;
            Some((number.since, *netns))
        });
        let certain = called_so.clone().filter(|(since, _)| *since <= after).max();
        certain.or_else(|| called_so.min()).map(|(_, netns)| netns)
    }

    /// Takes back a namespace that was closed a moment ago but still exists: its file was missing for a while.
    pub(super) fn take_departed(&mut self, netns: NetnsId) -> Option<Namespace> {
        self.departed.remove(&netns).map(|departed| departed.namespace)
    }

    pub(super) fn close_namespace(&mut self, netns: NetnsId, now: Instant) {
        let ids: Vec<_> = self.interfaces.range(range(netns)).map(|(id, _)| *id).collect();
        for id in ids {
            self.close(id, now);
        }
        if let Some(namespace) = self.namespaces.remove(&netns) {
            self.departed.insert(netns, Box::new(Departed { namespace, at: now }));
        }
    }
}
