//! Drops over time: whose they are, and what is kept when the kernel forgets.

mod deleted;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Retired, foreign as foreign_ones, rows, without_counts};
use crate::{
    model::{
        drops::{Drop, Drops},
        interface::{Device, DeviceKind, InterfaceId, NetnsId},
        inventory::{Inventory, Network, NetworkId},
        netns::{Listing, NetnsFile, Role},
        place::{Attribution, Cause},
    },
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
        ..Listing::default()
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

/// Drops on one device of that namespace.
fn drops_in(netns: NetnsId, packets: u64) -> Drops {
    let drop = Drop {
        interface: InterfaceId { netns, ifindex: 2 },
        reason: 5,
        unplaced: false,
        packets,
    };
    Drops {
        counted: vec![drop],
        ..Drops::default()
    }
}

fn shown(drops: &Drops, retired: &mut Retired, state: &mut State, now: Instant) -> u64 {
    let rows = rows(drops, retired, state, now, |reason| format!("reason {reason}"));
    rows.node.iter().map(|row| row.packets).sum()
}

/// Takes over the counts of deleted devices, with what the kernel has for them when it deletes them. Returns these
/// devices. The kernel keeps what `last` does not have.
fn forget_with(
    drops: &Drops,
    last: &Drops,
    retired: &mut Retired,
    state: &mut State,
    now: Instant,
) -> BTreeSet<InterfaceId> {
    retired.let_go(state);
    let devices = retired.deleted_devices(drops, state, now);
    let gone: BTreeSet<InterfaceId> = devices.keys().copied().collect();
    let deleted = last.counted.iter().filter(|drop| gone.contains(&drop.interface));
    let deleted: Vec<Drop> = deleted.copied().collect();
    let has = |drops: &Drops| drops.counted.iter().map(|drop| drop.interface).collect::<BTreeSet<_>>();
    let kept = &has(drops) - &has(last);
    retired.take_over(deleted, |id| devices.get(&id).cloned());
    state.forget_attributions(&without_counts(gone.clone(), &kept));
    gone
}

fn forget(drops: &Drops, retired: &mut Retired, state: &mut State, now: Instant) -> BTreeSet<InterfaceId> {
    forget_with(drops, drops, retired, state, now)
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
    let drops = |packets| drops_in(OVERLAY, packets);
    assert_eq!(of_network(&drops(3), &mut retired, &mut state, begin), (0, 0));
    let now = begin + LONG;
    assert_eq!(of_network(&drops(4), &mut retired, &mut state, now), (4, 0));
    assert_eq!(of_network(&drops(6), &mut retired, &mut state, now), (6, 0));
    // The engine reports the network.
    state.set_inventory(inventory(&[("abcdefghijklm", "wide")]));
    assert_eq!(of_network(&drops(6), &mut retired, &mut state, now), (6, 0));
    assert_eq!(of_network(&drops(9), &mut retired, &mut state, now), (6, 3));
    assert!(forget(&drops(9), &mut retired, &mut state, now).is_empty());

    // The device is deleted with its container: its counts are taken over and deleted in the kernel.
    state.looked(&file, OVERLAY, vec![device(3)], now);
    let now = now + LONG;
    state.looked(&file, OVERLAY, vec![device(3)], now);
    assert!(forget(&drops(9), &mut retired, &mut state, now).is_empty());
    let now = now + REST;
    assert_eq!(forget(&drops(9), &mut retired, &mut state, now).len(), 1);
    assert_eq!(of_network(&Drops::default(), &mut retired, &mut state, now), (6, 3));
    assert_eq!(of_network(&drops(1), &mut retired, &mut state, now), (6, 4));

    // The network's namespace is deleted: its series end, and the unattributed part stays.
    state.listed(Listing::default(), now);
    state.expire(now);
    state.expire(now + LONG);
    assert!(forget(&Drops::default(), &mut retired, &mut state, now).is_empty());
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
    let unattributed = |drops: &Drops, retired: &mut Retired, state: &mut State, now| {
        let rows = rows(drops, retired, state, now, |reason| format!("reason {reason}"));
        let causes = rows.unattributed.iter().map(|row| (row.cause.as_str(), row.packets));
        causes.collect::<Vec<_>>()
    };
    let foreign = counted(NetnsId(9), false);
    assert_eq!(unattributed(&foreign, &mut retired, &mut state, begin), []);
    let now = begin + LONG;
    assert_eq!(
        unattributed(&foreign, &mut retired, &mut state, now),
        [("foreign_namespace", 8)]
    );
    let none = Drops::default();
    assert_eq!(
        unattributed(&none, &mut retired, &mut state, now),
        [("foreign_namespace", 8)]
    );
    // The same when the count is taken over: it keeps the cause that it was shown with.
    let unplaced = counted(NetnsId(10), true);
    unattributed(&unplaced, &mut retired, &mut state, now);
    let now = now + LONG;
    let both = [("foreign_namespace", 8), ("no_place", 8)];
    assert_eq!(unattributed(&unplaced, &mut retired, &mut state, now), both);
    assert_eq!(foreign_ones(&unplaced, &mut state, now), BTreeSet::from([NetnsId(10)]));
    let nowhere = Attribution::Nowhere(Cause::ForeignNamespace);
    retired.take_over(unplaced.counted, |_| Some(nowhere.clone()));
    assert_eq!(unattributed(&none, &mut retired, &mut state, now), both);
}

#[test]
fn what_is_lost_for_a_reason_that_is_not_told_apart_has_no_other_reasons_name() {
    let now = Instant::now();
    let (mut state, mut retired) = (node(now), Retired::default());
    let drops = Drops {
        lost: vec![(Some(70), 2), (None, 3)],
        ..Drops::default()
    };
    let rows = rows(&drops, &mut retired, &mut state, now, |reason| {
        format!("reason {reason}")
    });
    let mut lost: Vec<_> = rows
        .unattributed
        .iter()
        .map(|row| (&*row.reason, row.cause.as_str(), row.packets))
        .collect();
    lost.sort_unstable();
    assert_eq!(lost, [("(other)", "map_full", 3), ("reason 70", "map_full", 2)]);
}

#[test]
fn a_foreign_namespace_that_only_had_what_is_no_loss_is_forgotten_too() {
    let begin = Instant::now();
    let mut state = node(begin);
    let id = InterfaceId {
        netns: NetnsId(10),
        ifindex: 2,
    };
    let drops = Drops {
        harmless: [id, on(2)].into(),
        ..Drops::default()
    };
    assert!(foreign_ones(&drops, &mut state, begin).is_empty());
    assert_eq!(
        foreign_ones(&drops, &mut state, begin + LONG),
        BTreeSet::from([id.netns])
    );
}
