//! The forwarding tables of overlay networks disagree with the networks' members.
//!
//! The engine writes two entries for each container on another node: its hardware address, and the node behind that
//! (`addNeighbor` and the FDB of libnetwork's overlay driver). Without them nothing reaches that container from here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{CheckDefinition, finding, named, number, overlay_members, peer};
use crate::model::{
    facts::{CheckFacts, NodeFacts, OverlayFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    interface::{DeviceKind, MacAddress},
    inventory::{Inventory, NetworkId},
    peers::{Members, PeerSource},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("overlay_tables"),
    finds: "an overlay network's forwarding table misses containers of other nodes, sends them elsewhere, or leads to a node that \
            is gone",
    compares: "the neighbour entries and the FDB in each overlay network's namespace with the network's members by its gossip",
    blind_spots: "networks without a container here, or of over 4,096 containers. What this node's gossip does not have, the tables \
                  lack as well. An entry that is left over, as it looks like that of a task that is not healthy yet",
    causes: "The engine failed to write an entry: its log says `Peer add operation failed` or speaks of a neighbour. Or somebody \
             flushed the tables with `ip` or `bridge`. The engine writes an entry once, and does not look again.",
    // The members may be a minute old. They are asked for anew when something disagrees with them.
    patience: Duration::from_secs(40),
    rests_on_members: true,
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let mut found = Vec::new();
    for (name, overlay) in &facts.overlays {
        let Some((network, members)) = overlay_members(inventory, name)? else {
            continue;
        };
        let overlay = overlay
            .as_ref()
            .map_err(|reason| Unread(format!("network {name}: {reason}")))?;
        let tables = Tables::of(overlay);
        let own = Own::of(inventory, node, &network.id, members);
        found.extend(lacking(name, members, &tables, &own, inventory));
        found.extend(lost(name, members, &tables, &own));
        found.extend(stale(name, &tables, inventory));
    }
    Ok(found)
}

/// What a network's tables say.
struct Tables {
    by_address: BTreeMap<IpAddr, MacAddress>,
    by_mac: BTreeMap<MacAddress, IpAddr>,
}

impl Tables {
    fn of(overlay: &OverlayFacts) -> Self {
        let devices = overlay.devices.iter().filter(|device| device.kind == DeviceKind::Vxlan);
        let vxlan: BTreeSet<u32> = devices.map(|device| device.ifindex).collect();
        let neighbours = overlay.neighbours.iter();
        let written = neighbours.filter(|entry| entry.is_permanent && vxlan.contains(&entry.ifindex));
        let forwarding = overlay.forwarding.iter().filter(|entry| vxlan.contains(&entry.ifindex));
        Self {
            by_address: written
                .filter_map(|entry| Some((entry.address.to_canonical(), entry.mac?)))
                .collect(),
            by_mac: forwarding.map(|entry| (entry.mac, entry.node.to_canonical())).collect(),
        }
    }

    /// The node that packets for an address are sent to.
    fn node_of(&self, address: IpAddr) -> Option<IpAddr> {
        self.by_mac.get(self.by_address.get(&address.to_canonical())?).copied()
    }
}

/// What is this node's own.
struct Own {
    /// The addresses by which others know it.
    nodes: BTreeSet<IpAddr>,
    /// Its containers' addresses on the network.
    containers: BTreeSet<IpAddr>,
}

impl Own {
    fn of(inventory: &Inventory, node: &NodeFacts, network: &NetworkId, members: &Members) -> Self {
        let endpoints = inventory.containers.values().flat_map(|container| &container.endpoints);
        let on_network = endpoints.filter(|endpoint| endpoint.network == *network);
        let containers: BTreeSet<_> = on_network.flat_map(|endpoint| &endpoint.addresses).copied().collect();
        let devices = node.devices.iter().flat_map(|device| &device.addresses);
        let known_as = inventory.node.as_ref().and_then(|node| node.address);
        // Its data traffic may have another address than its Swarm, and one that is translated on the way is on no device.
        let by_containers = containers
            .iter()
            .filter_map(|address| members.endpoints.get(address)?.node);
        let nodes = devices.copied().chain(known_as).chain(by_containers);
        Self {
            nodes: nodes.map(|address| address.to_canonical()).collect(),
            containers,
        }
    }

    /// Whether it is an address by which others know this node.
    fn has(&self, node: IpAddr) -> bool {
        self.nodes.contains(&node.to_canonical())
    }

    /// Whether a container here has the address.
    fn is_here(&self, address: IpAddr) -> bool {
        self.containers.contains(&address)
    }
}

/// Members on other nodes that the tables do not have, or have elsewhere, by node.
fn lacking(network: &Arc<str>, members: &Members, tables: &Tables, own: &Own, inventory: &Inventory) -> Vec<Finding> {
    let mut missing: BTreeMap<IpAddr, Vec<(IpAddr, &str)>> = BTreeMap::new();
    let mut elsewhere: BTreeMap<IpAddr, Vec<(IpAddr, &str, IpAddr)>> = BTreeMap::new();
    let mut of_node: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for (address, member) in &members.endpoints {
        let Some(node) = member.node.filter(|node| !own.has(*node)) else {
            continue;
        };
        *of_node.entry(node).or_default() += 1;
        match tables.node_of(*address) {
            Some(has) if has == node.to_canonical() => {}
            Some(has) => elsewhere
                .entry(node)
                .or_default()
                .push((*address, &member.container, has)),
            None => missing.entry(node).or_default().push((*address, &member.container)),
        }
    }
    let all = |node| number(of_node.get(&node).copied().unwrap_or(0), "container", "containers");
    let missing = missing.into_iter().map(|(node, containers)| {
        let peer = peer(inventory, node);
        let names = named(containers.iter().map(|(_, name)| name));
        let what = format!(
            "{} of {} on node {peer} are not in this node's tables, so nothing reaches them from here ({names})",
            containers.len(),
            all(node)
        );
        let witnesses = containers.iter().map(|(address, _)| *address);
        of_peer(
            network,
            peer,
            "missing",
            what,
            witnesses,
            containers.first().map_or("", |it| it.1),
        )
    });
    let elsewhere = elsewhere.into_iter().map(|(node, containers)| {
        let peer = peer(inventory, node);
        let others: BTreeSet<IpAddr> = containers.iter().map(|(_, _, has)| *has).collect();
        let what = format!(
            "{} of {} on node {peer} are sent to {} by this node's tables ({})",
            containers.len(),
            all(node),
            named(others),
            named(containers.iter().map(|(_, name, _)| name))
        );
        let witnesses = containers.iter().map(|(address, ..)| *address);
        of_peer(
            network,
            peer,
            "elsewhere",
            what,
            witnesses,
            containers.first().map_or("", |it| it.1),
        )
    });
    missing.chain(elsewhere).collect()
}

/// A finding about containers of another node.
fn of_peer(
    network: &Arc<str>,
    peer: Arc<str>,
    item: &str,
    evidence: String,
    witnesses: impl Iterator<Item = IpAddr>,
    example: &str,
) -> Finding {
    Finding {
        witnesses: witnesses.map(|address| address.to_string().into()).collect(),
        ..finding(
            DEFINITION.name,
            Severity::Critical,
            Subject {
                network: Arc::clone(network),
                peer,
                item: item.into(),
                ..Subject::default()
            },
            evidence,
            format!(
                "Look for the reason with `journalctl -u docker | grep -iE 'peer add|neighbor'` here, then make the containers \
                 anew: `docker service update --force SERVICE`, or `docker network disconnect {network} {example}` and `connect` \
                 where they run."
            ),
        )
    }
}

/// Members of which the gossip does not say where they are. What says where a container is, and what says its name, are
/// two tables of the gossip (`overlay_peer_table`, `endpoint_table`).
fn lost(network: &Arc<str>, members: &Members, tables: &Tables, own: &Own) -> Option<Finding> {
    let lost: Vec<_> = members
        .endpoints
        .iter()
        .filter(|(address, member)| {
            member.node.is_none() && !own.is_here(**address) && tables.node_of(**address).is_none()
        })
        .collect();
    if lost.is_empty() {
        return None;
    }
    Some(Finding {
        witnesses: lost.iter().map(|(address, _)| address.to_string().into()).collect(),
        ..finding(
            DEFINITION.name,
            Severity::Critical,
            Subject {
                network: Arc::clone(network),
                item: "unknown node".into(),
                ..Subject::default()
            },
            format!(
                "the gossip has {}, but does not say on which node, so nothing reaches them from here ({})",
                number(lost.len(), "container", "containers"),
                named(lost.iter().map(|(_, member)| &member.container))
            ),
            "Check that UDP and TCP port 7946 are open both ways between all nodes, then run `docker service update --force \
             SERVICE`."
                .to_owned(),
        )
    })
}

/// Entries that lead to a node that is none of the Swarm.
///
/// What is not among the members is no fault by itself: a task is in the tables before it is healthy, and among the
/// members after that (`EnableService` of libnetwork). A node's load balancer is never among them.
fn stale(network: &Arc<str>, tables: &Tables, inventory: &Inventory) -> Vec<Finding> {
    // A worker knows no nodes but by their containers. And a manager knows a node by an address that need not be the one
    // that its packets come from. So all have to be known by both.
    let nodes = &inventory.peers.nodes;
    let is_known_whole =
        inventory.peers.source == PeerSource::Manager && nodes.keys().all(|node| knows(inventory, *node));
    if !is_known_whole {
        return Vec::new();
    }
    let mut by_node: BTreeMap<IpAddr, Vec<IpAddr>> = BTreeMap::new();
    for address in tables.by_address.keys() {
        if let Some(node) = tables.node_of(*address)
            && !nodes.contains_key(&node)
            && !knows(inventory, node)
        {
            by_node.entry(node).or_default().push(*address);
        }
    }
    let findings = by_node.into_iter().map(|(node, addresses)| Finding {
        witnesses: addresses.iter().map(|address| address.to_string().into()).collect(),
        ..finding(
            DEFINITION.name,
            Severity::Warning,
            Subject {
                network: Arc::clone(network),
                peer: node.to_string().into(),
                item: "stale".into(),
                ..Subject::default()
            },
            format!(
                "this node's tables send {} to {node}, which is no node of the Swarm any more ({})",
                number(addresses.len(), "address", "addresses"),
                named(&addresses)
            ),
            "Nothing has to be done until an address is given again; then run `docker service update --force` for the service \
             that has it."
                .to_owned(),
        )
    });
    findings.collect()
}

/// Whether the gossip of any network has a container on this node.
fn knows(inventory: &Inventory, node: IpAddr) -> bool {
    let members = inventory.members.values().flatten();
    members
        .flat_map(|members| members.endpoints.values())
        .any(|member| member.node.is_some_and(|its| its.to_canonical() == node))
}

#[cfg(test)]
mod tests;
