//! Containers, and what netmon does with their interfaces. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    model::{
        inventory::{Container, ContainerId, Inventory, Sandbox},
        snapshot::{ContainerRow, ContainerState},
    },
    observe::state::{Owner, State},
};

/// How many containers may each share the next one's namespace before netmon stops following them.
const SHARING_DEPTH: usize = 8;

/// Every container, and how netmon observes it.
#[must_use]
pub fn rows(inventory: &Inventory, state: &State) -> Vec<ContainerRow> {
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
