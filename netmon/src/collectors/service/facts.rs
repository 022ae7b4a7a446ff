//! The sums of services on this node. Pure.

use std::sync::Arc;

use crate::{
    model::counters::{Directions, Totals},
    observe::state::State,
};

/// A service's traffic on a network, on this node.
#[derive(Clone, Debug)]
pub struct ServiceRow {
    /// The service.
    pub service: String,
    /// Its stack.
    pub stack: String,
    /// The network.
    pub network: Arc<str>,
    /// The counts of its containers there.
    pub totals: Directions<Totals>,
}

/// Every service on each of its networks.
#[must_use]
pub fn rows(state: &State) -> Vec<ServiceRow> {
    state
        .services()
        .into_iter()
        .map(|(key, totals)| ServiceRow {
            service: key.service,
            stack: key.stack,
            network: key.network,
            totals,
        })
        .collect()
}
