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

use super::{CheckDefinition, finding, named, number};
use crate::model::{
    facts::{CheckFacts, NodeFacts, OverlayFacts, Unread},
    finding::{Check, Finding, Severity, Subject},
    interface::{DeviceKind, MacAddress},
    inventory::Inventory,
    peers::{Members, PeerSource},
};

/// The check.
pub(super) const DEFINITION: CheckDefinition = CheckDefinition {
    name: Check("overlay_tables"),
    finds: "an overlay network's forwarding table misses containers of other nodes, sends them elsewhere, or has some that are gone",
    compares: "the neighbour entries and the FDB in each overlay network's namespace with the network's members by its gossip",
    blind_spots: "networks without a container here; gossip that is wrong itself; one stale entry of a node, as that may be its load \
                  balancer; networks of over 4,096 containers",
    causes: "Gossip that was lost (port 7946 is blocked, or was), or a node that lost power. The engine writes an entry once, and \
             does not look again.",
    // The members may be a minute old. They are asked for anew when something disagrees with them.
    patience: Duration::from_secs(40),
    look,
};

fn look(facts: &CheckFacts) -> Result<Vec<Finding>, Unread> {
    let inventory = facts.engine.as_ref().map_err(Unread::clone)?;
    let node = facts.node.as_ref().map_err(Unread::clone)?;
    let mut found = Vec::new();
    for (name, overlay) in &facts.overlays {
        let overlay = overlay.as_ref().map_err(Unread::clone)?;
        let mut networks = inventory.networks.values();
        let Some(network) = networks.find(|it| it.driver == "overlay" && *it.name == **name) else {
            continue;
        };
        // Those without an answer yet, or with a part of one, say nothing of who is no member.
        let Some(Some(members)) = inventory.members.get(&network.id) else {
            continue;
        };
        if members.is_cut {
            continue;
        }
        let tables = Tables::of(overlay);
        found.extend(lacking(
            name,
            members,
            &tables,
            &|address| is_own(inventory, node, address),
            inventory,
        ));
        found.extend(stale(name, members, &tables, inventory));
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

/// Whether it is an address by which others know this node. Its data traffic may have another one than its Swarm.
fn is_own(inventory: &Inventory, node: &NodeFacts, address: IpAddr) -> bool {
    let known_as = inventory.node.as_ref().and_then(|node| node.address);
    let mut own = node
        .devices
        .iter()
        .flat_map(|device| &device.addresses)
        .chain(&known_as);
    own.any(|own| own.to_canonical() == address.to_canonical())
}

/// Members on other nodes that the tables do not have, or have elsewhere, by node.
fn lacking(
    network: &Arc<str>,
    members: &Members,
    tables: &Tables,
    is_own: &dyn Fn(IpAddr) -> bool,
    inventory: &Inventory,
) -> Vec<Finding> {
    let mut by_node: BTreeMap<(IpAddr, Option<IpAddr>), Vec<&str>> = BTreeMap::new();
    let mut of_node: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for (address, member) in &members.endpoints {
        let Some(node) = member.node.filter(|node| !is_own(*node)) else {
            continue;
        };
        *of_node.entry(node).or_default() += 1;
        let has = tables.node_of(*address);
        if has != Some(node.to_canonical()) {
            by_node.entry((node, has)).or_default().push(&member.container);
        }
    }
    let findings = by_node.into_iter().map(|((node, has), containers)| {
        let peer = peer(inventory, node);
        let all = number(of_node.get(&node).copied().unwrap_or(0), "container", "containers");
        let names = named(&containers);
        let (item, what) = match has {
            None => ("missing", format!("are not in this node's tables, so nothing reaches them from here ({names})")),
            Some(has) => ("elsewhere", format!("are sent to {has} by this node's tables ({names})")),
        };
        finding(
            DEFINITION.name,
            Severity::Critical,
            Subject {
                network: Arc::clone(network),
                peer: Arc::clone(&peer),
                item: item.into(),
                ..Subject::default()
            },
            format!("{} of {all} on node {peer} {what}", containers.len()),
            "Check that UDP and TCP port 7946 are open both ways between the two nodes, then run `docker service update \
             --force` for the services, which writes the entries anew."
                .to_owned(),
        )
    });
    findings.collect()
}

/// Entries of nobody who is a member.
fn stale(network: &Arc<str>, members: &Members, tables: &Tables, inventory: &Inventory) -> Vec<Finding> {
    let is_member = |address: &IpAddr| {
        members.endpoints.contains_key(address)
            || members.load_balancers.contains_key(address)
            || members.virtual_ips.values().any(|it| it == address)
    };
    let mut by_node: BTreeMap<IpAddr, Vec<IpAddr>> = BTreeMap::new();
    // The gossip has IPv4 addresses only.
    let ours = tables.by_address.keys().filter(|address| address.is_ipv4());
    for address in ours.filter(|address| !is_member(address)) {
        if let Some(node) = tables.node_of(*address) {
            by_node.entry(node).or_default().push(*address);
        }
    }
    let findings = by_node.into_iter().filter_map(|(node, addresses)| {
        // A worker knows no nodes but by their containers.
        let is_gone = inventory.peers.source == PeerSource::Manager
            && !inventory.peers.nodes.contains_key(&node)
            && !knows(inventory, node);
        // One may be the node's load balancer, which the gossip does not list.
        let stale = if is_gone { addresses.len() } else { addresses.len() - 1 };
        if stale == 0 {
            return None;
        }
        let peer = peer(inventory, node);
        let shown = named(&addresses);
        let why = if is_gone {
            format!("{peer} is no node of the Swarm")
        } else {
            format!("the network has no such members, and {peer} has one load balancer")
        };
        Some(finding(
            DEFINITION.name,
            Severity::Warning,
            Subject {
                network: Arc::clone(network),
                peer: Arc::clone(&peer),
                item: "stale".into(),
                ..Subject::default()
            },
            format!(
                "this node's tables have {} for node {peer} ({shown}) of which {stale} cannot be right: {why}",
                number(addresses.len(), "entry", "entries")
            ),
            "Nothing has to be done until an address is given again; then restart the containers that cannot reach it, or \
             the engine with `systemctl restart docker`."
                .to_owned(),
        ))
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

/// A node's name; its address where that is not known.
fn peer(inventory: &Inventory, node: IpAddr) -> Arc<str> {
    let known = inventory.peers.nodes.get(&node).and_then(|peer| peer.name());
    known.map_or_else(|| node.to_string().into(), Arc::clone)
}

#[cfg(test)]
mod tests;
