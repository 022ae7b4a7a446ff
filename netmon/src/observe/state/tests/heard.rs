//! What the kernel's messages say of a device: between two looks, of its end, and of a namespace that had another
//! number.

use std::time::{Duration, Instant};

use super::{
    ETH0, NSID, counters, device, empty_container, file, hear, inventory_with, news, one_container, packets, read,
};
use crate::{
    model::{
        interface::{Device, DeviceKind, MacAddress, NetnsId},
        netns::DeviceChange,
    },
    observe::state::{Number, State, lifecycle::DEVICES_PER_NAMESPACE},
};

#[test]
fn what_the_kernel_says_at_a_devices_end_is_its_last_value() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    state.on_device_change(netns, &news(false, false, counters(15)));
    state.on_device_change(netns, &news(true, false, counters(17)));
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [17]);
    assert_eq!(state.interfaces().count(), 0);
}

#[test]
fn what_was_heard_of_a_device_that_went_up_again_is_not_its_last_value() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    state.on_device_change(netns, &news(false, false, counters(15)));
    state.on_device_change(netns, &news(false, true, counters(15)));
    read(&mut state, netns, counters(20));
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [20]);
}

#[test]
fn a_device_that_came_and_went_between_two_looks_is_counted() {
    let now = Instant::now();
    let (mut state, file, netns) = empty_container(now);
    let mac = MacAddress([2, 0x42, 0, 0, 0, 5]);
    state.set_inventory(inventory_with("web.1", "aaaaaaaaaaaa", Some(mac)));
    for (gone, up, sent) in [(false, true, 0), (false, false, 5), (true, false, 5)] {
        let mut change = news(gone, up, counters(sent));
        change.device.mac = Some(mac);
        hear(&mut state, &change);
    }
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [5]);
    assert_eq!(state.interfaces().count(), 0);
    let service = state.services().into_values().next();
    assert_eq!(
        service.map(|sum| sum.transmit.packets),
        Some(5),
        "its container is known"
    );
}

#[test]
fn a_namespace_that_got_no_number_is_asked_for_one_at_each_look_and_then_its_devices_are_heard_of() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    for _ in 0..2 {
        assert_eq!(state.to_read(&[netns], &[]), (vec![file.clone()], vec![]));
        state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
        assert_eq!(state.namespace_by_number(NSID, now), None);
    }
    // The new ones are asked for anyway.
    assert_eq!(state.to_read(&[netns], std::slice::from_ref(&file)), (vec![], vec![]));
    state.numbered(netns, Number { nsid: NSID, since: now });
    assert_eq!(state.to_read(&[netns], &[]), (vec![], vec![file.clone()]));
    hear(&mut state, &news(false, false, counters(15)));
    hear(&mut state, &news(true, false, counters(17)));
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [17]);
}

/// The first look came between the device's creation and its configuration, and the container ended before the next
/// look.
#[test]
fn a_device_that_got_its_address_after_the_only_look_is_on_its_network() {
    let now = Instant::now();
    let (mut state, file, netns) = empty_container(now);
    let mac = MacAddress([2, 0x42, 0, 0, 0, 5]);
    state.set_inventory(inventory_with("web.1", "aaaaaaaaaaaa", Some(mac)));
    let early = Device::new(ETH0, "veth1234567".to_owned(), DeviceKind::Veth);
    state.looked(&file, netns, vec![early], now);
    state.name();
    for (name, gone, up, sent) in [
        ("eth0", false, true, 0),
        ("eth0", false, false, 5),
        ("veth1234567", false, false, 5),
        ("veth1234567", true, false, 5),
    ] {
        let mut change = news(gone, up, counters(sent));
        name.clone_into(&mut change.device.name);
        change.device.mac = Some(mac);
        hear(&mut state, &change);
    }
    state.looked(&file, netns, Vec::new(), now);
    let ended = state.ended().next().expect("one that ended");
    assert_eq!((ended.device.name.as_str(), ended.is_own()), ("eth0", false));
    let service = state.services().into_iter().next();
    let sum = service.map(|(key, sum)| (key.network.to_string(), sum.transmit.packets));
    assert_eq!(sum, Some(("front".to_owned(), 5)));
}

