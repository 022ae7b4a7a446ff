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
#[cfg(test)]
mod tests;

use core::ptr::read_volatile;

use netmon_common::dns::{
    CODE_NOERROR, CODE_NXDOMAIN, CODE_OTHER, CODE_REFUSED, CODE_SERVFAIL, DOCKER, DURATION_BOUNDS, Dns, OUTSIDE,
    PATIENCE, Query, TYPE_A, TYPE_AAAA, TYPE_OTHER, TYPE_PTR, TYPE_SRV, UNIT, WAYS, Ways, index, set,
};

pub use self::found::Found;
use self::found::Transport;
use crate::{
    counter::Counter,
    maps::Array,
    packet::{self, IPV4_PROTOCOL, IPV6_NEXT_HEADER, Packet, TCP, UDP},
    word,
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

const IPV4: u32 = packet::IPV4 as u32;
const IPV6: u32 = packet::IPV6 as u32;
const ETHERNET_HEADER: u32 = 14;
const IPV6_HEADER: u32 = 40;
const UDP_HEADER: u32 = 8;
/// The length of a message's header.
const HEADER: usize = 12;

/// Offsets in an IPv4 header.
const IPV4_FRAGMENT: u32 = 6;
const IPV4_SOURCE: u32 = 12;
const IPV4_DESTINATION: u32 = 16;

/// The port of DNS, and the address of the engine's resolver.
const PORT: [u8; 2] = [0, 53];
const RESOLVER: [u8; 4] = [127, 0, 0, 11];

/// Flags of a message: it is a response; it is no ordinary query; it was cut.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const CODE: u16 = 0x000f;

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
    // Almost no packet has the last byte of the address in either place.
    let from = packet.byte(ETHERNET_HEADER + IPV4_SOURCE + 3)?;
    let to = packet.byte(ETHERNET_HEADER + IPV4_DESTINATION + 3)?;
    let (is_response, at) = if to == RESOLVER[3] {
        (false, IPV4_DESTINATION)
    } else if from == RESOLVER[3] {
        (true, IPV4_SOURCE)
    } else {
        return None;
    };
    // In a register, the address costs less than a helper that copies it.
    for (more, expected) in (0..).zip(RESOLVER) {
        if packet.byte(ETHERNET_HEADER + at + more)? != expected {
            return None;
        }
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
    // Almost no packet has the last byte of the port here. The other one is looked at later.
    if packet.byte(port_at + 1)? != PORT[1] {
        return None;
    }
    Some(Found::new(dns_slot, transport, !is_egress, OUTSIDE))
}

/// The header of UDP or TCP. Extension headers of IPv6 are not followed, because queries have none.
#[inline(always)]
fn transport(packet: &impl Packet, protocol: u32) -> Option<Transport> {
    let at = if protocol == IPV4 {
        IPV4_PROTOCOL
    } else {
        IPV6_NEXT_HEADER
    };
    let inside = packet.byte(ETHERNET_HEADER + at)?;
    if inside != UDP && inside != TCP {
        return None;
    }
    let offset = if protocol == IPV4 {
        4 * u32::from(packet.byte(ETHERNET_HEADER)? & 0xf)
    } else {
        IPV6_HEADER
    };
    Some(Transport {
        protocol: inside,
        offset: ETHERNET_HEADER + offset,
    })
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
    let (client, server) = if found.is_response() {
        (destination, source)
    } else {
        (source, destination)
    };
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (id, flags) = (number(0), number(2));
    let is_outside = found.resolver() == OUTSIDE;
    if is_outside && server != PORT || (flags & RESPONSE != 0) != found.is_response() || is_later_part(packet) {
        return;
    }
    let slot = found.slot();
    let query = Query::new(u16::from_be_bytes(client), id, found.resolver(), object.nanoseconds());
    if found.is_response() {
        answered(object, slot, query, flags);
        return;
    }
    let is_plain = flags & OPCODE == 0 && number(4) == 1 && number(6) == 0 && number(8) == 0;
    let asked = if is_plain {
        question(packet, end, number(10))
    } else {
        TYPE_OTHER
    };
    sent(object, slot, query, asked);
}

/// Whether this is a part of a datagram, and not the first. What looks like a header is none then.
#[inline(always)]
fn is_later_part(packet: &impl Packet) -> bool {
    if packet.protocol() != IPV4 {
        return false;
    }
    let Some(first) = packet.byte(ETHERNET_HEADER + IPV4_FRAGMENT) else {
        return true;
    };
    let Some(second) = packet.byte(ETHERNET_HEADER + IPV4_FRAGMENT + 1) else {
        return true;
    };
    first & 0x1f != 0 || second != 0
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

/// Counts a query, and lets it wait.
#[inline(always)]
fn sent(object: &impl Object, slot: u32, query: Query, asked: usize) {
    let Some(ways) = object.dns_waiting().at(set(slot, query.set())) else {
        return;
    };
    let ways = ways.cast::<u64>();
    // A free way, or else the one that has waited longest.
    let (mut at, mut longest) = (0, 0);
    for way in 0..WAYS {
        // SAFETY: the way is one of the set's, which exists while the program runs. Others change it meanwhile.
        let word = unsafe { read_volatile(ways.add(way)) };
        let waited = match Query::of_word(word) {
            Some(waiting) if waiting.is(query) => {
                if waiting.before(query) < PATIENCE {
                    with(object, slot, query.resolver(), |counts| counts.retries.add(1));
                    return;
                }
                // Its client has given up, and asks anew.
                at = way;
                break;
            }
            Some(waiting) => waiting.before(query),
            None => u32::MAX,
        };
        if waited >= longest {
            (at, longest) = (way, waited);
        }
    }
    with(object, slot, query.resolver(), |counts| {
        // `asked` is one of the types, which the compiler does not know here.
        if let Some(queries) = counts.queries.get(asked) {
            queries.add(1);
        }
    });
    // SAFETY: as above.
    let before = unsafe { word::swap(ways.add(at), query.word()) };
    if let Some(before) = Query::of_word(before) {
        with(object, slot, before.resolver(), |counts| {
            if before.before(query) < PATIENCE {
                counts.untracked.add(1);
            } else {
                counts.unanswered.add(1);
            }
        });
    }
}

/// Counts the response to a query that waits. `query` is that query, as if it were sent now.
#[inline(always)]
fn answered(object: &impl Object, slot: u32, query: Query, flags: u16) {
    let Some(ways) = object.dns_waiting().at(set(slot, query.set())) else {
        return;
    };
    let ways = ways.cast::<u64>();
    let mut found = None;
    for way in 0..WAYS {
        // SAFETY: the way is one of the set's, which exists while the program runs. Others change it meanwhile.
        let word = unsafe { read_volatile(ways.add(way)) };
        if let Some(waiting) = Query::of_word(word)
            && waiting.is(query)
        {
            found = Some((way, waiting));
        }
    }
    // SAFETY: as above.
    let waited = found
        .filter(|(way, waiting)| unsafe { word::replace(ways.add(*way), waiting.word(), 0) })
        .map(|(_, waiting)| waiting.before(query));
    with(object, slot, query.resolver(), |counts| {
        let Some(waited) = waited else {
            counts.unmatched.add(1);
            return;
        };
        if waited >= PATIENCE {
            // Whoever asked has given up.
            counts.unanswered.add(1);
            counts.unmatched.add(1);
            return;
        }
        let code = match flags & CODE {
            0 => CODE_NOERROR,
            2 => CODE_SERVFAIL,
            3 => CODE_NXDOMAIN,
            5 => CODE_REFUSED,
            _ => CODE_OTHER,
        };
        counts.responses[code].add(1);
        if flags & TRUNCATED != 0 {
            counts.truncated.add(1);
        }
        counts.duration.add(waited.into());
        if let Some(bucket) = counts.durations.get(bucket(waited)) {
            bucket.add(1);
        }
    });
}

/// Calls `change` with a slot's counts for a resolver.
#[inline(always)]
fn with(object: &impl Object, slot: u32, resolver: u32, change: impl FnOnce(&Dns<Counter>)) {
    if let Some(counts) = object.dns().at(index(slot, resolver)) {
        // SAFETY: the value exists while the program runs, and whoever writes it adds to it, a word at a time. A counter
        // has the layout of a `u64`.
        change(unsafe { &*counts.cast() });
    }
}

/// The bucket of a duration.
#[inline(always)]
fn bucket(duration: u32) -> usize {
    let mut bucket = 0;
    for bound in DURATION_BOUNDS {
        bucket += usize::from(u64::from(duration) > u64::from(bound) * 1_000 / UNIT);
    }
    bucket
}
