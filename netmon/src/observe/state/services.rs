//! What a service's containers counted on this node, those already gone included.
//!
//! A container's series ends soon after it; what no scrape ever saw of a container that lived for a second would be
//! lost. Its service's sum keeps it, and only ever rises while the service has a container here or one lingers. It
//! starts with netmon, as nobody remembers those that ended before: a sum of those alone that are still there would be
//! less than what an earlier netmon showed, and so taken for a counter that was reset and has come as far since.

use std::{collections::BTreeMap, sync::Arc};

use super::{Ended, Interface, Owner};
use crate::{
    model::{
        counters::{Directions, Totals},
        interface::InterfaceId,
        inventory::{Identity, Inventory},
    },
    netns::discover::Role,
};

/// A service on a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The service.
    pub service: String,
    /// Its stack.
    pub stack: String,
    /// The network.
    pub network: Arc<str>,
}

/// Sums of what is gone for good.
#[derive(Debug, Default)]
pub struct Services {
    retired: BTreeMap<ServiceKey, Directions<Totals>>,
    unattributed: Directions<Totals>,
}

impl Services {
    pub(super) fn sums(
        &self,
        interfaces: &BTreeMap<InterfaceId, Interface>,
        ended: &[Ended],
    ) -> BTreeMap<ServiceKey, Directions<Totals>> {
        let mut sums = self.retired.clone();
        for interface in interfaces.values() {
            add(&mut sums, interface.owner.as_ref(), interface.ledger.recent());
        }
        for ended in ended {
            add(&mut sums, ended.owner.as_ref(), ended.recent);
        }
        sums
    }

    /// What nobody owned of that.
    pub(super) const fn unattributed(&self) -> Directions<Totals> {
        self.unattributed
    }

    /// Takes over what has lingered long enough, and forgets services that have nothing here any more.
    pub(super) fn retire(
        &mut self,
        over: &[Ended],
        interfaces: &BTreeMap<InterfaceId, Interface>,
        ended: &[Ended],
        inventory: &Inventory,
    ) {
        for gone in over {
            add(&mut self.retired, gone.owner.as_ref(), gone.recent);
            if gone.owner.is_none() && gone.file.role == Role::Sandbox {
                self.unattributed = self.unattributed + gone.recent;
            }
        }
        let living = || interfaces.values().map(|interface| interface.owner.as_ref());
        let lingering = || ended.iter().map(|ended| ended.owner.as_ref());
        // A container that is being restarted has no interface for a moment.
        let listed = || inventory.containers.values().map(|container| &*container.identity);
        self.retired.retain(|key, _| {
            let is_of = |identity: &Identity| identity.service == key.service && identity.stack == key.stack;
            living().chain(lingering()).filter_map(identity).any(is_of) || listed().any(is_of)
        });
    }
}

fn identity(owner: Option<&Owner>) -> Option<&Identity> {
    match owner? {
        Owner::Container { identity, .. } => Some(identity),
        Owner::Overlay { .. } => None,
    }
}

fn add(sums: &mut BTreeMap<ServiceKey, Directions<Totals>>, owner: Option<&Owner>, totals: Directions<Totals>) {
    if let Some(Owner::Container { identity, network, .. }) = owner
        && !identity.service.is_empty()
        && !network.is_empty()
    {
        let (service, stack) = (identity.service.clone(), identity.stack.clone());
        let sum = sums
            .entry(ServiceKey {
                service,
                stack,
                network: Arc::clone(network),
            })
            .or_default();
        *sum = *sum + totals;
    }
}
