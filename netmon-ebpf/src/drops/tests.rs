//! Which drops count, where, and as how many packets. The packets, sockets and devices are a test's own structures.

mod room;

use netmon_common::{
    drops::{Key, LOST_ENTRIES},
    notes::NO_DEVICE,
    share::{STRANGERS, Share},
};

use super::{Object, dropped, first_bits, is_among, is_for_everybody, is_over};
use crate::{
    maps::{Array, Map},
    testing::{HERE, NOWHERE, Structures, THERE, Table, causes, numbers, with_structures},
};

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const TCP: u8 = 6;
const UDP: u8 = 17;

// Reasons.
const OTHER: u32 = 70;
const HARMLESS: u32 = 3;
const UNWANTED: u32 = 130;
const NOT_SPECIFIED: u32 = 2;
const NO_SOCKET: u32 = 10;
const SOCKET_FILTER: u32 = 11;
const TCP_FLAGS: u32 = 12;
const TCP_CLOSE: u32 = 13;

/// How many keys a namespace may have.
const ROOM: u32 = 9;

/// Where the kernel dropped the packet.
const LOCATION: u64 = 0xffff_ffff_8100_0000;
const NETWORK_HEADER: u16 = 14;
const TRANSPORT_HEADER: u16 = 54;
/// The end of the data, in the same structure as its beginning.
const END: u32 = 256;

struct World {
    kernel: Structures,
    arguments: u32,
    drops: Table<Key, u64>,
    lost: Table<u32, u64>,
    refused: Table<u32, u64>,
    shares: Table<u64, Share>,
}

impl World {
    fn new() -> Self {
        Self {
            kernel: Structures::default(),
            arguments: 3,
            drops: Table::default(),
            lost: Table::with((0..LOST_ENTRIES).map(|reason| (reason, 0))),
            refused: causes(),
            shares: Table::with([HERE, STRANGERS].map(|netns| {
                (
                    netns,
                    Share {
                        keys: 0,
                        room: ROOM,
                        noted: 0,
                    },
                )
            })),
        }
    }

    /// A packet without a device and a socket, with this protocol in an IP header.
    fn packet(&self, protocol: [u8; 2], inside: u8) -> u64 {
        let (packet, head) = (self.kernel.structure(), self.kernel.structure());
        let write = |offset, field: &[u8]| self.kernel.write(packet, offset, field);
        self.kernel.point(packet, self.packet_head(), head);
        write(self.packet_end(), &END.to_ne_bytes());
        write(self.packet_protocol(), &protocol);
        write(self.packet_network_header(), &NETWORK_HEADER.to_ne_bytes());
        write(self.packet_transport_header(), &TRANSPORT_HEADER.to_ne_bytes());
        write(self.packet_length(), &20_u32.to_ne_bytes());
        let inside_at = if protocol == IPV6 { 6 } else { 9 };
        self.kernel.write(head, u32::from(NETWORK_HEADER) + inside_at, [inside]);
        self.kernel
            .write(head, END + self.shared_segments(), 0_u16.to_ne_bytes());
        packet
    }

    /// A packet with a TCP header that has these flags and no options.
    fn segment(&self, protocol: [u8; 2], flags: u8) -> u64 {
        let packet = self.packet(protocol, TCP);
        self.kernel
            .write(self.head(packet), u32::from(TRANSPORT_HEADER) + 12, [0x50, flags]);
        packet
    }

    fn head(&self, packet: u64) -> u64 {
        // SAFETY: a test's structures can be read at any address.
        unsafe { crate::kernel::Memory::field(self, packet, self.packet_head()) }
    }

    /// The same packet on a device.
    fn on(&self, netns: u64, ifindex: u32, packet: u64) -> u64 {
        let device = self.kernel.device(netns, ifindex);
        self.kernel.point(packet, self.packet_device(), device);
        packet
    }

    /// Drops a packet, as kernels up to 6.10 report it.
    fn drop(&self, packet: u64, reason: u32) {
        dropped(self, &[packet, LOCATION, reason.into()]);
    }

    /// Whether this packet is counted if it is dropped for this reason.
    fn counts(&self, packet: u64, reason: u32) -> bool {
        let sum = || self.drops.all().iter().map(|(_, count)| count).sum::<u64>();
        let before = sum();
        self.drop(packet, reason);
        sum() > before
    }
}

with_structures!(World: kernel);

impl Object for World {
    numbers! {
        packet_device = 8;
        packet_socket = 16;
        packet_arrived_on = 24;
        packet_protocol = 28;
        packet_type = 30;
        packet_route = 32;
        packet_head = 40;
        packet_end = 48;
        packet_network_header = 52;
        packet_transport_header = 54;
        packet_length = 56;
        shared_segments = 4;
        not_specified = NOT_SPECIFIED;
        no_socket = NO_SOCKET;
        socket_filter = SOCKET_FILTER;
        tcp_flags = TCP_FLAGS;
        tcp_close = TCP_CLOSE;
    }

