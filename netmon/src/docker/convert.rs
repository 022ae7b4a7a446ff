//! Converts the engine's types to the model's. Pure. Conversion fails only for a description without an id.
//!
//! All input comes from outside: names and labels are any text of any length, and addresses may be invalid.

use std::{net::IpAddr, path::Path, sync::Arc, time::SystemTime};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use self::identity::{Task, identity, label};
use super::wire;
use crate::model::{
    inventory::{Container, ContainerId, Endpoint, Network, NetworkId, Node, Pool, Sandbox, Subnet},
    text::cut,
};

mod identity;
mod peers;
mod summary;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "fuzzing"))]
pub(super) use peers::MOST_OF_A_NETWORK;
pub(super) use peers::{SwarmNode, by_address, members, swarm_node};
pub(super) use summary::{Listed, Summary, listed};

/// How many bytes of a name or label are kept, because they become label values of thousands of series. Docker's own
/// names are much shorter (a DNS label has 63 bytes). So only texts that were never meant as names are cut.
pub(super) const LONGEST_TEXT: usize = 256;

/// The longest text accepted as an id. The engine's ids have up to 64 characters.
const LONGEST_ID: usize = 128;

/// The length of the beginning of an id that the engine adds to aliases.
const SHORT_ID: usize = 12;

/// How many aliases of an endpoint are kept. Compose gives two or three.
const MOST_ALIASES: usize = 16;

/// How many address pools are kept.
const MOST_POOLS: usize = 64;

/// VXLAN network identifiers have 24 bits.
pub(super) const VNI_LIMIT: u32 = 1 << 24;

/// A container, and its stage of life.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) container: Container,
    pub(super) stage: Stage,
    /// What a list says of it if nothing changed. `None` if no list can say that.
    pub(super) summary: Option<Summary>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Created, but none of its processes ever ran.
    NotStarted,
    /// Its process runs.
    Running,
    /// Its process ended, and the engine will start it again shortly. The engine still lists it as running.
    Restarting,
    /// Its process ran and ended.
    Ended,
}

/// The parts of an event that netmon uses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// The kind of object it is about, one of [`EVENT_KINDS`].
    pub(super) kind: &'static str,
    /// Its time by the engine's clock, in nanoseconds since the epoch. Zero if the event has no time.
    pub(super) at: i64,
    /// What may have changed.
    pub(super) change: Change,
}

/// What may have changed with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that netmon uses.
    Nothing,
    /// A container's process started.
    Started(ContainerId),
    /// A container's process ended.
    Died(ContainerId),
    /// A container was removed.
    Removed(ContainerId),
    /// A container's description changed.
    Altered(ContainerId),
    /// A container was connected to a network. It is about to start, or already runs.
    Connected(ContainerId),
    /// A container was disconnected from a network.
    Disconnected(ContainerId),
    /// The list of networks changed.
    Networks,
    /// The node itself changed.
    Node,
}

/// The kinds of objects whose events are requested.
pub(super) const EVENT_KINDS_WANTED: [&str; 4] = ["container", "daemon", "network", "node"];

/// What is requested of them. Others would be many: an engine reports every check of a container's health three times.
pub(super) const EVENT_ACTIONS: [&str; 13] = [
    "connect",
    "create",
    "destroy",
    "die",
    "died",
    "disconnect",
    "pause",
    "reload",
    "remove",
    "rename",
    "start",
    "unpause",
    "update",
];

/// The kinds of objects that events are about. Any other kind becomes `other`: a label must not take arbitrary values
/// from outside.
pub(super) const EVENT_KINDS: [&str; 5] = ["container", "daemon", "network", "node", "other"];

/// The text as an id, if it is a valid one. An id becomes part of a request's path.
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
        pools: info
            .default_address_pools
            .iter()
            .flatten()
            .take(MOST_POOLS)
            .filter_map(pool)
            .collect(),
    }
}

fn pool(pool: &wire::AddressPool) -> Option<Pool> {
    let base: Subnet = pool.base.parse().ok()?;
    Some(Pool { base, size: pool.size })
}

