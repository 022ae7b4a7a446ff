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

#[cfg(test)]
mod tests {
    use netmon_common::traffic::{RECEIVE, TRANSMIT, Traffic};

    use super::{Object, count};
    use crate::{
        maps::Array,
        testing::{Frame, Table, numbers},
    };

    const IPV4: [u8; 2] = [0x08, 0x00];
    const IPV6: [u8; 2] = [0x86, 0xdd];
    const ARP: [u8; 2] = [0x08, 0x06];
    const TCP: u8 = 6;
    const UDP: u8 = 17;

    /// Slot 2 of 5 slots, on two CPUs.
    struct World {
        counters: Table<u32, Traffic>,
    }

    impl World {
        fn new() -> Self {
            let counters = Table::with((0..2 * 5 * 2).map(|index| (index, Traffic::default())));
            Self { counters }
        }
    }

    impl Object for World {
        numbers! {
            slot = 2;
            slots = 5;
        }

        fn counters(&self) -> &impl Array<Traffic> {
            &self.counters
        }
    }

    /// What is counted for one packet.
    fn of(packet: &Frame, direction: u32) -> Traffic {
        let world = World::new();
        count(&world, packet, 0, direction);
        world.counters.get(&(2 * 2 + direction)).expect("the slot exists")
    }

    /// Ethernet, and an IP header with this protocol inside; 100 bytes.
    fn packet(protocol: [u8; 2], inside: u8) -> Frame {
        let mut ip = [0; 86];
        ip[if protocol == IPV6 { 6 } else { 9 }] = inside;
        Frame::ethernet(protocol, &ip)
    }

    fn sent_by_a_socket(packet: Frame) -> Frame {
        Frame {
            has_socket: true,
            ..packet
        }
    }

    #[test]
    fn a_received_packet_counts_with_its_length() {
        let expected = Traffic {
            packets: 1,
            bytes: 100,
            segments: 1,
            wire_bytes: 100,
            tcp_segments: 0,
        };
        assert_eq!(of(&packet(IPV4, UDP), RECEIVE), expected);
    }

    #[test]
    fn a_super_packet_counts_as_its_segments() {
        let packet = Frame {
            gso_segments: 3,
            wire_length: 180,
            ..sent_by_a_socket(packet(IPV4, TCP))
        };
        let transmitted = Traffic {
            packets: 1,
            bytes: 100,
            segments: 3,
            wire_bytes: 180,
            tcp_segments: 3,
        };
        assert_eq!(of(&packet, TRANSMIT), transmitted);
        // The kernel does not provide the length on the wire here.
        let received = Traffic {
            wire_bytes: 100,
            tcp_segments: 0,
            ..transmitted
        };
        assert_eq!(of(&packet, RECEIVE), received);
    }

    #[test]
    fn tcp_of_local_sockets_counts_separately() {
        for protocol in [IPV4, IPV6] {
            let packet = packet(protocol, TCP);
            assert_eq!(of(&packet, TRANSMIT).tcp_segments, 0, "forwarded");
            assert_eq!(of(&sent_by_a_socket(packet), TRANSMIT).tcp_segments, 1);
        }
    }

    #[test]
    fn whatever_else_a_socket_sends_is_no_tcp() {
        // An ARP packet with a 6 where IPv4 and IPv6 name their protocol.
        let arp = Frame::ethernet(ARP, &[TCP; 28]);
        for packet in [packet(IPV4, UDP), packet(IPV6, UDP), arp] {
            assert_eq!(of(&sent_by_a_socket(packet), TRANSMIT).tcp_segments, 0);
        }
    }

    #[test]
    fn a_header_outside_of_the_linear_part_is_not_read() {
        let whole = sent_by_a_socket(packet(IPV4, TCP));
        // The byte that names the protocol is the last one, and then the first one that cannot be read.
        for (linear, expected) in [(24, 1), (23, 0)] {
            let packet = Frame {
                linear,
                ..whole.clone()
            };
            assert_eq!(of(&packet, TRANSMIT).tcp_segments, expected);
        }
    }

    #[test]
    fn each_cpu_and_direction_has_its_own_counters() {
        let world = World::new();
        for (cpu, direction) in [(0, RECEIVE), (1, RECEIVE), (1, TRANSMIT), (1, TRANSMIT)] {
            count(&world, &packet(IPV4, UDP), cpu, direction);
        }
        let all = world.counters.all();
        let counted: Vec<_> = all
            .iter()
            .filter(|(_, it)| it.packets > 0)
            .map(|(index, it)| (*index, it.packets))
            .collect();
        // A CPU has 5 slots of two counters, and this is slot 2.
        assert_eq!(counted, [(4, 1), (14, 1), (15, 2)]);
    }

    #[test]
    fn beyond_the_map_nothing_is_counted() {
        let world = World::new();
        count(&world, &packet(IPV4, UDP), 2, RECEIVE);
        assert!(world.counters.all().iter().all(|(_, it)| *it == Traffic::default()));
    }
}