    fn arguments(&self) -> u32 {
        self.arguments
    }

    fn harmless(&self, word: u32) -> u64 {
        if word == HARMLESS / 64 { 1 << (HARMLESS % 64) } else { 0 }
    }

    fn unwanted(&self, word: u32) -> u64 {
        if word == UNWANTED / 64 { 1 << (UNWANTED % 64) } else { 0 }
    }

    fn drops(&self) -> &impl Map<Key, u64> {
        &self.drops
    }

    fn lost(&self) -> &impl Array<u64> {
        &self.lost
    }

    fn refused(&self) -> &impl Array<u64> {
        &self.refused
    }

    fn shares(&self) -> &impl Map<u64, Share> {
        &self.shares
    }
}

fn key(netns: u64, ifindex: u32, reason: u32) -> Key {
    Key {
        netns,
        location: 0,
        ifindex,
        reason,
    }
}

#[test]
fn a_reason_is_in_a_bit_set_of_64_reasons_a_word() {
    let set = [1 << 5, 1, 1 << 63, 1];
    let word = |word: u32| set.get(word as usize).copied().unwrap_or(0);
    let found: Vec<u32> = (0..1024).filter(|reason| is_among(*reason, word)).collect();
    assert_eq!(found, [5, 64, 191, 192]);
    assert!(!is_among(u32::MAX, word));
}

#[test]
fn the_first_bits_of_a_byte_depend_on_the_byte_order() {
    assert_eq!((first_bits(0b1111_1010, true), first_bits(0b0101_1111, false)), (2, 2));
    assert_eq!((first_bits(0b0000_0101, true), first_bits(0b1010_0000, false)), (5, 5));
}

#[test]
fn a_frame_is_for_everybody_if_it_is_a_broadcast_a_multicast_or_the_senders_copy() {
    // PACKET_HOST, BROADCAST, MULTICAST, OTHERHOST, OUTGOING, LOOPBACK, USER, KERNEL.
    let found: Vec<u8> = (0..8).filter(|kind| is_for_everybody(*kind)).collect();
    assert_eq!(found, [1, 2, 5]);
}

#[test]
fn a_segment_without_data_that_opens_nothing_is_over() {
    let (fin, syn, rst, push, ack) = (0x01, 0x02, 0x04, 0x08, 0x10);
    for flags in [ack, rst, rst | ack, fin | ack, push | ack] {
        // A header of five words, and one of eight.
        assert!(is_over(0x5000 | flags, 20), "{flags:#x}");
        assert!(is_over(0x8000 | flags, 32), "{flags:#x}");
        assert!(!is_over(0x5000 | flags, 21), "{flags:#x} with a byte");
        assert!(!is_over(0x8000 | flags, 33), "{flags:#x} with a byte");
    }
    for flags in [0, fin, push, syn, syn | ack, syn | rst, syn | fin | ack] {
        assert!(!is_over(0x5000 | flags, 20), "{flags:#x}");
    }
    // A header that is shorter than any: this makes no sense.
    assert!(!is_over(ack, 20));
}

#[test]
fn a_drop_counts_at_the_packets_device() {
    let world = World::new();
    let packet = world.on(HERE, 5, world.packet(IPV4, UDP));
    world.drop(packet, OTHER);
    world.drop(packet, OTHER);
    assert_eq!(world.drops.all(), [(key(HERE, 5, OTHER), 2)]);
    assert_eq!(world.shares.keys(HERE), Some(1));
}

#[test]
fn a_super_packet_counts_as_its_segments() {
    for (segments, expected) in [(0_u16, 1), (1, 1), (2, 2), (45, 45)] {
        let world = World::new();
        let packet = world.packet(IPV4, UDP);
        world.kernel.write(
            world.head(packet),
            END + world.shared_segments(),
            segments.to_ne_bytes(),
        );
        world.drop(packet, OTHER);
        assert_eq!(world.drops.all(), [(key(0, 0, OTHER), expected)]);
    }
}

#[test]
fn a_packet_whose_data_cannot_be_read_is_one_packet() {
    let world = World::new();
    let packet = world.packet(IPV4, UDP);
    world.kernel.point(packet, world.packet_head(), NOWHERE);
    assert!(world.counts(packet, OTHER));
    assert_eq!(world.drops.all(), [(key(0, 0, OTHER), 1)]);
    // Nothing says that it is unneeded, either.
    assert!(world.counts(packet, NO_SOCKET));
}

#[test]
fn only_a_drop_without_a_reason_has_a_location() {
    let world = World::new();
    let packet = world.packet(IPV4, UDP);
    world.drop(packet, NOT_SPECIFIED);
    let expected = Key {
        location: LOCATION,
        ..key(0, 0, NOT_SPECIFIED)
    };
    assert_eq!(world.drops.all(), [(expected, 1)]);
}

