//! What is in a service's sums of a container that ends.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use netmon_common::tcp::Tcp;

use super::{
    ETH0, LINGER, device, one_container,
    readings::{Counted, attach},
};
use crate::{
    model::{
        drops::Drop,
        events::{EventSums, LastCounts},
        interface::{InterfaceId, NetnsId},
        netns::{Listing, NetnsFile},
        place::Attribution,
        protocols::Protocols,
        tcp::{Events, NO_NETWORK, Segments},
    },
    observe::state::State,
};

/// A container with programs on its device, which passed so many segments.
fn with_programs(now: Instant, passed: u64) -> (State, NetnsFile, NetnsId, Counted) {
    let (mut state, file, netns) = one_container(now);
    let programs = attach(&mut state, netns, 1, 0);
    programs.count(passed);
    (state, file, netns, programs)
}

/// Twelve connections, of which one was refused, and two segments that were sent again.
fn connections() -> Events {
    let mut counts = Tcp {
        connects: 11,
        retransmitted_segments: 2,
        ..Tcp::ZERO
    };
    counts.failures[0] = 1;
    Events::from(counts)
}

/// Takes out of the kernel's maps what is no longer needed. They had these connections on the device.
fn end(state: &mut State, netns: NetnsId, now: Instant) {
    let id = InterfaceId { netns, ifindex: ETH0 };
    state.expire(now);
    let mut departed = state.take_forgotten();
    assert!(departed.contains_key(&netns), "it lingers");
    let drop = Drop {
        interface: id,
        reason: 5,
        unplaced: false,
        packets: 7,
    };
    let last = LastCounts {
        drops: vec![(drop, "NO_SOCKET".into())],
        events: Some([(id, connections())].into()),
        edges: Vec::new(),
    };
    state.count_last(&last, &mut departed, true);
}

/// The sums of the service on the network.
fn on_front(state: &State) -> EventSums {
    let sums = state.service_events();
    let networks: BTreeMap<&str, _> = sums.iter().map(|(key, sums)| (&*key.network, sums)).collect();
    let others = networks.iter().filter(|(network, _)| **network != "front");
    for (network, sums) in others {
        assert!(sums.drops.is_empty(), "{network}: {sums:?}");
    }
    networks["front"].clone()
}

fn are_whole(sums: &EventSums) {
    assert_eq!(sums.drops, [(Arc::from("NO_SOCKET"), 7)].into());
    let segments = sums.segments.expect("they are counted");
    assert_eq!((segments.sent, segments.retransmitted), (18, 2));
    let made = sums.made.expect("they are counted");
    assert_eq!((made.connects, made.failures[0]), (11, 1));
}

#[test]
fn a_container_that_no_scrape_saw_is_in_its_services_sums_when_it_is_over() {
    let now = Instant::now();
    let (mut state, _, netns, _programs) = with_programs(now, 20);
    state.listed(Listing::default(), now);
    end(&mut state, netns, now + LINGER);
    are_whole(&on_front(&state));
    assert_eq!(state.events.remembered(), 0);
}

#[test]
fn what_a_scrape_saw_is_in_the_sums_once() {
    let now = Instant::now();
    let (mut state, file, netns, programs) = with_programs(now, 8);
    let id = InterfaceId { netns, ifindex: ETH0 };
    let Some(Attribution::In { network, place }) = state.attribution(id, now) else {
        panic!("it is not known whose it is");
    };
    let counts = Events::from(Tcp {
        connects: 4,
        ..Tcp::ZERO
    });
    state.count_connections(
        id,
        &counts,
        &state.inventory().containers["aaaaaaaaaaaa"].identity.clone(),
        &network,
    );
    let drop = |packets| Drop {
        interface: id,
        reason: 5,
        unplaced: false,
        packets,
    };
    let attribution = Attribution::In { place, network };
    for packets in [3, 5] {
        state.count_drop(&drop(packets), &attribution, || "NO_SOCKET".into());
    }
    state.set_segment_shares(netns, vec![("front".into(), counts.segments(8))]);
    assert_eq!(on_front(&state).segments.map(|it| it.sent), Some(8));
    programs.count(12);
    // The device leaves the container long before the container ends.
    state.looked(&file, netns, Vec::new(), now);
    state.expire(now + LINGER);
    state.listed(Listing::default(), now + LINGER);
    end(&mut state, netns, now + LINGER * 2);
    are_whole(&on_front(&state));
}

#[test]
fn a_device_that_left_a_container_long_ago_was_on_its_network() {
    let now = Instant::now();
    let (mut state, file, netns, _programs) = with_programs(now, 20);
    state.looked(&file, netns, vec![device(ETH0 + 1, "eth1")], now);
    state.expire(now + LINGER);
    state.listed(Listing::default(), now + LINGER);
    end(&mut state, netns, now + LINGER * 2);
    are_whole(&on_front(&state));
}

/// The kernel counted so many segments in a container's namespace.
fn counted(state: &mut State, netns: NetnsId, sent: u64) {
    let segments = Segments {
        sent,
        ..Segments::default()
    };
    let protocols = Protocols {
        segments,
        ..Protocols::default()
    };
    state.counted(netns, protocols);
}

/// The segments of the service that went over no network.
fn on_no_network(state: &State) -> Option<u64> {
    let sums = state.service_events().iter();
    let mut sums = sums.filter(|(key, _)| &*key.network == NO_NETWORK);
    sums.find_map(|(_, sums)| Some(sums.segments?.sent))
}

#[test]
fn without_programs_the_sums_have_what_the_last_scrape_of_a_container_saw() {
    let now = Instant::now();
    let (mut state, _, netns) = one_container(now);
    // It is older than netmon.
    for sent in [100, 109] {
        counted(&mut state, netns, sent);
        state.set_segment_shares(netns, Vec::new());
    }
    state.listed(Listing::default(), now);
    state.expire(now + LINGER);
    let mut departed = state.take_forgotten();
    state.count_last(&LastCounts::default(), &mut departed, true);
    assert_eq!(on_no_network(&state), Some(9));
}

#[test]
fn a_container_that_ends_while_it_is_read_has_all_that_was_read() {
    let now = Instant::now();
    let (mut state, _, netns, _programs) = with_programs(now, 20);
    // It is older than netmon.
    counted(&mut state, netns, 100);
    state.set_segment_shares(netns, Vec::new());
    counted(&mut state, netns, 125);
    state.listed(Listing::default(), now);
    state.set_segment_shares(netns, vec![("front".into(), connections().segments(20))]);
    end(&mut state, netns, now + LINGER);
    are_whole(&on_front(&state));
    assert_eq!(on_no_network(&state), Some(5));
}
