//! Bounds of the registry: for devices that a container makes itself, and for namespaces that are none of the
//! engine's.

use std::time::{Duration, Instant};

use super::{ETH0, LINGER, SCOPE, device, file, inventory, one_container};
use crate::{
    model::{
        health::AttachFailure,
        interface::{Device, InterfaceId, NetnsId},
        netns::{Listing, NetnsFile},
    },
    observe::state::{
        State,
        lifecycle::{DEVICES_PER_NAMESPACE, LINGERING_PER_NAMESPACE},
    },
};

#[test]
fn a_container_cannot_crowd_out_others_with_devices_of_its_own_making() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let devices: Vec<_> = (1..2000)
        .map(|ifindex| device(ifindex, &format!("d{ifindex}")))
        .collect();
    state.looked(&file("aaaaaaaaaaaa", 1), NetnsId(100), devices, now);
    assert_eq!(state.interfaces().count(), DEVICES_PER_NAMESPACE);
    assert!(state.attach_health(Instant::now()).failures[&AttachFailure::TooManyDevices] > 0);
}

/// A device that belongs to no network of the engine.
fn own(ifindex: u32) -> Device {
    Device {
        addresses: Vec::new(),
        ..device(ifindex, &format!("own{ifindex}"))
    }
}

#[test]
fn the_engines_device_is_watched_behind_thousands_of_the_containers_own() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let (file, netns) = (file("aaaaaaaaaaaa", 1), NetnsId(100));
    state.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    let mut devices: Vec<_> = (10..2010).map(own).collect();
    for _ in 0..3 {
        state.looked(&file, netns, devices.clone(), now);
    }
    let refused = |state: &State| state.attach_health(Instant::now()).failures[&AttachFailure::TooManyDevices];
    assert_eq!(refused(&state), 2000 - DEVICES_PER_NAMESPACE as u64, "each once");
    devices.push(device(5000, "eth1"));
    state.looked(&file, netns, devices, now);
    state.name();
    let id = InterfaceId { netns, ifindex: 5000 };
    assert!(state.interface(id).is_some_and(|interface| interface.owner.is_some()));
}

#[test]
fn devices_that_a_container_makes_and_ends_without_end_do_not_linger_without_end() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    for number in 100..5100 {
        state.looked(&file, netns, vec![device(ETH0, "eth0"), own(number)], now);
        state.name();
    }
    assert!(state.ended().count() <= LINGERING_PER_NAMESPACE);
    state.looked(&file, netns, Vec::new(), now);
    assert!(
        state.ended().any(|ended| ended.device.name == "eth0"),
        "the engine's does"
    );
}

#[test]
fn namespaces_that_are_none_of_ours_are_forgotten() {
    let now = Instant::now();
    let (mut state, _, netns) = one_container(now);
    let late = now + Duration::from_secs(40);
    for foreign in 1000..3000 {
        let id = |netns| InterfaceId { netns, ifindex: 1 };
        assert!(state.attribution(id(NetnsId(foreign)), now).is_none());
        assert!(state.attribution(id(NetnsId(foreign)), late).is_some());
        state.attribution(id(netns), now);
    }
    state.expire(late);
    state.expire(late + Duration::from_hours(1));
    assert_eq!(state.attributions.len(), 1);
}

#[test]
fn a_networks_namespace_that_rests_is_not_looked_at_with_every_listing() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let (one, two) = (file("1-aaaaaaaaaa", 1), file("1-bbbbbbbbbb", 2));
    let listing = |files: &[&NetnsFile]| Listing {
        files: files.iter().map(|file| (*file).clone()).collect(),
        ..Listing::default()
    };
    state.listed(listing(&[&one, &two]), now);
    for (file, netns) in [(&one, NetnsId(1)), (&two, NetnsId(2))] {
        state.looked(file, netns, Vec::new(), now);
    }
    let mut files = state.listed(listing(&[&one, &two]), now);
    assert_eq!(files, [one.clone(), two.clone()]);
    assert_eq!(state.resting(&mut files, |netns| netns == NetnsId(1)), [NetnsId(1)]);
    assert_eq!(files, [two]);
    // Another namespace on that name, which has not been looked at.
    let mut files = vec![NetnsFile { inode: 3, ..one }];
    assert_eq!(state.resting(&mut files, |_| true), []);
    assert_eq!(files.len(), 1);
}
