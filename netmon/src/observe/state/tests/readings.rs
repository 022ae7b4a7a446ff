//! Readings that overlap with each other, and with what happens to the devices.

use std::{collections::HashMap, time::Instant};

use super::{ETH0, NSID, counters, device, empty_container, hear, news, one_container, packets};
use crate::{
    model::{counters::DeviceCounters, counters::Directions, interface::NetnsId},
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
fn a_reading_that_another_one_overtook_is_not_taken_in() {
    let (mut state, _, netns) = one_container(Instant::now());
    let (slow, fast) = (open(&mut state, netns), open(&mut state, netns));
    close(&mut state, &fast, Some(counters(30)));
    close(&mut state, &slow, Some(counters(20)));
    assert_eq!(packets(&state), [30]);
    let next = open(&mut state, netns);
    close(&mut state, &next, Some(counters(40)));
    assert_eq!(packets(&state), [40]);
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
    // The second one, and what is left of the first.
    assert_eq!(packets(&state), [3, 10]);
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
