//! Two networks have subnets that overlap.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{CheckDefinition, finding};
use crate::model::{
    facts::{CheckFacts, NodeFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    interface::Device,
    inventory::{Container, GATEWAY_BRIDGE, Inventory, Network, Subnet},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("subnet_overlap"),
    finds: "a network's subnet overlaps another network's or a route of the node, or has an address of the node",
    compares: "the subnets of the engine's networks with each other, with the node's routes, and with the addresses of its devices \
               that are no bridges of Docker",
    blind_spots: "Routes of under 16 bits, of IPv6, or of a node with over 2,048. Networks behind the node's gateways. macvlan and \
                  ipvlan networks, which share the site's subnet on purpose",
    causes: "`--subnet` with a range that is in use. The engine compares the ranges that it chooses itself with what is on \
             the node's links, and not with what is behind gateways. Overlay networks are never compared with a node's.",
    patience: Duration::ZERO,
    rests_on_members: false,
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
    let names = networks
        .iter()
        .filter(|network| network.driver == "bridge")
        .map(|network| network.bridge_device());
    let names: BTreeSet<String> = names.collect();
    let bridges = node.devices.iter().filter(|device| names.contains(&device.name));
    let bridges: BTreeSet<u32> = bridges.map(|device| device.ifindex).collect();
    let is_here = |network: &Network| {
        let name = network.bridge_device();
        node.devices.iter().any(|device| device.name == name)
    };
    let mut found = Vec::new();
    for (at, network) in networks.iter().enumerate() {
        for other in &networks[at + 1..] {
            let subnets = overlap(network, other);
            let is_on_both = || is_on_both(inventory, [network, other]);
            found.extend(subnets.map(|subnets| of_networks(network, other, subnets, is_on_both())));
        }
        let place = Place {
            network,
            bridges: &bridges,
            node,
            is_used: uses(inventory, network).next().is_some(),
        };
        // The bridges of an engine without root are in another namespace.
        if network.driver == "overlay" || is_here(network) {
            found.extend(place.of_addresses());
            found.extend(place.of_routes());
        }
    }
    Ok(found)
}

/// A network on a node.
struct Place<'f> {
    network: &'f Network,
    /// The ifindexes of the node's devices that are bridges of Docker. Each has an address of its own network.
    bridges: &'f BTreeSet<u32>,
    node: &'f NodeFacts,
    /// A container here is on it.
    is_used: bool,
}

impl Place<'_> {
    /// The node's own addresses in the network.
    fn of_addresses(&self) -> Vec<Finding> {
        let network = self.network;
        let others = self
            .node
            .devices
            .iter()
            .filter(|device| !self.bridges.contains(&device.ifindex));
        let own = others.flat_map(|device| device.addresses.iter().map(move |it| (device, it)));
        let inside = own.filter_map(|(device, address)| {
            let subnet = network.subnets.iter().find(|subnet| subnet.contains(*address))?;
            Some((device, *address, *subnet))
        });
        let findings = inside.map(|(device, address, subnet)| {
            finding(
                DEFINITION.name,
                self.severity(Severity::Warning),
                Subject {
                    network: network.name.as_str().into(),
                    item: address.to_string().into(),
                    ..Subject::default()
                },
                format!(
                    "the network has {subnet}, in which is {address}, the node's own address on {}, so its containers cannot \
                     reach the node's neighbours there",
                    device.name
                ),
                anew(network),
            )
        });
        findings.collect()
    }

    /// Routes of the node that overlap the network's subnet, and lead elsewhere. Those by a device with an address in the
    /// subnet are said with that address, and those by a bridge of Docker with its network.
    fn of_routes(&self) -> Vec<Finding> {
        let network = self.network;
        let has_own = |device: &Device| {
            let mut subnets = network.subnets.iter();
            subnets.any(|subnet| device.addresses.iter().any(|address| subnet.contains(*address)))
        };
        let overlapping = self
            .node
            .routes
            .iter()
            .flatten()
            .filter(|route| route.is_main)
            .filter_map(|route| {
                let by = self
                    .node
                    .devices
                    .iter()
                    .find(|device| device.ifindex == route.ifindex)?;
                let subnet = network.subnets.iter().find(|subnet| subnet.overlaps(route.subnet))?;
                // A wider one is often for a whole site, of which the network is a part that nobody else has.
                let is_particular = route.subnet.prefix >= SPECIFIC.min(subnet.prefix);
                (is_particular && !self.bridges.contains(&by.ifindex) && !has_own(by)).then_some((
                    route.subnet,
                    by,
                    *subnet,
                ))
            });
        let findings = overlapping.map(|(its, by, subnet)| {
            let by = &by.name;
            // The more specific one wins.
            let (severity, what) = match network.driver.as_str() {
                "bridge" if its.prefix > subnet.prefix => (
                    Severity::Critical,
                    "so packets for its containers leave the node there".to_owned(),
                ),
                _ if its.prefix >= subnet.prefix => (
                    Severity::Warning,
                    format!("so its containers do not reach what is behind {by}"),
                ),
                _ => (
                    Severity::Info,
                    format!("so nobody on it reaches what is in {subnet} behind {by}"),
                ),
            };
            finding(
                DEFINITION.name,
                self.severity(severity),
                Subject {
                    network: network.name.as_str().into(),
                    item: its.to_string().into(),
                    ..Subject::default()
                },
                format!("the network has {subnet}, and the node has a route to {its} by {by}, {what}"),
                anew(network),
            )
        });
        findings.collect()
    }

    /// Until a container here is on the network, nobody is harmed.
    fn severity(&self, severity: Severity) -> Severity {
        if self.is_used { severity } else { Severity::Info }
    }
}

/// How a network gets another range.
fn anew(network: &Network) -> String {
    if network.ingress {
        "While no service publishes a port, remove the network, and make it anew with `docker network create --ingress \
         --subnet`."
            .to_owned()
    } else if network.name == "bridge" {
        "Set `bip` to another range in the engine's daemon.json, and run `systemctl restart docker`.".to_owned()
    } else if network.name == GATEWAY_BRIDGE {
        format!(
            "Drain the node, remove the network, and make it anew with `docker network create --subnet RANGE -o \
             com.docker.network.bridge.name={GATEWAY_BRIDGE} -o com.docker.network.bridge.enable_icc=false {GATEWAY_BRIDGE}`."
        )
    } else {
        "Make the network anew with another range: `docker network create --subnet`.".to_owned()
    }
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
        anew(if matches!(other.name.as_str(), "bridge" | GATEWAY_BRIDGE) {
            network
        } else {
            other
        }),
    )
}

/// Whether a container here is on both networks.
fn is_on_both(inventory: &Inventory, [one, other]: [&Network; 2]) -> bool {
    let on_one: BTreeSet<&str> = uses(inventory, one).collect();
    uses(inventory, other).any(|container| on_one.contains(container))
}

/// The running containers here that are on a network. Whoever is on an overlay network that leads out is on
/// `docker_gwbridge`, too, which no container's description lists.
fn uses<'i>(inventory: &'i Inventory, network: &'i Network) -> impl Iterator<Item = &'i str> {
    let is_on = move |container: &&'i Arc<Container>| {
        container.endpoints.iter().any(|endpoint| {
            let by_it = || {
                let leading = inventory.networks.get(&endpoint.network);
                leading.is_some_and(|leading| leading.driver == "overlay" && leading.leads_out())
            };
            *endpoint.network == *network.id || network.name == GATEWAY_BRIDGE && by_it()
        })
    };
    let running = inventory.containers.values().filter(|container| container.running);
    running.filter(is_on).map(|container| &*container.id)
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
mod tests;
