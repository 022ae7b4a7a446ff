//! Queues and tables, by whose namespace they are in. Pure.

use std::sync::Arc;

use crate::{
    model::{
        place::Place,
        snapshot::{BufferRows, QueueRow},
    },
    observe::state::{Owner, State},
};

/// Queues and tables of the containers' namespaces and of the node's namespace.
#[must_use]
pub fn rows(state: &State) -> BufferRows {
    let mut rows = BufferRows::default();
    for (place, netns) in state.standing() {
        let Some(namespace) = state.namespace(netns) else {
            continue;
        };
        match place {
            Place::Container { identity } => rows.containers.push((Arc::clone(identity), namespace.buffers)),
            Place::Node => rows.node.clone_from(&namespace.node_buffers),
            Place::Overlay { .. } | Place::LoadBalancer { .. } => {}
        }
    }
    rows.queues = state
        .interfaces()
        .filter_map(|interface| match (&interface.owner, &interface.queue) {
            (Some(Owner::Container { identity, network, .. }), Some(queue)) => Some(QueueRow {
                identity: Arc::clone(identity),
                network: Arc::clone(network),
                interface: interface.device.name.clone(),
                queue: queue.clone(),
            }),
            _ => None,
        })
        .collect();
    rows
}
