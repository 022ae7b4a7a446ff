//! Whose the packets were that the kernel threw away: its counts joined with the book.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use super::state::State;
use crate::model::{
    drops::{Drop, Drops},
    interface::{InterfaceId, NetnsId},
    place::{Cause, Place, Site},
    snapshot::{DropRow, DropRows, UnattributedRow},
};

/// For how long nothing may have come to the counts of a device that is gone before they are taken out of the kernel's
/// map: packets that were on their way are dropped late.
const REST: Duration = Duration::from_secs(30);

/// Counts by whose they are, the namespace, the network and the reason.
type OfPlaces = BTreeMap<(Place, NetnsId, Arc<str>, u32), u64>;

/// What was counted and is no longer in the kernel's map: in namespaces that are none of ours, and on devices of the
/// node's that are gone. Every container leaves one such device behind, and the map has no room for all there ever were.
#[derive(Debug, Default)]
pub struct Retired {
    of_nobody: BTreeMap<(u32, Cause), u64>,
    of_places: OfPlaces,
    /// Devices that are gone: how many packets were counted for them, and since when it is so many.
    resting: BTreeMap<InterfaceId, (u64, Instant)>,
}

/// Lays the counts out by whose they are. `name` gives a reason's name. What is not decided yet is left for later.
pub fn rows(
    drops: &Drops,
    retired: &Retired,
    state: &mut State,
    now: Instant,
    name: impl Fn(u32) -> String,
) -> DropRows {
    let mut of_places = retired.of_places.clone();
    let mut of_nobody = retired.of_nobody.clone();
    for (reason, packets) in &drops.lost {
        *of_nobody.entry((*reason, Cause::MapFull)).or_default() += packets;
    }
    for drop in &drops.counted {
        if let Some(site) = site(drop, state, now) {
            charge(drop, site, &mut of_places, &mut of_nobody);
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

/// Where a dropped packet belongs; nothing as long as that is not decided.
fn site(drop: &Drop, state: &mut State, now: Instant) -> Option<Site> {
    let site = state.site(drop.interface, now)?;
    Some(if drop.unplaced {
        Site::Nowhere(Cause::NoPlace)
    } else {
        site
    })
}

fn charge(drop: &Drop, site: Site, of_places: &mut OfPlaces, of_nobody: &mut BTreeMap<(u32, Cause), u64>) {
    match site {
        Site::In { place, network } => {
            let key = (place, drop.interface.netns, network, drop.reason);
            *of_places.entry(key).or_default() += drop.packets;
        }
        Site::Nowhere(cause) => *of_nobody.entry((drop.reason, cause)).or_default() += drop.packets,
    }
}

impl Retired {
    /// Takes over what was counted for devices of the node's that are gone, so that the kernel can forget it. Gives those
    /// devices.
    pub fn take_devices(&mut self, drops: &Drops, state: &mut State, now: Instant) -> BTreeSet<InterfaceId> {
        let mut packets: BTreeMap<InterfaceId, u64> = drops.harmless.iter().map(|id| (*id, 0)).collect();
        for drop in &drops.counted {
            *packets.entry(drop.interface).or_default() += drop.packets;
        }
        {
            let lost = state.lost();
            packets.retain(|id, _| lost(*id));
        }
        self.resting.retain(|id, _| packets.contains_key(id));
        let mut gone = BTreeSet::new();
        for (id, packets) in packets {
            let rest = self.resting.entry(id).or_insert((packets, now));
            if rest.0 != packets {
                *rest = (packets, now);
            }
            if now.saturating_duration_since(rest.1) >= REST {
                gone.insert(id);
            }
        }
        // What is not decided by now is decided soon.
        for drop in &drops.counted {
            if gone.contains(&drop.interface) && site(drop, state, now).is_none() {
                gone.remove(&drop.interface);
            }
        }
        for drop in drops.counted.iter().filter(|drop| gone.contains(&drop.interface)) {
            if let Some(site) = site(drop, state, now) {
                charge(drop, site, &mut self.of_places, &mut self.of_nobody);
            }
        }
        state.forget_sites(&gone);
        // Another node's namespace than before: what was counted there is over.
        let node = state.node().map(|(netns, _)| netns);
        self.of_places.retain(|(_, netns, ..), _| Some(*netns) == node);
        gone
    }

    /// Takes over what was counted in namespaces that are none of ours, so that the kernel can forget it. Gives those
    /// namespaces.
    pub fn take_over(&mut self, drops: &Drops, state: &mut State, now: Instant) -> Vec<NetnsId> {
        let mut namespaces = Vec::new();
        for drop in &drops.counted {
            if let Some(Site::Nowhere(cause @ Cause::ForeignNamespace)) = state.site(drop.interface, now) {
                *self.of_nobody.entry((drop.reason, cause)).or_default() += drop.packets;
                namespaces.push(drop.interface.netns);
            }
        }
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        path::PathBuf,
        sync::Arc,
        time::{Duration, Instant},
    };

    use super::{REST, Retired, rows};
    use crate::{
        model::{
            drops::{Drop, Drops},
            interface::{Device, DeviceKind, InterfaceId, NetnsId},
            inventory::Inventory,
        },
        netns::discover::{Listing, NetnsFile, Role},
        observe::state::{Scope, State},
    };

    const NODE: NetnsId = NetnsId(1);
    /// More than a device of the node's is remembered when it is gone.
    const LONG: Duration = Duration::from_mins(2);

    fn device(ifindex: u32) -> Device {
        Device::new(ifindex, format!("veth{ifindex}"), DeviceKind::Veth)
    }

    fn on(ifindex: u32) -> InterfaceId {
        InterfaceId { netns: NODE, ifindex }
    }

    fn node(now: Instant) -> State {
        let scope = Scope {
            containers: true,
            vxlan: true,
        };
        let mut state = State::new(scope, Duration::ZERO);
        let file = NetnsFile {
            path: PathBuf::from("/netns/default"),
            inode: 1,
            role: Role::Node,
        };
        let listing = Listing {
            files: vec![file.clone()],
            strays: 0,
        };
        state.listed(listing, now);
        state.looked(&file, NODE, vec![device(2), device(3)], now);
        state.informed(Arc::new(Inventory::default()));
        state
    }

    fn drops<const N: usize>(counts: [(u32, u64); N]) -> Drops {
        let drop = |(ifindex, packets)| Drop {
            interface: on(ifindex),
            reason: 5,
            unplaced: false,
            packets,
        };
        Drops {
            counted: counts.map(drop).into(),
            ..Drops::default()
        }
    }

    fn shown(drops: &Drops, retired: &Retired, state: &mut State, now: Instant) -> u64 {
        let rows = rows(drops, retired, state, now, |reason| format!("reason {reason}"));
        rows.node.iter().map(|row| row.packets).sum()
    }

    #[test]
    fn what_was_dropped_on_a_device_of_the_nodes_stays_counted_when_the_kernel_forgets_it() {
        let begin = Instant::now();
        let (mut state, mut retired) = (node(begin), Retired::default());
        let counted = drops([(2, 4), (3, 12)]);
        assert_eq!(shown(&counted, &retired, &mut state, begin), 16);
        assert!(retired.take_devices(&counted, &mut state, begin).is_empty());

        // It is gone, and remembered for a while; then its counts rest.
        state.node_has(NODE, vec![device(2)], begin);
        assert!(retired.take_devices(&counted, &mut state, begin + REST).is_empty());
        let now = begin + LONG;
        state.node_has(NODE, vec![device(2)], now);
        assert!(retired.take_devices(&counted, &mut state, now).is_empty());
        let now = now + REST;
        // One came late.
        let counted = drops([(2, 4), (3, 13)]);
        assert!(retired.take_devices(&counted, &mut state, now).is_empty());
        let now = now + REST;
        assert_eq!(retired.take_devices(&counted, &mut state, now), BTreeSet::from([on(3)]));
        assert_eq!(shown(&drops([(2, 4)]), &retired, &mut state, now), 17);

        // The number is another device's now.
        state.node_has(NODE, vec![device(2), device(3)], now);
        assert_eq!(shown(&drops([(2, 4), (3, 1)]), &retired, &mut state, now), 18);
    }

    #[test]
    fn devices_that_only_had_what_is_no_loss_are_forgotten_too() {
        let begin = Instant::now();
        let (mut state, mut retired) = (node(begin), Retired::default());
        let counted = Drops {
            harmless: [on(1), on(2), on(9)].into(),
            ..Drops::default()
        };
        assert!(retired.take_devices(&counted, &mut state, begin).is_empty());
        assert_eq!(
            retired.take_devices(&counted, &mut state, begin + REST),
            BTreeSet::from([on(9)])
        );
    }
}
