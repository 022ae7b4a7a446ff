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

/// Every such device: those that exist, then those that linger, the latest first. If two have the same labels, the
/// first one is shown.
#[must_use]
pub fn rows(state: &State) -> Vec<VxlanRow> {
    let living = state
        .interfaces()
        .map(|interface| (interface.owner.as_ref(), &interface.device, interface.ledger.totals()));
    let lingering = state
        .ended()
        .map(|ended| (ended.owner.as_ref(), &ended.device, ended.totals));
    let mut taken = BTreeSet::new();
    let mut rows = Vec::new();
    for (owner, device, totals) in living.chain(lingering) {
        let Some(Owner::Overlay { network }) = owner else {
            continue;
        };
        if taken.insert((network.as_ref(), device.name.as_str())) {
            rows.push(VxlanRow {
                network: Arc::clone(network),
                device: Arc::clone(device),
                totals,
            });
        }
    }
    rows
}
