//! Counts a namespace's DNS queries and their responses, and lets every packet pass.
//!
//! On the namespace's loopback it sees the engine's resolver, and on the other devices all other resolvers. A name is
//! never read. Queries that wait are in a table of a fixed size, which the namespace has for itself.
//!
//! Relied on:
//!
//! - The engine's resolver is at 127.0.0.11. The engine's rules of the container's namespace send what goes to its
//!   port 53 to another port, and hide that from the client. So both a query and its response pass the loopback's
//!   egress hook with that address, and only the response with port 53.
//! - The compiler compares an `Option` with another one by their values, too, whether there are any or not. The verifier
//!   refuses that. So what was not read ends a function, and is not compared.
//! - RFC 1035, section 4.1: a message has a header of twelve bytes, then its question. RFC 6891: the additional record
//!   of EDNS ends the query. RFC 7766: over TCP, two bytes with the length come before a message.

mod found;
mod table;
#[cfg(test)]
mod tests;

use netmon_common::dns::{Asked, DOCKER, Dns, OUTSIDE, Query, TYPE_A, TYPE_AAAA, TYPE_OTHER, TYPE_PTR, TYPE_SRV, Ways};

pub use self::found::Found;
use self::{
    found::Transport,
    table::{answered, sent},
};
use crate::{
    maps::Array,
    packet::{
        CONTEXT_IPV4 as IPV4, CONTEXT_IPV6 as IPV6, ETHERNET_HEADER, FRAGMENT_PLACE, IPV4_PROTOCOL, IPV6_HEADER,
        IPV6_NEXT_HEADER, Packet, TCP, UDP,
    },
};

/// What an object has that looks into messages.
pub trait Object {
    /// The counts of all slots.
    fn dns(&self) -> &impl Array<Dns>;
    /// The queries that wait, of all slots.
    fn dns_waiting(&self) -> &impl Array<Ways>;
    /// The time in nanoseconds.
    fn nanoseconds(&self) -> u64;
}

const UDP_HEADER: u32 = 8;
/// The length of a message's header.
const HEADER: usize = 12;

/// Offsets in an IPv4 header.
const IPV4_FRAGMENT: u32 = 6;
const IPV4_SOURCE: u32 = 12;
const IPV4_DESTINATION: u32 = 16;
/// Offsets in an IPv6 header.
const IPV6_SOURCE: u32 = 8;
const IPV6_DESTINATION: u32 = 24;

/// The port of DNS, and the address of the engine's resolver.
const PORT: [u8; 2] = [0, 53];
const RESOLVER: [u8; 4] = [127, 0, 0, 11];

/// Flags of a message: it is a response; it is no ordinary query.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;

/// The class of the Internet.
const INTERNET: u16 = 1;
/// How a record of EDNS begins: the root's name, and its type.
const EDNS: [u8; 3] = [0, 0, 41];
/// The length of a record of EDNS without its options.
const EDNS_RECORD: u32 = 11;
/// The lengths of options that queries have: none, a client's cookie, and that with a server's of the usual length
/// (RFC 9018).
const EDNS_OPTIONS: [u32; 3] = [0, 12, 28];

/// Looks at a packet at the egress hook of loopback, where queries to the engine's resolver pass, and its responses.
/// `dns_slot` is one more than the namespace's slot.
#[inline(always)]
pub fn on_loopback(packet: &impl Packet, dns_slot: u32) -> Option<Found> {
    if packet.protocol() != IPV4 {
        return None;
    }
    let source: [u8; 4] = packet.head(ETHERNET_HEADER + IPV4_SOURCE)?;
    let destination: [u8; 4] = packet.head(ETHERNET_HEADER + IPV4_DESTINATION)?;
    let is_response = source == RESOLVER;
    if destination != RESOLVER && !is_response {
        return None;
    }
    let transport = transport(packet, IPV4)?;
    Some(Found::new(dns_slot, transport, is_response, DOCKER))
}

/// Looks at a packet that leaves through another device, as queries do. `dns_slot` is as above.
#[inline(always)]
pub fn leaving(packet: &impl Packet, dns_slot: u32) -> Option<Found> {
    on_device(packet, dns_slot, true)
}

/// Looks at a packet that arrives at another device, as responses do. `dns_slot` is as above.
#[inline(always)]
pub fn arriving(packet: &impl Packet, dns_slot: u32) -> Option<Found> {
    on_device(packet, dns_slot, false)
}

#[inline(always)]
fn on_device(packet: &impl Packet, dns_slot: u32, is_egress: bool) -> Option<Found> {
    let protocol = packet.protocol();
    if protocol != IPV4 && protocol != IPV6 {
        return None;
    }
    let transport = transport(packet, protocol)?;
    let port_at = transport.offset + if is_egress { 2 } else { 0 };
    if packet.head(port_at)? != PORT {
        return None;
    }
    let server = server(packet, protocol, !is_egress)?;
    Some(Found::new(dns_slot, transport, !is_egress, OUTSIDE).with(server))
}

