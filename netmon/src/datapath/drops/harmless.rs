//! Drops that are no loss.
//!
//! A false alarm is a defect, and so is a silent loss. So every reason listed here is left out everywhere, and has
//! its argument beside it.
//!
//! The kernel program has more rules of this kind, because they need to look at the packet:
//!
//! - packets of no network protocol (Unix and netlink sockets);
//! - answers to pings, of which every raw socket gets a copy;
//! - TCP segments without data that come when their connection is over.

/// Reasons that are no loss, by the kernel's names without `SKB_DROP_REASON_`. A kernel that lacks one never reports
/// it.
pub(in crate::datapath) const REASONS: &[&str] = &[
    // The packet was delivered, or not dropped at all. The tracepoint reports these, too.
    "SKB_NOT_DROPPED_YET",
    "SKB_CONSUMED",
    // The data was unread when its socket or queue was closed.
    "QUEUE_PURGE",
    "SOCKET_CLOSE",
    "UNIX_DISCONNECT",
    "UNIX_SKIP_OOB",
    // The copy for a packet socket (`tcpdump`) that does not keep up. The packet itself was processed.
    "PACKET_SOCK_ERROR",
    // A switch flooded the frame to every port, and it is not meant for this one.
    "OTHERHOST",
    "IPV6_NDISC_NS_OTHERHOST",
    // IPv6 is disabled here, but neighbours still send multicast.
    "IPV6DISABLED",
    // The data or the acknowledgement was already here: the other end sent it twice, or a later one arrived first.
    "TCP_OLD_DATA",
    "TCP_OLD_SEQUENCE",
    "TCP_OLD_ACK",
    "TCP_OFOMERGE",
    "TCP_RFC7323_PAWS_ACK",
    // The segment did its work: a reset that ended a connection (counted as such), or a handshake that carried data.
    "TCP_RESET",
    "TCP_FASTOPEN",
];

/// Reasons that are no loss of a broadcast or multicast frame.
///
/// On a network with a hundred containers, each receives the multicast of all others (neighbour discovery, group
/// reports). Few of these frames are meant for it. Only two kinds of reasons are left out: no receiver here wants the
/// frame, or it has nowhere to be forwarded. Drops by a filter, or by a queue without room, count.
pub(in crate::datapath) const UNWANTED: &[&str] = &[
    "NOT_SPECIFIED",
    "NO_SOCKET",
    "IP_INADDRERRORS",
    "IP_INNOROUTES",
    "IP_INVALID_DEST",
    "IP_NOPROTO",
    "NO_TX_TARGET",
    "UNHANDLED_PROTO",
    "UNICAST_IN_L2_MULTICAST",
    // A bridge port does not forward yet. A container's device sends such frames as it comes up.
    "BRIDGE_INGRESS_STP_STATE",
];

/// Functions in which a drop without a reason is no loss.
pub(in crate::datapath) const FUNCTIONS: &[&str] = &[
    // A socket was closed with unread data.
    "__sk_flush_backlog",
    "inet_sock_destruct",
    "sk_stream_kill_queues",
    "skb_queue_purge",
    "skb_queue_purge_reason",
    "skb_rbtree_purge",
    "tcp_disconnect",
    "tcp_write_queue_purge",
    "udp_destruct_common",
    "udp_destruct_sock",
    // The last segments of a connection in TIME_WAIT. Real losses there have a reason.
    "tcp_v4_rcv",
    "tcp_v6_rcv",
    // ICMPv6 that was accepted: neighbour discovery, groups, pings. Real losses there have a reason.
    "icmpv6_rcv",
    // An acknowledgement that did its work while the connection was being closed.
    "tcp_rcv_state_process",
    // A raw socket's copy of a ping that is not its own. Where there is a reason, the kernel program leaves it out.
    "rawv6_rcv",
    // The copy for a packet socket, as above, on kernels where that had no reason yet.
    "packet_rcv",
    "tpacket_rcv",
    // Parts of a packet that was assembled from several, when the whole is freed. Before 6.2 they lack the whole's
    // reason.
    "skb_release_data",
];
