//! Readings, and what happens to the devices while they are made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    ETH0, LINGER, NSID, SCOPE, counters, device, empty_container, file, hear, inventory, news, one_container, packets,
};
use crate::{
    model::{
        counters::{DeviceCounters, Directions, Traffic},
        interface::{DeviceList, InterfaceId, NetnsId},
        netns::{Listing, NetnsFile},
        programs::{Attached, Counts, Handle},
    },
    observe::state::{self, Candidate, Opening, State},
};

fn open(state: &mut State, netns: NetnsId) -> Opening {
    state.open_reading(netns).expect("an interface")
}

fn close(registry: &mut State, opening: &Opening, eth0: Option<Directions<DeviceCounters>>) {
    let devices: Vec<_> = eth0.into_iter().map(|counters| (ETH0, counters)).collect();
    registry.close_reading(opening, &state::Counts::default(), &devices, &state::Counts::default());
}

/// A container that is older than netmon, and whose device was never read.
fn one_unread(now: Instant) -> (State, NetnsFile, NetnsId) {
    let mut state = State::new(SCOPE, LINGER);
    let (file, netns) = (file("aaaaaaaaaaaa", 1), NetnsId(100));
    let listing = Listing {
        files: vec![file.clone()],
        ..Listing::default()
    };
    state.listed(listing, now);
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    state.set_inventory(inventory("web.1", "aaaaaaaaaaaa"));
    (state, file, netns)
}

/// The packets that the container's service received since netmon started.
fn of_service(state: &State) -> Option<u64> {
    state.services().into_values().next().map(|it| it.receive.packets)
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

/// A namespace that never rests would otherwise end a device again and again, and each time its whole life would count
/// for the service once more.
#[test]
fn a_list_that_is_not_whole_ends_no_device() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    let read = |state: &mut State| {
        let reading = open(state, netns);
        close(state, &reading, Some(counters(1000)));
    };
    read(&mut state);
    let before = of_service(&state);
    state.looked(&file, netns, DeviceList::default(), now);
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    read(&mut state);
    assert_eq!(of_service(&state), before);
    assert_eq!(packets(&state), [1000]);
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
    let (mut state, file, netns) = one_unread(now);
    state.listed(Listing::default(), now);
    state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
    state.name();
    let first = open(&mut state, netns);
    close(&mut state, &first, Some(counters(50)));
    assert_eq!(of_service(&state), Some(0));
}

#[test]
fn what_a_device_counted_before_netmon_is_not_recent_though_its_only_reading_came_after_its_end() {
    let now = Instant::now();
    let (mut state, file, netns) = one_unread(now);
    let reading = open(&mut state, netns);
    state.looked(&file, netns, Vec::new(), now);
    close(&mut state, &reading, Some(counters(50)));
    assert_eq!((of_service(&state), packets(&state)), (Some(0), vec![50]));
}

/// Programs that have counted this many packets in each direction, of one TCP segment each.
#[derive(Clone, Debug)]
pub(super) struct Counted(Arc<AtomicU64>);

impl Counted {
    pub(super) fn count(&self, packets: u64) {
        self.0.fetch_add(packets, Ordering::Relaxed);
    }
}

impl Counts for Counted {
    fn read(&self) -> Directions<Traffic> {
        let packets = self.0.load(Ordering::Relaxed);
        let bytes = packets * 100;
        let traffic = Traffic {
            packets,
            bytes,
            segments: packets,
            wire_bytes: bytes,
            tcp_segments: packets,
        };
        Directions {
            receive: traffic,
            transmit: traffic,
        }
    }
}

/// Attaches programs that have counted this many packets by now.
pub(super) fn attach(state: &mut State, netns: NetnsId, handle: u64, packets: u64) -> Counted {
    let counted = Counted(Arc::new(packets.into()));
    let attached = Attached {
        handle: Handle(handle),
        counts: Arc::new(counted.clone()),
        dns: None,
    };
    let id = InterfaceId { netns, ifindex: ETH0 };
    assert!(
        state.attached(id, Ok(attached), Instant::now()),
        "the interface is there"
    );
    counted
}

