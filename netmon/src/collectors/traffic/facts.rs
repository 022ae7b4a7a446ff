//! The counts of containers' interfaces. Pure.

use std::sync::Arc;

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

/// Every interface of a container, in the order of a page.
#[must_use]
pub fn rows(state: &State) -> Vec<InterfaceRow> {
    let of_containers = |owner: &'_ Owner| match owner {
        Owner::Container { identity, network, .. } => Some((Arc::clone(identity), Arc::clone(network))),
        Owner::Overlay { .. } => None,
    };
    let totals = state.totals_of(of_containers);
    let mut rows: Vec<_> = totals
        .map(|((identity, network), _, device, totals)| InterfaceRow {
            identity,
            network,
            device: Arc::clone(device),
            totals,
        })
        .collect();
    // Of several with the same labels the first stays, which is that of the namespace that was seen last.
    rows.sort_by(|one, other| one.labels().cmp(&other.labels()));
    rows.dedup_by(|later, earlier| later.labels() == earlier.labels());
    rows
}

impl InterfaceRow {
    /// What identifies it, in the order of a page.
    fn labels(&self) -> (&Identity, &str, &str) {
        (&self.identity, &self.network, &self.device.name)
    }
}
