//! Counts the packets that the kernel drops, by namespace, device and the kernel's own reason.
//!
//! The program runs only when a packet is freed as dropped, in any namespace. The daemon sets which reasons are no
//! loss. Knows no names.
//!
//! Kernel facts relied on:
//!
//! - `kfree_skb` has a reason since 5.17.
//! - `skb_iif` is the device that the packet last arrived on, in the namespace that it arrived in.
//! - `skb->sk` of a received packet is the *sender's* socket. So a socket counts only where there is no device.
//! - A packet whose `protocol` is 0 belongs to no network protocol (Unix and netlink sockets).
//! - The kernel does not run a program within itself on one CPU. So a CPU's counter has no other writer.

use netmon_common::{
    drops::{Key, LOST_REASONS},
    notes::{NO_DEVICE, NO_KEY, NO_SHARE},
    refusal,
    share::Share,
};

use crate::{
    kernel::{Arguments, Interface, Kernel, of_device, of_route, of_socket},
    maps::{Added, Array, Map},
    notes,
    packet::{self, IPV4, IPV4_PROTOCOL, IPV6, IPV6_NEXT_HEADER, TCP},
    share,
};

/// What the object of drops has: the offsets of what is read, what the daemon sets, and maps.
pub trait Object: Kernel {
    /// `sk_buff.dev`.
    fn packet_device(&self) -> u32;
    /// `sk_buff.sk`.
    fn packet_socket(&self) -> u32;
    /// `sk_buff.skb_iif`.
    fn packet_arrived_on(&self) -> u32;
    /// `sk_buff.protocol`.
    fn packet_protocol(&self) -> u32;
    /// The byte of `sk_buff.pkt_type`.
    fn packet_type(&self) -> u32;
    /// `sk_buff._skb_refdst`.
    fn packet_route(&self) -> u32;
    /// `sk_buff.head`.
    fn packet_head(&self) -> u32;
    /// `sk_buff.end`.
    fn packet_end(&self) -> u32;
    /// `sk_buff.network_header`.
    fn packet_network_header(&self) -> u32;
    /// `sk_buff.transport_header`.
    fn packet_transport_header(&self) -> u32;
    /// `sk_buff.len`.
    fn packet_length(&self) -> u32;
    /// `skb_shared_info.gso_segs`.
    fn shared_segments(&self) -> u32;

    /// The number of the tracepoint's arguments on this kernel.
    fn arguments(&self) -> u32;
    /// A word of the bit set of reasons that are no loss: 64 reasons from 64 times its index on.
    fn harmless(&self, word: u32) -> u64;
    /// A word of the bit set of reasons that are no loss of a broadcast or multicast frame.
    fn unwanted(&self, word: u32) -> u64;
    /// The reason `NOT_SPECIFIED`.
    fn not_specified(&self) -> u32;
    /// The reason "no socket".
    fn no_socket(&self) -> u32;
    /// The reason "a socket's filter rejected it".
    fn socket_filter(&self) -> u32;
    /// The reason "a listener, or this connection, does not expect such TCP flags".
    fn tcp_flags(&self) -> u32;
    /// The reason "the connection is closed".
    fn tcp_close(&self) -> u32;

    /// The counts.
    fn drops(&self) -> &impl Map<Key, u64>;
    /// Packets that found no room, by the reason. All reasons from [`LOST_REASONS`] on are one.
    fn lost(&self) -> &impl Array<u64>;
    /// The same packets, by the cause.
    fn refused(&self) -> &impl Array<u64>;
    /// What each namespace has of the counts.
    fn shares(&self) -> &impl Map<u64, Share>;
}

const PACKET_BROADCAST: u8 = 1;
const PACKET_MULTICAST: u8 = 2;
const PACKET_LOOPBACK: u8 = 5;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// The offset of the word in a TCP header that has its length and its flags. The length is in the upper four
/// bits, in units of four bytes.
const TCP_LENGTH_AND_FLAGS: u32 = 12;
const TCP_LENGTH_SHIFT: u32 = 12;
const TCP_LENGTH_UNIT: u32 = 4;
const TCP_SYN: u16 = 0x02;
const TCP_RST: u16 = 0x04;
const TCP_ACK: u16 = 0x10;
/// The lowest bit of a packet's route means that it holds no reference. The other bits are the address.
const ROUTE_FLAG: u64 = 1;
/// From this number of arguments on (6.11), the tracepoint reports which socket was to receive the packet.
const WITH_RECEIVER: u32 = 4;

