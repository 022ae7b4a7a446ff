//! Containers, and what netmon does with their interfaces. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    collectors::overlay::mtu,
    model::{
        health::DockerHealth,
        inventory::{Container, ContainerId, Inventory, Network, Node, Sandbox},
    },
    observe::state::{Owner, State},
};

/// A container, and what netmon does with its interfaces.
#[derive(Clone, Debug)]
pub struct ContainerRow {
    /// The container.
    pub container: Arc<Container>,
    /// What netmon does for it.
    pub state: ContainerState,
    /// The container whose interfaces it uses, by name; `None` if it uses its own.
    pub shares_with: Option<String>,
}

/// What netmon does for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerState {
    /// Its interfaces are counted.
    Observed,
    /// It runs, but its interfaces are not found yet, or its namespace cannot be entered.
    Pending,
    /// It uses another container's interfaces, which are counted for that container.
    Shared,
    /// It uses the node's interfaces and has none of its own.
    Host,
    /// It has only loopback.
    Isolated,
    /// It ended a moment ago, and its last values linger.
    Ended,
}

impl ContainerState {
    /// Every state, in the order of the metrics.
    pub const ALL: [Self; 6] = [
        Self::Observed,
        Self::Pending,
        Self::Shared,
        Self::Host,
        Self::Isolated,
        Self::Ended,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Pending => "pending",
            Self::Shared => "shared",
            Self::Host => "host",
            Self::Isolated => "isolated",
            Self::Ended => "ended",
        }
    }
}

/// What the engine reports, and the engine itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The node; `None` before the engine's first answer.
    pub node: Option<Arc<Node>>,
    /// All containers, with what netmon does for each.
    pub containers: Vec<ContainerRow>,
    /// All networks.
    pub networks: Vec<Arc<Network>>,
    /// The connection to the engine.
    pub engine: DockerHealth,
}

/// How many containers may each share the next one's namespace before netmon stops following them.
const SHARING_DEPTH: usize = 8;

/// The facts of a scrape.
#[must_use]
pub fn of(state: &State, engine: &DockerHealth) -> Facts {
    let inventory = state.inventory();
    Facts {
        node: inventory.node.clone(),
        containers: rows(inventory, state),
        networks: mtu::networks(state, &mtu::overlays(state)),
        engine: engine.clone(),
    }
}

/// Every container, and how netmon observes it.
fn rows(inventory: &Inventory, state: &State) -> Vec<ContainerRow> {
    let observed: BTreeSet<_> = state
        .interfaces()
        .filter_map(|interface| match interface.owner.as_ref()? {
            Owner::Container { id, .. } => Some(Arc::clone(id)),
            Owner::Overlay { .. } => None,
        })
        .collect();
    let row = |container: &Arc<Container>| {
        let state = match &container.sandbox {
            _ if !container.running => ContainerState::Ended,
            Sandbox::Own(_) if observed.contains(&container.id) => ContainerState::Observed,
            Sandbox::Own(_) | Sandbox::Absent => ContainerState::Pending,
            Sandbox::Shared(_) => ContainerState::Shared,
            Sandbox::Host => ContainerState::Host,
            Sandbox::Isolated => ContainerState::Isolated,
        };
        let shares_with = sharer(&container.sandbox, &inventory.containers);
        ContainerRow {
            container: Arc::clone(container),
            state,
            shares_with,
        }
    };
    inventory.containers.values().map(row).collect()
}

/// The container at the end of a chain of `--network container:X`.
fn sharer(sandbox: &Sandbox, containers: &BTreeMap<ContainerId, Arc<Container>>) -> Option<String> {
    let mut sandbox = sandbox;
    let mut name = None;
    for _ in 0..SHARING_DEPTH {
        let Sandbox::Shared(id) = sandbox else { break };
        let container = containers.get(id)?;
        name = Some(container.identity.container.clone());
        sandbox = &container.sandbox;
    }
    name
}
