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
    packet::{
        self, CONTEXT_IPV4 as IPV4, CONTEXT_IPV6 as IPV6, ETHERNET_HEADER, IPV4_PROTOCOL, IPV6_NEXT_HEADER, Packet,
        RAW, STREAM, Sender, TCP,
    },
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

/// The offset of the flags in a TCP header, and two of them.
const FLAGS: u32 = 13;
const RESET: u8 = 0x04;
const ACKNOWLEDGEMENT: u8 = 0x10;

/// Counts a packet on the CPU that the program runs on.
#[inline(always)]
pub fn count(object: &impl Object, packet: &impl Packet, cpu: u32, direction: u32) {
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
            if is_own_tcp(packet) {
                (*counter).tcp_segments += segments;
            }
        } else {
            (*counter).wire_bytes += bytes;
        }
    }
}

/// Whether this namespace's TCP sends this packet. A forwarded packet no longer has a socket (`ip_rcv_core`).
///
/// IPv6 extension headers are not followed, because the kernel's TCP sends none.
#[inline(always)]
fn is_own_tcp(packet: &impl Packet) -> bool {
    const OF_TCP: u32 = TCP as u32;
    let protocol_at = match packet.protocol() {
        IPV4 => IPV4_PROTOCOL,
        IPV6 => IPV6_NEXT_HEADER,
        _ => return false,
    };
    if packet.byte(ETHERNET_HEADER + protocol_at) != Some(TCP) {
        return false;
    }
    match packet.sender() {
        // Other protocols have such sockets, too. Only TCP's send a packet whose header says TCP.
        Sender::OfPort | Sender::Small => true,
        Sender::Full { kind, protocol: OF_TCP } => kind == STREAM || kind == RAW && is_answer(packet),
        Sender::None | Sender::Full { .. } => false,
    }
}

/// Whether this may be an answer of the kernel's own: a reset, or nothing but an acknowledgement. Over IPv4, it sends
/// answers for which there is no connection through a raw socket (`ip_send_unicast_reply`), which looks like an
/// application's. Over IPv6 it sends them without a socket.
#[inline(always)]
fn is_answer(packet: &impl Packet) -> bool {
    let Some([first]) = packet.load::<1>(0) else {
        return false;
    };
    let (version, words) = (first >> 4, u32::from(first & 0xf));
    version == 4
        && packet
            .load::<1>(4 * words + FLAGS)
            .is_some_and(|[flags]| flags & !(RESET | ACKNOWLEDGEMENT) == 0)
}

#[cfg(test)]
mod tests {
    use netmon_common::traffic::{RECEIVE, TRANSMIT, Traffic};

    use super::{Object, count};
    use crate::{
        maps::Array,
        packet::{RAW, STREAM, Sender},
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
        count(&world, &packet, 0, direction);
        world.counters.get(&(2 * 2 + direction)).expect("the slot exists")
    }

    /// Ethernet, and an IP header with this protocol inside; 100 bytes.
    fn packet(protocol: [u8; 2], inside: u8) -> Frame {
        let mut ip = [0; 86];
        ip[if protocol == IPV6 { 6 } else { 9 }] = inside;
        Frame::ethernet(protocol, &ip)
    }

    fn sent_by(sender: Sender, packet: Frame) -> Frame {
        Frame { sender, ..packet }
    }

    fn full(kind: u32, protocol: u8) -> Sender {
        let protocol = protocol.into();
        Sender::Full { kind, protocol }
    }

    /// Sent by a socket of TCP.
    fn sent_by_a_socket(packet: Frame) -> Frame {
        sent_by(full(STREAM, TCP), packet)
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
    fn segments_of_no_connection_are_no_tcp() {
        const DATAGRAM: u32 = 2;
        const IPPROTO_RAW: u8 = 255;
        let others = [
            // A raw socket, one that brings its IP header along, a packet socket.
            full(RAW, TCP),
            full(RAW, IPPROTO_RAW),
            full(RAW, 0),
            full(DATAGRAM, TCP),
            full(STREAM, UDP),
        ];
        for (sender, protocol) in others.into_iter().flat_map(|sender| [(sender, IPV4), (sender, IPV6)]) {
            let mut packet = sent_by(sender, packet(protocol, TCP));
            // A SYN.
            packet.bytes[14] = if protocol == IPV4 { 0x45 } else { 0x60 };
            packet.bytes[14 + 20 + 13] = 0x02;
            assert_eq!(of(&packet, TRANSMIT).tcp_segments, 0, "{sender:?}");
        }
    }

    #[test]
    fn the_number_of_a_protocol_is_no_port() {
        const IPPROTO_MPTCP: u32 = 262;
        for port in [0, u32::from(TCP), 255, IPPROTO_MPTCP] {
            assert_eq!(Sender::by_port(port), None);
        }
        for port in [443, 65_535] {
            assert_eq!(Sender::by_port(port), Some(Sender::OfPort));
        }
    }

    #[test]
    fn a_socket_with_a_port_is_tcp_if_its_packet_is_and_so_is_no_full_one() {
        for protocol in [IPV4, IPV6] {
            for sender in [Sender::OfPort, Sender::Small] {
                assert_eq!(of(&sent_by(sender, packet(protocol, TCP)), TRANSMIT).tcp_segments, 1);
                assert_eq!(of(&sent_by(sender, packet(protocol, UDP)), TRANSMIT).tcp_segments, 0);
            }
        }
    }

    #[test]
    fn an_answer_of_the_kernels_own_is_tcp() {
        let counted = |words: u8, flags: u8| {
            let mut packet = sent_by(full(RAW, TCP), packet(IPV4, TCP));
            packet.bytes[14] = 0x40 | words;
            packet.bytes[14 + 4 * usize::from(words) + 13] = flags;
            of(&packet, TRANSMIT).tcp_segments
        };
        let (fin, syn, rst, psh, ack) = (0x01, 0x02, 0x04, 0x08, 0x10);
        for words in [5, 8] {
            assert_eq!([rst, rst | ack, ack].map(|flags| counted(words, flags)), [1; 3]);
            assert_eq!(
                [syn, syn | ack, fin, psh | ack].map(|flags| counted(words, flags)),
                [0; 4]
            );
        }
        // The packet ends before the flags, or is of IPv6.
        let mut short = sent_by(full(RAW, TCP), packet(IPV4, TCP));
        short.bytes[14] = 0x45;
        short.bytes.truncate(14 + 20 + 13);
        short.linear = short.bytes.len();
        assert_eq!(of(&short, TRANSMIT).tcp_segments, 0);
        let mut ipv6 = sent_by(full(RAW, TCP), packet(IPV6, TCP));
        ipv6.bytes[14] = 0x60;
        ipv6.bytes[14 + 40 + 13] = rst;
        assert_eq!(of(&ipv6, TRANSMIT).tcp_segments, 0);
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
            count(&world, &&packet(IPV4, UDP), cpu, direction);
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
        count(&world, &&packet(IPV4, UDP), 2, RECEIVE);
        assert!(world.counters.all().iter().all(|(_, it)| *it == Traffic::default()));
    }
}