/// A packet was dropped (`kfree_skb`).
#[inline(always)]
pub fn dropped(object: &impl Object, arguments: impl Arguments) {
    let reason = arguments.number(2);
    if is_among(reason, |word| object.harmless(word)) {
        return;
    }
    let packet = arguments.pointer(0);
    // SAFETY: the first argument of the tracepoint is a `struct sk_buff *`.
    let protocol: u16 = unsafe { object.field(packet, object.packet_protocol()) };
    if protocol == 0 || is_unneeded(object, packet, protocol, reason) {
        return;
    }
    if is_among(reason, |word| object.unwanted(word)) && is_for_everybody(kind(object, packet)) {
        return;
    }
    // The verifier knows this constant. On a kernel without the argument, it never looks at the read.
    let receiver = if object.arguments() >= WITH_RECEIVER {
        arguments.pointer(3)
    } else {
        0
    };
    let Interface { netns, ifindex } = place(object, packet, receiver, reason);
    let location = if reason == object.not_specified() {
        arguments.pointer(1)
    } else {
        0
    };
    let key = Key {
        netns,
        location,
        ifindex,
        reason,
    };
    count(object, key, segments(object, packet));
}

/// Whether a bit set has a reason. Every word of it has 64 reasons; words that it does not have are 0.
#[inline(always)]
fn is_among(reason: u32, word: impl FnOnce(u32) -> u64) -> bool {
    (word(reason / u64::BITS) >> (reason % u64::BITS)) & 1 == 1
}

/// Whom the frame is for.
#[inline(always)]
fn kind(object: &impl Object, packet: u64) -> u8 {
    // SAFETY: `packet` is a `struct sk_buff *`.
    let byte: u8 = unsafe { object.field(packet, object.packet_type()) };
    first_bits(byte, cfg!(target_endian = "little"))
}

/// A bit field of three bits, the first in its byte. The first bits are the lowest on a little-endian machine.
#[inline(always)]
fn first_bits(byte: u8, is_little_endian: bool) -> u8 {
    if is_little_endian { byte & 0b111 } else { byte >> 5 }
}

/// Whether the frame was received as a broadcast or a multicast, or is the sender's own copy of one.
#[inline(always)]
fn is_for_everybody(kind: u8) -> bool {
    kind == PACKET_BROADCAST || kind == PACKET_MULTICAST || kind == PACKET_LOOPBACK
}

/// Where the packet was dropped. The receiving socket is the best source, then the device. If the packet has not
/// reached a device yet, or was dropped in a queue, the sending socket is used.
#[inline(always)]
fn place(object: &impl Object, packet: u64, receiver: u64, reason: u32) -> Interface {
    // SAFETY: `packet` is the tracepoint's `struct sk_buff *`, and `receiver` is a `struct sock *` or 0. Every
    // pointer read from them is used with its own type.
    unsafe {
        if receiver != 0 {
            return Interface {
                netns: of_socket(object, receiver),
                ifindex: object.field(packet, object.packet_arrived_on()),
            };
        }
        let device: u64 = object.field(packet, object.packet_device());
        if let Some(interface) = of_device(object, device) {
            return interface;
        }
        let sender: u64 = object.field(packet, object.packet_socket());
        let netns = if sender == 0 { 0 } else { of_socket(object, sender) };
        if device != 0 {
            notes::once(object, object.shares(), NO_DEVICE, netns, reason);
        }
        if sender == 0 {
            return Interface { netns, ifindex: 0 };
        }
        let route = object.field::<u64>(packet, object.packet_route()) & !ROUTE_FLAG;
        Interface {
            netns,
            ifindex: of_route(object, route, netns),
        }
    }
}

