//! Finds the owners of the packets that the kernel dropped: joins its counts with the registry.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::{
    model::{
        drops::{Drop, DropKey, Drops},
        interface::{InterfaceId, NetnsId},
        inventory::Identity,
        place::{Attribution, Cause, Place},
    },
    observe::state::State,
};

/// What the reasons are called that the kernel program does not tell apart when the map is full.
pub const OTHER: &str = "(other)";

/// Dropped packets, by owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropRows {
    /// Containers'.
    pub containers: Vec<(Arc<Identity>, DropRow)>,
    /// Overlay networks'.
    pub overlays: Vec<DropRow>,
    /// Load balancers'.
    pub load_balancers: Vec<DropRow>,
    /// The node's.
    pub node: Vec<DropRow>,
    /// Those without a known owner.
    pub unattributed: Vec<UnattributedRow>,
}

/// Packets that the kernel dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropRow {
    /// The network. Empty if the device belongs to none.
    pub network: Arc<str>,
    /// The running kernel's name of the reason.
    pub reason: Arc<str>,
    /// The number of packets.
    pub packets: u64,
}

/// Packets that the kernel dropped, and whose owner is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnattributedRow {
    /// The running kernel's name of the reason.
    pub reason: Arc<str>,
    /// Why the owner is unknown.
    pub cause: Cause,
    /// The number of packets.
    pub packets: u64,
}

/// Counts that the kernel's map no longer holds: those of foreign namespaces, and of devices deleted from a namespace
/// that stays. Every container leaves one such device: the other end of its veth. The map has no room for all of
/// them.
#[derive(Debug, Default)]
pub struct Retired {
    sums: Sums,
    /// What was shown as unattributed, of counts that the kernel still keeps. It stays unattributed when the rest
    /// gets an owner, and when the kernel's count is deleted.
    unattributed: BTreeMap<DropKey, (Cause, u64)>,
    /// Deleted devices: how many packets were counted for them, and since when that number has not changed.
    resting: BTreeMap<InterfaceId, (u64, Instant)>,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    /// By reason; `None` for those that are not told apart.
    without_owner: BTreeMap<(Option<u32>, Cause), u64>,
    /// By place, namespace, network and reason.
    of_places: BTreeMap<(Place, NetnsId, Arc<str>, u32), u64>,
}

/// Makes the rows, by owner. `name` returns a reason's name. Counts whose owner is not decided yet are left for
/// later.
pub fn rows(
    drops: &Drops,
    retired: &mut Retired,
    state: &mut State,
    now: Instant,
    name: impl Fn(u32) -> String,
) -> DropRows {
    retired.keep_forgotten(drops);
    let mut sums = retired.sums.clone();
    for (reason, packets) in &drops.lost {
        *sums.without_owner.entry((*reason, Cause::MapFull)).or_default() += packets;
    }
    let mut known: HashMap<u32, Arc<str>> = HashMap::new();
    let mut named = |reason: u32| Arc::clone(known.entry(reason).or_insert_with(|| Arc::from(name(reason))));
    for drop in &drops.counted {
        let attribution = attribution(drop, state, now);
        if let Some(attribution) = &attribution {
            state.count_drop(drop, attribution, || named(drop.reason));
        }
        if let Some(Attribution::Nowhere(cause)) = attribution {
            retired.unattributed.insert(drop.key(), (cause, drop.packets));
        }
        sums.charge(drop, attribution, &retired.unattributed);
    }

    let mut rows = DropRows::default();
    let standing = state.standing();
    for ((place, netns, network, reason), packets) in sums.of_places {
        // One label set is one series. If a name was used again, only its latest namespace is shown.
        if standing.get(&place) != Some(&netns) {
            continue;
        }
        let row = DropRow {
            network,
            reason: named(reason),
            packets,
        };
        match place {
            Place::Container { identity } => rows.containers.push((identity, row)),
            Place::Overlay { .. } => rows.overlays.push(row),
            Place::LoadBalancer { .. } => rows.load_balancers.push(row),
            Place::Node => rows.node.push(row),
        }
    }
    rows.unattributed = sums
        .without_owner
        .into_iter()
        .map(|((reason, cause), packets)| UnattributedRow {
            reason: reason.map_or_else(|| Arc::from(OTHER), &mut named),
            cause,
            packets,
        })
        .collect();
    rows
}

/// Where dropped packets belong; `None` while that is not decided.
fn attribution(drop: &Drop, state: &mut State, now: Instant) -> Option<Attribution> {
    let attribution = state.attribution(drop.interface, now)?;
    Some(or_unplaced(drop, attribution))
}

/// A drop without a place belongs nowhere, wherever its device does.
fn or_unplaced(drop: &Drop, attribution: Attribution) -> Attribution {
    if drop.unplaced {
        Attribution::Nowhere(Cause::NoPlace)
    } else {
        attribution
    }
}

