//! The Swarm's nodes, and what is on its networks on any of them, as far as this node's engine tells.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// The Swarm's nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// Who tells of them.
    pub source: PeerSource,
    /// By the addresses that they send to each other from.
    pub nodes: BTreeMap<IpAddr, Peer>,
}

/// Who tells of the Swarm's nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerSource {
    /// The engine has not said yet.
    #[default]
    Unknown,
    /// A manager, which knows every node's name.
    Manager,
    /// A worker, or an engine in no Swarm: it is told no names.
    Worker,
}

/// A node of the Swarm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its hostname; empty where it is not known.
    pub hostname: Arc<str>,
    /// Its node id; empty where it is not known.
    pub node_id: Arc<str>,
    /// Another node has the same hostname: it does not tell them apart.
    pub is_ambiguous: bool,
}

impl Peer {
    /// What it can be called by.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        (!self.hostname.is_empty() && !self.is_ambiguous).then_some(&self.hostname)
    }
}

/// What is on an overlay network, on any node, by the network's own gossip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The containers, by their addresses there.
    pub endpoints: BTreeMap<IpAddr, Member>,
    /// The virtual addresses of services, by the service.
    pub virtual_ips: BTreeMap<String, IpAddr>,
    /// This node's own load balancer there, by its address: what it passes on of a service's virtual address comes from
    /// that one.
    pub load_balancers: BTreeMap<IpAddr, String>,
    /// The ids of nodes, by the addresses that they send to each other from; of those that a task's name gives away.
    pub nodes: BTreeMap<IpAddr, Arc<str>>,
    /// There are more than were kept.
    pub is_cut: bool,
}

/// A container on an overlay network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its name.
    pub container: String,
    /// Its service; empty for a container of none.
    pub service: String,
    /// The node that it is on, by the address that it sends from; none where that makes no sense.
    pub node: Option<IpAddr>,
}