/// A container. `None` if its description has no valid id.
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
    let name = name.strip_prefix('/').unwrap_or(&name);
    let task = Task::of(name, &labels);
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
    let summary = (stage == Stage::Running)
        .then(|| summary::summary_of(name, &settings))
        .flatten();
    let mut endpoints = endpoints(Some(&settings));
    for endpoint in &mut endpoints {
        // The engine adds the beginning of the container's id.
        endpoint
            .aliases
            .retain(|alias| alias.len() != SHORT_ID || !its_id.starts_with(&**alias));
    }
    let container = Container {
        id: its_id,
        identity: Arc::new(identity(name, task, &labels)),
        image: text(&image),
        task_id: task.map(Task::id).unwrap_or_default(),
        task_slot: task.map(Task::slot).unwrap_or_default(),
        sandbox: sandbox(&network_mode, &settings.sandbox_key),
        network_mode: text(&network_mode),
        endpoints,
        started: moment(&state.started_at),
        running: stage == Stage::Running,
    };
    Some(Described {
        container,
        stage,
        summary,
    })
}

/// A time as the engine writes it (RFC 3339). `None` if it is none, or the year 1, which stands for "never".
fn moment(text: &str) -> Option<SystemTime> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    (moment > OffsetDateTime::UNIX_EPOCH).then(|| moment.into())
}

/// A container's endpoints.
pub(super) fn endpoints(settings: Option<&wire::NetworkSettings>) -> Vec<Endpoint> {
    let networks = settings.and_then(|settings| settings.networks.as_ref());
    networks.into_iter().flatten().filter_map(endpoint).collect()
}

/// Fills in endpoints that were read earlier, if the description has none that can be located.
pub(super) fn complete(container: &mut Container, seen: Vec<Endpoint>) {
    if !seen.is_empty() && !container.endpoints.iter().any(Endpoint::is_located) {
        container.endpoints = seen;
    }
}

/// A network. `None` if its description has no valid id.
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
        lacks_gateway: options
            .get("com.docker.network.bridge.inhibit_ipv4")
            .is_some_and(|value| !is_false(value))
            || options
                .get("com.docker.network.bridge.gateway_mode_ipv4")
                .is_some_and(|mode| mode == "isolated")
            // Without a parent they are internal, though they are not called so (`parseNetworkOptions` of both drivers).
            || matches!(described.driver.as_str(), "macvlan" | "ipvlan") && !options.contains_key("parent"),
        encrypted: options.get("encrypted").is_some_and(|value| !is_false(value)),
        // Zero leaves the MTU to the driver.
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
        // Podman says `died`.
        ("container", "die" | "died") => about(actor_id, Change::Died),
        ("container", "destroy" | "remove") => about(actor_id, Change::Removed),
        ("container", "rename" | "update" | "pause" | "unpause") => about(actor_id, Change::Altered),
        ("network", "connect") => about(member, Change::Connected),
        ("network", "disconnect") => about(member, Change::Disconnected),
        ("network", "create" | "destroy" | "remove" | "update") => Change::Networks,
        // A manager receives node events of the whole Swarm, including its own promotion. A worker learns of its
        // promotion at the next full sync.
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

/// Where a container's interfaces are. The mode of a Swarm task says nothing about its networks. A task in the node's
/// namespace is recognised by the sandbox file, which then always has the same name.
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
        aliases: endpoint
            .aliases
            .iter()
            .flatten()
            .take(MOST_ALIASES)
            .map(|alias| Arc::from(cut(alias, LONGEST_TEXT)))
            .collect(),
    })
}

fn vnis(list: &str) -> Vec<u32> {
    let numbers = list.split(',').filter_map(|vni| vni.trim().parse().ok());
    numbers.filter(|vni| *vni < VNI_LIMIT).collect()
}

/// Whether a value turns its option off. An option that is present is on, even if it is empty, unless its value says
/// otherwise.
fn is_false(value: &str) -> bool {
    value == "0" || value.eq_ignore_ascii_case("false")
}

/// Text from outside, cut to a maximum length. Its characters are kept: the code that writes it somewhere has to
/// escape it.
fn text(text: &str) -> String {
    cut(text, LONGEST_TEXT).into_owned()
}