/// The number of packets that this would have been on the wire.
#[inline(always)]
fn segments(object: &impl Object, packet: u64) -> u64 {
    // SAFETY: `packet` is a `struct sk_buff *`. `skb_shared_info` begins at the end of the data (skb_end_pointer).
    let shared = unsafe {
        object.field::<u64>(packet, object.packet_head()) + u64::from(object.field::<u32>(packet, object.packet_end()))
    };
    let segments: Option<u16> = object.probe(shared, object.shared_segments());
    packet::on_a_wire(u32::from(segments.unwrap_or(0)))
}

/// Whether a packet that no socket wanted is no loss.
///
/// Every raw socket gets a copy of an answer to a ping, and its filter rejects answers to others. The answer
/// itself is then dropped because there is no ping socket (`ping_rcv`). That makes one drop per ping.
///
/// A TCP segment without data may arrive when its connection is over. After a reset, this is the other end's last
/// acknowledgement or its own reset. It finds no socket, or a listener, or a socket that is just being closed. A
/// segment that opens a connection, brings data, or makes no sense counts.
#[inline(always)]
fn is_unneeded(object: &impl Object, packet: u64, protocol: u16, reason: u32) -> bool {
    let no_socket = reason == object.no_socket();
    let may_be_ping = no_socket || reason == object.socket_filter();
    let may_be_over = no_socket || reason == object.tcp_flags() || reason == object.tcp_close();
    if !may_be_ping && !may_be_over {
        return false;
    }
    // SAFETY: `packet` is a `struct sk_buff *`.
    let (head, network, transport, length) = unsafe {
        (
            object.field::<u64>(packet, object.packet_head()),
            object.field::<u16>(packet, object.packet_network_header()),
            object.field::<u16>(packet, object.packet_transport_header()),
            object.field::<u32>(packet, object.packet_length()),
        )
    };
    let header = head + u64::from(network);
    let (inside, icmp) = match protocol {
        IPV4 => (object.probe::<u8>(header, IPV4_PROTOCOL), ICMP),
        IPV6 => (object.probe::<u8>(header, IPV6_NEXT_HEADER), ICMPV6),
        _ => return false,
    };
    if inside == Some(icmp) {
        return may_be_ping;
    }
    if !may_be_over || inside != Some(TCP) {
        return false;
    }
    object
        .probe::<u16>(head + u64::from(transport), TCP_LENGTH_AND_FLAGS)
        .is_some_and(|word| is_over(u16::from_be(word), length))
}

/// Whether a TCP segment neither opens a connection nor brings data. `length` is that of the segment with its TCP
/// header: for the reasons in question, the kernel drops a segment before it removes this header.
#[inline(always)]
fn is_over(length_and_flags: u16, length: u32) -> bool {
    length_and_flags & TCP_SYN == 0
        && length_and_flags & (TCP_ACK | TCP_RST) != 0
        && length <= u32::from(length_and_flags >> TCP_LENGTH_SHIFT) * TCP_LENGTH_UNIT
}

/// Adds to a count. If a namespace has used up its share of the map, its new keys do not distinguish devices.
#[inline(always)]
fn count(object: &impl Object, mut key: Key, segments: u64) {
    let drops = object.drops();
    let mut found = drops.find(&key);
    let mut cause = refusal::SHARE;
    if found.is_none()
        && let Some(room) = share::look(object.shares(), key.netns)
    {
        if !room.has_device {
            notes::once(object, object.shares(), NO_SHARE, key.netns, 0);
            key.ifindex = 0;
            found = drops.find(&key);
        }
        if found.is_none() {
            let added = drops.add(&key, &segments);
            if added == Added::Created {
                room.take();
                return;
            }
            cause = added.cause();
            found = drops.find(&key);
        }
    }
    let increase = |counter: Option<*mut u64>| {
        if let Some(counter) = counter {
            // SAFETY: the value exists while the program runs. This CPU's counter has no other writer (see the
            // module).
            unsafe { *counter += segments };
        }
    };
    if found.is_some() {
        increase(found);
    } else {
        notes::once(object, object.shares(), NO_KEY, key.netns, cause);
        increase(object.lost().at(key.reason.min(LOST_REASONS)));
        increase(object.refused().at(cause));
    }
}

#[cfg(test)]
mod tests;
