//! Two networks have subnets that overlap.

use std::time::Duration;

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, NodeFacts, Route, Unread},
    finding::{Check, Finding, Severity, Subject},
    inventory::{Inventory, Network, Subnet},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("subnet_overlap"),
    finds: "a network's subnet overlaps another network's or a route of the node, or has an address of the node",
    compares: "the subnets of the engine's networks with each other, with the node's routes, and with the addresses of its devices \
               that are no bridges of Docker",
    blind_spots: "routes of under 16 bits, of IPv6, or of a node with over 2,048; networks behind the node's gateways; macvlan and \
                  ipvlan networks, which share the site's subnet on purpose; two networks that no container joins",
    causes: "`--subnet` with a range that is in use. The engine compares the ranges that it chooses itself with the node's \
             routes, and no others. Overlay networks are never compared with a node's.",
    patience: Duration::ZERO,
    look,
};

/// A route to a smaller part of the address space is for something in particular.
const SPECIFIC: u8 = 16;

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let mut networks: Vec<&Network> = inventory
        .networks
        .values()
        .map(|network| &**network)
        .filter(|network| matches!(network.driver.as_str(), "bridge" | "overlay"))
        .collect();
    networks.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    let mut found = Vec::new();
    for (at, network) in networks.iter().enumerate() {
        for other in &networks[at + 1..] {
            let both = [&*network.id, &*other.id];
            let subnets = overlap(network, other);
            found.extend(subnets.map(|subnets| of_networks(network, other, subnets, is_on_both(inventory, both))));
        }
        found.extend(of_routes(network, &networks, node));
        // A bridge has an address of its network's own subnet.
        if network.driver == "overlay" {
            let own = node
                .devices
                .iter()
                .flat_map(|device| device.addresses.iter().map(move |it| (device, it)));
            let inside = own.filter_map(|(device, address)| {
                let subnet = network.subnets.iter().find(|subnet| subnet.contains(*address))?;
                let is_networks = networks.iter().any(|other| {
                    other.driver == "bridge" && other.subnets.iter().any(|subnet| subnet.contains(*address))
                });
                (!is_networks).then_some((device, *address, *subnet))
            });
            found.extend(inside.map(|(device, address, subnet)| {
                finding(
                    DEFINITION.name,
                    Severity::Warning,
                    Subject {
                        network: network.name.as_str().into(),
                        item: address.to_string().into(),
                        ..Subject::default()
                    },
                    format!(
                        "the network has {subnet}, in which is {address}, the node's own address on {}, so its containers \
                         cannot reach the node's neighbours there",
                        device.name
                    ),
                    "Make the network anew with another range: `docker network create --subnet`.".to_owned(),
                )
            }));
        }
    }
    Ok(found)
}

/// Routes of the node that overlap a network's subnet, and lead elsewhere. Those by a device with an address in the subnet
/// are said with that address, and those by a bridge of Docker with its network.
fn of_routes(network: &Network, networks: &[&Network], node: &NodeFacts) -> Vec<Finding> {
    let is_other_s = |route: &&Route| {
        let Some(device) = node.devices.iter().find(|device| device.ifindex == route.ifindex) else {
            return false;
        };
        let mut bridges = networks.iter().filter(|network| network.driver == "bridge");
        let is_bridge = bridges.any(|network| network.bridge_device() == device.name);
        let mut subnets = network.subnets.iter();
        let is_own = subnets.any(|subnet| device.addresses.iter().any(|address| subnet.contains(*address)));
        !is_bridge && !is_own
    };
    let routes = node.routes.iter().flatten().filter(is_other_s);
    let overlapping = routes.filter_map(|route| {
        let subnet = network.subnets.iter().find(|subnet| subnet.overlaps(route.subnet))?;
        // A wider one is often for a whole site, of which the network is a part that nobody else has.
        (route.subnet.prefix >= SPECIFIC.min(subnet.prefix)).then_some((route, *subnet))
    });
    let findings = overlapping.map(|(route, subnet)| {
        let mut devices = node.devices.iter();
        let by = devices
            .find(|device| device.ifindex == route.ifindex)
            .map_or("", |device| device.name.as_str());
        let its = route.subnet;
        // The more specific one wins.
        let (severity, what) = match (network.driver.as_str(), its.prefix >= subnet.prefix) {
            ("bridge", true) => (
                Severity::Critical,
                "so packets for its containers leave the node there".to_owned(),
            ),
            (_, false) => (
                Severity::Info,
                format!("so nobody on it reaches what is in {subnet} behind {by}"),
            ),
            (_, true) => (
                Severity::Warning,
                format!("so its containers do not reach what is behind {by}"),
            ),
        };
        finding(
            DEFINITION.name,
            severity,
            Subject {
                network: network.name.as_str().into(),
                item: its.to_string().into(),
                ..Subject::default()
            },
            format!("the network has {subnet}, and the node has a route to {its} by {by}, {what}"),
            "Make the network anew with another range: `docker network create --subnet`.".to_owned(),
        )
    });
    findings.collect()
}

