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
    refusal,
    traffic::RECEIVE,
};

use crate::{
    maps::{Added, Array, Map},
    packet::{
        self, CONTEXT_IPV4 as IPV4, CONTEXT_IPV6 as IPV6, FRAGMENT_PLACE, IPV6_HEADER, Packet, UDP, in_ipv6_form,
    },
};

/// What the object of overlays has: maps.
pub trait Object {
    /// The counts.
    fn tunnels(&self) -> &impl Map<Key, Outer>;
    /// Packets that found no room, by the cause.
    fn lost(&self) -> &impl Array<u64>;
    /// How many keys of unknown tunnels there are.
    fn strangers(&self) -> &impl Array<u32>;
    /// The UDP port of VXLAN.
    fn port(&self) -> &impl Array<u32>;
}

/// The initial counts of a tunnel. They are a static, because a structure built on the stack becomes a call of
/// `memset`.
static ZERO: Outer = Outer::ZERO;

const ESP_PROTOCOL: u8 = 50;
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
    let mut cause = refusal::SHARE;
    if outer.is_none()
        && let Some(strangers) = room(object.strangers())
    {
        let added = tunnels.add(&key, &ZERO);
        if added == Added::Created {
            // SAFETY: the map's value lives as long as the map. Others may write meanwhile, and then there is one key
            // too many.
            unsafe { *strangers += 1 };
        }
        cause = added.cause();
        outer = tunnels.find(&key);
    }
    let packets = packet::on_a_wire(packet.gso_segments());
    // SAFETY: the value exists while the program runs. This CPU's value has no other writer: the hooks run with
    // bottom halves off, and the direction is part of the key.
    unsafe {
        if let Some(outer) = outer {
            (*outer).packets += packets;
            (*outer).bytes += u64::from(packet.length());
        } else if let Some(lost) = object.lost().at(cause) {
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
        UDP => {
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

/// The number of unknown tunnels, if there is room for one more. Anybody can write any address and VNI into a packet,
/// and such packets must not use the room of known tunnels. The daemon corrects the number when it reads.
#[inline(always)]
fn room(strangers: &impl Array<u32>) -> Option<*mut u32> {
    let strangers = strangers.at(0)?;
    // SAFETY: the map's value lives as long as the map.
    let has_room = unsafe { *strangers < OF_STRANGERS };
    has_room.then_some(strangers)
}

#[cfg(test)]
mod tests;
