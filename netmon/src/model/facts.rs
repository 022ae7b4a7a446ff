//! What the checks look at: the engine's word beside what the kernel has, as of one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    counters::Directions,
    dns::Resolver,
    interface::{Device, MacAddress},
    inventory::{ContainerId, Inventory, Subnet},
    overlay::Tunnel,
};

/// Something that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unread(pub String);

/// What the checks look at.
#[derive(Clone, Debug)]
pub struct CheckFacts {
    /// What the engine says; an error if it has not answered yet, or answers no more.
    pub engine: Result<Arc<Inventory>, Unread>,
    /// What the kernel has in the node's namespace.
    pub node: Result<NodeFacts, Unread>,
    /// What it has in the namespace of each overlay network, by the network's name.
    pub overlays: BTreeMap<Arc<str>, Result<OverlayFacts, Unread>>,
    /// What it has in the load balancer of each network's virtual addresses, and of the routing mesh, by the network's name;
    /// `None` if it has no IPVS there.
    pub balancers: BTreeMap<Arc<str>, Result<Option<Vec<Balanced>>, Unread>>,
    /// What it has in the namespace of each container that has one of its own.
    pub containers: BTreeMap<ContainerId, Result<ContainerFacts, Unread>>,
    /// What the kernel programs counted lately.
    pub moved: Result<Moved, Unread>,
    /// What keeps netmon from seeing containers or the node, in a sentence.
    pub unseen: Option<String>,
}

/// What the kernel programs counted within the last half minute. Programs that are not there count nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// The time.
    pub time: Duration,
    /// Packets between nodes.
    pub tunnels: BTreeMap<Tunnel, Directions<u64>>,
    /// Packets that the kernel dropped in the node's namespace, by the device's ifindex and the kernel's name of the
    /// reason.
    pub node_drops: BTreeMap<(u32, Arc<str>), u64>,
    /// What containers asked their resolvers.
    pub asked: BTreeMap<(ContainerId, Resolver), Asked>,
}

/// Queries to a resolver, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// They were answered: with an address, or that the name does not exist.
    pub answered: u64,
    /// They had no response within five seconds.
    pub unanswered: u64,
    /// The resolver could not find out.
    pub servfail: u64,
    /// The resolver does not answer this client.
    pub refused: u64,
    /// Those of the ones with a response that took over a second.
    pub slow: u64,
}

impl Asked {
    /// How many queries they are. The slow ones are among the others.
    #[must_use]
    pub const fn all(&self) -> u64 {
        let answers = self.answered.saturating_add(self.servfail).saturating_add(self.refused);
        answers.saturating_add(self.unanswered)
    }

    /// How many more than before.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            answered: self.answered.saturating_sub(before.answered),
            unanswered: self.unanswered.saturating_sub(before.unanswered),
            servfail: self.servfail.saturating_sub(before.servfail),
            refused: self.refused.saturating_sub(before.refused),
            slow: self.slow.saturating_sub(before.slow),
        }
    }
}

/// What the kernel has in the node's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// The devices.
    pub devices: Vec<Device>,
    /// Whether it forwards IPv4 packets (`net.ipv4.ip_forward`); `None` if this kernel does not say so.
    pub forwards_ipv4: Option<bool>,
    /// Whether it forwards IPv6 packets (`net.ipv6.conf.all.forwarding`).
    pub forwards_ipv6: Option<bool>,
    /// The device on the way to the internet (IPv4); `None` if there is no way.
    pub way_out: Option<u32>,
    /// The devices that lead to other nodes.
    pub underlay: BTreeSet<u32>,
    /// The IPv4 routes; `None` if there are too many to be read.
    pub routes: Option<Vec<Route>>,
    /// The hardware addresses of its neighbours, those of bridge networks among them.
    pub neighbours: Vec<Neighbour>,
    /// What is encrypted when it leaves. Read only if a network is to be encrypted.
    pub encryptions: Result<Vec<Encryption>, Unread>,
    /// How many connections it tracks, and how many it can; `None` if it tracks none.
    pub connections: Option<(u64, u64)>,
}

impl Default for NodeFacts {
    fn default() -> Self {
        Self {
            devices: Vec::new(),
            forwards_ipv4: None,
            forwards_ipv6: None,
            way_out: None,
            underlay: BTreeSet::new(),
            routes: None,
            neighbours: Vec::new(),
            encryptions: Ok(Vec::new()),
            connections: None,
        }
    }
}

/// An encryption policy for what leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Encryption {
    /// The node it is for.
    pub to: IpAddr,
    /// The kernel has the state, with a key, that the policy asks for.
    pub has_state: bool,
}

/// A service of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balanced {
    /// The mark by which the firewall leads packets to it.
    pub mark: u32,
    /// Where packets go.
    pub backends: Vec<Backend>,
}

/// A back end of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// A task's address.
    pub address: IpAddr,
    /// Zero: it gets no new connections.
    pub weight: u32,
}

/// A route to a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where it leads. All addresses if it is the default route.
    pub subnet: Subnet,
    /// The device that packets leave by.
    pub ifindex: u32,
    /// What it leads to is on the device's own link, and not behind a gateway.
    pub is_link: bool,
    /// It is in the main table.
    pub is_main: bool,
}

/// What the kernel has in the namespace of an overlay network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayFacts {
    /// The devices.
    pub devices: Vec<Device>,
    /// To which node each hardware address is sent (FDB entries of VXLAN devices).
    pub forwarding: Vec<Forwarding>,
    /// The hardware addresses of other nodes' containers.
    pub neighbours: Vec<Neighbour>,
}

/// What the kernel has in the namespace of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its devices that are on a network, with the network's name.
    pub devices: Vec<(Arc<Device>, Arc<str>)>,
    /// The device on the way to the internet (IPv4); `None` if there is no way.
    pub way_out: Option<u32>,
}

/// To which node a VXLAN device sends what is for a hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forwarding {
    /// The device.
    pub ifindex: u32,
    /// The hardware address; all zeros for what has no entry of its own.
    pub mac: MacAddress,
    /// The node (VTEP).
    pub node: IpAddr,
}

/// The hardware address of an address, as a neighbour table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The device that leads there.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// Its hardware address; `None` if it has none, or did not answer.
    pub mac: Option<MacAddress>,
    /// It was written by hand, and stays until it is removed.
    pub is_permanent: bool,
}
