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
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::Arc,
};

use super::{Ended, Interface, Owner, State};
use crate::model::{
    counters::{Directions, Totals},
    interface::InterfaceId,
    inventory::Identity,
    netns::Role,
    place::Place,
    text::order,
};

/// A service on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceKey {
    /// The service.
    pub service: String,
    /// Its stack.
    pub stack: String,
    /// The network.
    pub network: Arc<str>,
}

impl ServiceKey {
    pub(super) fn new(service: &str, stack: &str, network: &Arc<str>) -> Self {
        Self {
            service: service.to_owned(),
            stack: stack.to_owned(),
            network: Arc::clone(network),
        }
    }
}

impl PartialOrd for ServiceKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ServiceKey {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.service, &other.service)
            .then_with(|| order(&self.stack, &other.stack))
            .then_with(|| order(&self.network, &other.network))
    }
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
        let living = interfaces.values().map(|it| (it.owner.as_ref(), it.ledger.recent()));
        let ended = ended.iter().map(|it| (it.owner.as_ref(), it.recent()));
        // A service has many interfaces, and its key is copied once.
        let mut here: HashMap<(&str, &str, &Arc<str>), Directions<Totals>> = HashMap::new();
        for (owner, totals) in living.chain(ended) {
            if let Some((identity, network)) = served(owner) {
                let sum = here.entry((&identity.service, &identity.stack, network)).or_default();
                *sum = *sum + totals;
            }
        }
        let mut sums = self.retired.clone();
        for ((service, stack, network), totals) in here {
            let sum = sums.entry(ServiceKey::new(service, stack, network)).or_default();
            *sum = *sum + totals;
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
        let (mut retired, mut sums) = (mem::take(&mut self.services.retired), mem::take(&mut self.events.sums));
        let here: HashSet<(&str, &str)> = self.identities().map(|it| (&*it.service, &*it.stack)).collect();
        let is_here = |key: &ServiceKey| here.contains(&(&*key.service, &*key.stack));
        retired.retain(|key, _| is_here(key));
        sums.retain(|key, _| is_here(key));
        self.services.retired = retired;
        self.events.sums = sums;
    }
}

impl State {
    /// The containers of which anything is left here, several times each: they exist, or are shown for a while.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
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
        owners.chain(listed).chain(places)
    }
}

fn identity(owner: Option<&Owner>) -> Option<&Identity> {
    match owner? {
        Owner::Container { identity, .. } => Some(identity),
        Owner::Overlay { .. } => None,
    }
}

/// The container and the network of an interface that counts for a service.
fn served(owner: Option<&Owner>) -> Option<(&Identity, &Arc<str>)> {
    match owner? {
        Owner::Container { identity, network, .. } if !identity.service.is_empty() && !network.is_empty() => {
            Some((identity, network))
        }
        Owner::Container { .. } | Owner::Overlay { .. } => None,
    }
}

fn add(sums: &mut BTreeMap<ServiceKey, Directions<Totals>>, owner: Option<&Owner>, totals: Directions<Totals>) {
    if let Some((identity, network)) = served(owner) {
        let key = ServiceKey::new(&identity.service, &identity.stack, network);
        let sum = sums.entry(key).or_default();
        *sum = *sum + totals;
    }
}
