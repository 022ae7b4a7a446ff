//! Readings, and what happens to the devices while they are made.

use std::{collections::HashMap, time::Instant};

use super::{
    ETH0, LINGER, NSID, SCOPE, counters, device, empty_container, file, hear, inventory, news, one_container, packets,
};
use crate::{
    model::{counters::DeviceCounters, counters::Directions, interface::NetnsId, netns::Listing},
    observe::state::{Opening, State},
};

fn open(state: &mut State, netns: NetnsId) -> Opening {
    state.open_reading(netns).expect("an interface")
}

fn close(state: &mut State, opening: &Opening, eth0: Option<Directions<DeviceCounters>>) {
    let devices = eth0.into_iter().map(|counters| (ETH0, counters)).collect();
    state.close_reading(opening, &HashMap::new(), &devices, &HashMap::new());
}

#[test]
fn a_reading_of_a_device_is_not_of_the_one_that_has_its_number_now() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    let of_the_first = open(&mut state, netns);
    state.looked(&file, netns, Vec::new(), now);
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    close(&mut state, &of_the_first, Some(counters(1000)));
    let own = open(&mut state, netns);
    close(&mut state, &own, Some(counters(3)));
    // The second one, and the first with its last counters.
    assert_eq!(packets(&state), [3, 1000]);
}

#[test]
fn a_device_that_is_deleted_while_it_is_read_keeps_the_reading() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    let reading = open(&mut state, netns);
    state.looked(&file, netns, Vec::new(), now);
    close(&mut state, &reading, Some(counters(42)));
    assert_eq!(packets(&state), [42]);
    // One that was opened after the deletion is not of it.
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    let of_the_next = open(&mut state, netns);
    state.looked(&file, netns, Vec::new(), now);
    close(&mut state, &of_the_next, Some(counters(50)));
    assert_eq!(packets(&state), [50, 42]);
    // Counters that are behind add nothing.
    close(&mut state, &reading, Some(counters(41)));
    assert_eq!(packets(&state), [50, 42]);
}

#[test]
fn a_device_that_vanished_while_it_was_read_keeps_what_was_known() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    let reading = open(&mut state, netns);
    state.looked(&file, netns, Vec::new(), now);
    let known = packets(&state);
    close(&mut state, &reading, None);
    assert_eq!(packets(&state), known);
}

#[test]
fn a_reading_that_was_opened_before_a_device_was_heard_of_is_not_of_it() {
    let (mut state, _, netns) = empty_container(Instant::now());
    hear(&mut state, &news(false, true, counters(5)));
    let before = open(&mut state, netns);
    hear(&mut state, &news(true, false, counters(7)));
    close(&mut state, &before, None);
    assert_eq!(state.namespace_by_number(NSID, Instant::now()), Some(netns));
    assert_eq!(packets(&state), [5]);
}

#[test]
fn a_namespace_without_devices_is_not_read() {
    let (mut state, _, netns) = empty_container(Instant::now());
    assert!(state.open_reading(netns).is_none());
}

#[test]
fn a_device_that_returns_while_it_is_read_counts_once() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    let of_service = |state: &State| state.services().into_values().next().map(|it| it.receive.packets);
    assert_eq!(of_service(&state), Some(0));
    let reading = open(&mut state, netns);
    // Its file is missing for a moment.
    state.listed(Listing::default(), now);
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    state.name();
    close(&mut state, &reading, Some(counters(50)));
    let next = open(&mut state, netns);
    close(&mut state, &next, Some(counters(50)));
    assert_eq!(of_service(&state), Some(40), "it had 10 before");
}

#[test]
fn what_a_device_counted_before_netmon_is_not_recent_though_it_is_first_read_after_it_returned() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let (file, netns) = (file("aaaaaaaaaaaa", 1), NetnsId(100));
    let listing = Listing {
        files: vec![file.clone()],
        strays: 0,
    };
    state.listed(listing, now);
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    state.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    state.listed(Listing::default(), now);
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    state.name();
    let first = open(&mut state, netns);
    close(&mut state, &first, Some(counters(50)));
    let of_service = state.services().into_values().next().map(|it| it.receive.packets);
    assert_eq!(of_service, Some(0));
}

#[test]
fn what_a_device_counted_before_netmon_is_not_recent_though_its_only_reading_came_after_its_end() {
    let now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let (file, netns) = (file("aaaaaaaaaaaa", 1), NetnsId(100));
    let listing = Listing {
        files: vec![file.clone()],
        strays: 0,
    };
    state.listed(listing, now);
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    state.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    let reading = open(&mut state, netns);
    state.looked(&file, netns, Vec::new(), now);
    close(&mut state, &reading, Some(counters(50)));
    let of_service = state.services().into_values().next().map(|it| it.receive.packets);
    assert_eq!((of_service, packets(&state)), (Some(0), vec![50]));
}
