//! Packets that the kernel dropped: where, and for which of its reasons.

use crate::kernel::{Field, field};

/// The map of the counts: a hash map by [`Key`], with a `u64` for every CPU.
pub const MAP: &str = "DROPS";
/// The map of packets that found no room in [`MAP`]: an array by the reason, with a `u64` for every CPU. All
/// reasons from [`LOST_REASONS`] on share the last entry.
pub const MAP_LOST: &str = "DROPS_LOST";
/// The map of the same packets by the cause ([`crate::refusal`]).
pub const MAP_REFUSED: &str = "DROPS_REFUSED";
/// The program.
pub const PROGRAM: &str = "drops_kfree_skb";
/// The tracepoint that it is attached to.
pub const TRACEPOINT: &str = "kfree_skb";
/// Load-time global: the number of arguments of [`TRACEPOINT`]. The receiving socket is the fourth, from 6.11 on.
pub const GLOBAL_ARGUMENTS: &str = "ARGUMENTS";
/// Load-time globals: the reasons that are no loss, as bit sets of the numbers from 0, 64, 128 and 192 on.
pub const GLOBALS_HARMLESS: [&str; 4] = ["HARMLESS_0", "HARMLESS_1", "HARMLESS_2", "HARMLESS_3"];
/// Load-time globals: the reasons that are no loss of a broadcast or multicast frame, as bit sets like
/// [`GLOBALS_HARMLESS`].
pub const GLOBALS_UNWANTED: [&str; 4] = ["UNWANTED_0", "UNWANTED_1", "UNWANTED_2", "UNWANTED_3"];
/// Load-time global: the number of the reason `NOT_SPECIFIED`, for which the location in the kernel decides.
pub const GLOBAL_NOT_SPECIFIED: &str = "NOT_SPECIFIED";
/// Load-time global: the number of the reason "no socket".
pub const GLOBAL_NO_SOCKET: &str = "NO_SOCKET";
/// Load-time global: the number of the reason "a socket's filter rejected it".
pub const GLOBAL_SOCKET_FILTER: &str = "SOCKET_FILTER";
/// Load-time global: the number of the reason "a listener, or this connection, does not expect such TCP flags".
pub const GLOBAL_TCP_FLAGS: &str = "TCP_FLAGS";
/// Load-time global: the number of the reason "the connection is closed".
pub const GLOBAL_TCP_CLOSE: &str = "TCP_CLOSE";

/// The maximum number of keys in the map.
pub const MAX_ENTRIES: u32 = 16_384;
/// How many reasons [`MAP_LOST`] tells apart. The kernel's own have smaller numbers; those of its subsystems do not.
pub const LOST_REASONS: u32 = 256;
/// The number of entries of [`MAP_LOST`].
pub const LOST_ENTRIES: u32 = LOST_REASONS + 1;

/// The reason of an entry of [`MAP_LOST`]; `None` if it stands for several.
#[must_use]
pub const fn lost_reason(index: u32) -> Option<u32> {
    if index < LOST_REASONS { Some(index) } else { None }
}

/// The fields that the program reads, besides [`crate::kernel::NAMESPACE`].
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

/// The key of a count.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The cookie of the namespace in which the packet was dropped; 0 if unknown.
    pub netns: u64,
    /// The address of the drop in the kernel's code if the reason is `NOT_SPECIFIED`, otherwise 0.
    pub location: u64,
    /// The device's ifindex in that namespace; 0 if unknown.
    pub ifindex: u32,
    /// The reason, by the running kernel's number (`enum skb_drop_reason`).
    pub reason: u32,
}

const _: () = assert!(size_of::<Key>() == 24 && align_of::<Key>() == 8);

// SAFETY: `repr(C)`, integers only, no padding (the assertion above). So every bit pattern is a value.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for the promise that any bytes are a valid value")]
unsafe impl aya::Pod for Key {}
