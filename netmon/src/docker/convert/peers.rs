//! The Swarm's nodes, and the members of its networks according to their gossip.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{text, wire};
use crate::model::{
    inventory::GATEWAY_BRIDGE,
    peers::{Member, Members, Peer},
};

/// How many containers and how many services of a network are kept. Gossip comes from other nodes, so it needs a
/// bound. A network with a subnet chosen by Docker has room for 254 addresses.
pub(in crate::docker) const MOST_OF_A_NETWORK: usize = 4_096;

/// The length of a node's id. All its characters are digits and lower-case letters.
pub(super) const ID_LENGTH: usize = 25;

/// The engine's name for a network's load balancer, as a prefix of the network's name; its name for that of the
/// routing mesh; and how many load balancers of a network are kept. A network has one.
const BALANCER: &str = "lb-";
const INGRESS_BALANCER: &str = "ingress-sbox";
pub(super) const MOST_BALANCERS: usize = 16;

/// A node of the Swarm, as a manager describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::docker) struct SwarmNode {
    pub(in crate::docker) id: Arc<str>,
    pub(in crate::docker) hostname: Arc<str>,
    /// `None` if the manager does not know an address that other nodes can send to.
    pub(in crate::docker) address: Option<IpAddr>,
    /// If two nodes share a name or an address, the one that is not ready is left over from a former node.
    pub(in crate::docker) is_ready: bool,
}

/// A node of the Swarm. `None` if it has no valid id.
pub(in crate::docker) fn swarm_node(described: wire::SwarmNode) -> Option<SwarmNode> {
    let wire::SwarmNode {
        id,
        description,
        status,
        manager_status,
    } = described;
    let id = super::id(&id)?;
    let status = status.unwrap_or_default();
    let usable = |address: &IpAddr| !address.is_unspecified();
    let own = || status.addr.parse().ok().filter(usable);
    // A manager that listens on all addresses reports no address of its own there.
    let as_manager = || {
        let address: SocketAddr = manager_status.as_ref()?.addr.parse().ok()?;
        Some(address.ip()).filter(usable)
    };
    Some(SwarmNode {
        id,
        hostname: Arc::from(text(&description.unwrap_or_default().hostname)),
        address: own().or_else(as_manager),
        is_ready: status.state == "ready",
    })
}

/// Nodes by the addresses that they use to send to each other. They come from the manager's list and from gossip
/// about tasks. The two differ if the Swarm has separate addresses for its networks' data traffic.
pub(in crate::docker) fn by_address<'a>(
    nodes: &[SwarmNode],
    gossip: impl IntoIterator<Item = (&'a IpAddr, &'a Arc<str>)>,
) -> BTreeMap<IpAddr, Peer> {
    let mut nodes: Vec<&SwarmNode> = nodes.iter().collect();
    nodes.sort_by_key(|node| (!node.is_ready, Arc::clone(&node.id)));
    let mut ready: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut all = ready.clone();
    for node in &nodes {
        all.entry(&node.hostname).or_default().insert(&node.id);
        if node.is_ready {
            ready.entry(&node.hostname).or_default().insert(&node.id);
        }
    }
    let peer = |node: &SwarmNode| {
        let namesakes = match ready.get(&*node.hostname) {
            // A node of the same name that is not ready is left over from a former node.
            Some(ready) if node.is_ready => ready,
            Some(_) | None => &all[&*node.hostname],
        };
        Peer {
            hostname: Arc::clone(&node.hostname),
            node_id: Arc::clone(&node.id),
            is_ambiguous: namesakes.len() > 1,
        }
    };
    let mut peers = BTreeMap::new();
    for node in &nodes {
        if let Some(address) = node.address {
            peers.entry(address).or_insert_with(|| peer(node));
        }
    }
    for (address, id) in gossip {
        let known = || nodes.iter().find(|node| node.id == *id).map(|node| peer(node));
        peers.entry(*address).or_insert_with(|| {
            known().unwrap_or_else(|| Peer {
                node_id: Arc::clone(id),
                ..Peer::default()
            })
        });
    }
    peers
}

