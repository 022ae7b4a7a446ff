//! Finds the owners of the packets that the kernel dropped: joins its counts with the registry.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::{
    model::{
        drops::{Drop, Drops, Key},
        interface::{InterfaceId, NetnsId},
        place::{Cause, Place, Site},
        snapshot::{DropRow, DropRows, UnattributedRow},
    },
    observe::state::State,
};

/// Counts that the kernel's map no longer holds: those of foreign namespaces, and of devices deleted from a namespace
/// that stays. Every container leaves one such device: the other end of its veth. The map has no room for all of
/// them.
#[derive(Debug, Default)]
pub struct Retired {
    sums: Sums,
    /// What was shown as unattributed, of counts that the kernel still keeps. It stays unattributed when the rest
    /// gets an owner, and when the kernel's count is deleted.
    nobodys: BTreeMap<Key, (Cause, u64)>,
    /// Deleted devices: how many packets were counted for them, and since when that number has not changed.
    resting: BTreeMap<InterfaceId, (u64, Instant)>,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    of_nobody: BTreeMap<(u32, Cause), u64>,
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
        *sums.of_nobody.entry((*reason, Cause::MapFull)).or_default() += packets;
    }
    for drop in &drops.counted {
        let site = site(drop, state, now);
        if let Some(Site::Nowhere(cause)) = site {
            retired.nobodys.insert(drop.key(), (cause, drop.packets));
        }
        sums.charge(drop, site, &retired.nobodys);
    }

    let mut known: HashMap<u32, Arc<str>> = HashMap::new();
    let mut named = |reason: u32| Arc::clone(known.entry(reason).or_insert_with(|| Arc::from(name(reason))));
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
        .of_nobody
        .into_iter()
        .map(|((reason, cause), packets)| UnattributedRow {
            reason: named(reason),
            cause,
            packets,
        })
        .collect();
    rows
}

/// Where dropped packets belong; `None` while that is not decided.
fn site(drop: &Drop, state: &mut State, now: Instant) -> Option<Site> {
    let site = state.site(drop.interface, now)?;
    Some(if drop.unplaced {
        Site::Nowhere(Cause::NoPlace)
    } else {
        site
    })
}

