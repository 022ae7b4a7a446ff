//! Counts the packets of an interface in both directions, and lets every packet pass.
//!
//! Knows no addresses, no names and no other interface. The daemon loads one copy for every interface, with the slot
//! as a constant. Every way of looking up the interface at run time costs more than the counting itself: a hash
//! lookup costs about twenty times as much as the two additions.
//!
//! Kernel facts relied on:
//!
//! - `__sk_buff.gso_segs` (5.1) is 0 for an ordinary packet.
//! - `wire_len` is the length after segmentation on egress only.
//! - The hooks run with bottom halves off. So no other packet of the same interface and direction interrupts a CPU
//!   between the load and the store of a counter.

use netmon_common::traffic::{TRANSMIT, Traffic, index};

use crate::{
    maps::Array,
    packet::{self, IPV4_PROTOCOL, IPV6_NEXT_HEADER, Packet, TCP},
};

/// What the object of traffic has: what the daemon sets, and the map.
pub trait Object {
    /// The slot that this copy counts into.
    fn slot(&self) -> u32;
    /// The number of slots of each CPU.
    fn slots(&self) -> u32;
    /// The counters of all slots.
    fn counters(&self) -> &impl Array<Traffic>;
}

const IPV4: u32 = packet::IPV4 as u32;
const IPV6: u32 = packet::IPV6 as u32;
const ETHERNET_HEADER: u32 = 14;

/// Counts a packet on the CPU that the program runs on.
#[inline(always)]
pub fn count(object: &impl Object, packet: impl Packet, cpu: u32, direction: u32) {
    let Some(counter) = object
        .counters()
        .at(index(cpu, object.slots(), object.slot(), direction))
    else {
        return;
    };
    let bytes = u64::from(packet.length());
    let segments = packet::on_a_wire(packet.gso_segments());
    // SAFETY: `counter` points into the map's value, which lives as long as the map. No other CPU writes there,
    // because the CPU is part of the index. On this CPU, the hook is not re-entered.
    unsafe {
        (*counter).packets += 1;
        (*counter).bytes += bytes;
        (*counter).segments += segments;
        if direction == TRANSMIT {
            (*counter).wire_bytes += u64::from(packet.wire_length());
            if is_own_tcp(&packet) {
                (*counter).tcp_segments += segments;
            }
        } else {
            (*counter).wire_bytes += bytes;
        }
    }
}

/// Whether a local socket sends this packet over TCP. A forwarded packet no longer has a socket (`ip_rcv_core`).
///
/// IPv6 extension headers are not followed, because the kernel's TCP sends none.
#[inline(always)]
fn is_own_tcp(packet: &impl Packet) -> bool {
    let protocol_at = match packet.protocol() {
        IPV4 => IPV4_PROTOCOL,
        IPV6 => IPV6_NEXT_HEADER,
        _ => return false,
    };
    packet.has_socket() && packet.byte(ETHERNET_HEADER + protocol_at) == Some(TCP)
}
