//! What is known of a namespace by its kind: a container's, a network's, or the node's.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::loopback::Loopback;
use crate::model::{
    buffers::{Backlogs, ContainerBuffers, NodeBuffers, SoftnetLedger},
    dns::DnsCounts,
    interface::Device,
    netns::Role,
    overlay::XfrmErrors,
    protocols::Protocols,
    tcp::{Shares, sockets::Sockets},
};

/// How many nodes of a network are told apart. No Swarm that large is known. Somebody else has filled a larger table.
const REMOTES_PER_DEVICE: usize = 2_048;

/// A kind of namespace, with what only such a namespace has.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A container's.
    Sandbox(Box<Sandbox>),
    /// An overlay network's, with its tunnels to other nodes.
    Overlay(Overlay),
    /// A network's load balancer.
    LoadBalancer(Devices),
    /// The routing mesh of the Swarm.
    Ingress(Devices),
    /// The node's own.
    Node(Box<Node>),
}

/// What is known of a container's namespace.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    /// Its protocols' counters, as last read.
    pub protocols: Option<Protocols>,
    /// Its tables and limits, as last read.
    pub buffers: ContainerBuffers,
    /// Its TCP counts, divided among its networks.
    pub tcp: Shares,
    /// TCP segments sent through devices that it no longer has, by network.
    pub passed_before: BTreeMap<Arc<str>, u64>,
    /// The networks of devices that it no longer has, by ifindex.
    pub(super) networks_before: BTreeMap<u32, Arc<str>>,
    /// Its TCP sockets that the programs' counts lack.
    pub sockets: Sockets,
    /// What it asked its resolvers; `None` while no program counts that.
    pub dns: Option<Arc<dyn DnsCounts>>,
    /// The program on its loopback.
    pub(super) loopback: Loopback,
}

/// What is known of an overlay network's namespace.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Its VXLAN devices, by ifindex.
    pub tunnels: BTreeMap<u32, TunnelDevice>,
    /// All its devices.
    pub devices: Devices,
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

/// What is known of the node's namespace.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its protocols' counters, as last read.
    pub protocols: Option<Protocols>,
    /// Its queues, tables and limits, as last read.
    pub buffers: Option<Arc<NodeBuffers>>,
    /// The sum of the CPUs' backlogs.
    softnet: SoftnetLedger,
    /// Encryption errors there, as last read. Docker encrypts in no other namespace.
    pub xfrm_errors: Option<Arc<XfrmErrors>>,
    /// Its devices.
    pub devices: Devices,
}

/// The devices of a namespace that forwards others' packets.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    existing: BTreeMap<u32, Arc<Device>>,
    /// Deleted devices, and when they were found deleted: a late count may be theirs.
    former: BTreeMap<u32, (Arc<Device>, Instant)>,
}

impl Kind {
    /// A namespace with this role, of which nothing is known yet.
    pub(super) fn new(role: &Role) -> Self {
        match role {
            Role::Sandbox => Self::Sandbox(Box::default()),
            Role::Overlay { .. } => Self::Overlay(Overlay::default()),
            Role::LoadBalancer { .. } => Self::LoadBalancer(Devices::default()),
            Role::Ingress => Self::Ingress(Devices::default()),
            Role::Node => Self::Node(Box::default()),
        }
    }

    /// Whether a namespace with this role is of this kind.
    pub(super) const fn fits(&self, role: &Role) -> bool {
        match self {
            Self::Sandbox(_) => matches!(role, Role::Sandbox),
            Self::Overlay(_) => matches!(role, Role::Overlay { .. }),
            Self::LoadBalancer(_) => matches!(role, Role::LoadBalancer { .. }),
            Self::Ingress(_) => matches!(role, Role::Ingress),
            Self::Node(_) => matches!(role, Role::Node),
        }
    }

    /// Takes in the list of its devices. Deleted ones stay known for `linger`.
    pub(super) fn set_devices(&mut self, devices: &[Device], linger: Duration, now: Instant) {
        match self {
            // The registry has an entry for each of them: its interfaces.
            Self::Sandbox(_) => {}
            Self::Overlay(overlay) => overlay.set_devices(devices, linger, now),
            Self::LoadBalancer(known) | Self::Ingress(known) => known.set(devices, linger, now),
            Self::Node(node) => node.devices.set(devices, linger, now),
        }
    }
}

impl Overlay {
    fn set_devices(&mut self, devices: &[Device], linger: Duration, now: Instant) {
        let mut known = std::mem::take(&mut self.tunnels);
        let tunnels = devices.iter().filter_map(|device| {
            let (vni, port) = (device.vni?, device.vxlan_port?);
            let remotes = known.remove(&device.ifindex).map(|known| known.remotes);
            let tunnel = TunnelDevice {
                vni,
                port,
                mtu: device.mtu,
                remotes: remotes.unwrap_or_default(),
            };
            Some((device.ifindex, tunnel))
        });
        self.tunnels = tunnels.collect();
        self.devices.set(devices, linger, now);
    }

    /// Takes in which nodes its devices send to.
    pub(super) fn set_remotes(&mut self, remotes: impl IntoIterator<Item = (u32, IpAddr)>) {
        for device in self.tunnels.values_mut() {
            device.remotes.clear();
        }
        for (ifindex, remote) in remotes {
            if let Some(device) = self.tunnels.get_mut(&ifindex)
                && device.remotes.len() < REMOTES_PER_DEVICE
            {
                device.remotes.insert(remote);
            }
        }
    }
}

impl Node {
    /// Takes in a reading of its queues, tables and limits; `None` if they could not be read.
    pub(super) fn set_buffers(&mut self, reading: Option<(NodeBuffers, Backlogs)>) {
        self.buffers = reading.map(|(buffers, backlogs)| {
            let softnet = self.softnet.observe(backlogs);
            Arc::new(NodeBuffers { softnet, ..buffers })
        });
    }
}

impl Devices {
    fn set(&mut self, devices: &[Device], linger: Duration, now: Instant) {
        let new = |device: &Device| {
            let known = self.existing.get(&device.ifindex).filter(|known| ***known == *device);
            (
                device.ifindex,
                known.map_or_else(|| Arc::new(device.clone()), Arc::clone),
            )
        };
        let devices = devices.iter().map(new).collect();
        let before = std::mem::replace(&mut self.existing, devices);
        self.former
            .extend(before.into_iter().map(|(ifindex, device)| (ifindex, (device, now))));
        let existing = &self.existing;
        self.former.retain(|ifindex, (_, since)| {
            !existing.contains_key(ifindex) && now.saturating_duration_since(*since) < linger
        });
    }

    /// The devices that exist.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.existing.values()
    }

    /// A device that exists, or that was deleted a moment ago.
    pub(super) fn get(&self, ifindex: u32) -> Option<&Device> {
        let former = || self.former.get(&ifindex).map(|(device, _)| device);
        self.existing.get(&ifindex).or_else(former).map(|device| &**device)
    }
}
