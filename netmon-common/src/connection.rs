//! TCP sockets: which fields of a socket the programs read, and which device has its address.

use crate::kernel::{Field, field};

/// The map that the daemon fills: the ifindex of the device that has an address, by [`Address`]. It serves sockets
/// with an address and no route, such as a connection that is still being established.
pub const MAP_ADDRESSES: &str = "ADDRESSES";
/// The maximum number of addresses in [`MAP_ADDRESSES`].
pub const MAX_ADDRESSES: u32 = 16_384;

/// The fields that every program that finds a socket's interface reads, besides [`crate::kernel::NAMESPACE`].
pub const FIELDS: &[Field] = &[
    field("SOCKET_FAMILY", "sock", "__sk_common.skc_family"),
    field("SOCKET_IPV4_ADDRESS", "sock", "__sk_common.skc_rcv_saddr"),
    field("SOCKET_IPV6_ADDRESS", "sock", "__sk_common.skc_v6_rcv_saddr"),
    field("SOCKET_PROTOCOL", "sock", "sk_protocol"),
    field("SOCKET_ROUTE", "sock", "sk_dst_cache"),
    field("SOCKET_ERROR", "sock", "sk_err"),
    field("SOCKET_STATE", "sock", "__sk_common.skc_state"),
    field("TCP_ROUND_TRIP", "tcp_sock", "srtt_us"),
];

/// Fields without which the programs know fewer reasons why a connection was given up.
pub const FIELDS_OF_REASONS: &[Field] = &[
    field("TCP_SEGMENTS_SENT", "tcp_sock", "segs_out"),
    field("TCP_RETRANSMITS", "tcp_sock", "total_retrans"),
    field("SOCKET_SHUTDOWN", "sock", "sk_shutdown"),
];

/// An address in a namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The cookie of the namespace.
    pub netns: u64,
    /// The address. An IPv4 address is in its IPv6 form (`::ffff:a.b.c.d`).
    pub address: [u8; 16],
}

const _: () = assert!(size_of::<Address>() == 24 && align_of::<Address>() == 8);

// SAFETY: `repr(C)`, integers and arrays of them, no padding (the assertion above). So every bit pattern is a value.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for the promise that any bytes are a valid value")]
unsafe impl aya::Pod for Address {}
