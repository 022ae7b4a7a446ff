//! The sums of services on this node. Pure.

use std::sync::Arc;

use crate::{
    model::{
        counters::{Directions, Totals},
        events::EventSums,
        inventory::Identity,
    },
    observe::state::{ServiceKey, State},
};

/// A service on a network, on this node.
#[derive(Clone, Debug)]
pub struct OfService<T> {
    /// The service and its stack, without a container.
    pub identity: Arc<Identity>,
    /// The network.
    pub network: Arc<str>,
    /// What its containers counted there.
    pub counts: T,
}

/// A service's traffic on a network.
pub type ServiceRow = OfService<Directions<Totals>>;
/// A service's drops and TCP connections on a network. The network may be empty.
pub type EventsRow = OfService<EventSums>;

/// Every service on each of its networks.
#[must_use]
pub fn rows(state: &State) -> (Vec<ServiceRow>, Vec<EventsRow>) {
    let traffic = state.services();
    let traffic = traffic.into_iter().map(|(key, totals)| row(&key, totals));
    let events = state.service_events().iter();
    let events = events.map(|(key, sums)| row(key, sums.clone()));
    (traffic.collect(), events.collect())
}

fn row<T>(key: &ServiceKey, counts: T) -> OfService<T> {
    let identity = Identity {
        container: String::new(),
        service: key.service.clone(),
        stack: key.stack.clone(),
    };
    OfService {
        identity: Arc::new(identity),
        network: Arc::clone(&key.network),
        counts,
    }
}

#[cfg(test)]
mod tests;
