//! The Swarm's nodes, and the members of its networks on all nodes, as far as this node's engine reports them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::inventory::ContainerId;

/// The Swarm's nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// The source of the nodes' names.
    pub source: PeerSource,
    /// The nodes, by the addresses that they send to each other from.
    pub nodes: BTreeMap<IpAddr, Peer>,
}

/// The source of the nodes' names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerSource {
    /// The engine has not reported its role yet.
    #[default]
    Unknown,
    /// A manager. It knows every node's name.
    Manager,
    /// A worker, or an engine outside a Swarm. It gets no names.
    Worker,
}

/// A node of the Swarm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its hostname; empty if unknown.
    pub hostname: Arc<str>,
    /// Its node id; empty if unknown.
    pub node_id: Arc<str>,
    /// Another node has the same hostname, so the hostname does not identify it.
    pub is_ambiguous: bool,
}

impl Peer {
    /// The hostname, if it identifies the node.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        (!self.hostname.is_empty() && !self.is_ambiguous).then_some(&self.hostname)
    }
}

/// The members of an overlay network on all nodes, from the network's own gossip; or this node's on `docker_gwbridge`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The containers, by their addresses on the network.
    pub endpoints: BTreeMap<IpAddr, Member>,
    /// The virtual address of each service, by the service's name.
    pub virtual_ips: BTreeMap<String, IpAddr>,
    /// The name of this node's load balancer on the network, by its address. Connections to a service's virtual
    /// address reach the tasks from this address.
    pub load_balancers: BTreeMap<IpAddr, String>,
    /// On `docker_gwbridge`, which the containers' own descriptions leave out: this node's containers by their addresses there.
    pub gateways: BTreeMap<IpAddr, ContainerId>,
    /// Node ids, by the address that the node sends from. Only task names reveal them, so some nodes are missing.
    pub nodes: BTreeMap<IpAddr, Arc<str>>,
    /// Some of these were left out, because there were too many.
    pub is_cut: bool,
}

/// A container on an overlay network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its name.
    pub container: String,
    /// Its service; empty if it belongs to none.
    pub service: String,
    /// Its node, by the address that the node sends from; `None` if the engine gave no usable address.
    pub node: Option<IpAddr>,
}
