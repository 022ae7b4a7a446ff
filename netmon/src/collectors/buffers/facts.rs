//! Queues and tables, by whose namespace they are in. Pure.

use std::sync::Arc;

use crate::{
    model::{
        buffers::{ContainerBuffers, ExemptNeighbours, NodeBuffers, Queue},
        inventory::Identity,
        place::Place,
    },
    observe::state::{Interface, Owner, State},
};

/// Queues and tables, and their limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BufferRows {
    /// Of containers.
    pub containers: Vec<(Arc<Identity>, ContainerBuffers)>,
    /// The queues of containers' interfaces.
    pub queues: Vec<QueueRow>,
    /// Of the node; `None` if its namespace is unknown or could not be read.
    pub node: Option<Arc<NodeBuffers>>,
    /// Neighbours that no threshold bounds, in the namespaces of the node and of its overlays.
    pub exempt_neighbours: ExemptNeighbours,
}

/// The queue of a container's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// The labels of its container.
    pub identity: Arc<Identity>,
    /// The network that the interface is on.
    pub network: Arc<str>,
    /// The interface's name.
    pub interface: String,
    /// The queue.
    pub queue: Queue,
}

/// Queues and tables of the containers' namespaces and of the node's namespace.
#[must_use]
pub fn rows(state: &State) -> BufferRows {
    let mut rows = BufferRows::default();
    for (place, netns) in state.standing() {
        let Some(namespace) = state.namespace(netns) else {
            continue;
        };
        match place {
            Place::Container { identity } => {
                let buffers = namespace
                    .sandbox()
                    .map(|sandbox| (Arc::clone(identity), sandbox.buffers));
                rows.containers.extend(buffers);
                rows.queues.extend(state.interfaces_in(netns).filter_map(queue));
            }
            Place::Node => rows.node = namespace.node().and_then(|node| node.buffers.clone()),
            Place::Overlay { .. } | Place::LoadBalancer { .. } => {}
        }
    }
    for namespace in state.namespaces().values() {
        rows.exempt_neighbours += namespace.exempt_neighbours;
    }
    rows
}

fn queue(interface: &Interface) -> Option<QueueRow> {
    match (&interface.owner, &interface.queue) {
        (Some(Owner::Container { identity, network, .. }), Some(queue)) => Some(QueueRow {
            identity: Arc::clone(identity),
            network: Arc::clone(network),
            interface: interface.device.name.clone(),
            queue: queue.clone(),
        }),
        _ => None,
    }
}
