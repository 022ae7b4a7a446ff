//! Packets that the kernel threw away: where, and for which of its reasons.

use crate::kernel::{Field, field};

/// The map that holds the counts: a hash by [`Key`], of `u64` for every CPU.
pub const MAP: &str = "DROPS";
/// What did not fit into the map: an array by the low bits of the reason, of `u64` for every CPU.
pub const MAP_LOST: &str = "DROPS_LOST";
/// The program.
pub const PROGRAM: &str = "drops_kfree_skb";
/// The tracepoint that it is attached to.
pub const TRACEPOINT: &str = "kfree_skb";
/// Load-time global: how many arguments that has. The receiving socket is the fourth, from 6.11 on.
pub const GLOBAL_ARGUMENTS: &str = "ARGUMENTS";
/// Load-time globals: the reasons that are no loss, a bit each, for the numbers from 0, 64, 128 and 192 on.
pub const GLOBALS_HARMLESS: [&str; 4] = ["HARMLESS_0", "HARMLESS_1", "HARMLESS_2", "HARMLESS_3"];
/// Load-time globals: the reasons that are no loss of a packet that was meant for everybody, likewise.
pub const GLOBALS_UNWANTED: [&str; 4] = ["UNWANTED_0", "UNWANTED_1", "UNWANTED_2", "UNWANTED_3"];
/// Load-time global: the number of the reason that says nothing, so that the place in the kernel has to.
pub const GLOBAL_NOT_SPECIFIED: &str = "NOT_SPECIFIED";
/// Load-time global: the number of the reason "no socket".
pub const GLOBAL_NO_SOCKET: &str = "NO_SOCKET";
/// Load-time global: the number of the reason "a socket's filter does not want it".
pub const GLOBAL_SOCKET_FILTER: &str = "SOCKET_FILTER";
/// Load-time global: the number of the reason "not what a listener, or this connection, waits for".
pub const GLOBAL_TCP_FLAGS: &str = "TCP_FLAGS";
/// Load-time global: the number of the reason "the connection is closed".
pub const GLOBAL_TCP_CLOSE: &str = "TCP_CLOSE";

/// How many different drops the map has room for.
pub const MAX_ENTRIES: u32 = 16_384;
/// How many reasons [`MAP_LOST`] tells apart.
pub const LOST_REASONS: u32 = 256;

/// What the program reads, beside [`crate::kernel::NAMESPACE`].
pub const FIELDS: &[Field] = &[
    field("PACKET_DEVICE", "sk_buff", "dev"),
    field("PACKET_SOCKET", "sk_buff", "sk"),
    field("PACKET_ARRIVED_ON", "sk_buff", "skb_iif"),
    field("PACKET_PROTOCOL", "sk_buff", "protocol"),
    field("PACKET_TYPE", "sk_buff", "__pkt_type_offset"),
    field("PACKET_ROUTE", "sk_buff", "_skb_refdst"),
    field("PACKET_HEAD", "sk_buff", "head"),
    field("PACKET_END", "sk_buff", "end"),
    field("PACKET_NETWORK_HEADER", "sk_buff", "network_header"),
    field("PACKET_TRANSPORT_HEADER", "sk_buff", "transport_header"),
    field("PACKET_LENGTH", "sk_buff", "len"),
    field("SHARED_SEGMENTS", "skb_shared_info", "gso_segs"),
];

/// What is told apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The cookie of the namespace that it happened in; 0 where nothing told.
    pub netns: u64,
    /// The address in the kernel's code, where the reason says nothing; else 0.
    pub location: u64,
    /// The device, by its number in that namespace; 0 where nothing told.
    pub ifindex: u32,
    /// The reason, by the running kernel's number (`enum skb_drop_reason`).
    pub reason: u32,
}

const _: () = assert!(size_of::<Key>() == 24 && align_of::<Key>() == 8);

// SAFETY: `repr(C)`, integers only, no padding (the assertion above): every bit pattern is a value.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for the promise that any bytes are a valid value")]
unsafe impl aya::Pod for Key {}
