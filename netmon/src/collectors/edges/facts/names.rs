//! Whose an address is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use super::{Former, INGRESS, LOAD_BALANCER, NODE, OUTSIDE, Party, UNKNOWN};
use crate::model::{
    addresses::{Addresses, Holder},
    edges::Side,
    inventory::{Identity, Inventory, Network},
};

/// Who is at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// This one has the address.
    Certain(Party),
    /// This one has the address. Another had it until that time.
    Changed(Party, Instant),
    /// Nobody is known to have it. This one had it.
    Former {
        /// The one that had it.
        party: Party,
        /// Until when.
        until: Instant,
        /// Who it is unless it was that one, and unless somebody is known soon.
        late: Party,
    },
    /// Nobody is known to have it. Unless somebody is soon, it is this one.
    Late(Party),
}

impl Naming {
    /// The same, for what has come since this moment: whoever had the address before does not matter.
    pub(super) fn since(self, moment: Option<Instant>) -> Self {
        let is_before = |until: Instant| moment.is_some_and(|moment| until < moment);
        match self {
            Self::Changed(party, until) if is_before(until) => Self::Certain(party),
            Self::Former { until, late, .. } if is_before(until) => Self::Late(late),
            Self::Former { party, .. } => Self::Certain(party),
            Self::Certain(_) | Self::Changed(..) | Self::Late(_) => self,
        }
    }
}

/// What the engine says at one moment of addresses and names.
#[derive(Debug)]
pub struct Names<'a> {
    addresses: &'a Addresses,
    /// The networks by their names. Several local ones may have the same name.
    networks: BTreeMap<&'a str, Vec<&'a Network>>,
    /// The node's own addresses.
    node: BTreeSet<IpAddr>,
    /// The names of all stacks that are known here.
    stacks: BTreeSet<&'a str>,
    /// The ids of the networks whose members are all known.
    members: BTreeSet<&'a str>,
    former: Former,
}

impl<'a> Names<'a> {
    /// What this inventory says. `node` are the addresses of the node's devices.
    pub fn new(
        addresses: &'a Addresses,
        inventory: &'a Inventory,
        node: impl IntoIterator<Item = IpAddr>,
        former: Former,
    ) -> Self {
        let mut networks: BTreeMap<&str, Vec<&Network>> = BTreeMap::new();
        for network in inventory.networks.values() {
            networks.entry(&network.name).or_default().push(network);
        }
        let of_networks = inventory.networks.values().map(|network| &*network.stack);
        let of_containers = inventory.containers.values();
        let of_containers = of_containers.map(|container| &*container.identity.stack);
        let stacks = of_networks.chain(of_containers).filter(|stack| !stack.is_empty());
        let members = inventory.members.iter();
        let members = members.filter(|(_, members)| members.as_ref().is_some_and(|it| !it.is_cut));
        Self {
            members: members.map(|(id, _)| &**id).collect(),
            addresses,
            networks,
            node: node.into_iter().collect(),
            stacks: stacks.collect(),
            former,
        }
    }

    /// Who is at this address on a network, seen from an end that is the client or the server.
    #[must_use]
    pub fn at(&self, network: &str, address: IpAddr, side: Side) -> Naming {
        self.former
            .apply(network, address, self.by_engine(network, address, side))
    }

    /// Who is at this address as far as the engine knows.
    fn by_engine(&self, network: &str, address: IpAddr, side: Side) -> Naming {
        let certain = |name: &str| Naming::Certain(Party::word(name));
        let late = |name: &str| Naming::Late(Party::word(name));
        match self.addresses.holder(network, address) {
            Some(Holder::Here(identity)) => return Naming::Certain(container(identity)),
            Some(Holder::Elsewhere(member)) if member.service.is_empty() => return certain(&member.container),
            Some(Holder::Elsewhere(member)) => return Naming::Certain(self.service(&member.service)),
            Some(Holder::Service(service)) => return Naming::Certain(self.service(service)),
            Some(Holder::LoadBalancer(_)) => return certain(self.load_balancer(network)),
            Some(Holder::Several) => return certain(UNKNOWN),
            None => {}
        }
        let networks = self.networks.get(network).map_or(&[][..], |networks| networks);
        let home = networks.iter().find(|network| has(network, address));
        let driver = home.map(|home| &*home.driver);
        // A node may have an address that is a container's on an overlay network, where no node has one. Elsewhere Docker
        // takes no subnet that one of the node's own addresses is in.
        if self.node.contains(&address) && driver != Some("overlay") {
            return certain(NODE);
        }
        if self.addresses.nodes().contains(&address) && matches!(driver, None | Some("macvlan" | "ipvlan")) {
            return certain(NODE);
        }
        let is_whole = !networks.is_empty() && networks.iter().all(|network| !network.subnets.is_empty());
        match home {
            None if is_whole => certain(OUTSIDE),
            // Tasks, virtual addresses and this node's load balancer are listed in the network's gossip. Other nodes' load
            // balancers are not, and they only connect.
            Some(network)
                if network.driver == "overlay" && side == Side::Server && self.members.contains(&*network.id) =>
            {
                late(self.load_balancer(&network.name))
            }
            // Hosts of the node's own network have addresses there, too.
            Some(network) if matches!(&*network.driver, "macvlan" | "ipvlan") => late(OUTSIDE),
            // A network whose subnets are not known may have any address.
            Some(_) | None => late(UNKNOWN),
        }
    }

    /// What a network's load balancers are called.
    fn load_balancer(&self, network: &str) -> &'static str {
        let mut networks = self.networks.get(network).into_iter().flatten();
        if networks.any(|network| network.ingress) {
            INGRESS
        } else {
            LOAD_BALANCER
        }
    }

    /// A Swarm service, which may have no task here. `docker stack deploy` calls a stack's services `stack_service`. So a
    /// stack that is known here is told by the name.
    fn service(&self, service: &str) -> Party {
        let is_of = |stack: &&&str| {
            let rest = service.strip_prefix(**stack);
            rest.is_some_and(|rest| rest.starts_with('_'))
        };
        let stack = self.stacks.iter().filter(is_of).max_by_key(|stack| stack.len());
        Party {
            name: Arc::from(service),
            stack: stack.map(|stack| Arc::from(*stack)).unwrap_or_default(),
        }
    }
}

/// A container on this node. Compose's labels are believed, but the words in brackets are not theirs.
#[must_use]
pub fn container(identity: &Identity) -> Party {
    let (name, stack) = called(identity);
    Party {
        name: Arc::from(name),
        stack: Arc::from(stack),
    }
}

/// The name and the stack of a container on this node.
#[must_use]
pub fn called(identity: &Identity) -> (&str, &str) {
    let name = if identity.service.is_empty() || identity.service.starts_with('(') {
        &identity.container
    } else {
        &identity.service
    };
    (name, &identity.stack)
}

fn has(network: &Network, address: IpAddr) -> bool {
    network.subnets.iter().any(|subnet| subnet.contains(address))
}
