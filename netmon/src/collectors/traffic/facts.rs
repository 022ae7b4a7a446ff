//! The counts of containers' interfaces and of the VXLAN devices of overlay networks. Pure.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    model::{
        counters::{Directions, Totals},
        interface::Device,
        snapshot::{InterfaceRow, VxlanRow},
    },
    observe::state::{Owner, State},
};

/// Every interface with an owner: those that exist, then those that linger, the latest first. If two have the same
/// labels, the first one is shown: a new container replaces a lingering one of the same name.
#[must_use]
pub fn rows(state: &State) -> (Vec<InterfaceRow>, Vec<VxlanRow>) {
    let living = state
        .interfaces()
        .map(|interface| (interface.owner.as_ref(), &interface.device, interface.ledger.totals()));
    let lingering = state
        .ended()
        .map(|ended| (ended.owner.as_ref(), &ended.device, ended.totals));
    let mut taken = BTreeSet::new();
    let (mut interfaces, mut vxlans) = (Vec::new(), Vec::new());
    for (owner, device, totals) in living.chain(lingering) {
        let Some(owner) = owner else { continue };
        let container = match owner {
            Owner::Container { identity, .. } => identity.container.as_str(),
            Owner::Overlay { .. } => "",
        };
        let (Owner::Container { network, .. } | Owner::Overlay { network }) = owner;
        if taken.insert((container, network.as_ref(), device.name.as_str())) {
            lay_out(owner, device, totals, &mut interfaces, &mut vxlans);
        }
    }
    (interfaces, vxlans)
}

fn lay_out(
    owner: &Owner,
    device: &Arc<Device>,
    totals: Directions<Totals>,
    interfaces: &mut Vec<InterfaceRow>,
    vxlans: &mut Vec<VxlanRow>,
) {
    let device = Arc::clone(device);
    match owner {
        Owner::Container { identity, network, .. } => {
            let (identity, network) = (Arc::clone(identity), Arc::clone(network));
            interfaces.push(InterfaceRow {
                identity,
                network,
                device,
                totals,
            });
        }
        Owner::Overlay { network } => vxlans.push(VxlanRow {
            network: Arc::clone(network),
            device,
            totals,
        }),
    }
}