fn segments(state: &State) -> Vec<u64> {
    let totals = state.interfaces().map(|interface| interface.ledger.totals());
    totals.map(|totals| totals.receive.segments).collect()
}

#[test]
fn programs_that_were_replaced_while_their_device_was_read_say_nothing_about_it() {
    let (mut state, _, netns) = one_container(Instant::now());
    attach(&mut state, netns, 1, 0);
    let reading = open(&mut state, netns);
    let before = reading.read();
    state.mark_detached(InterfaceId { netns, ifindex: ETH0 });
    attach(&mut state, netns, 2, 0);
    let devices = [(ETH0, counters(30))];
    state.close_reading(&reading, &before, &devices, &reading.read());
    // It had 10 packets before netmon. Segments count since then.
    assert_eq!((packets(&state), segments(&state)), (vec![30], vec![20]));
    // The next reading is the first one with the new programs.
    let next = open(&mut state, netns);
    let devices = [(ETH0, counters(31))];
    state.close_reading(&next, &next.read(), &devices, &next.read());
    assert_eq!((packets(&state), segments(&state)), (vec![31], vec![21]));
}

#[test]
fn what_programs_counted_until_they_were_detached_is_kept() {
    let (mut state, _, netns) = one_container(Instant::now());
    let counted = attach(&mut state, netns, 1, 0);
    let reading = open(&mut state, netns);
    let devices = [(ETH0, counters(10))];
    state.close_reading(&reading, &reading.read(), &devices, &reading.read());
    counted.count(5);
    state.mark_detached(InterfaceId { netns, ifindex: ETH0 });
    let totals = state.interfaces().map(|it| it.ledger.totals().transmit);
    let kept: Vec<_> = totals.map(|it| (it.segments, it.tcp_segments)).collect();
    assert_eq!(kept, [(5, 5)]);
}

#[test]
fn programs_are_over_a_moment_after_their_device_was_deleted() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    attach(&mut state, netns, 1, 5);
    state.looked(&file, netns, Vec::new(), now);
    state.expire(now);
    assert_eq!(state.take_over(), []);
    state.expire(now + Duration::from_secs(1));
    assert_eq!(state.take_over(), [Handle(1)]);
    assert_eq!(state.take_over(), [], "only once");
}

#[test]
fn no_programs_are_left_behind_when_all_are_taken_out() {
    let (mut state, file, netns) = one_container(Instant::now());
    attach(&mut state, netns, 7, 5);
    let device = Candidate {
        id: InterfaceId { netns, ifindex: ETH0 },
        name: "eth0".to_owned(),
        path: file.path,
        asks: true,
    };
    assert_eq!(state.take_programs(), [(device, Handle(7))]);
    assert_eq!(state.take_programs(), []);
}

#[test]
fn the_programs_of_a_device_that_was_deleted_meanwhile_are_refused() {
    let (mut state, _, netns) = one_container(Instant::now());
    let id = InterfaceId {
        netns,
        ifindex: ETH0 + 1,
    };
    let attached = Attached {
        handle: Handle(1),
        counts: Arc::new(Counted(Arc::default())),
        dns: None,
    };
    assert!(!state.attached(id, Ok(attached), Instant::now()));
}

#[test]
fn a_device_that_returns_keeps_its_counts_until_it_is_read_again() {
    let now = Instant::now();
    let (mut state, file, netns) = one_container(now);
    let first = open(&mut state, netns);
    close(&mut state, &first, Some(counters(30)));
    for _ in 0..2 {
        state.listed(Listing::default(), now);
        state.looked(&file, netns, vec![device(ETH0, "eth0")], now);
        state.name();
    }
    let living = state.interfaces().map(|it| it.ledger.totals().receive.packets);
    assert_eq!(living.collect::<Vec<_>>(), [30]);
    let next = open(&mut state, netns);
    close(&mut state, &next, Some(counters(50)));
    assert_eq!(of_service(&state), Some(40), "it had 10 before");
}
