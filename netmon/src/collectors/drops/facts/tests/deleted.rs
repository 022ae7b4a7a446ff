//! Counts of deleted devices and of foreign namespaces, which are taken over and deleted in the kernel.

use std::{collections::BTreeSet, time::Instant};

use super::{LONG, NODE, REST, device, drops, drops_in, forget, forget_with, inventory, node, of_network, on, shown};
use crate::{
    collectors::drops::facts::{Retired, rows},
    model::{
        drops::Drops,
        interface::{Device, DeviceKind, NetnsId},
        place::{Attribution, Cause},
    },
    observe::state::State,
};

/// A node of which a device with twelve drops was deleted a while ago. Its counts are about to be taken over.
fn without_a_device() -> (State, Retired, Drops, Instant) {
    let begin = Instant::now();
    let (mut state, mut retired) = (node(begin), Retired::default());
    let counted = drops([(3, 12)]);
    assert_eq!(shown(&counted, &mut retired, &mut state, begin), 12);
    state.node_has(NODE, &[device(2)], begin);
    let now = begin + LONG;
    state.node_has(NODE, &[device(2)], now);
    assert!(forget(&counted, &mut retired, &mut state, now).is_empty());
    (state, retired, counted, now)
}

#[test]
fn what_is_dropped_between_a_reading_and_the_deletion_is_counted() {
    let (mut state, mut retired, counted, now) = without_a_device();
    let (now, last) = (now + REST, drops([(3, 15)]));
    assert_eq!(
        forget_with(&counted, &last, &mut retired, &mut state, now),
        BTreeSet::from([on(3)])
    );
    assert_eq!(shown(&drops([]), &mut retired, &mut state, now), 15);
}

#[test]
fn what_the_kernel_did_not_delete_is_not_counted_twice() {
    let (mut state, mut retired, counted, now) = without_a_device();
    let now = now + REST;
    assert!(!forget_with(&counted, &drops([]), &mut retired, &mut state, now).is_empty());
    assert_eq!(shown(&counted, &mut retired, &mut state, now), 12);
}

#[test]
fn what_was_decided_about_a_deleted_device_is_forgotten_although_the_kernel_keeps_anothers_counts() {
    let begin = Instant::now();
    let (mut state, mut retired) = (node(begin), Retired::default());
    let bridge = |ifindex| Device::new(ifindex, "br-abcdefghijkl".to_owned(), DeviceKind::Bridge);
    state.set_inventory(inventory(&[("abcdefghijklm", "ci_1")]));
    state.node_has(NODE, &[device(2), bridge(3), bridge(4)], begin);
    let counted = drops([(3, 10), (4, 10)]);
    let of_networks = |drops: &Drops, retired: &mut Retired, state: &mut State, now: Instant| {
        let rows = rows(drops, retired, state, now, |reason| format!("reason {reason}"));
        let of = |network: &str| {
            rows.node
                .iter()
                .find(|row| &*row.network == network)
                .map_or(0, |row| row.packets)
        };
        (of("ci_1"), of(""))
    };
    assert_eq!(of_networks(&counted, &mut retired, &mut state, begin), (20, 0));
    let mut now = begin;
    for _ in 0..2 {
        state.node_has(NODE, &[device(2)], now);
        forget(&counted, &mut retired, &mut state, now);
        now += LONG;
    }
    let last = drops([(3, 10)]);
    assert_eq!(forget_with(&counted, &last, &mut retired, &mut state, now).len(), 2);
    // Both ifindexes are used again. What the kernel kept of the one is still the network's.
    state.node_has(NODE, &[device(2), device(3), device(4)], now);
    let counted = drops([(3, 1), (4, 10)]);
    assert_eq!(of_networks(&counted, &mut retired, &mut state, now), (20, 1));
}

#[test]
fn what_was_dropped_on_a_device_of_the_nodes_stays_counted_when_the_kernel_forgets_it() {
    let begin = Instant::now();
    let (mut state, mut retired) = (node(begin), Retired::default());
    let counted = drops([(2, 4), (3, 12)]);
    assert_eq!(shown(&counted, &mut retired, &mut state, begin), 16);
    assert!(forget(&counted, &mut retired, &mut state, begin).is_empty());

    // The device is deleted and stays known for a while. After that its counts must not change for a while.
    state.node_has(NODE, &[device(2)], begin);
    assert!(forget(&counted, &mut retired, &mut state, begin + REST).is_empty());
    let now = begin + LONG;
    state.node_has(NODE, &[device(2)], now);
    assert!(forget(&counted, &mut retired, &mut state, now).is_empty());
    let now = now + REST;
    // One packet was counted late.
    let counted = drops([(2, 4), (3, 13)]);
    assert!(forget(&counted, &mut retired, &mut state, now).is_empty());
    let now = now + REST;
    assert_eq!(forget(&counted, &mut retired, &mut state, now), BTreeSet::from([on(3)]));
    assert_eq!(shown(&drops([(2, 4)]), &mut retired, &mut state, now), 17);

    // Another device has the ifindex now.
    state.node_has(NODE, &[device(2), device(3)], now);
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
    assert!(forget(&counted, &mut retired, &mut state, begin).is_empty());
    assert_eq!(
        forget(&counted, &mut retired, &mut state, begin + REST),
        BTreeSet::from([on(9)])
    );
}

#[test]
fn of_a_bridge_network_that_is_gone_nothing_is_kept() {
    let begin = Instant::now();
    let (mut state, mut retired) = (node(begin), Retired::default());
    let bridge = Device::new(3, "br-abcdefghijkl".to_owned(), DeviceKind::Bridge);
    state.node_has(NODE, &[device(2), bridge], begin);
    state.set_inventory(inventory(&[("abcdefghijklm", "ci_1")]));
    let counted = drops([(3, 5)]);
    assert_eq!(shown(&counted, &mut retired, &mut state, begin), 5);
    let mut now = begin;
    for _ in 0..2 {
        state.node_has(NODE, &[device(2)], now);
        forget(&counted, &mut retired, &mut state, now);
        now += LONG;
    }
    assert_eq!(forget(&counted, &mut retired, &mut state, now), BTreeSet::from([on(3)]));
    assert_eq!(shown(&drops([]), &mut retired, &mut state, now), 5, "it is there");
    state.set_inventory(inventory(&[("nopqrstuvwxyz", "ci_2")]));
    forget(&drops([]), &mut retired, &mut state, now);
    assert_eq!(shown(&drops([]), &mut retired, &mut state, now), 0);
}

#[test]
fn a_deletion_that_stops_half_way_counts_nothing_twice() {
    let begin = Instant::now();
    let (mut state, mut retired) = (node(begin), Retired::default());
    let foreign = |packets| drops_in(NetnsId(10), packets);
    assert_eq!(of_network(&foreign(8), &mut retired, &mut state, begin), (0, 0));
    let late = begin + LONG;
    assert_eq!(of_network(&foreign(8), &mut retired, &mut state, late), (8, 0));
    // The program counts by place in the kernel, too: 3 of the 8 were deleted, and the rest could not be.
    let nowhere = Attribution::Nowhere(Cause::ForeignNamespace);
    retired.take_over(foreign(3).counted, |_| Some(nowhere.clone()));
    assert_eq!(of_network(&foreign(5), &mut retired, &mut state, late), (8, 0));
    retired.take_over(foreign(5).counted, |_| Some(nowhere.clone()));
    assert_eq!(of_network(&drops([]), &mut retired, &mut state, late), (8, 0));
}
