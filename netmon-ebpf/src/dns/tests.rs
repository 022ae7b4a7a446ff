//! Queries and responses, as frames.

mod messages;
mod waiting;

use netmon_common::dns::{
    CODE_NOERROR, CODE_NXDOMAIN, CODE_OTHER, CODE_REFUSED, CODE_SERVFAIL, DOCKER, Dns, OUTSIDE, SETS, TYPE_A,
    TYPE_AAAA, TYPE_OTHER, TYPE_PTR, TYPE_SRV, Ways, index, set,
};

use std::cell::Cell;

use self::messages::{Message, Transported};
use super::{Found, Object, arriving, leaving, message, on_loopback};
use crate::{
    maps::Array,
    testing::{Frame, Table},
};

/// One more than the slot.
const DNS_SLOT: u32 = 2;

/// Slot 1 of two slots.
struct World {
    dns: Table<u32, Dns>,
    waiting: Table<u32, Ways>,
    /// The time in nanoseconds.
    now: Cell<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            dns: Table::with((0..2 * 2).map(|index| (index, Dns::default()))),
            waiting: Table::with((0..2 * SETS).map(|set| (set, Ways::default()))),
            now: Cell::new(1_000_000_000),
        }
    }

    /// What was counted for a resolver. Checks that nothing was counted in the other slot.
    fn counts(&self, resolver: u32) -> Dns {
        for resolver in [DOCKER, OUTSIDE] {
            assert_eq!(self.dns.get(&index(0, resolver)), Some(Dns::default()));
        }
        self.dns.get(&index(1, resolver)).expect("the slot exists")
    }

    /// How many queries wait.
    fn waiting(&self) -> usize {
        let sets = (0..SETS).filter_map(|number| self.waiting.get(&set(1, number)));
        sets.flatten().filter(|word| *word != 0).count()
    }

    fn pass(&self, microseconds: u64) {
        self.now.set(self.now.get() + microseconds * 1_000);
    }

    /// The frame passes the egress hook of loopback.
    fn on_loopback(&self, frame: &Frame) {
        self.count(frame, on_loopback(&frame, DNS_SLOT));
    }

    /// The frame leaves through a device.
    fn leaves(&self, frame: &Frame) {
        self.count(frame, leaving(&frame, DNS_SLOT));
    }

    /// The frame arrives at a device.
    fn arrives(&self, frame: &Frame) {
        self.count(frame, arriving(&frame, DNS_SLOT));
    }

    fn count(&self, frame: &Frame, found: Option<Found>) {
        if let Some(found) = found {
            message(self, frame, found);
        }
    }
}

impl Object for World {
    fn dns(&self) -> &impl Array<Dns> {
        &self.dns
    }

    fn dns_waiting(&self) -> &impl Array<Ways> {
        &self.waiting
    }

    fn nanoseconds(&self) -> u64 {
        self.now.get()
    }
}

#[test]
fn a_query_and_its_response_on_loopback_are_the_engines() {
    for over in [Transported::Udp, Transported::Tcp] {
        let world = World::new();
        let query = Message::query(7, 28);
        // The engine's rules have given it another port.
        world.on_loopback(&query.on_loopback(over, 5000, 40_000));
        assert_eq!(world.counts(DOCKER).queries[TYPE_AAAA], 1, "{over:?}");
        assert_eq!(world.waiting(), 1);
        world.pass(150);
        world.on_loopback(&query.response(3).on_loopback_back(over, 5000));
        let counts = world.counts(DOCKER);
        assert_eq!(counts.responses[CODE_NXDOMAIN], 1, "{over:?}");
        assert_eq!((counts.durations[1], counts.duration), (1, 150_000 / 1_024));
        assert_eq!((counts.unmatched, world.waiting()), (0, 0));
        assert_eq!(world.counts(OUTSIDE), Dns::default());
    }
}

#[test]
fn a_client_may_have_an_address_of_its_own_on_loopback() {
    for address in [[172, 18, 0, 11], [172, 18, 0, 5]] {
        let world = World::new();
        for frame in Message::query(7, 1).of_client(address, 40_000) {
            world.on_loopback(&frame);
        }
        let counts = world.counts(DOCKER);
        assert_eq!(
            (counts.queries[TYPE_A], counts.responses[CODE_NOERROR]),
            (1, 1),
            "{address:?}"
        );
    }
}

#[test]
fn what_lies_in_the_middle_of_a_long_response_over_tcp_is_no_message() {
    let world = World::new();
    let stray = Message::query(9, 1).response(0);
    world.arrives(&stray.of_port(Transported::Tcp, 53, 5000));
    assert_eq!(world.counts(OUTSIDE), Dns::default());
    world.arrives(&stray.of_port(Transported::Udp, 53, 5000));
    assert_eq!(world.counts(OUTSIDE).unmatched, 1);
}

#[test]
fn a_query_and_its_response_through_a_device_are_of_another_resolver() {
    for over in [Transported::Udp, Transported::Tcp] {
        for is_ipv6 in [false, true] {
            let world = World::new();
            let query = Message::query(7, 1);
            let [sent, received] = [query.clone(), query.response(0)].map(|message| Message { is_ipv6, ..message });
            world.leaves(&sent.to_port(over, 5000, 53));
            world.pass(20_000);
            world.arrives(&received.of_port(over, 53, 5000));
            let counts = world.counts(OUTSIDE);
            assert_eq!(
                (counts.queries[TYPE_A], counts.responses[CODE_NOERROR]),
                (1, 1),
                "{over:?}"
            );
            assert_eq!((counts.durations[7], world.waiting()), (1, 0));
            assert_eq!(world.counts(DOCKER), Dns::default());
        }
    }
}

