//! Which packets between nodes count, and under which tunnel. The packets are a test's own bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use netmon_common::{
    overlay::{ESP, Key, OF_STRANGERS, Outer, VXLAN},
    refusal::{FULL, OTHER, SHARE},
    traffic::{RECEIVE, TRANSMIT},
};

use super::{ESP_PROTOCOL, Object, count};
use crate::{
    maps::{Added, Array, Map},
    packet::UDP,
    testing::{Frame, Table, causes},
};

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const PORT: u16 = 4789;
const VNI: u32 = 0x00ab_cdef;
const FROM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

struct World {
    tunnels: Table<Key, Outer>,
    lost: Table<u32, u64>,
    strangers: Table<u32, u32>,
    port: Table<u32, u32>,
}

impl World {
    fn new() -> Self {
        Self {
            tunnels: Table::default(),
            lost: causes(),
            strangers: Table::with([(0, 0)]),
            port: Table::with([(0, u32::from(PORT))]),
        }
    }
}

impl Object for World {
    fn tunnels(&self) -> &impl Map<Key, Outer> {
        &self.tunnels
    }

    fn lost(&self) -> &impl Array<u64> {
        &self.lost
    }

    fn strangers(&self) -> &impl Array<u32> {
        &self.strangers
    }

    fn port(&self) -> &impl Array<u32> {
        &self.port
    }
}

/// A UDP header, and a VXLAN header with the flag that says that it has a VNI.
fn vxlan() -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34];
    bytes.extend(PORT.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([0x08, 0, 0, 0]);
    bytes.extend((VNI << 8).to_be_bytes());
    bytes
}

/// An IPv4 header with this many bytes of options, and what is behind it.
fn ipv4(next: u8, options: u8, inside: &[u8]) -> Frame {
    let mut bytes = vec![0x40 | (5 + options / 4), 0, 0, 0, 0, 0, 0x40, 0, 64, next, 0, 0];
    bytes.extend(FROM.octets());
    bytes.extend(TO.octets());
    bytes.extend(vec![0; options.into()]);
    bytes.extend(inside);
    Frame::ethernet(IPV4, &bytes)
}

fn ipv6(next: u8, from: Ipv6Addr, to: Ipv6Addr, inside: &[u8]) -> Frame {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend(inside);
    Frame::ethernet(IPV6, &bytes)
}

/// The keys that a packet is counted by: one or none.
fn keys(packet: &Frame, direction: u32) -> Vec<Key> {
    let world = World::new();
    count(&world, packet, direction);
    assert_eq!(world.lost.counted(), []);
    world.tunnels.all().into_iter().map(|(key, _)| key).collect()
}

fn of_vxlan(remote: impl Into<Ipv6Addr>, direction: u16) -> Key {
    Key {
        remote: remote.into().octets(),
        vni: VNI,
        kind: VXLAN,
        direction,
    }
}

#[test]
fn the_remote_node_is_the_source_of_what_is_received_and_the_destination_of_what_is_sent() {
    let packet = ipv4(UDP, 0, &vxlan());
    assert_eq!(keys(&packet, RECEIVE), [of_vxlan(FROM.to_ipv6_mapped(), 0)]);
    assert_eq!(keys(&packet, TRANSMIT), [of_vxlan(TO.to_ipv6_mapped(), 1)]);
}

#[test]
fn nodes_may_have_ipv6_addresses() {
    let (from, to) = (Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, 7), Ipv6Addr::LOCALHOST);
    let packet = ipv6(UDP, from, to, &vxlan());
    assert_eq!(keys(&packet, RECEIVE), [of_vxlan(from, 0)]);
    assert_eq!(keys(&packet, TRANSMIT), [of_vxlan(to, 1)]);
}

#[test]
fn options_of_the_ip_header_are_skipped() {
    let packet = ipv4(UDP, 40, &vxlan());
    assert_eq!(keys(&packet, RECEIVE), [of_vxlan(FROM.to_ipv6_mapped(), 0)]);
}

#[test]
fn a_device_may_have_no_link_layer_header() {
    let mut packet = ipv4(UDP, 0, &vxlan());
    packet.bytes.drain(..packet.link);
    packet.link = 0;
    assert_eq!(keys(&packet, RECEIVE), [of_vxlan(FROM.to_ipv6_mapped(), 0)]);
}

#[test]
fn an_encrypted_packet_has_no_vni() {
    let encrypted = |remote: Ipv6Addr| Key {
        remote: remote.octets(),
        vni: 0,
        kind: ESP,
        direction: 0,
    };
    // Nothing behind the IP header is read.
    let packet = ipv4(ESP_PROTOCOL, 0, &[]);
    assert_eq!(keys(&packet, RECEIVE), [encrypted(FROM.to_ipv6_mapped())]);
    let packet = ipv6(ESP_PROTOCOL, Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &[]);
    assert_eq!(keys(&packet, RECEIVE), [encrypted(Ipv6Addr::LOCALHOST)]);
}

