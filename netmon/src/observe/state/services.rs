//! What each service's containers counted on this node, including containers that ended.
//!
//! A container's series ends soon after the container. If a container lived for a second, no scrape may have seen its
//! counts. The sum of its service keeps them. The sum never falls while the service has a container here or one
//! lingers.
//!
//! The sum starts when netmon starts, because the counts of containers that ended before are not stored anywhere. If
//! it started with the counts of the containers that still exist, it would be lower than an earlier netmon's sum.
//! Prometheus would take it for a counter that was reset and has since risen to that value.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{Ended, Interface, Owner};
use crate::model::{
    counters::{Directions, Totals},
    interface::InterfaceId,
    inventory::{Identity, Inventory},
    netns::Role,
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

/// Sums of the interfaces that no longer linger.
#[derive(Debug, Default)]
pub struct Services {
    retired: BTreeMap<ServiceKey, Directions<Totals>>,
    unattributed: Directions<Totals>,
    /// The number of the inventory at the last call of [`Self::retire`].
    pub(super) seen: u64,
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
            add(&mut sums, ended.owner.as_ref(), ended.recent());
        }
        sums
    }

    /// The part of them that never had an owner.
    pub(super) const fn unattributed(&self) -> Directions<Totals> {
        self.unattributed
    }

    /// Adds the interfaces that have lingered long enough, and removes services that have nothing left here.
    pub(super) fn retire(
        &mut self,
        over: &[Ended],
        interfaces: &BTreeMap<InterfaceId, Interface>,
        ended: &[Ended],
        inventory: &Inventory,
    ) {
        for gone in over {
            add(&mut self.retired, gone.owner.as_ref(), gone.recent());
            if gone.owner.is_none() && gone.file.role == Role::Sandbox {
                self.unattributed = self.unattributed + gone.recent();
            }
        }
        let living = interfaces.values().map(|interface| interface.owner.as_ref());
        let lingering = ended.iter().map(|ended| ended.owner.as_ref());
        // A container that is being restarted has no interface for a moment.
        let listed = inventory.containers.values().map(|container| &*container.identity);
        let known = living.chain(lingering).filter_map(identity).chain(listed);
        let known: HashSet<_> = known.map(|it| (&*it.service, &*it.stack)).collect();
        self.retired
            .retain(|key, _| known.contains(&(&*key.service, &*key.stack)));
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