/// Foreign namespaces: what was dropped there is unattributed, and their counts can be deleted from the kernel's map.
pub fn foreign(drops: &Drops, state: &mut State, now: Instant) -> BTreeSet<NetnsId> {
    let mut foreign = BTreeSet::new();
    for id in drops.counted.iter().map(|drop| &drop.interface).chain(&drops.harmless) {
        if let Some(Attribution::Nowhere(Cause::ForeignNamespace)) = state.attribution(*id, now) {
            foreign.insert(id.netns);
        }
    }
    foreign
}

/// The devices of which the kernel has no counts any more, if it `kept` some of what was to be deleted. Their ifindexes
/// may be reused, so what was decided about them must not stay.
#[must_use]
pub fn without_counts(mut deleted: BTreeSet<InterfaceId>, kept: &BTreeSet<InterfaceId>) -> BTreeSet<InterfaceId> {
    deleted.retain(|id| !kept.contains(id));
    deleted
}

impl Sums {
    /// Adds a count to its owner, except for the part that was shown as unattributed.
    fn charge(
        &mut self,
        drop: &Drop,
        attribution: Option<Attribution>,
        unattributed: &BTreeMap<DropKey, (Cause, u64)>,
    ) {
        let Drop {
            interface,
            reason,
            packets,
            ..
        } = *drop;
        let shown = match &attribution {
            Some(Attribution::Nowhere(cause)) => Some((*cause, packets)),
            Some(Attribution::In { .. }) | None => {
                let known = unattributed.get(&drop.key());
                known.map(|(cause, shown)| (*cause, packets.min(*shown)))
            }
        };
        if let Some((cause, shown)) = shown {
            *self.without_owner.entry((Some(reason), cause)).or_default() += shown;
        }
        let rest = packets.saturating_sub(shown.map_or(0, |(_, shown)| shown));
        if let (Some(Attribution::In { place, network }), 1..) = (attribution, rest) {
            *self
                .of_places
                .entry((place, interface.netns, network, reason))
                .or_default() += rest;
        }
    }
}

impl Retired {
    /// Keeps what was shown as unattributed of counts that the kernel no longer has.
    fn keep_forgotten(&mut self, drops: &Drops) {
        if self.unattributed.is_empty() {
            return;
        }
        let counts: BTreeMap<DropKey, u64> = drops.counted.iter().map(|drop| (drop.key(), drop.packets)).collect();
        let is_forgotten = |key: &DropKey, shown: &mut (Cause, u64)| counts.get(key).is_none_or(|now| *now < shown.1);
        for ((_, reason, _), (cause, packets)) in self.unattributed.extract_if(.., is_forgotten) {
            *self.sums.without_owner.entry((Some(reason), cause)).or_default() += packets;
        }
    }

    /// The devices deleted from the node's namespace, or from a network's, whose counts can be deleted from the
    /// kernel's map, and where these counts belong.
    pub fn deleted_devices(
        &mut self,
        drops: &Drops,
        state: &mut State,
        now: Instant,
    ) -> BTreeMap<InterfaceId, Attribution> {
        let mut packets: BTreeMap<InterfaceId, u64> = drops.harmless.iter().map(|id| (*id, 0)).collect();
        for drop in &drops.counted {
            *packets.entry(drop.interface).or_default() += drop.packets;
        }
        packets.retain(|id, _| state.is_lost(*id));
        self.resting.retain(|id, _| packets.contains_key(id));
        let mut gone = BTreeMap::new();
        for (id, packets) in packets {
            let rest = self.resting.entry(id).or_insert((packets, now));
            if rest.0 != packets {
                *rest = (packets, now);
            }
            // Undecided counts stay: they are decided soon.
            let attribution = state.attribution(id, now);
            if let (Some(attribution), true) = (
                attribution,
                now.saturating_duration_since(rest.1) >= state.times().device_rest,
            ) {
                gone.insert(id, attribution);
            }
        }
        gone
    }

    /// Takes over counts that were deleted from the kernel's map. `attribution` returns where those of a device belong.
    pub fn take_over(&mut self, deleted: Vec<Drop>, attribution: impl Fn(InterfaceId) -> Option<Attribution>) {
        let mut deleted = Drops {
            counted: deleted,
            ..Drops::default()
        };
        deleted.merge();
        for drop in &deleted.counted {
            let attribution = attribution(drop.interface).map(|attribution| or_unplaced(drop, attribution));
            self.sums.charge(drop, attribution, &self.unattributed);
            // The kernel may have kept a part of it.
            if let Some((_, shown)) = self.unattributed.get_mut(&drop.key()) {
                *shown = shown.saturating_sub(drop.packets);
            }
        }
        self.unattributed.retain(|_, (_, shown)| *shown > 0);
    }

    /// Removes the counts of namespaces that no longer linger, and of the node's networks that were deleted.
    pub fn let_go(&mut self, state: &State) {
        let networks: BTreeSet<&str> = state.inventory().networks.values().map(|it| &*it.name).collect();
        let is_there = |place: &Place, network: &str| match place {
            Place::Node => network.is_empty() || networks.contains(network),
            Place::Container { .. } | Place::Overlay { .. } | Place::LoadBalancer { .. } => true,
        };
        self.sums
            .of_places
            .retain(|(place, netns, network, _), _| state.namespace(*netns).is_some() && is_there(place, network));
    }
}

#[cfg(test)]
mod tests;