/// The members of a network, and the reasons why some were left out.
///
/// If several containers have one address, one is kept. Gossip removes old entries late, and an address belongs to
/// one container at a time.
pub(in crate::docker) fn members(described: wire::VerboseNetwork) -> (Members, Vec<String>) {
    let mut members = Members::default();
    let mut nonsense = Vec::new();
    if described.name == GATEWAY_BRIDGE {
        for (key, value) in described.containers.unwrap_or_default() {
            add_gateway(&mut members, &key, value);
        }
        return (members, nonsense);
    }
    for (key, value) in described.containers.unwrap_or_default() {
        // All other keys are container ids.
        if key != INGRESS_BALANCER && !key.starts_with(BALANCER) {
            continue;
        }
        let container: wire::NetworkContainer = serde_json::from_value(value).unwrap_or_default();
        let address = container.ipv4_address.split('/').next().unwrap_or_default();
        match address.parse() {
            Ok(address) => members.is_cut |= !put(&mut members.load_balancers, address, text(&key), MOST_BALANCERS),
            Err(_) => nonsense.push("a load balancer has no address".to_owned()),
        }
    }
    for (service, value) in described.services.unwrap_or_default() {
        match serde_json::from_value(value) {
            Ok(described) => add_service(&mut members, &mut nonsense, &service, described),
            Err(error) => nonsense.push(error.to_string()),
        }
    }
    (members, nonsense)
}

/// Adds where a container leaves the Swarm's networks.
fn add_gateway(members: &mut Members, container: &str, value: serde_json::Value) {
    let Some(id) = super::id(container) else { return };
    let wire::NetworkContainer {
        ipv4_address,
        ipv6_address,
    } = serde_json::from_value(value).unwrap_or_default();
    for address in [ipv4_address, ipv6_address] {
        let address = address.split('/').next().unwrap_or_default();
        if let Ok(address) = address.parse() {
            members.is_cut |= !put(&mut members.gateways, address, Arc::clone(&id), MOST_OF_A_NETWORK);
        }
    }
}

fn add_service(members: &mut Members, nonsense: &mut Vec<String>, name: &str, described: wire::NetworkService) {
    let wire::NetworkService { vip, tasks } = described;
    let service = text(name);
    if let (Ok(address), false) = (vip.parse::<IpAddr>(), service.is_empty()) {
        members.is_cut |= !put(&mut members.virtual_ips, service.clone(), address, MOST_OF_A_NETWORK);
    }
    let Some(tasks) = tasks else { return };
    nonsense.extend(tasks.skipped);
    for task in tasks.items {
        let Ok(address) = task.endpoint_ip.parse::<IpAddr>() else {
            nonsense.push("a container has no address".to_owned());
            continue;
        };
        // The gossip of older engines has the load balancers of the routing mesh. This node's is known by another name.
        let balancer = members.load_balancers.get(&address);
        if service.is_empty() && balancer.is_some_and(|name| name == INGRESS_BALANCER) {
            continue;
        }
        let host = task.info.as_ref().and_then(|info| info.get("Host IP"));
        let node = host
            .and_then(|address| address.parse().ok())
            .filter(|address: &IpAddr| !address.is_unspecified());
        // Containers outside of a service have names chosen by users, so their names are not evidence of a node's id.
        if let (Some(node), Some(id), false) = (node, node_of(&task.name), service.is_empty()) {
            members.is_cut |= !put(&mut members.nodes, node, id, MOST_OF_A_NETWORK);
        }
        let member = Member {
            container: text(&task.name),
            service: service.clone(),
            node,
        };
        members.is_cut |= !put(&mut members.endpoints, address, member, MOST_OF_A_NETWORK);
    }
}

/// Adds an entry, unless there is one for the key. Returns whether there was room for it.
fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V, most: usize) -> bool {
    let has_room = map.len() < most || map.contains_key(&key);
    if has_room {
        map.entry(key).or_insert(value);
    }
    has_room
}

/// The node that a global service's task runs on, from the name `service.node.task`. Other tasks have a slot number
/// in that place.
fn node_of(task_name: &str) -> Option<Arc<str>> {
    let mut parts = task_name.rsplit('.');
    let (task, node) = (parts.next()?, parts.next()?);
    let is_id = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        text.len() == ID_LENGTH && text.bytes().all(plain)
    };
    (is_id(task) && is_id(node) && parts.next().is_some()).then(|| Arc::from(node))
}
