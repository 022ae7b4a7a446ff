//! Whose the packets were that the kernel threw away: its counts joined with the book.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use super::state::State;
use crate::model::{
    drops::Drops,
    interface::NetnsId,
    place::{Cause, Place, Site},
    snapshot::{DropRow, DropRows, UnattributedRow},
};

/// What was counted in namespaces that are none of ours, and is no longer in the kernel's map.
#[derive(Debug, Default)]
pub struct Retired(BTreeMap<(u32, Cause), u64>);

/// Lays the counts out by whose they are. `name` gives a reason's name. What is not decided yet is left for later.
pub fn rows(
    drops: &Drops,
    retired: &Retired,
    state: &mut State,
    now: Instant,
    name: impl Fn(u32) -> String,
) -> DropRows {
    let mut of_places: BTreeMap<(Place, NetnsId, Arc<str>, u32), u64> = BTreeMap::new();
    let mut of_nobody = retired.0.clone();
    for (reason, packets) in &drops.lost {
        *of_nobody.entry((*reason, Cause::MapFull)).or_default() += packets;
    }
    for drop in &drops.counted {
        let site = match state.site(drop.interface, now) {
            Some(_) if drop.unplaced => Site::Nowhere(Cause::NoPlace),
            Some(site) => site,
            None => continue,
        };
        match site {
            Site::In { place, network } => {
                let key = (place, drop.interface.netns, network, drop.reason);
                *of_places.entry(key).or_default() += drop.packets;
            }
            Site::Nowhere(cause) => *of_nobody.entry((drop.reason, cause)).or_default() += drop.packets,
        }
    }

    let mut known: HashMap<u32, Arc<str>> = HashMap::new();
    let mut named = |reason: u32| Arc::clone(known.entry(reason).or_insert_with(|| Arc::from(name(reason))));
    let mut rows = DropRows::default();
    let standing = state.standing();
    for ((place, netns, network, reason), packets) in of_places {
        // One label set is one series: of a name that was used again the latest namespace stands.
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
    rows.unattributed = of_nobody
        .into_iter()
        .map(|((reason, cause), packets)| UnattributedRow {
            reason: named(reason),
            cause,
            packets,
        })
        .collect();
    rows
}

impl Retired {
    /// Takes over what was counted in namespaces that are none of ours, so that the kernel can forget it. Gives those
    /// namespaces.
    pub fn take_over(&mut self, drops: &Drops, state: &mut State, now: Instant) -> Vec<NetnsId> {
        let mut namespaces = Vec::new();
        for drop in &drops.counted {
            if let Some(Site::Nowhere(cause @ Cause::ForeignNamespace)) = state.site(drop.interface, now) {
                *self.0.entry((drop.reason, cause)).or_default() += drop.packets;
                namespaces.push(drop.interface.netns);
            }
        }
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces
    }
}
