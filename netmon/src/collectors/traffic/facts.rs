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

/// Every interface of a container: those that exist, then those that linger, the latest first. If two have the same
/// labels, the first one is shown: a new container replaces a lingering one of the same name.
#[must_use]
pub fn rows(state: &State) -> Vec<InterfaceRow> {
    let living = state
        .interfaces()
        .map(|interface| (interface.owner.as_ref(), &interface.device, interface.ledger.totals()));
    let lingering = state
        .ended()
        .map(|ended| (ended.owner.as_ref(), &ended.device, ended.totals));
    let mut taken = BTreeSet::new();
    let mut rows = Vec::new();
    for (owner, device, totals) in living.chain(lingering) {
        let Some(Owner::Container { identity, network, .. }) = owner else {
            continue;
        };
        if taken.insert((identity.container.as_str(), network.as_ref(), device.name.as_str())) {
            rows.push(InterfaceRow {
                identity: Arc::clone(identity),
                network: Arc::clone(network),
                device: Arc::clone(device),
                totals,
            });
        }
    }
    rows
}
