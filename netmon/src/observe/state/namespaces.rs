//! The namespaces' pages in the book: what is known of each, while it is there and after.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{State, range};
use crate::{
    model::{
        buffers::{Backlogs, ContainerBuffers, NodeBuffers, SoftnetLedger},
        interface::{Device, NetnsId},
        overlay::XfrmErrors,
        place::Place,
        protocols::Protocols,
        tcp::{Before, Segments, Shares},
    },
    netns::discover::{NetnsFile, Role},
};

/// How many nodes of a network are told apart. A Swarm of more is none that anybody has seen; a table of more is one
/// that somebody else fills.
const REMOTES_PER_DEVICE: usize = 2_048;

/// How long a device of the node's is remembered when it is gone.
const FORMER: Duration = Duration::from_mins(1);

/// A namespace that is watched.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// The file it is mounted on.
    pub file: NetnsFile,
    /// How our own namespace calls it, once it does.
    pub number: Option<Number>,
    /// Whose it is, once that is known. What was known once stays when the engine has forgotten.
    pub place: Option<Place>,
    /// It was there before netmon was.
    pub is_older: bool,
    /// Its protocols' counters, as last read.
    pub protocols: Option<Protocols>,
    /// Its tables and limits, as last read: of a container's.
    pub buffers: ContainerBuffers,
    /// Its queues, tables and limits, as last read: of the node's.
    pub node_buffers: Option<Arc<NodeBuffers>>,
    /// The sum of the processors' backlogs: of the node's.
    softnet: SoftnetLedger,
    /// What went wrong with encryption there, as last read: of the node's. (Docker encrypts in no other.)
    pub xfrm_errors: Option<Arc<XfrmErrors>>,
    /// Its TCP counts, shared out among its networks.
    pub tcp: Shares,
    /// TCP segments that passed on their way out of devices that it has no more, by network.
    pub passed_before: BTreeMap<Arc<str>, u64>,
    /// Its TCP sockets, as they were before the kernel programs counted: of an older namespace.
    pub connections_before: Before,
    /// Its VXLAN devices, by their numbers: of an overlay's.
    pub tunnels: BTreeMap<u32, TunnelDevice>,
    /// How many of its devices are not watched, for there are too many.
    pub(super) refused: u64,
    /// Its devices, by their numbers: of the node's and of networks' namespaces, where others' packets pass.
    pub devices: BTreeMap<u32, Arc<Device>>,
    /// Those that are gone, and since when: what is heard of late may have been theirs.
    former_devices: BTreeMap<u32, (Arc<Device>, Instant)>,
}

/// The number by which our own namespace calls another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// Which.
    pub nsid: i32,
    /// It was called so then, and maybe before. Before that another one may have been, which is gone.
    pub since: Instant,
}

/// A VXLAN device of an overlay's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunnelDevice {
    /// The identifier of what it sends and receives.
    pub vni: u32,
    /// The UDP port of its tunnels.
    pub port: u16,
    /// How large its packets may be, in bytes: what the network's containers get.
    pub mtu: u32,
    /// The nodes that it sends to, as the engine has set it up, or it has learnt.
    pub remotes: BTreeSet<IpAddr>,
}

/// A namespace that is gone. What was counted for it lingers.
#[derive(Clone, Debug)]
pub struct Departed {
    /// What was known of it.
    pub namespace: Namespace,
    /// When it was found gone.
    pub at: Instant,
}

impl Namespace {
    /// One that was just seen, and of which nothing is known yet.
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
            former_devices: BTreeMap::new(),
        }
    }

    /// Takes in which devices there are.
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

    /// A device that is there, or was a moment ago.
    pub(super) fn device(&self, ifindex: u32) -> Option<&Device> {
        let former = || self.former_devices.get(&ifindex).map(|(device, _)| device);
        self.devices.get(&ifindex).or_else(former).map(|device| &**device)
    }
}

impl State {
    /// The namespaces that are watched.
    #[must_use]
    pub const fn namespaces(&self) -> &BTreeMap<NetnsId, Namespace> {
        &self.namespaces
    }

    /// The namespaces that ended a moment ago.
    pub fn departed(&self) -> impl Iterator<Item = &Namespace> {
        self.departed.values().map(|departed| &departed.namespace)
    }

    /// The namespaces of containers, those that ended a moment ago included.
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

    /// A namespace that is there, or was a moment ago.
    #[must_use]
    pub fn namespace(&self, netns: NetnsId) -> Option<&Namespace> {
        let departed = || self.departed.get(&netns).map(|departed| &departed.namespace);
        self.namespaces.get(&netns).or_else(departed)
    }

    fn namespace_mut(&mut self, netns: NetnsId) -> Option<&mut Namespace> {
        let departed = self.departed.get_mut(&netns).map(|departed| &mut departed.namespace);
        self.namespaces.get_mut(&netns).or(departed)
    }

    /// Takes in what the programs say of the networks' shares of a namespace's TCP counts.
    pub fn set_segment_shares(&mut self, netns: NetnsId, shares: &BTreeMap<Arc<str>, Segments>) {
        if let Some(namespace) = self.namespace_mut(netns) {
            let whole = namespace.protocols.map(|protocols| protocols.segments);
            namespace.tcp.observe(whole, shares, namespace.is_older);
        }
    }

    /// Takes in a reading of a namespace's protocols.
    pub fn counted(&mut self, netns: NetnsId, protocols: Protocols) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.protocols = Some(protocols);
        }
    }

    /// Takes in how many connections the packet filter follows in a container.
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

    /// Takes in which devices the node has.
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

    /// Takes in a reading of the node's queues, tables and limits; nothing if they could not be read.
    pub fn node_bounded(&mut self, netns: NetnsId, reading: Option<(NodeBuffers, Backlogs)>) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.node_buffers = reading.map(|(buffers, backlogs)| {
                let softnet = namespace.softnet.observe(backlogs);
                Arc::new(NodeBuffers { softnet, ..buffers })
            });
        }
    }

    /// Takes in a reading of what went wrong with encryption in the node's namespace; nothing if the kernel does not tell.
    pub fn set_xfrm_errors(&mut self, netns: NetnsId, errors: Option<XfrmErrors>) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.xfrm_errors = errors.map(Arc::new);
        }
    }

    /// Takes in how many TCP sockets a namespace had before the kernel programs counted.
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

    /// Remembers how our own namespace calls another one.
    pub fn numbered(&mut self, netns: NetnsId, number: Number) {
        if let Some(namespace) = self.namespaces.get_mut(&netns)
            && namespace.number.is_none_or(|known| known.nsid != number.nsid)
        {
            namespace.number = Some(number);
        }
    }

    /// The namespace that ours called by this number when news was made, which was after that moment. Of several, for the
    /// kernel gives numbers anew before it is noticed that a namespace is gone, the last that had the number for certain.
    #[must_use]
    pub fn namespace_by_number(&self, nsid: i32, after: Instant) -> Option<NetnsId> {
        let called_so = self.namespaces.iter().filter_map(|(netns, namespace)| {
            let number = namespace.number.filter(|number| number.nsid == nsid)?;
            Some((number.since, *netns))
        });
        let certain = called_so.clone().filter(|(since, _)| *since <= after).max();
        certain.or_else(|| called_so.min()).map(|(_, netns)| netns)
    }

    /// Takes a namespace back that was given up a moment ago, though it lives: its file was not there for a while.
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