impl Sums {
    /// Adds a count to its owner, except for the part that was shown as unattributed.
    fn charge(&mut self, drop: &Drop, site: Option<Site>, nobodys: &BTreeMap<Key, (Cause, u64)>) {
        let Drop {
            interface,
            reason,
            packets,
            ..
        } = *drop;
        let shown = match &site {
            Some(Site::Nowhere(cause)) => Some((*cause, packets)),
            Some(Site::In { .. }) | None => nobodys.get(&drop.key()).copied(),
        };
        if let Some((cause, shown)) = shown {
            *self.of_nobody.entry((reason, cause)).or_default() += shown;
        }
        let rest = packets.saturating_sub(shown.map_or(0, |(_, shown)| shown));
        if let (Some(Site::In { place, network }), 1..) = (site, rest) {
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
        if self.nobodys.is_empty() {
            return;
        }
        let counts: BTreeMap<Key, u64> = drops.counted.iter().map(|drop| (drop.key(), drop.packets)).collect();
        let is_forgotten = |key: &Key, shown: &mut (Cause, u64)| counts.get(key).is_none_or(|now| *now < shown.1);
        for ((_, reason, _), (cause, packets)) in self.nobodys.extract_if(.., is_forgotten) {
            *self.sums.of_nobody.entry((reason, cause)).or_default() += packets;
        }
    }

    /// Takes over the counts of devices deleted from the node's namespace, or from a network's, so that they can be
    /// deleted from the kernel's map. Returns these devices.
    pub fn take_devices(&mut self, drops: &Drops, state: &mut State, now: Instant) -> BTreeSet<InterfaceId> {
        let mut packets: BTreeMap<InterfaceId, u64> = drops.harmless.iter().map(|id| (*id, 0)).collect();
        for drop in &drops.counted {
            *packets.entry(drop.interface).or_default() += drop.packets;
        }
        packets.retain(|id, _| state.is_lost(*id));
        self.resting.retain(|id, _| packets.contains_key(id));
        let mut gone = BTreeSet::new();
        for (id, packets) in packets {
            let rest = self.resting.entry(id).or_insert((packets, now));
            if rest.0 != packets {
                *rest = (packets, now);
            }
            if now.saturating_duration_since(rest.1) >= state.times().device_rest {
                gone.insert(id);
            }
        }
        // A device with undecided counts stays: they are decided soon.
        for drop in &drops.counted {
            if gone.contains(&drop.interface) && site(drop, state, now).is_none() {
                gone.remove(&drop.interface);
            }
        }
        for drop in drops.counted.iter().filter(|drop| gone.contains(&drop.interface)) {
            let site = site(drop, state, now);
            self.retire(drop, site);
        }
        state.forget_sites(&gone);
        self.let_go(state);
        gone
    }

    /// Takes over a count that is about to be deleted from the kernel's map.
    fn retire(&mut self, drop: &Drop, site: Option<Site>) {
        self.sums.charge(drop, site, &self.nobodys);
        self.nobodys.remove(&drop.key());
    }

    /// Removes the counts of namespaces that no longer linger, and of the node's networks that were deleted.
    fn let_go(&mut self, state: &State) {
        let networks: BTreeSet<&str> = state.inventory().networks.values().map(|it| &*it.name).collect();
        let is_there = |place: &Place, network: &str| match place {
            Place::Node => network.is_empty() || networks.contains(network),
            Place::Container { .. } | Place::Overlay { .. } | Place::LoadBalancer { .. } => true,
        };
        self.sums
            .of_places
            .retain(|(place, netns, network, _), _| state.namespace(*netns).is_some() && is_there(place, network));
    }

    /// Takes over the counts of foreign namespaces, so that they can be deleted from the kernel's map. Returns these
    /// namespaces.
    pub fn take_over(&mut self, drops: &Drops, state: &mut State, now: Instant) -> Vec<NetnsId> {
        let mut namespaces = Vec::new();
        for drop in &drops.counted {
            if let Some(Site::Nowhere(Cause::ForeignNamespace)) = state.site(drop.interface, now) {
                let site = site(drop, state, now);
                self.retire(drop, site);
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

    use super::{Retired, rows};
    use crate::{
        model::{
            drops::{Drop, Drops},
            interface::{Device, DeviceKind, InterfaceId, NetnsId},
            inventory::{Inventory, Network, NetworkId},
        },
        netns::discover::{Listing, NetnsFile, Role},
        observe::state::{Scope, State},
    };

    const REST: Duration = Duration::from_secs(30);
    const NODE: NetnsId = NetnsId(1);
    const OVERLAY: NetnsId = NetnsId(2);
    /// Longer than a deleted device of the node stays known.
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
        state.set_inventory(Arc::new(Inventory::default()));
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

    fn shown(drops: &Drops, retired: &mut Retired, state: &mut State, now: Instant) -> u64 {
        let rows = rows(drops, retired, state, now, |reason| format!("reason {reason}"));
        rows.node.iter().map(|row| row.packets).sum()
    }

    #[test]
    fn what_was_dropped_on_a_device_of_the_nodes_stays_counted_when_the_kernel_forgets_it() {
        let begin = Instant::now();
        let (mut state, mut retired) = (node(begin), Retired::default());
        let counted = drops([(2, 4), (3, 12)]);
        assert_eq!(shown(&counted, &mut retired, &mut state, begin), 16);
        assert!(retired.take_devices(&counted, &mut state, begin).is_empty());

        // The device is deleted and stays known for a while. After that its counts must not change for a while.
        state.node_has(NODE, vec![device(2)], begin);
        assert!(retired.take_devices(&counted, &mut state, begin + REST).is_empty());
        let now = begin + LONG;
        state.node_has(NODE, vec![device(2)], now);
        assert!(retired.take_devices(&counted, &mut state, now).is_empty());
        let now = now + REST;
        // One packet was counted late.
        let counted = drops([(2, 4), (3, 13)]);
        assert!(retired.take_devices(&counted, &mut state, now).is_empty());
        let now = now + REST;
        assert_eq!(retired.take_devices(&counted, &mut state, now), BTreeSet::from([on(3)]));
        assert_eq!(shown(&drops([(2, 4)]), &mut retired, &mut state, now), 17);

        // Another device has the ifindex now.
        state.node_has(NODE, vec![device(2), device(3)], now);
        assert_eq!(shown(&drops([(2, 4), (3, 1)]), &mut retired, &mut state, now), 18);
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

    fn inventory(networks: &[(&str, &str)]) -> Arc<Inventory> {
        let network = |(id, name): &(&str, &str)| {
            let id: NetworkId = Arc::from(*id);
            let network = Network {
                id: Arc::clone(&id),
                name: (*name).into(),
                driver: "bridge".into(),
                ..Network::default()
            };
            (id, Arc::new(network))
        };
        Arc::new(Inventory {
            networks: networks.iter().map(network).collect(),
            ..Inventory::default()
        })
    }

    /// The unattributed packets, and those of a network.
    fn of_network(drops: &Drops, retired: &mut Retired, state: &mut State, now: Instant) -> (u64, u64) {
        let rows = rows(drops, retired, state, now, |reason| format!("reason {reason}"));
        (
            rows.unattributed.iter().map(|row| row.packets).sum(),
            rows.overlays.iter().map(|row| row.packets).sum(),
        )
    }

    #[test]
    fn what_was_shown_as_nobodys_stays_so_when_the_rest_has_an_owner_and_when_the_kernel_forgets_it() {
        let begin = Instant::now();
        let (mut state, mut retired) = (node(begin), Retired::default());
        let file = NetnsFile {
            path: PathBuf::from("/netns/1-abcdefghij"),
            inode: 2,
            role: Role::Overlay {
                network: "abcdefghij".to_owned(),
            },
        };
        state.looked(&file, OVERLAY, vec![device(2)], begin);
        let drops = |packets| Drops {
            counted: vec![Drop {
                interface: InterfaceId {
                    netns: OVERLAY,
                    ifindex: 2,
                },
                reason: 5,
                unplaced: false,
                packets,
            }],
            ..Drops::default()
        };
        assert_eq!(of_network(&drops(3), &mut retired, &mut state, begin), (0, 0));
        let now = begin + LONG;
        assert_eq!(of_network(&drops(4), &mut retired, &mut state, now), (4, 0));
        assert_eq!(of_network(&drops(6), &mut retired, &mut state, now), (6, 0));
        // The engine reports the network.
        state.set_inventory(inventory(&[("abcdefghijklm", "wide")]));
        assert_eq!(of_network(&drops(6), &mut retired, &mut state, now), (6, 0));
        assert_eq!(of_network(&drops(9), &mut retired, &mut state, now), (6, 3));
        assert!(retired.take_devices(&drops(9), &mut state, now).is_empty());

        // The device is deleted with its container: its counts are taken over and deleted in the kernel.
        state.looked(&file, OVERLAY, vec![device(3)], now);
        let now = now + LONG;
        state.looked(&file, OVERLAY, vec![device(3)], now);
        assert!(retired.take_devices(&drops(9), &mut state, now).is_empty());
        let now = now + REST;
        assert_eq!(retired.take_devices(&drops(9), &mut state, now).len(), 1);
        assert_eq!(of_network(&Drops::default(), &mut retired, &mut state, now), (6, 3));
        assert_eq!(of_network(&drops(1), &mut retired, &mut state, now), (6, 4));

        // The network's namespace is deleted: its series end, and the unattributed part stays.
        state.listed(Listing::default(), now);
        state.expire(now);
        state.expire(now + LONG);
        assert!(retired.take_devices(&Drops::default(), &mut state, now).is_empty());
        assert_eq!(of_network(&Drops::default(), &mut retired, &mut state, now), (6, 0));
    }

    #[test]
    fn a_namespace_that_never_had_a_name_leaves_what_was_nobodys_when_it_goes() {
        let begin = Instant::now();
        let (mut state, mut retired) = (node(begin), Retired::default());
        let counted = |netns, unplaced| Drops {
            counted: vec![Drop {
                interface: InterfaceId { netns, ifindex: 2 },
                reason: 5,
                unplaced,
                packets: 8,
            }],
            ..Drops::default()
        };
        let nobodys = |drops: &Drops, retired: &mut Retired, state: &mut State, now| {
            let rows = rows(drops, retired, state, now, |reason| format!("reason {reason}"));
            let causes = rows.unattributed.iter().map(|row| (row.cause.as_str(), row.packets));
            causes.collect::<Vec<_>>()
        };
        let foreign = counted(NetnsId(9), false);
        assert_eq!(nobodys(&foreign, &mut retired, &mut state, begin), []);
        let now = begin + LONG;
        assert_eq!(
            nobodys(&foreign, &mut retired, &mut state, now),
            [("foreign_namespace", 8)]
        );
        let none = Drops::default();
        assert_eq!(
            nobodys(&none, &mut retired, &mut state, now),
            [("foreign_namespace", 8)]
        );
        // The same when the count is taken over: it keeps the cause that it was shown with.
        let unplaced = counted(NetnsId(10), true);
        nobodys(&unplaced, &mut retired, &mut state, now);
        let now = now + LONG;
        let both = [("foreign_namespace", 8), ("no_place", 8)];
        assert_eq!(nobodys(&unplaced, &mut retired, &mut state, now), both);
        assert_eq!(retired.take_over(&unplaced, &mut state, now), [NetnsId(10)]);
        assert_eq!(nobodys(&none, &mut retired, &mut state, now), both);
    }

    #[test]
    fn of_a_bridge_network_that_is_gone_nothing_is_kept() {
        let begin = Instant::now();
        let (mut state, mut retired) = (node(begin), Retired::default());
        let bridge = Device::new(3, "br-abcdefghijkl".to_owned(), DeviceKind::Bridge);
        state.node_has(NODE, vec![device(2), bridge], begin);
        state.set_inventory(inventory(&[("abcdefghijklm", "ci_1")]));
        let counted = drops([(3, 5)]);
        assert_eq!(shown(&counted, &mut retired, &mut state, begin), 5);
        let mut now = begin;
        for _ in 0..2 {
            state.node_has(NODE, vec![device(2)], now);
            retired.take_devices(&counted, &mut state, now);
            now += LONG;
        }
        assert_eq!(retired.take_devices(&counted, &mut state, now), BTreeSet::from([on(3)]));
        assert_eq!(shown(&drops([]), &mut retired, &mut state, now), 5, "it is there");
        state.set_inventory(inventory(&[("nopqrstuvwxyz", "ci_2")]));
        retired.take_devices(&drops([]), &mut state, now);
        assert_eq!(shown(&drops([]), &mut retired, &mut state, now), 0);
    }
}