#[test]
fn what_is_in_no_tunnel_is_not_counted() {
    let mut other_port = vxlan();
    other_port[3] += 1;
    let mut without_vni = vxlan();
    without_vni[8] = 0xf7;
    let mut too_short = vxlan();
    too_short.pop();
    let tcp = 6;
    for packet in [
        ipv4(UDP, 0, &other_port),
        ipv4(UDP, 0, &without_vni),
        ipv4(UDP, 0, &too_short),
        ipv4(tcp, 0, &vxlan()),
        Frame::ethernet(IPV4, &[0x45; 19]),
        Frame::ethernet(IPV6, &[0x60; 6]),
        // The source ends one byte early.
        Frame::ethernet(IPV6, &[ESP_PROTOCOL; 23]),
        // ARP.
        Frame::ethernet([0x08, 0x06], &[ESP_PROTOCOL; 40]),
    ] {
        assert_eq!(keys(&packet, RECEIVE), [], "{packet:x?}");
    }
}

#[test]
fn before_the_daemon_has_said_the_port_nothing_is_vxlan() {
    let world = World {
        port: Table::default(),
        ..World::new()
    };
    count(&world, &ipv4(UDP, 0, &vxlan()), RECEIVE);
    assert_eq!(world.tunnels.all(), []);
}

#[test]
fn of_fragments_only_the_first_is_counted() {
    let mut packet = ipv4(UDP, 0, &vxlan());
    // "More fragments" is a flag of the first one. Its offset is 0.
    packet.bytes[14 + 6] = 0x20;
    assert_eq!(keys(&packet, RECEIVE).len(), 1);
    for (high, low) in [(0x20, 1), (0x00, 1), (0x10, 0)] {
        (packet.bytes[14 + 6], packet.bytes[14 + 7]) = (high, low);
        assert_eq!(keys(&packet, RECEIVE), [], "{high:x} {low:x}");
    }
}

#[test]
fn a_packet_of_a_vlan_is_counted_at_the_vlans_device() {
    let mut packet = ipv4(UDP, 0, &vxlan());
    packet.vlan = 0x0001;
    assert_eq!((keys(&packet, RECEIVE), keys(&packet, TRANSMIT)), (vec![], vec![]));
    // A priority, and no VLAN.
    packet.vlan = 0xe000;
    assert_eq!((keys(&packet, RECEIVE).len(), keys(&packet, TRANSMIT).len()), (1, 1));
}

#[test]
fn a_packet_for_another_host_is_none_of_this_nodes() {
    let mut packet = ipv4(UDP, 0, &vxlan());
    packet.kind = 3;
    assert_eq!((keys(&packet, RECEIVE).len(), keys(&packet, TRANSMIT).len()), (0, 1));
}

#[test]
fn packets_count_as_on_a_wire() {
    let world = World::new();
    let mut packet = ipv4(UDP, 0, &vxlan());
    count(&world, &packet, RECEIVE);
    packet.gso_segments = 4;
    count(&world, &packet, RECEIVE);
    let expected = Outer {
        packets: 5,
        bytes: 2 * packet.bytes.len() as u64,
    };
    assert_eq!(world.tunnels.get(&of_vxlan(FROM.to_ipv6_mapped(), 0)), Some(expected));
    // The key was created once.
    assert_eq!(world.strangers.get(&0), Some(1));
}

#[test]
fn unknown_tunnels_have_a_limited_room_and_known_ones_do_not_use_it() {
    let mut packet = ipv4(UDP, 0, &vxlan());
    packet.gso_segments = 4;
    let world = World {
        strangers: Table::with([(0, OF_STRANGERS - 1)]),
        ..World::new()
    };
    count(&world, &packet, RECEIVE);
    count(&world, &packet, TRANSMIT);
    let received = of_vxlan(FROM.to_ipv6_mapped(), 0);
    assert_eq!(world.tunnels.get(&received).map(|it| it.packets), Some(4));
    assert_eq!(world.tunnels.all().len(), 1);
    assert_eq!(world.strangers.get(&0), Some(OF_STRANGERS));
    assert_eq!(world.lost.counted(), [(SHARE, 4)]);
    // The daemon creates the key of a tunnel that it knows.
    let transmitted = of_vxlan(TO.to_ipv6_mapped(), 1);
    assert_eq!(world.tunnels.add(&transmitted, &Outer::ZERO), Added::Created);
    count(&world, &packet, TRANSMIT);
    assert_eq!(world.tunnels.get(&transmitted).map(|it| it.packets), Some(4));
    assert_eq!(world.lost.counted(), [(SHARE, 4)]);
}

#[test]
fn what_finds_the_map_full_is_lost() {
    let world = World::new();
    world.tunnels.room.set(0);
    count(&world, &ipv4(UDP, 0, &vxlan()), RECEIVE);
    world.tunnels.cause.set(OTHER);
    count(&world, &ipv4(UDP, 0, &vxlan()), RECEIVE);
    assert_eq!(world.lost.counted(), [(FULL, 1), (OTHER, 1)]);
    assert_eq!(world.strangers.get(&0), Some(0), "no key was created");
}
