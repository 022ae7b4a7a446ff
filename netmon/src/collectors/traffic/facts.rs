//! The counts of containers' interfaces. Pure.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    model::{
        counters::{Directions, Totals},
        interface::Device,
        inventory::Identity,
    },
    observe::state::{Owner, State},
};

/// An interface of a container.
#[derive(Clone, Debug)]
pub struct InterfaceRow {
    /// The labels of its container.
    pub identity: Arc<Identity>,
    /// Its Docker network. Empty for a device that belongs to none of the container's networks.
    pub network: Arc<str>,
    /// The device.
    pub device: Arc<Device>,
    /// Its counts.
    pub totals: Directions<Totals>,
}

/// Every interface of a container.
#[must_use]
pub fn rows(state: &State) -> Vec<InterfaceRow> {
    let of_containers = |owner: &'_ Owner| match owner {
        Owner::Container { identity, network, .. } => Some((Arc::clone(identity), Arc::clone(network))),
        Owner::Overlay { .. } => None,
    };
    let mut taken = BTreeSet::new();
    let mut rows = Vec::new();
    for ((identity, network), _, device, totals) in state.totals_of(of_containers) {
        if taken.insert((Arc::clone(&identity), Arc::clone(&network), device.name.as_str())) {
            rows.push(InterfaceRow {
                identity,
                network,
                device: Arc::clone(device),
                totals,
            });
        }
    }
    rows
}
