//! Who talks to whom over TCP: connections by their two ends.
//!
//! An edge is what one end of a connection sees: its namespace and device, whether it is the client or the server, the
//! server's port, and the other end's address. The port of the client is nowhere.

use crate::{
    kernel::{Field, field},
    tcp::FAILURES,
};

/// The map of what has happened: a hash map by [`Key`], with one [`Edge`] that all CPUs add to. Of a connection that is
/// open it has the beginning alone.
pub const MAP: &str = "EDGES";
/// The map of the connections that are open: a hash map by [`Key`], with a [`Live`]. The program [`LIVE`] adds to it, and
/// the daemon empties it.
pub const MAP_LIVE: &str = "EDGES_LIVE";
/// The storage on sockets: a [`Connection`] on each socket that is an end of an edge.
pub const MAP_CONNECTIONS: &str = "CONNECTIONS";
/// How many sockets of a namespace have storage: a hash map by the namespace's cookie, with a `u64`. The daemon adds the
/// namespaces that are watched. [`crate::share::STRANGERS`] stands for all others.
pub const MAP_SOCKETS: &str = "EDGE_SOCKETS";
/// An array of one `u64` that the daemon writes: how many jiffies an idle second has; 0 before it is known.
pub const MAP_SECOND: &str = "EDGE_SECOND";
/// An array of one [`Clock`], which [`LIVE`] writes at the end of each pass.
pub const MAP_CLOCK: &str = "EDGE_CLOCK";
/// An array of one `u64`: how many sockets have storage, in all namespaces.
pub const MAP_TRACKED: &str = "EDGE_TRACKED";
/// How many sockets of a namespace the last pass of [`LIVE`] found with storage, by the keys of [`MAP_SOCKETS`]. The daemon
/// empties it, and corrects the other map by it.
pub const MAP_SEEN: &str = "EDGE_SEEN";
/// An array of one `u64` that the daemon writes: the cookie of the node's namespace; 0 before it is known.
pub const MAP_NODE: &str = "EDGE_NODE";
/// Prefixes of addresses that are in a key although they are beyond a gateway: a longest-prefix trie of addresses in their
/// IPv6 form, with a `u8` that says nothing. The daemon writes it.
pub const MAP_KNOWN: &str = "EDGE_KNOWN";
/// The maximum number of prefixes in [`MAP_KNOWN`].
pub const MAX_KNOWN: u32 = 4_096;
/// The ports that somebody listens on, by [`Listener`], while the program [`ADOPT`] goes through a namespace. The daemon
/// empties it.
pub const MAP_LISTENERS: &str = "EDGE_LISTENERS";
/// The map of what found no room: an array by the cause ([`crate::refusal`]), with a `u64` for every CPU.
pub const MAP_LOST: &str = "EDGES_LOST";

/// The program that hears of connections that begin and end.
pub const STATE: &str = "edge_state";
/// The program that hears of resets that this end sends.
pub const RESET_SENT: &str = "edge_reset_sent";
/// The program that hears of segments that are sent again.
pub const RETRANSMIT: &str = "edge_retransmit";
/// The program that hears of sockets that go, with their storage.
pub const DESTROYED: &str = "edge_destroyed";
/// The program that adds up the open connections: an iterator over [`MAP_CONNECTIONS`].
pub const LIVE: &str = "edge_live";
/// The program that takes up connections from before the programs: an iterator over the TCP sockets of the calling
/// thread's namespace.
pub const ADOPT: &str = "edge_adopt";
/// What an iterator over socket storage is called in the kernel (`bpf_iter_bpf_sk_storage_map`).
pub const ITERATOR: &str = "bpf_sk_storage_map";
/// The same, over TCP sockets (`bpf_iter_tcp`).
pub const ITERATOR_OF_SOCKETS: &str = "tcp";

/// The programs on tracepoints.
pub const PROGRAMS: [crate::tcp::Program; 4] = [
    crate::tcp::Program {
        name: STATE,
        tracepoint: "inet_sock_set_state",
    },
    crate::tcp::Program {
        name: RESET_SENT,
        tracepoint: "tcp_send_reset",
    },
    crate::tcp::Program {
        name: RETRANSMIT,
        tracepoint: "tcp_retransmit_skb",
    },
    crate::tcp::Program {
        name: DESTROYED,
        tracepoint: "tcp_destroy_sock",
    },
];

