//! Whose an address on a network is, on any node: an index of what the engine reports, by which both ends of a
//! connection get their names.
//!
//! This node's containers come from the engine's inventory, and all others from the networks' own gossip. An address
//! that several have is nobody's: it is never guessed. An address of a container that ended is its own until anybody
//! else on the network has it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use super::{
    inventory::{Identity, Inventory},
    peers::{Member, Members},
};

/// How many nodes' addresses are kept. Some come from other nodes, so they need a bound.
const MOST_NODES: usize = 1_024;

/// The addresses of all networks that this node knows.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// By the network's name, which is what an interface's owner has.
    networks: BTreeMap<Arc<str>, OnNetwork>,
    /// Those by which the Swarm's nodes know each other.
    nodes: BTreeSet<IpAddr>,
}

/// The addresses of one network, or of several local ones with the same name.
#[derive(Clone, Debug, Default)]
struct OnNetwork {
    /// This node's containers that run. `None` if several have the address, here and below.
    running: BTreeMap<IpAddr, Option<Arc<Identity>>>,
    /// This node's containers that ended a moment ago.
    ended: BTreeMap<IpAddr, Option<Arc<Identity>>>,
    /// The services, by their virtual addresses.
    services: BTreeMap<IpAddr, Option<String>>,
    /// The containers and load balancers on all nodes. Only an overlay network has them.
    members: Option<Arc<Members>>,
    /// It is the routing mesh. Nobody is on it but tasks, and each node's load balancer.
    is_mesh: bool,
}

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// A container on this node, which runs or ended a moment ago.
    Here(&'a Arc<Identity>),
    /// A container on any node, as the network's gossip names it.
    Elsewhere(&'a Member),
    /// A service: its virtual address.
    Service(&'a str),
    /// This node's load balancer, or any node's on the routing mesh, by its name. Connections to a virtual address or a
    /// published port reach the tasks from its address.
    LoadBalancer(&'a str),
    /// Several have it, so it is nobody's.
    Several,
}

impl Addresses {
    /// The addresses in this inventory.
    #[must_use]
    pub fn of(inventory: &Inventory) -> Self {
        let mut networks: BTreeMap<Arc<str>, OnNetwork> = BTreeMap::new();
        for container in inventory.containers.values() {
            for endpoint in &container.endpoints {
                let on_network = networks.entry(Arc::from(endpoint.network_name.as_str())).or_default();
                let known = if container.running {
                    &mut on_network.running
                } else {
                    &mut on_network.ended
                };
                for address in &endpoint.addresses {
                    add(known, *address, Arc::clone(&container.identity));
                }
            }
        }
        for (id, members) in &inventory.members {
            if let (Some(network), Some(members)) = (inventory.networks.get(id), members) {
                let on_network = networks.entry(Arc::from(network.name.as_str())).or_default();
                for (service, address) in &members.virtual_ips {
                    add(&mut on_network.services, *address, service.clone());
                }
                for (address, id) in &members.gateways {
                    if let Some(container) = inventory.containers.get(id).filter(|container| container.running) {
                        add(&mut on_network.running, *address, Arc::clone(&container.identity));
                    }
                }
                on_network.members = Some(Arc::clone(members));
                on_network.is_mesh = network.ingress;
            }
        }
        // Gossip names a node by each of its containers. Not every one has an id, and a worker has no list.
        let members = inventory.members.values().flatten();
        let by_gossip = members.flat_map(|members| members.endpoints.values().filter_map(|member| member.node));
        let mut nodes = BTreeSet::new();
        for node in inventory.peers.nodes.keys().copied().chain(by_gossip) {
            if nodes.len() == MOST_NODES {
                break;
            }
            nodes.insert(node.to_canonical());
        }
        Self { networks, nodes }
    }

    /// The addresses by which the Swarm's nodes know each other.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeSet<IpAddr> {
        &self.nodes
    }

    /// Who has this address on a network; `None` if that is unknown.
    #[must_use]
    pub fn holder(&self, network: &str, address: IpAddr) -> Option<Holder<'_>> {
        let on_network = self.networks.get(network)?;
        let running = on_network.running.get(&address);
        let service = on_network.services.get(&address);
        if running.is_some_and(Option::is_none) || service.is_some_and(Option::is_none) {
            return Some(Holder::Several);
        }
        let members = on_network.members.as_ref();
        let load_balancer = members.and_then(|members| members.load_balancers.get(&address));
        // The gossip names this node's containers, too.
        let elsewhere = members.filter(|_| running.is_none());
        let elsewhere = elsewhere.and_then(|members| members.endpoints.get(&address));
        let holders = [
            running.and_then(Option::as_ref).map(Holder::Here),
            service.and_then(Option::as_deref).map(Holder::Service),
            load_balancer.map(|name| Holder::LoadBalancer(name)),
            elsewhere.map(|member| {
                if on_network.is_mesh && member.service.is_empty() {
                    Holder::LoadBalancer(&member.container)
                } else {
                    Holder::Elsewhere(member)
                }
            }),
        ];
        let mut holders = holders.into_iter().flatten();
        match (holders.next(), holders.next()) {
            (Some(holder), None) => Some(holder),
            (Some(_), Some(_)) => Some(Holder::Several),
            (None, _) => {
                let ended = on_network.ended.get(&address)?.as_ref();
                Some(ended.map_or(Holder::Several, Holder::Here))
            }
        }
    }
}

/// Adds who has an address; `None` if somebody else has it.
fn add<T>(known: &mut BTreeMap<IpAddr, Option<T>>, address: IpAddr, holder: T) {
    match known.entry(address) {
        Entry::Vacant(entry) => {
            entry.insert(Some(holder));
        }
        Entry::Occupied(mut entry) => {
            entry.insert(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use super::{Addresses, Holder};
    use crate::model::{
        inventory::{Container, Endpoint, Identity, Inventory, Network},
        peers::{Member, Members},
    };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 9, last])
    }

    fn container(name: &str, running: bool, on: &[(&str, u8)]) -> Arc<Container> {
        let endpoint = |(network, last): &(&str, u8)| Endpoint {
            network: Arc::from(*network),
            network_name: (*network).to_owned(),
            mac: None,
            addresses: vec![address(*last)],
            ..Endpoint::default()
        };
        Arc::new(Container {
            id: Arc::from(name),
            identity: Arc::new(Identity {
                container: name.to_owned(),
                ..Identity::default()
            }),
            endpoints: on.iter().map(endpoint).collect(),
            running,
            ..Container::default()
        })
    }

    fn inventory(containers: &[Arc<Container>], members: Option<Members>) -> Inventory {
        let network = Network {
            id: Arc::from("front"),
            name: "front".to_owned(),
            ..Network::default()
        };
        Inventory {
            containers: containers
                .iter()
                .map(|it| (Arc::clone(&it.id), Arc::clone(it)))
                .collect(),
            networks: [(Arc::from("front"), Arc::new(network))].into(),
            members: [(Arc::from("front"), members.map(Arc::new))].into(),
            ..Inventory::default()
        }
    }

    fn here(addresses: &Addresses, network: &str, last: u8) -> Option<String> {
        match addresses.holder(network, address(last))? {
            Holder::Here(identity) => Some(identity.container.clone()),
            Holder::Several => None,
            Holder::Elsewhere(_) | Holder::Service(_) | Holder::LoadBalancer(_) => panic!("it is not a container here"),
        }
    }

    #[test]
    fn an_address_is_whose_it_is_on_its_network_alone() {
        let containers = [
            container("web", true, &[("front", 5), ("back", 6)]),
            container("db", true, &[("back", 5)]),
        ];
        let addresses = Addresses::of(&inventory(&containers, None));
        assert_eq!(here(&addresses, "front", 5).as_deref(), Some("web"));
        assert_eq!(here(&addresses, "back", 5).as_deref(), Some("db"));
        assert_eq!(here(&addresses, "back", 6).as_deref(), Some("web"));
        assert_eq!(here(&addresses, "front", 6), None);
        assert_eq!(here(&addresses, "none", 5), None);
    }

    #[test]
    fn an_address_that_was_given_to_another_container_is_the_running_ones() {
        let ended = container("a-old", false, &[("front", 5)]);
        let addresses = Addresses::of(&inventory(&[Arc::clone(&ended)], None));
        assert_eq!(
            here(&addresses, "front", 5).as_deref(),
            Some("a-old"),
            "it ended a moment ago"
        );
        let running = container("z-new", true, &[("front", 5)]);
        let addresses = Addresses::of(&inventory(&[ended, running], None));
        assert_eq!(here(&addresses, "front", 5).as_deref(), Some("z-new"));
    }

    #[test]
    fn an_address_that_two_containers_have_is_nobodys() {
        let two = [
            container("a", true, &[("front", 5)]),
            container("b", true, &[("front", 5)]),
            container("c", false, &[("front", 5)]),
        ];
        assert_eq!(here(&Addresses::of(&inventory(&two, None)), "front", 5), None);
    }

    #[test]
    fn tasks_services_and_load_balancers_of_all_nodes_are_found() {
        let task = Member {
            container: "web.2.abc".to_owned(),
            service: "web".to_owned(),
            node: Some(IpAddr::from([192, 168, 0, 2])),
        };
        let own = Member {
            container: "web.1.xyz".to_owned(),
            ..task.clone()
        };
        let members = Members {
            endpoints: [(address(7), task.clone()), (address(5), own)].into(),
            virtual_ips: [("web".to_owned(), address(2))].into(),
            load_balancers: [(address(3), "front-endpoint".to_owned())].into(),
            ..Members::default()
        };
        let containers = [container("web.1.xyz", true, &[("front", 5)])];
        let addresses = Addresses::of(&inventory(&containers, Some(members)));
        assert_eq!(addresses.holder("front", address(7)), Some(Holder::Elsewhere(&task)));
        assert_eq!(addresses.holder("front", address(2)), Some(Holder::Service("web")));
        let load_balancer = Some(Holder::LoadBalancer("front-endpoint"));
        assert_eq!(addresses.holder("front", address(3)), load_balancer);
        assert_eq!(here(&addresses, "front", 5).as_deref(), Some("web.1.xyz"), "it is here");
        assert_eq!(addresses.holder("front", address(9)), None);
        assert_eq!(addresses.holder("back", address(7)), None);
    }

    #[test]
    fn a_running_container_is_where_it_leaves_the_swarms_networks() {
        let containers = [container("web.1.xyz", true, &[]), container("old", false, &[])];
        let members = Members {
            gateways: [
                (address(7), "web.1.xyz".into()),
                (address(8), "old".into()),
                (address(9), "somebody".into()),
            ]
            .into(),
            ..Members::default()
        };
        let addresses = Addresses::of(&inventory(&containers, Some(members)));
        assert_eq!(here(&addresses, "front", 7).as_deref(), Some("web.1.xyz"));
        assert_eq!([8, 9].map(|last| here(&addresses, "front", last)), [None, None]);
    }

    #[test]
    fn whoever_has_no_service_on_the_routing_mesh_is_a_load_balancer() {
        let member = |service: &str| Member {
            container: "ingress-endpoint".to_owned(),
            service: service.to_owned(),
            node: None,
        };
        let members = Members {
            endpoints: [(address(2), member("")), (address(5), member("web"))].into(),
            ..Members::default()
        };
        for ingress in [true, false] {
            let mut inventory = inventory(&[], Some(members.clone()));
            for network in inventory.networks.values_mut() {
                Arc::make_mut(network).ingress = ingress;
            }
            let addresses = Addresses::of(&inventory);
            let wanted = if ingress {
                Holder::LoadBalancer("ingress-endpoint")
            } else {
                Holder::Elsewhere(&members.endpoints[&address(2)])
            };
            assert_eq!(addresses.holder("front", address(2)), Some(wanted));
            let task = Holder::Elsewhere(&members.endpoints[&address(5)]);
            assert_eq!(addresses.holder("front", address(5)), Some(task));
        }
    }

    #[test]
    fn an_address_that_anybody_else_has_by_now_is_not_the_ended_containers() {
        let ended = container("old", false, &[("front", 5), ("front", 6), ("front", 7)]);
        let task = Member {
            container: "web.2.abc".to_owned(),
            service: "web".to_owned(),
            node: None,
        };
        let members = Members {
            endpoints: [(address(5), task.clone())].into(),
            virtual_ips: [("web".to_owned(), address(6))].into(),
            ..Members::default()
        };
        let addresses = Addresses::of(&inventory(&[ended], Some(members)));
        assert_eq!(addresses.holder("front", address(5)), Some(Holder::Elsewhere(&task)));
        assert_eq!(addresses.holder("front", address(6)), Some(Holder::Service("web")));
        assert_eq!(here(&addresses, "front", 7).as_deref(), Some("old"));
    }

    #[test]
    fn an_address_that_several_of_any_kind_have_is_nobodys() {
        let task = Member {
            container: "web.2.abc".to_owned(),
            service: "web".to_owned(),
            node: None,
        };
        let members = Members {
            endpoints: [(address(2), task.clone()), (address(3), task)].into(),
            virtual_ips: [
                ("a".to_owned(), address(2)),
                ("b".to_owned(), address(4)),
                ("c".to_owned(), address(4)),
            ]
            .into(),
            load_balancers: [(address(3), "front-endpoint".to_owned())].into(),
            ..Members::default()
        };
        let addresses = Addresses::of(&inventory(&[], Some(members)));
        for last in [2, 3, 4] {
            assert_eq!(
                addresses.holder("front", address(last)),
                Some(Holder::Several),
                "{last}"
            );
        }
    }
}