#[test]
fn what_is_no_dns_is_not_counted() {
    let world = World::new();
    let query = Message::query(7, 1);
    // Other addresses on loopback, and other ports of devices.
    world.on_loopback(&query.to_port(Transported::Udp, 5000, 53));
    world.leaves(&query.to_port(Transported::Udp, 5000, 54));
    world.leaves(&query.to_port(Transported::Udp, 5000, 53 + 256));
    world.leaves(&query.of_port(Transported::Udp, 53, 5000));
    world.arrives(&query.to_port(Transported::Udp, 5000, 53));
    // A query where responses come, and the other way around.
    world.arrives(&query.of_port(Transported::Udp, 53, 5000));
    world.leaves(&query.response(0).to_port(Transported::Udp, 5000, 53));
    // Protocols with other headers, and none.
    let mut other = query.to_port(Transported::Udp, 5000, 53);
    other.bytes[14 + 9] = 132;
    world.leaves(&other);
    world.leaves(&Frame::ethernet([0x08, 0x06], &[53; 60]));
    // A packet that ends in the header of the message, and one without a payload.
    let whole = query.to_port(Transported::Udp, 5000, 53);
    for length in [14 + 20 + 8 + 11, 14 + 20 + 8, 14 + 20, 14] {
        let mut frame = whole.clone();
        frame.bytes.truncate(length);
        frame.linear = length;
        world.leaves(&frame);
    }
    // A part of a datagram that is not the first.
    let mut part = whole.clone();
    part.bytes[14 + 7] = 1;
    world.leaves(&part);
    assert_eq!(world.counts(DOCKER), Dns::default());
    assert_eq!(world.counts(OUTSIDE), Dns::default());
    world.leaves(&whole);
    assert_eq!(world.counts(OUTSIDE).queries[TYPE_A], 1);
}

#[test]
fn the_type_is_found_behind_names_of_any_length_and_before_records_of_edns() {
    for name in ["", "a", "web.shop.example", &"x".repeat(63)] {
        for edns in [None, Some(0), Some(12), Some(28)] {
            for (kind, expected) in [
                (1, TYPE_A),
                (28, TYPE_AAAA),
                (12, TYPE_PTR),
                (33, TYPE_SRV),
                (16, TYPE_OTHER),
                (257, TYPE_OTHER),
            ] {
                let world = World::new();
                let query = Message::query(7, kind).named(name).with_edns(edns);
                world.leaves(&query.to_port(Transported::Udp, 5000, 53));
                assert_eq!(world.counts(OUTSIDE).queries[expected], 1, "{name:?}, {edns:?}, {kind}");
            }
        }
    }
}

#[test]
fn a_question_that_is_not_understood_is_another_one() {
    let asked = |change: &dyn Fn(&mut Message)| {
        let world = World::new();
        let mut query = Message::query(7, 1);
        change(&mut query);
        world.leaves(&query.to_port(Transported::Udp, 5000, 53));
        world.counts(OUTSIDE).queries
    };
    let other = [0, 0, 0, 0, 1];
    // An update, two questions, options of an unusual length, a class that is not the Internet's.
    assert_eq!(asked(&|query| query.flags |= 5 << 11), other);
    assert_eq!(asked(&|query| query.questions = 2), other);
    assert_eq!(asked(&|query| *query = query.with_edns(Some(5))), other);
    assert_eq!(asked(&|query| query.class = 3), other);
    assert_eq!(asked(&|_| {}), [1, 0, 0, 0, 0]);
}

#[test]
fn each_code_has_its_count_and_a_cut_response_has_one_more() {
    let world = World::new();
    for (id, code) in (0..6).zip([0, 2, 3, 5, 1, 11]) {
        let query = Message::query(id, 1);
        world.leaves(&query.to_port(Transported::Udp, 5000, 53));
        let mut response = query.response(code);
        response.flags |= if code == 0 { 0x0200 } else { 0 };
        world.arrives(&response.of_port(Transported::Udp, 53, 5000));
    }
    let counts = world.counts(OUTSIDE);
    for code in [CODE_NOERROR, CODE_SERVFAIL, CODE_NXDOMAIN, CODE_REFUSED] {
        assert_eq!(counts.responses[code], 1);
    }
    assert_eq!((counts.responses[CODE_OTHER], counts.truncated), (2, 1));
}

#[test]
fn options_of_the_ip_header_are_stepped_over() {
    let world = World::new();
    let mut frame = Message::query(7, 12).to_port(Transported::Udp, 5000, 53);
    frame.bytes[14] = 0x46;
    frame.bytes.splice(34..34, [1; 4]);
    frame.linear = frame.bytes.len();
    world.leaves(&frame);
    assert_eq!(world.counts(OUTSIDE).queries[TYPE_PTR], 1);
}

#[test]
fn a_message_outside_of_the_linear_part_is_read() {
    let world = World::new();
    let query = Message::query(7, 1);
    let frame = query.to_port(Transported::Tcp, 5000, 53);
    world.leaves(&Frame {
        linear: 14 + 20 + 32,
        ..frame
    });
    assert_eq!(world.counts(OUTSIDE).queries[TYPE_A], 1);
}