/// The header of UDP or TCP. Extension headers of IPv6 are not followed, because queries have none.
#[inline(always)]
fn transport(packet: &impl Packet, protocol: u32) -> Option<Transport> {
    let at = if protocol == IPV4 {
        IPV4_PROTOCOL
    } else {
        IPV6_NEXT_HEADER
    };
    let [inside] = packet.head(ETHERNET_HEADER + at)?;
    if inside != UDP && inside != TCP {
        return None;
    }
    let offset = if protocol == IPV4 {
        let [first] = packet.head(ETHERNET_HEADER)?;
        4 * u32::from(first & 0xf)
    } else {
        IPV6_HEADER
    };
    Some(Transport {
        protocol: inside,
        offset: ETHERNET_HEADER + offset,
    })
}

/// The words of the server's address, mixed: the packet's source or its destination.
#[inline(always)]
fn server(packet: &impl Packet, protocol: u32, is_source: bool) -> Option<u32> {
    if protocol == IPV4 {
        let at = if is_source { IPV4_SOURCE } else { IPV4_DESTINATION };
        return packet.head(ETHERNET_HEADER + at).map(u32::from_ne_bytes);
    }
    let at = if is_source { IPV6_SOURCE } else { IPV6_DESTINATION };
    let address: [u8; 16] = packet.head(ETHERNET_HEADER + at)?;
    let (words, _) = address.as_chunks::<4>();
    let mixed = words.iter().fold(0, |mixed, word| mixed ^ u32::from_ne_bytes(*word));
    Some(mixed)
}

/// Counts a message, if the packet has the beginning of one.
///
/// Each helper costs more than all that is calculated here, so what lies together is copied at once.
#[inline(always)]
pub fn message(object: &impl Object, packet: impl Packet, found: Found) {
    let Transport { protocol, offset } = found.transport();
    if protocol == UDP {
        let Some(
            [
                source,
                more_source,
                destination,
                more_destination,
                length,
                more_length,
                _,
                _,
                header @ ..,
            ],
        ) = packet.bytes::<{ UDP_HEADER as usize + HEADER }>(offset)
        else {
            return;
        };
        let ports = [[source, more_source], [destination, more_destination]];
        let end = offset.wrapping_add(u16::from_be_bytes([length, more_length]).into());
        look(object, &packet, found, ports, header, end);
    } else {
        let Some([source, more_source, destination, more_destination, .., words]) = packet.copy::<13>(offset) else {
            return;
        };
        let ports = [[source, more_source], [destination, more_destination]];
        let payload = offset + 4 * u32::from(words >> 4);
        // The length comes before the message.
        let Some([length, more_length, header @ ..]) = packet.copy::<{ 2 + HEADER }>(payload) else {
            return;
        };
        let end = (payload + 2).wrapping_add(u16::from_be_bytes([length, more_length]).into());
        look(object, &packet, found, ports, header, end);
    }
}

/// Counts the message with this header. The packet has these `ports`, of its source and its destination.
#[inline(always)]
fn look(
    object: &impl Object,
    packet: &impl Packet,
    found: Found,
    [source, destination]: [[u8; 2]; 2],
    header: [u8; HEADER],
    end: u32,
) {
    let client = if found.is_response() { destination } else { source };
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (id, flags) = (number(0), number(2));
    if (flags & RESPONSE != 0) != found.is_response() || is_later_part(packet) {
        return;
    }
    let slot = found.slot();
    let asked = Asked {
        port: u16::from_be_bytes(client),
        id,
        resolver: found.resolver(),
        server: found.server(),
    };
    let query = Query::new(asked, object.nanoseconds());
    if found.is_response() {
        answered(object, slot, query, flags, found.transport().protocol == UDP);
        return;
    }
    let is_plain = flags & OPCODE == 0 && number(4) == 1 && number(6) == 0 && number(8) == 0;
    let kind = if is_plain {
        question(packet, end, number(10))
    } else {
        TYPE_OTHER
    };
    sent(object, slot, query, kind);
}

/// Whether this is a part of a datagram, and not the first. What looks like a header is none then.
#[inline(always)]
fn is_later_part(packet: &impl Packet) -> bool {
    if packet.protocol() != IPV4 {
        return false;
    }
    let Some(fragment) = packet.head(ETHERNET_HEADER + IPV4_FRAGMENT) else {
        return true;
    };
    u16::from_be_bytes(fragment) & FRAGMENT_PLACE != 0
}

/// The type of a query that ends here. The question is looked for from the end: in front of its type is a name of any
/// length, through which the verifier lets no program of old kernels go.
#[inline(always)]
fn question(packet: &impl Packet, end: u32, additional: u16) -> usize {
    if additional == 0 {
        return type_before(packet, end);
    }
    for options in EDNS_OPTIONS {
        let record = end.wrapping_sub(EDNS_RECORD + options);
        if packet.bytes(record).unwrap_or_default() == EDNS {
            return type_before(packet, record);
        }
    }
    TYPE_OTHER
}

/// The type of the question that ends here.
#[inline(always)]
fn type_before(packet: &impl Packet, end: u32) -> usize {
    let Some([first, second, class @ ..]) = packet.bytes::<4>(end.wrapping_sub(4)) else {
        return TYPE_OTHER;
    };
    if u16::from_be_bytes(class) != INTERNET {
        return TYPE_OTHER;
    }
    match u16::from_be_bytes([first, second]) {
        1 => TYPE_A,
        28 => TYPE_AAAA,
        12 => TYPE_PTR,
        33 => TYPE_SRV,
        _ => TYPE_OTHER,
    }
}