#[test]
fn of_a_device_that_was_only_heard_of_in_its_end_its_last_value_is_known() {
    let now = Instant::now();
    let (mut state, file, netns) = empty_container(now);
    hear(&mut state, &news(true, false, counters(5)));
    assert_eq!(packets(&state), [5]);
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [5]);
}

#[test]
fn late_news_of_a_device_that_was_found_gone_is_not_another_device() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    let since = now;
    state.numbered(netns, Number { nsid: NSID, since });
    state.looked(&file, netns, Vec::new(), now);
    hear(&mut state, &news(false, true, counters(11)));
    hear(&mut state, &news(false, false, counters(12)));
    hear(&mut state, &news(true, false, counters(12)));
    assert_eq!(packets(&state), [12], "but its last value");
    hear(&mut state, &news(true, false, counters(3)));
    assert_eq!(packets(&state), [12]);
    let recent = state.ended().next().map(|ended| ended.recent().transmit.packets);
    assert_eq!(recent, Some(2), "of it since netmon came");
}

#[test]
fn news_from_before_a_namespace_had_its_number_makes_no_device_there() {
    let before = Instant::now();
    let (mut state, ..) = empty_container(before + Duration::from_millis(1));
    let change = DeviceChange {
        after: before,
        ..news(true, false, counters(5))
    };
    hear(&mut state, &change);
    assert_eq!(packets(&state), [0_u64; 0]);
}

#[test]
fn a_number_that_two_had_is_the_ones_who_had_it_when_the_news_was_made() {
    let begin = Instant::now();
    let (mut state, _, older) = empty_container(begin);
    let (younger, later) = (NetnsId(90), begin + Duration::from_secs(1));
    state.looked(&file("bbbbbbbbbbbb", 2), younger, Vec::new(), later);
    let since = later;
    state.numbered(younger, Number { nsid: NSID, since });
    let at = |milliseconds| begin + Duration::from_millis(milliseconds);
    assert_eq!(state.namespace_by_number(NSID, at(999)), Some(older));
    assert_eq!(state.namespace_by_number(NSID, at(1001)), Some(younger));
    assert_eq!(state.namespace_by_number(NSID + 1, at(1001)), None);
}

#[test]
fn a_look_tells_more_of_a_device_than_news_did() {
    let now = Instant::now();
    let (mut state, file, netns) = empty_container(now);
    let mut change = news(false, true, counters(0));
    "veth1234567".clone_into(&mut change.device.name);
    hear(&mut state, &change);
    "eth0".clone_into(&mut change.device.name);
    hear(&mut state, &change);
    let described = |state: &State| state.interfaces().next().map(|it| Device::clone(&it.device));
    assert_eq!(described(&state).as_ref(), Some(&change.device), "by the last news");
    let device = device(ETH0, "eth0");
    state.looked(&file, netns, vec![device.clone()], now);
    hear(&mut state, &change);
    assert_eq!(described(&state), Some(device), "news has no addresses");
}

#[test]
fn devices_that_are_only_heard_of_are_no_more_than_others() {
    let (mut state, ..) = empty_container(Instant::now());
    for ifindex in 0..1_000 {
        let mut change = news(false, true, counters(1));
        change.device.ifindex = ifindex;
        hear(&mut state, &change);
    }
    assert_eq!(packets(&state).len(), DEVICES_PER_NAMESPACE);
}

#[test]
fn news_that_may_have_been_overtaken_is_forgotten() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    state.on_device_change(netns, &news(false, false, counters(15)));
    state.on_overrun();
    read(&mut state, netns, counters(20));
    state.looked(&file, netns, Vec::new(), now);
    assert_eq!(packets(&state), [20]);
}
