//! The sums of services on this node. Pure.

use crate::{model::snapshot::ServiceRow, observe::state::State};

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
