//! The families of containers and networks as the engine reports them, and of the engine itself.

use std::collections::BTreeMap;

use crate::{
    collectors::{
        docker::facts::{ContainerRow, ContainerState, Facts},
        text::join,
    },
    model::{
        health::DockerHealth,
        inventory::{Network, Node},
    },
    page::{
        key::{Key, Word},
        labels::{Block, Unlabelled, key_labels, label_sets},
        limits::{CONTAINER_FACTS, SHOWN},
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// A container's state.
    pub State { state = what }
    /// A type of the engine's events.
    pub Event { r#type = what }
}

label_sets! {
    /// More facts about a container.
    pub ContainerInfo {
        container, service, stack, container_id, image, task_id, task_slot, network_mode, state, shares_with,
    }
    /// A network.
    pub NetworkInfo {
        network, network_id, driver, scope, internal, attachable, ingress, encrypted, ipv6, mtu, vni, subnet, stack,
    }
    /// The node.
    pub NodeInfo { hostname, node_id, address, role, engine_version, kernel_version }
}

schemas! {
    pub families of super::NAME;
    "Containers" {
        /// Facts about a container.
        CONTAINER_FACTS_OF(() in ()) by ContainerInfo, CONTAINER_FACTS {
            CONTAINER_INFO: Info, "netmon_container",
                (),
                "A container, with its service, stack and image, and what netmon does for it (state). shares_with names the container whose network namespace it uses, or whose former one it holds (orphaned).";
        }
        /// Containers by state.
        STATES(it in usize) by State, SHOWN {
            CONTAINERS: Gauge, "netmon_containers",
                *it,
                "Containers by state. observed: their interfaces are counted. pending: their interfaces are not found yet. shared: they use another container's namespace. orphaned: that one has ended or has started again, and they hold its former namespace, without a network. host: they use the node's. isolated: they have only loopback. ended: they ended within the linger.";
        }
    }
    "Networks and the node" {
        /// Facts about a network.
        NETWORKS(() in ()) by NetworkInfo, SHOWN {
            NETWORK_INFO: Info, "netmon_network",
                (),
                "A Docker network that this node knows. Its MTU is what its containers get. A label with several VNIs or subnets separates them by commas.";
        }
        /// Facts about the node.
        NODE(() in ()) by NodeInfo, SHOWN {
            NODE_INFO: Info, "netmon_node",
                (),
                "The node. Its id and role are empty outside a Swarm.";
        }
    }
    "The Docker engine" {
        /// The connection to the engine.
        ENGINE(it in DockerHealth) by Unlabelled, SHOWN {
            DOCKER_UP: Gauge, "netmon_docker_up",
                it.up,
                "Whether the engine answers and its event stream is open.";
            DOCKER_LAST_SYNC: Gauge, "netmon_docker_last_sync_timestamp" in Seconds,
                it.last_sync,
                "When the engine last answered a full listing.";
            DOCKER_RECONNECTS: Counter, "netmon_docker_reconnects",
                it.reconnects,
                "How often the engine's event stream was reopened after it broke.";
            DOCKER_DECODE_ERRORS: Counter, "netmon_docker_decode_errors",
                it.decode_errors,
                "Answers and events of the engine that netmon could not decode and skipped.";
        }
        /// The engine's events.
        EVENTS(it in u64) by Event, SHOWN {
            DOCKER_EVENTS: Counter, "netmon_docker_events",
                *it,
                "Events received from the engine, of those that netmon asks for.";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(facts: &Facts) -> Vec<Rows> {
    let Facts {
        containers,
        networks,
        node,
        engine,
    } = facts;
    let count = |state| containers.iter().filter(|row| row.state == state).count();
    let states = ContainerState::ALL.map(|state| (Key::default().what(state.as_str()), count(state)));
    let shown = one_of_each_name(containers).map(|row| (Key::of(&row.container.identity), container_info(row), ()));
    let events = engine.events.iter();
    vec![
        CONTAINER_FACTS_OF.labelled_of(shown),
        STATES.rows(states),
        NETWORKS.labelled(networks.iter().map(|network| (network_info(network), ()))),
        NODE.labelled(node.iter().map(|node| (node_info(node), ()))),
        ENGINE.row(engine),
        EVENTS.rows(events.map(|(r#type, count)| (Key::default().what(Word::told(r#type)), *count))),
    ]
}

/// A container's name can be reused while an ended container with that name lingers. Queries join with this family by
/// name, and they fail if a name occurs twice. So only the newest container of a name is written.
fn one_of_each_name(containers: &[ContainerRow]) -> impl Iterator<Item = &ContainerRow> {
    let mut names = BTreeMap::<_, &ContainerRow>::new();
    for row in containers {
        let kept = names.entry(&row.container.identity).or_insert(row);
        if kept.state == ContainerState::Ended && row.state != ContainerState::Ended {
            *kept = row;
        }
    }
    names.into_values()
}

fn container_info(row: &ContainerRow) -> Block<ContainerInfo<'static>> {
    let ContainerRow {
        container,
        state,
        shares_with,
    } = row;
    ContainerInfo {
        container: &container.identity.container,
        service: &container.identity.service,
        stack: &container.identity.stack,
        container_id: &container.id,
        image: &container.image,
        task_id: &container.task_id,
        task_slot: &container.task_slot,
        network_mode: &container.network_mode,
        state: state.as_str(),
        shares_with: shares_with.as_deref().unwrap_or_default(),
    }
    .block()
}

fn node_info(node: &Node) -> Block<NodeInfo<'static>> {
    let Node {
        hostname,
        node_id,
        address,
        role,
        engine_version,
        kernel_version,
        pools: _,
    } = node;
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    NodeInfo {
        hostname,
        node_id,
        address: &address,
        role,
        engine_version,
        kernel_version,
    }
    .block()
}

fn network_info(network: &Network) -> Block<NetworkInfo<'static>> {
    let Network {
        id,
        name,
        driver,
        scope,
        internal,
        attachable,
        ingress,
        ipv6,
        lacks_gateway: _,
        encrypted,
        mtu,
        bridge: _,
        vnis,
        subnets,
        stack,
    } = network;
    NetworkInfo {
        network: name,
        network_id: id,
        driver,
        scope,
        internal: boolean(*internal),
        attachable: boolean(*attachable),
        ingress: boolean(*ingress),
        encrypted: boolean(*encrypted),
        ipv6: boolean(*ipv6),
        mtu: &mtu.map(|mtu| mtu.to_string()).unwrap_or_default(),
        vni: &join(vnis),
        subnet: &join(subnets),
        stack,
    }
    .block()
}

const fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
