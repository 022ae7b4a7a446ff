//! Counts the packets that this node and others exchange through the tunnels of overlay networks, and lets every
//! packet pass.
//!
//! The programs are attached to the devices that lead to other nodes, where a packet has its outer headers. Only
//! there are all three facts visible: the network (its VNI), the remote node, and whether the packet is encrypted.
//!
//! Kernel facts relied on:
//!
//! - The network header is set on ingress and egress (`__netif_receive_skb_core`, `ip_finish_output2`). So devices
//!   without a link-layer header work, too.
//! - Encrypted packets pass here only as ESP. On egress they were encrypted before. On ingress, a packet decrypted
//!   afterwards does not pass again.

use netmon_common::{
    overlay::{ESP, Key, OF_STRANGERS, Outer, VXLAN},
    traffic::RECEIVE,
};

use crate::{
    maps::{Array, Map},
    packet::{self, Packet, in_ipv6_form},
};

/// What the object of overlays has: maps.
pub trait Object {
    /// The counts.
    fn tunnels(&self) -> &impl Map<Key, Outer>;
    /// Packets that found no room.
    fn lost(&self) -> &impl Array<u64>;
    /// How many keys of unknown tunnels there are.
    fn strangers(&self) -> &impl Array<u32>;
    /// The UDP port of VXLAN.
    fn port(&self) -> &impl Array<u32>;
}

/// The initial counts of a tunnel. They are a static, because a structure built on the stack becomes a call of
/// `memset`.
static ZERO: Outer = Outer::ZERO;

const IPV4: u32 = packet::IPV4 as u32;
const IPV6: u32 = packet::IPV6 as u32;
const UDP_PROTOCOL: u8 = 17;
const ESP_PROTOCOL: u8 = 50;
const IPV6_HEADER: u32 = 40;
/// The fragment offset: all bits of its field except the flags.
const FRAGMENT_PLACE: u16 = 0x1fff;
/// A flag in the first byte of a VXLAN header: the header has a VNI.
const HAS_VNI: u8 = 0x08;
/// The VLAN id: all bits of a VLAN tag except the priority. The id 0 is no VLAN.
const VLAN_ID: u32 = 0xfff;
/// `PACKET_OTHERHOST`: the packet is seen only because the device is promiscuous.
const OTHER_HOST: u32 = 3;

/// The outer header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// The other node.
    remote: [u8; 16],
    /// The protocol inside.
    next: u8,
    /// The header's length.
    length: u32,
}

/// Counts a packet if it belongs to a tunnel.
#[inline(always)]
pub fn count(object: &impl Object, packet: impl Packet, direction: u32) {
    if is_foreign(packet.vlan(), packet.kind(), direction) {
        return;
    }
    let Some(Header { remote, next, length }) = header(&packet, direction) else {
        return;
    };
    let Some((vni, kind)) = network(object, &packet, next, length) else {
        return;
    };
    let key = Key {
        remote,
        vni,
        kind,
        direction: in_16_bits(direction),
    };
    let tunnels = object.tunnels();
    let mut outer = tunnels.find(&key);
    if outer.is_none() && has_room(object.strangers()) && tunnels.set(&key, &ZERO) {
        outer = tunnels.find(&key);
    }
    let packets = packet::on_a_wire(packet.gso_segments());
    // SAFETY: the value exists while the program runs. This CPU's value has no other writer: the hooks run with
    // bottom halves off, and the direction is part of the key.
    unsafe {
        if let Some(outer) = outer {
            (*outer).packets += packets;
            (*outer).bytes += u64::from(packet.length());
        } else if let Some(lost) = object.lost().at(0) {
            *lost += packets;
        }
    }
}

/// Whether this packet is counted elsewhere, or nowhere. A packet with a VLAN tag is on its way to or from the VLAN's
/// device, and passes there, too. A packet for another host is none of this node's.
#[inline(always)]
fn is_foreign(vlan: u32, kind: u32, direction: u32) -> bool {
    vlan & VLAN_ID != 0 || direction == RECEIVE && kind == OTHER_HOST
}

/// The outer header; `None` if the packet has none that shows a tunnel.
#[inline(always)]
fn header(packet: &impl Packet, direction: u32) -> Option<Header> {
    match packet.protocol() {
        IPV4 => of_ipv4(packet.load(0)?, direction),
        IPV6 => {
            let [next] = packet.load(6)?;
            let remote = packet.load(if direction == RECEIVE { 8 } else { 24 })?;
            Some(Header {
                remote,
                next,
                length: IPV6_HEADER,
            })
        }
        _ => None,
    }
}

#[inline(always)]
fn of_ipv4(ip: [u8; 20], direction: u32) -> Option<Header> {
    // Only the first fragment has the headers that show the tunnel.
    if u16::from_be_bytes([ip[6], ip[7]]) & FRAGMENT_PLACE != 0 {
        return None;
    }
    let remote = if direction == RECEIVE {
        [ip[12], ip[13], ip[14], ip[15]]
    } else {
        [ip[16], ip[17], ip[18], ip[19]]
    };
    Some(Header {
        remote: in_ipv6_form(remote),
        next: ip[9],
        length: u32::from(ip[0] & 0xf) * 4,
    })
}

