//! From the engine's words to the model's. Pure, and it cannot fail but for a description without an identity.
//!
//! Everything here comes from outside: names and labels are any text of any length, addresses may be none.

use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc};

use super::wire;
use crate::model::inventory::{Container, ContainerId, Endpoint, Identity, Network, NetworkId, Node, Sandbox, Subnet};

mod peers;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "fuzzing"))]
pub(super) use peers::MOST_OF_A_NETWORK;
pub(super) use peers::{SwarmNode, by_address, members, swarm_node};

/// How many bytes of a name or label are kept. They become label values of thousands of series; Docker's own names end
/// far below it (a DNS label has 63), so that only what was never meant as a name is cut.
pub(super) const LONGEST_TEXT: usize = 256;

/// The longest text that is taken for an id; the engine's have up to 64 characters.
const LONGEST_ID: usize = 128;

/// VXLAN network identifiers have 24 bits.
pub(super) const VNI_LIMIT: u32 = 1 << 24;

/// A container, and how far it has come.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) container: Container,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Created, and no process of it ever ran.
    NotStarted,
    /// Its process is there.
    Running,
    /// Its process ended, and the engine will start it again in a moment: it lists it as running all the same.
    Restarting,
    /// Its process was there.
    Ended,
}

/// An event, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// What kind of thing it is about, one of [`EVENT_KINDS`].
    pub(super) kind: &'static str,
    /// When, in nanoseconds since the epoch by the engine's clock; zero if it did not say.
    pub(super) at: i64,
    /// What may be different now.
    pub(super) change: Change,
}

/// What may be different after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing of interest.
    Nothing,
    /// A container's process began.
    Started(ContainerId),
    /// A container's process ended.
    Died(ContainerId),
    /// A container was removed.
    Removed(ContainerId),
    /// A container's description.
    Altered(ContainerId),
    /// A container came onto a network: it is about to start, or runs already.
    Connected(ContainerId),
    /// A container left a network.
    Disconnected(ContainerId),
    /// The list of networks.
    Networks,
    /// The node itself.
    Node,
}

/// The kinds of things that events are about. Any other is `other`: a label must not take any value from outside.
pub(super) const EVENT_KINDS: [&str; 12] = [
    "builder",
    "config",
    "container",
    "daemon",
    "image",
    "network",
    "node",
    "other",
    "plugin",
    "secret",
    "service",
    "volume",
];