fn of_networks(network: &Network, other: &Network, (one, its): (Subnet, Subnet), is_on_both: bool) -> Finding {
    finding(
        DEFINITION.name,
        // Until a container is on both, nobody is harmed.
        if is_on_both { Severity::Warning } else { Severity::Info },
        Subject {
            network: network.name.as_str().into(),
            item: other.name.as_str().into(),
            ..Subject::default()
        },
        format!(
            "the network has {one}, and network {} has {its}, so a container on both cannot tell them apart",
            other.name
        ),
        "Make one of them anew with another range: `docker network create --subnet`.".to_owned(),
    )
}

/// Whether a container here is on both networks.
fn is_on_both(inventory: &Inventory, networks: [&str; 2]) -> bool {
    let mut running = inventory.containers.values().filter(|container| container.running);
    running.any(|container| {
        let is_on = |network: &str| container.endpoints.iter().any(|endpoint| *endpoint.network == *network);
        networks.into_iter().all(is_on)
    })
}

/// The first subnets of two networks that overlap.
fn overlap(network: &Network, other: &Network) -> Option<(Subnet, Subnet)> {
    let pairs = network
        .subnets
        .iter()
        .flat_map(|one| other.subnets.iter().map(move |its| (*one, *its)));
    let mut pairs = pairs.filter(|(one, its)| one.overlaps(*its));
    pairs.next()
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::{
        checks::samples::{device, facts, network, node},
        model::{facts::Route, finding::Severity},
    };

    fn found(networks: &[(&str, &str, &str)], own: &[&str]) -> Vec<(String, String)> {
        let networks = networks
            .iter()
            .map(|(name, driver, subnet)| network(name, driver, &[subnet]));
        let mut facts = facts(networks.collect::<Vec<_>>(), []);
        facts.node = Ok(node(|node| node.devices = vec![device("eth0", own)]));
        let found = look(&facts).expect("it can look").into_iter();
        found
            .map(|it| (it.subject.network.to_string(), it.subject.item.to_string()))
            .collect()
    }

    fn pair(network: &str, item: &str) -> (String, String) {
        (network.to_owned(), item.to_owned())
    }

    #[test]
    fn subnets_that_overlap_are_found_once() {
        let found = found(
            &[
                ("b", "overlay", "10.0.0.0/16"),
                ("a", "bridge", "10.0.1.0/24"),
                ("c", "bridge", "10.1.0.0/24"),
            ],
            &["192.168.1.2"],
        );
        assert_eq!(found, [pair("a", "b")]);
    }

    #[test]
    fn the_nodes_own_address_in_an_overlay_is_found() {
        let overlay = [("shop", "overlay", "10.94.0.0/16")];
        assert_eq!(found(&overlay, &["10.94.0.13"]), [pair("shop", "10.94.0.13")]);
        assert!(found(&overlay, &["10.95.0.13"]).is_empty());
    }

    #[test]
    fn a_route_that_leads_elsewhere_is_found_and_one_by_its_bridge_is_none() {
        let with = |driver: &str, route: &str, by: u32| {
            let networks = [network("front", driver, &["10.20.0.0/16"])];
            let mut facts = facts(networks, []);
            let address = if driver == "bridge" { "10.20.0.1" } else { "10.30.0.1" };
            let mut bridge = device("br-front", &[address]);
            bridge.ifindex = 3;
            facts.node = Ok(node(|node| {
                node.devices = vec![device("tun0", &["10.8.0.2"]), bridge];
                node.routes = Some(vec![Route {
                    subnet: route.parse().expect("a subnet"),
                    ifindex: by,
                }]);
            }));
            let found = look(&facts).expect("it can look").into_iter();
            found
                .map(|it| (it.severity, it.subject.item.to_string()))
                .collect::<Vec<_>>()
        };
        let found = |severity, item: &str| vec![(severity, item.to_owned())];
        assert_eq!(
            with("bridge", "10.20.4.0/24", 2),
            found(Severity::Critical, "10.20.4.0/24")
        );
        assert_eq!(
            with("overlay", "10.20.4.0/24", 2),
            found(Severity::Warning, "10.20.4.0/24")
        );
        assert_eq!(with("bridge", "10.16.0.0/12", 2), []);
        assert_eq!(with("bridge", "10.20.0.0/16", 3), []);
        assert_eq!(with("bridge", "0.0.0.0/0", 2), []);
        assert_eq!(with("bridge", "10.21.0.0/16", 2), []);
    }

    #[test]
    fn a_bridge_has_an_address_of_its_network_and_macvlan_shares_the_sites() {
        assert!(found(&[("a", "bridge", "172.18.0.0/16")], &["172.18.0.1"]).is_empty());
        assert!(found(&[("lan", "macvlan", "192.168.1.0/24")], &["192.168.1.2"]).is_empty());
    }
}
