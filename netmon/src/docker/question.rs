//! The questions to the engine, and their answers in the model's types. Who keeps the roster asks them, and who talks
//! to the engine answers them. Neither knows the other.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    client::RequestError,
    convert::{Described, Listed, SwarmNode},
};
use crate::model::{
    inventory::{ContainerId, Endpoint, Network, NetworkId, Node},
    peers::Members,
};

/// A question to the engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// The description of the node.
    Node,
    /// The list of networks.
    Networks,
    /// The list of running containers.
    Containers,
    /// The Swarm's nodes. Only a manager can answer this.
    Nodes,
    /// The description of this container.
    Container(ContainerId),
    /// The endpoints of these containers, from a list.
    Endpoints(BTreeSet<ContainerId>),
    /// The members of this network, on all nodes.
    Members(NetworkId),
}

/// The result of a question about a container.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its description.
    Described(Box<Described>),
    /// The engine has no such container.
    NotFound,
    /// There was no answer, or it could not be decoded.
    Nothing,
}

/// The result of a question about a network.
#[derive(Debug)]
pub(super) enum MembersAnswer {
    /// The network's members.
    Members(Members),
    /// This node has no container on the network any more.
    NotHere,
    /// There was no answer, or it could not be decoded. The known members stay.
    Nothing,
}

/// The answer to a question. Parts that could not be decoded were counted and left out.
pub(super) enum Outcome {
    /// The node. `None` if it could not be read.
    Node(Option<Node>),
    /// The networks. `None` if they could not be read.
    Networks(Option<Networks>),
    /// The running containers. Without them there is nothing to watch, so an error ends the session.
    Containers(Result<Vec<Listed>, RequestError>),
    /// The Swarm's nodes. `None` if they could not be read.
    Nodes(Option<Vec<SwarmNode>>),
    /// The result of the question about this container.
    Container(ContainerId, Answer),
    /// The endpoints that a list had, by container. Those that can be located.
    Endpoints(BTreeMap<ContainerId, Vec<Endpoint>>),
    /// The result of the question about this network's members.
    Members(NetworkId, MembersAnswer),
}

/// A list of networks.
pub(super) struct Networks {
    pub(super) networks: Vec<Network>,
    /// Whether all networks could be decoded.
    pub(super) complete: bool,
}