/// The VNI, and whether the packet is VXLAN or ESP; `None` if it is neither.
#[inline(always)]
fn network(object: &impl Object, packet: &impl Packet, next: u8, header: u32) -> Option<(u32, u16)> {
    match next {
        UDP_PROTOCOL => {
            let udp = packet.load(header)?;
            // SAFETY: the map's value lives as long as the map.
            let port = unsafe { *object.port().at(0)? };
            Some((vni(udp, port)?, VXLAN))
        }
        ESP_PROTOCOL => Some((0, ESP)),
        _ => None,
    }
}

/// The VNI, from the UDP header and what is behind it: the VXLAN header if this is the port of VXLAN.
#[inline(always)]
fn vni(udp: [u8; 16], port: u32) -> Option<u32> {
    let to = u32::from(u16::from_be_bytes([udp[2], udp[3]]));
    if to == port && udp[8] & HAS_VNI != 0 {
        Some(u32::from_be_bytes([0, udp[12], udp[13], udp[14]]))
    } else {
        None
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a direction is 0 or 1")]
fn in_16_bits(direction: u32) -> u16 {
    direction as u16
}

/// Reserves room for one unknown tunnel. Anybody can write any address and VNI into a packet, and such packets
/// must not use the room of known tunnels. The daemon corrects the number when it reads.
#[inline(always)]
fn has_room(strangers: &impl Array<u32>) -> bool {
    let Some(strangers) = strangers.at(0) else {
        return false;
    };
    // SAFETY: the map's value lives as long as the map. Others may write meanwhile, and then there is one key too
    // many.
    unsafe {
        let has_room = *strangers < OF_STRANGERS;
        *strangers += u32::from(has_room);
        has_room
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use netmon_common::{
        overlay::{ESP, Key, OF_STRANGERS, Outer, VXLAN},
        traffic::{RECEIVE, TRANSMIT},
    };

    use super::{ESP_PROTOCOL, Object, UDP_PROTOCOL, count};
    use crate::{
        maps::{Array, Map},
        testing::{Frame, Table},
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
                lost: Table::with([(0, 0)]),
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
        assert_eq!(world.lost.get(&0), Some(0));
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
        let packet = ipv4(UDP_PROTOCOL, 0, &vxlan());
        assert_eq!(keys(&packet, RECEIVE), [of_vxlan(FROM.to_ipv6_mapped(), 0)]);
        assert_eq!(keys(&packet, TRANSMIT), [of_vxlan(TO.to_ipv6_mapped(), 1)]);
    }

    #[test]
    fn nodes_may_have_ipv6_addresses() {
        let (from, to) = (Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, 7), Ipv6Addr::LOCALHOST);
        let packet = ipv6(UDP_PROTOCOL, from, to, &vxlan());
        assert_eq!(keys(&packet, RECEIVE), [of_vxlan(from, 0)]);
        assert_eq!(keys(&packet, TRANSMIT), [of_vxlan(to, 1)]);
    }

    #[test]
    fn options_of_the_ip_header_are_skipped() {
        let packet = ipv4(UDP_PROTOCOL, 40, &vxlan());
        assert_eq!(keys(&packet, RECEIVE), [of_vxlan(FROM.to_ipv6_mapped(), 0)]);
    }

    #[test]
    fn a_device_may_have_no_link_layer_header() {
        let mut packet = ipv4(UDP_PROTOCOL, 0, &vxlan());
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
            ipv4(UDP_PROTOCOL, 0, &other_port),
            ipv4(UDP_PROTOCOL, 0, &without_vni),
            ipv4(UDP_PROTOCOL, 0, &too_short),
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
        count(&world, &ipv4(UDP_PROTOCOL, 0, &vxlan()), RECEIVE);
        assert_eq!(world.tunnels.all(), []);
    }

    #[test]
    fn of_fragments_only_the_first_is_counted() {
        let mut packet = ipv4(UDP_PROTOCOL, 0, &vxlan());
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
        let mut packet = ipv4(UDP_PROTOCOL, 0, &vxlan());
        packet.vlan = 0x0001;
        assert_eq!((keys(&packet, RECEIVE), keys(&packet, TRANSMIT)), (vec![], vec![]));
        // A priority, and no VLAN.
        packet.vlan = 0xe000;
        assert_eq!((keys(&packet, RECEIVE).len(), keys(&packet, TRANSMIT).len()), (1, 1));
    }

    #[test]
    fn a_packet_for_another_host_is_none_of_this_nodes() {
        let mut packet = ipv4(UDP_PROTOCOL, 0, &vxlan());
        packet.kind = 3;
        assert_eq!((keys(&packet, RECEIVE).len(), keys(&packet, TRANSMIT).len()), (0, 1));
    }

    #[test]
    fn packets_count_as_on_a_wire() {
        let world = World::new();
        let mut packet = ipv4(UDP_PROTOCOL, 0, &vxlan());
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
        let mut packet = ipv4(UDP_PROTOCOL, 0, &vxlan());
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
        assert_eq!(world.lost.get(&0), Some(4));
        // The daemon creates the key of a tunnel that it knows.
        let transmitted = of_vxlan(TO.to_ipv6_mapped(), 1);
        world.tunnels.add(&transmitted, &Outer::ZERO);
        count(&world, &packet, TRANSMIT);
        assert_eq!(world.tunnels.get(&transmitted).map(|it| it.packets), Some(4));
        assert_eq!(world.lost.get(&0), Some(4));
    }

    #[test]
    fn what_finds_the_map_full_is_lost() {
        let world = World::new();
        world.tunnels.room.set(0);
        count(&world, &ipv4(UDP_PROTOCOL, 0, &vxlan()), RECEIVE);
        assert_eq!(world.lost.get(&0), Some(1));
    }
}