/// The maximum number of keys in [`MAP`] and in [`MAP_LIVE`].
pub const MAX_ENTRIES: u32 = 16_384;
/// The maximum number of ports in [`MAP_LISTENERS`].
pub const MAX_LISTENERS: u32 = 16_384;
/// How many sockets of a watched namespace may have storage, and how many of all others together.
pub const SOCKETS_OF_NAMESPACE: i64 = 16_384;
/// How many sockets may have storage in all namespaces.
pub const SOCKETS: u32 = 131_072;
/// What the storage of one socket takes in kernel memory, in bytes: the socket's list of storages and one element, of up to
/// 192 bytes each (`kernel/bpf/bpf_local_storage.c`).
pub const CONNECTION_BYTES: u64 = 384;

/// The fields that the programs read, besides [`crate::kernel::NAMESPACE`] and [`crate::connection::FIELDS`].
pub const FIELDS: &[Field] = &[
    field("PEER_IPV4_ADDRESS", "sock", "__sk_common.skc_daddr"),
    field("PEER_IPV6_ADDRESS", "sock", "__sk_common.skc_v6_daddr"),
    field("PEER_PORT", "sock", "__sk_common.skc_dport"),
    field("SOCKET_PORT", "sock", "__sk_common.skc_num"),
    field("SOCKET_FLAGS", "sock", "__sk_common.skc_flags"),
    field("TCP_BYTES_SENT", "tcp_sock", "bytes_sent"),
    field("TCP_BYTES_RESENT", "tcp_sock", "bytes_retrans"),
    field("TCP_BYTES_RECEIVED", "tcp_sock", "bytes_received"),
    field("TCP_HEARD", "tcp_sock", "rcv_tstamp"),
    field("TCP_ATTEMPTS", "inet_connection_sock", "icsk_retransmits"),
    field("ROUTE_IPV4_GATEWAY", "rtable", "rt_uses_gateway"),
];

/// Fields without which a route of IPv6 is taken for one without a gateway.
pub const FIELDS_OF_IPV6: &[Field] = &[field("ROUTE_IPV6_FLAGS", "rt6_info", "rt6i_flags")];

/// After how many idle seconds a connection broke, at least: the buckets of [`Edge::idle_breaks`].
pub const IDLE_BOUNDS: [u64; 5] = [60, 300, 870, 960, 3600];

/// This end is the client.
pub const CLIENT: u8 = 1;
/// This end is the server.
pub const SERVER: u8 = 2;

/// The other end has the address that the key says.
pub const FAR_ADDRESS: u8 = 0;
/// The other end is beyond a gateway, and not in [`MAP_KNOWN`]. Its address is not in the key: anybody may be there.
pub const FAR_OUTSIDE: u8 = 1;
/// The namespace had no room for another key. The key says neither the address nor the port.
pub const FAR_OVER: u8 = 2;

/// The key of an edge.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The cookie of this end's namespace.
    pub netns: u64,
    /// The ifindex, in that namespace, of the device that the connection goes through; 0 if unknown.
    pub ifindex: u32,
    /// The server's port.
    pub port: u16,
    /// [`CLIENT`] or [`SERVER`]: what this end is.
    pub role: u8,
    /// What is known of the other end: [`FAR_ADDRESS`], [`FAR_OUTSIDE`] or [`FAR_OVER`].
    pub far: u8,
    /// The other end's address. An IPv4 address is in its IPv6 form (`::ffff:a.b.c.d`). Zeros unless [`FAR_ADDRESS`].
    pub remote: [u8; 16],
}

/// What has happened on an edge. All CPUs add to the same words.
///
/// `W` is how a word is seen: the programs have one that only adds, and adds atomically. It is as large as a `u64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge<W = u64> {
    /// Connections that were established.
    pub opened: W,
    /// Of these, the connections that have ended.
    pub closed: W,
    /// Payload that ended connections had sent, each byte once.
    pub sent_bytes: W,
    /// Payload that ended connections had received.
    pub received_bytes: W,
    /// Segments that ended connections had retransmitted.
    pub retransmitted_segments: W,
    /// Ended connections that knew a round-trip time of data that they sent.
    pub round_trips: W,
    /// The sum of these times, in microseconds.
    pub round_trip_microseconds: W,
    /// Connections that a reset ended, whichever end sent it.
    pub resets: W,
    /// Connections that were not established, by reason ([`crate::tcp`]).
    pub failures: [W; FAILURES],
    /// Connections that were idle, and then were reset or got no answer any more, by [`IDLE_BOUNDS`].
    pub idle_breaks: [W; IDLE_BOUNDS.len()],
}

