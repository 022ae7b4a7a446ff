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

use super::{Ended, Interface, Owner, State};
use crate::model::{
    counters::{Directions, Totals},
    interface::InterfaceId,
    inventory::Identity,
    netns::Role,
    place::Place,
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

    /// Adds the interfaces that have lingered long enough.
    pub(super) fn retire(&mut self, over: &[Ended]) {
        for gone in over {
            add(&mut self.retired, gone.owner.as_ref(), gone.recent());
            if gone.owner.is_none() && gone.file.role == Role::Sandbox {
                self.unattributed = self.unattributed + gone.recent();
            }
        }
    }
}

impl State {
    /// Removes the sums of services that have nothing left here.
    pub(super) fn drop_absent_services(&mut self) {
        let living = self.interfaces.values().map(|interface| interface.owner.as_ref());
        let lingering = self.ended.iter().map(|ended| ended.owner.as_ref());
        // A container that is being restarted has no interface for a moment.
        let listed = self.inventory.containers.values();
        let listed = listed.map(|container| &*container.identity);
        let closed = self.closed.values().map(|closed| &closed.namespace);
        let places = self.namespaces.values().chain(closed).filter_map(|it| match &it.place {
            Some(Place::Container { identity }) => Some(&**identity),
            Some(Place::Overlay { .. } | Place::LoadBalancer { .. } | Place::Node) | None => None,
        });
        let owners = living.chain(lingering).filter_map(identity);
        let here = owners.chain(listed).chain(places);
        let here: HashSet<(&str, &str)> = here.map(|it| (&*it.service, &*it.stack)).collect();
        let is_here = |key: &ServiceKey| here.contains(&(&*key.service, &*key.stack));
        self.services.retired.retain(|key, _| is_here(key));
        self.events.sums.retain(|key, _| is_here(key));
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