#[test]
fn harmless_reasons_and_packets_of_no_network_do_not_count() {
    let world = World::new();
    assert!(!world.counts(world.packet(IPV4, UDP), HARMLESS));
    assert!(!world.counts(world.packet([0, 0], UDP), OTHER));
    // Neighbours in the same word.
    assert!(world.counts(world.packet(IPV4, UDP), HARMLESS + 1));
}

#[test]
fn unwanted_frames_count_unless_they_are_for_everybody() {
    let world = World::new();
    let packet = world.packet(IPV4, UDP);
    let broadcast: u8 = 1;
    let byte = if cfg!(target_endian = "little") {
        broadcast
    } else {
        broadcast << 5
    };
    assert!(world.counts(packet, UNWANTED));
    world.kernel.write(packet, world.packet_type(), [byte]);
    assert!(!world.counts(packet, UNWANTED));
    assert!(world.counts(packet, OTHER));
}

#[test]
fn an_answer_to_a_ping_that_no_socket_wants_does_not_count() {
    let world = World::new();
    for packet in [world.packet(IPV4, ICMP), world.packet(IPV6, ICMPV6)] {
        let counted = [NO_SOCKET, SOCKET_FILTER, TCP_FLAGS, TCP_CLOSE, OTHER].map(|it| world.counts(packet, it));
        assert_eq!(counted, [false, false, true, true, true]);
    }
    // The numbers mean nothing in the other protocol.
    for packet in [world.packet(IPV4, ICMPV6), world.packet(IPV6, ICMP)] {
        assert!(world.counts(packet, NO_SOCKET));
    }
}

#[test]
fn a_segment_of_a_connection_that_is_over_does_not_count() {
    let (syn, ack) = (0x02, 0x10);
    let world = World::new();
    for protocol in [IPV4, IPV6] {
        let over = world.segment(protocol, ack);
        let counted = [NO_SOCKET, TCP_FLAGS, TCP_CLOSE, SOCKET_FILTER, OTHER].map(|it| world.counts(over, it));
        assert_eq!(counted, [false, false, false, true, true]);
        assert!(world.counts(world.segment(protocol, syn), NO_SOCKET));
        world.kernel.write(over, world.packet_length(), 21_u32.to_ne_bytes());
        assert!(world.counts(over, NO_SOCKET));
    }
}

#[test]
fn what_is_neither_ping_nor_tcp_counts() {
    let world = World::new();
    for packet in [
        world.packet(IPV4, UDP),
        world.packet(IPV6, UDP),
        // ARP, with a 1 and a 6 where IP names its protocol.
        world.packet([0x08, 0x06], ICMP),
        world.packet([0x08, 0x06], TCP),
    ] {
        assert!(world.counts(packet, NO_SOCKET));
    }
}

#[test]
fn a_receiving_socket_says_where_and_needs_no_device() {
    let world = World {
        arguments: 4,
        ..World::new()
    };
    let packet = world.on(THERE, 9, world.packet(IPV4, UDP));
    world
        .kernel
        .write(packet, world.packet_arrived_on(), 5_u32.to_ne_bytes());
    let receiver = world.kernel.socket(HERE);
    dropped(&world, &[packet, LOCATION, OTHER.into(), receiver]);
    assert_eq!(world.drops.all(), [(key(HERE, 5, OTHER), 1)]);
    // No socket was to receive this one.
    dropped(&world, &[packet, LOCATION, OTHER.into(), 0]);
    assert_eq!(world.drops.get(&key(THERE, 9, OTHER)), Some(1));
}

#[test]
fn without_a_device_the_sender_and_its_route_say_where() {
    let world = World::new();
    let packet = world.packet(IPV4, UDP);
    world
        .kernel
        .point(packet, world.packet_socket(), world.kernel.socket(HERE));
    world.drop(packet, OTHER);
    assert_eq!(world.drops.all(), [(key(HERE, 0, OTHER), 1)]);
    let route = world.kernel.route(world.kernel.device(HERE, 5));
    // Without a reference to the route, the lowest bit is set.
    for flag in [0, 1] {
        world.kernel.point(packet, world.packet_route(), route | flag);
        world.drop(packet, OTHER);
    }
    assert_eq!(world.drops.get(&key(HERE, 5, OTHER)), Some(2));
    // A device pointer that is no device, because the packet is in a queue.
    world.kernel.point(packet, world.packet_device(), NOWHERE);
    world.drop(packet, OTHER);
    world.drop(packet, OTHER);
    assert_eq!(world.drops.get(&key(HERE, 5, OTHER)), Some(4));
    assert_eq!(world.kernel.notes.take(), [(NO_DEVICE, HERE, OTHER)]);
}