/// What the open connections of an edge have done so far. One program adds to it, in one pass after the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// How many there are.
    pub connections: u64,
    /// Of these, the connections from before the programs.
    pub adopted: u64,
    /// Payload that they sent, each byte once.
    pub sent_bytes: u64,
    /// Payload that they received.
    pub received_bytes: u64,
    /// Segments that they retransmitted.
    pub retransmitted_segments: u64,
    /// How many of them know a round-trip time of data that they sent.
    pub round_trips: u64,
    /// The sum of these times, in microseconds.
    pub round_trip_microseconds: u64,
}

/// The socket's storage is new, or its connection has not begun.
pub const NONE: u32 = 0;
/// The connection is open.
pub const OPEN: u32 = 1;
/// The connection has ended. The socket may stay for long, and may connect again.
pub const CLOSED: u32 = 2;

/// What a socket's storage has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The edge that it belongs to.
    pub key: Key,
    /// [`NONE`], [`OPEN`] or [`CLOSED`].
    pub state: u32,
    /// Whether a reset has ended it: 0 or 1.
    pub was_reset: u32,
    /// The key in [`MAP_SOCKETS`] that this storage is counted under.
    pub counted_under: u64,
    /// What it had done before the programs: payload sent,
    pub sent_before: u64,
    /// payload received,
    pub received_before: u64,
    /// and segments retransmitted.
    pub retransmitted_before: u64,
    /// Whether it began before the programs: 0 or 1.
    pub is_adopted: u64,
    /// When the other end had been heard last, as the kernel says it, while a segment was sent again after an idle time.
    pub heard: u32,
    /// That idle time in jiffies; 0 if there was none.
    pub idle: u32,
}

/// The kernel's clock at one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// In jiffies.
    pub jiffies: u64,
    /// In nanoseconds since boot.
    pub nanoseconds: u64,
}

/// A port that somebody listens on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listener {
    /// The cookie of the namespace.
    pub netns: u64,
    /// The port.
    pub port: u64,
}

impl Edge {
    /// Nothing has happened.
    pub const ZERO: Self = Self {
        opened: 0,
        closed: 0,
        sent_bytes: 0,
        received_bytes: 0,
        retransmitted_segments: 0,
        round_trips: 0,
        round_trip_microseconds: 0,
        resets: 0,
        failures: [0; FAILURES],
        idle_breaks: [0; IDLE_BOUNDS.len()],
    };
}

impl Live {
    /// No connections.
    pub const ZERO: Self = Self {
        connections: 0,
        adopted: 0,
        sent_bytes: 0,
        received_bytes: 0,
        retransmitted_segments: 0,
        round_trips: 0,
        round_trip_microseconds: 0,
    };
}

impl Default for Edge {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::ZERO
    }
}

const _: () = assert!(size_of::<Key>() == 32 && align_of::<Key>() == 8);
const _: () = assert!(size_of::<Edge>() == 8 * (8 + FAILURES + IDLE_BOUNDS.len()) && align_of::<Edge>() == 8);
const _: () = assert!(size_of::<Live>() == 8 * 7 && align_of::<Live>() == 8);
const _: () = assert!(size_of::<Listener>() == 16 && align_of::<Listener>() == 8);
const _: () = assert!(size_of::<Clock>() == 16 && align_of::<Clock>() == 8);
const _: () = assert!(size_of::<Connection>() == 88 && align_of::<Connection>() == 8);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for the promise that any bytes are a valid value")]
mod user {
    use super::{Clock, Edge, Key, Listener, Live};

    // SAFETY: `repr(C)`, integers and arrays of them, no padding (the assertions above). So every bit pattern is a
    // value.
    unsafe impl aya::Pod for Key {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Clock {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Edge {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Listener {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Live {}
}
