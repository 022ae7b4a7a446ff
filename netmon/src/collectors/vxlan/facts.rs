//! The counts of the VXLAN devices of overlay networks. Pure.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    model::{
        counters::{Directions, Totals},
        interface::Device,
    },
    observe::state::{Owner, State},
};

/// A vxlan device of an overlay network. The network has one for each of its subnets.
#[derive(Clone, Debug)]
pub struct VxlanRow {
    /// The overlay network.
    pub network: Arc<str>,
    /// The device.
    pub device: Arc<Device>,
    /// Its counts: `receive` came from other nodes.
    pub totals: Directions<Totals>,
}

/// Every such device.
#[must_use]
pub fn rows(state: &State) -> Vec<VxlanRow> {
    let of_overlays = |owner: &'_ Owner| match owner {
        Owner::Overlay { network } => Some(Arc::clone(network)),
        Owner::Container { .. } => None,
    };
    let mut taken = BTreeSet::new();
    let mut rows = Vec::new();
    for (network, _, device, totals) in state.totals_of(of_overlays) {
        if taken.insert((Arc::clone(&network), device.name.as_str())) {
            rows.push(VxlanRow {
                network,
                device: Arc::clone(device),
                totals,
            });
        }
    }
    rows
}
