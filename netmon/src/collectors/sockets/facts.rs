//! Losses of sockets and their buffers, by whose namespace they happened in. Pure.

use std::sync::Arc;

use crate::{
    model::{inventory::Identity, place::Place, protocols::Losses},
    observe::state::{Namespace, State},
};

/// Losses of sockets and their buffers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketRows {
    /// Of containers.
    pub containers: Vec<(Arc<Identity>, Losses)>,
    /// Of the node; `None` while its namespace is unknown.
    pub node: Option<Losses>,
}

/// What the protocols of each namespace lost.
#[must_use]
pub fn rows(state: &State) -> SocketRows {
    let mut rows = SocketRows::default();
    for (place, netns) in state.standing() {
        let Some(protocols) = state.namespace(netns).and_then(Namespace::protocols) else {
            continue;
        };
        match place {
            Place::Container { identity } => rows.containers.push((Arc::clone(identity), protocols.losses)),
            Place::Node => rows.node = Some(protocols.losses),
            Place::Overlay { .. } | Place::LoadBalancer { .. } => {}
        }
    }
    rows
}