/// An id, if the text can be one: it becomes part of a request's path.
pub(super) fn id(text: &str) -> Option<Arc<str>> {
    let fits = (1..=LONGEST_ID).contains(&text.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (fits && text.bytes().all(plain)).then(|| Arc::from(text))
}

pub(super) fn node(info: &wire::Info) -> Node {
    let swarm = info.swarm.as_ref().filter(|swarm| !swarm.node_id.is_empty());
    Node {
        hostname: text(&info.name),
        address: swarm.and_then(|swarm| swarm.node_addr.parse().ok()),
        node_id: swarm.map(|swarm| text(&swarm.node_id)).unwrap_or_default(),
        role: match swarm {
            None => "",
            Some(swarm) if swarm.control_available => "manager",
            Some(_) => "worker",
        }
        .to_owned(),
        engine_version: text(&info.server_version),
        kernel_version: text(&info.kernel_version),
    }
}

/// A container; nothing if its description has no id.
pub(super) fn container(described: wire::Container) -> Option<Described> {
    let wire::Container {
        id: its_id,
        name,
        state,
        config,
        host_config,
        network_settings,
    } = described;
    let its_id = id(&its_id)?;
    let wire::Config { image, labels } = config.unwrap_or_default();
    let labels = labels.unwrap_or_default();
    let network_mode = host_config.unwrap_or_default().network_mode;
    let settings = network_settings.unwrap_or_default();
    let stage = if state.running && state.restarting {
        Stage::Restarting
    } else if state.running {
        Stage::Running
    } else if state.started_at.is_empty() || state.started_at.starts_with("0001-") {
        Stage::NotStarted
    } else {
        Stage::Ended
    };
    let container = Container {
        id: its_id,
        identity: Arc::new(identity(&name, &labels)),
        image: text(&image),
        task_id: label(&labels, "com.docker.swarm.task.id").unwrap_or_default(),
        task_slot: labels
            .get("com.docker.swarm.task.name")
            .map(|name| task_slot(name))
            .unwrap_or_default(),
        sandbox: sandbox(&network_mode, &settings.sandbox_key),
        network_mode: text(&network_mode),
        endpoints: endpoints(Some(&settings)),
        running: stage == Stage::Running,
    };
    Some(Described { container, stage })
}

/// A container's interfaces.
pub(super) fn endpoints(settings: Option<&wire::NetworkSettings>) -> Vec<Endpoint> {
    let networks = settings.and_then(|settings| settings.networks.as_ref());
    networks.into_iter().flatten().filter_map(endpoint).collect()
}

/// Fills in interfaces that were seen before, if the description has none that could be found.
pub(super) fn complete(container: &mut Container, seen: Vec<Endpoint>) {
    if !seen.is_empty() && !container.endpoints.iter().any(Endpoint::is_located) {
        container.endpoints = seen;
    }
}

/// A network; nothing if its description has no id.
pub(super) fn network(described: wire::Network) -> Option<Network> {
    let options = described.options.unwrap_or_default();
    let labels = described.labels.unwrap_or_default();
    let subnets = described.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    Some(Network {
        id: id(&described.id)?,
        name: text(&described.name),
        driver: text(&described.driver),
        scope: text(&described.scope),
        internal: described.internal,
        attachable: described.attachable,
        ingress: described.ingress,
        ipv6: described.enable_ipv6,
        encrypted: options.get("encrypted").is_some_and(|value| !is_false(value)),
        // Zero leaves it to the driver.
        mtu: options
            .get("com.docker.network.driver.mtu")
            .and_then(|mtu| mtu.parse().ok())
            .filter(|mtu| *mtu > 0),
        bridge: label(&options, "com.docker.network.bridge.name"),
        vnis: options
            .get("com.docker.network.driver.overlay.vxlanid_list")
            .map(|list| vnis(list))
            .unwrap_or_default(),
        subnets: subnets
            .iter()
            .filter_map(|config| config.subnet.parse::<Subnet>().ok())
            .collect(),
        stack: label(&labels, "com.docker.stack.namespace")
            .or_else(|| label(&labels, "com.docker.compose.project"))
            .unwrap_or_default(),
    })
}

pub(super) fn event(event: &wire::Event) -> Event {
    let kind = EVENT_KINDS
        .into_iter()
        .find(|kind| *kind == event.kind)
        .unwrap_or("other");
    let actor = event.actor.as_ref();
    let about =
        |text: Option<&str>, change: fn(ContainerId) -> Change| text.and_then(id).map_or(Change::Nothing, change);
    let actor_id = actor.map(|actor| actor.id.as_str());
    let member = actor
        .and_then(|actor| actor.attributes.as_ref())
        .map(|attributes| attributes.container.as_str());
    let change = match (kind, event.action.as_str()) {
        ("container", "start") => about(actor_id, Change::Started),
        // The second word is Podman's.
        ("container", "die" | "died") => about(actor_id, Change::Died),
        ("container", "destroy" | "remove") => about(actor_id, Change::Removed),
        ("container", "rename" | "update" | "pause" | "unpause") => about(actor_id, Change::Altered),
        ("network", "connect") => about(member, Change::Connected),
        ("network", "disconnect") => about(member, Change::Disconnected),
        ("network", "create" | "destroy" | "remove" | "update") => Change::Networks,
        // A manager hears of its own promotion as of anybody's; a worker finds out at the next full sync.
        ("daemon" | "node", _) => Change::Node,
        _ => Change::Nothing,
    };
    let at = if event.time_nano > 0 {
        event.time_nano
    } else {
        event.time.saturating_mul(1_000_000_000)
    };
    Event { kind, at, change }
}

/// Container, service and stack. A Swarm task's are Swarm's alone: its image may carry Compose's labels, which
/// `docker compose build` leaves there.
fn identity(name: &str, labels: &BTreeMap<String, String>) -> Identity {
    let service = label(labels, "com.docker.swarm.service.name");
    let stack = label(labels, "com.docker.stack.namespace");
    let (service, stack) = if service.is_some() || stack.is_some() {
        (service, stack)
    } else {
        (
            label(labels, "com.docker.compose.service"),
            label(labels, "com.docker.compose.project"),
        )
    };
    Identity {
        container: text(name.strip_prefix('/').unwrap_or(name)),
        service: service.unwrap_or_default(),
        stack: stack.unwrap_or_default(),
    }
}

/// `service.slot.task`, or `service.node.task` for a global service.
fn task_slot(task_name: &str) -> String {
    let mut parts = task_name.rsplit('.').skip(1);
    let slot = parts.next().unwrap_or_default();
    if parts.next().is_some() {
        text(slot)
    } else {
        String::new()
    }
}

/// Where a container's interfaces are. The mode of a Swarm task says nothing about its networks; that it is on the
/// node's own is seen by the file, whose name is then always the same.
fn sandbox(mode: &str, key: &str) -> Sandbox {
    if let Some(other) = mode.strip_prefix("container:") {
        return id(other).map_or(Sandbox::Absent, Sandbox::Shared);
    }
    let path = Path::new(key);
    match mode {
        "host" => Sandbox::Host,
        _ if path.file_name().is_some_and(|name| name == "default") => Sandbox::Host,
        "none" => Sandbox::Isolated,
        _ if path.is_absolute() => Sandbox::Own(path.to_owned()),
        _ => Sandbox::Absent,
    }
}

fn endpoint((name, endpoint): (&String, &Option<wire::Endpoint>)) -> Option<Endpoint> {
    let endpoint = endpoint.as_ref()?;
    let network: NetworkId = id(&endpoint.network_id)?;
    let addresses = [&endpoint.ip_address, &endpoint.global_ipv6_address];
    Some(Endpoint {
        network,
        network_name: text(name),
        mac: endpoint.mac_address.parse().ok(),
        addresses: addresses
            .into_iter()
            .filter_map(|address| address.parse::<IpAddr>().ok())
            .collect(),
    })
}

fn vnis(list: &str) -> Vec<u32> {
    let numbers = list.split(',').filter_map(|vni| vni.trim().parse().ok());
    numbers.filter(|vni| *vni < VNI_LIMIT).collect()
}

/// An option that is there is on, even if empty, unless it says that it is off.
fn is_false(value: &str) -> bool {
    value == "0" || value.eq_ignore_ascii_case("false")
}

/// A label that is there and not empty.
fn label(labels: &BTreeMap<String, String>, name: &str) -> Option<String> {
    labels
        .get(name)
        .filter(|value| !value.is_empty())
        .map(|value| text(value))
}

/// Text from outside, cut at a sensible length. What is in it stays: whoever writes it somewhere has to escape it.
fn text(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_TEXT)].to_owned()
}
