//! What the kernel throws away without anything being lost.
//!
//! An alarm for nothing is a defect, and so is a silent loss: what stands here is left out everywhere, and why is said.
//! More rules are in the kernel program itself, for they look at the packet: packets of no network (Unix and netlink
//! sockets); answers to pings, of which every raw socket gets a copy; segments of TCP that bring nothing, and come when
//! their connection is over.

/// Reasons, by the kernel's names without `SKB_DROP_REASON_`. A kernel that lacks one has nothing to leave out.
pub(in crate::datapath) const REASONS: &[&str] = &[
    // Delivered, or not dropped at all: the tracepoint's other use.
    "SKB_NOT_DROPPED_YET",
    "SKB_CONSUMED",
    // Lay unread when its socket or queue was closed.
    "QUEUE_PURGE",
    "SOCKET_CLOSE",
    "UNIX_DISCONNECT",
    "UNIX_SKIP_OOB",
    // The copy of somebody who looks on (`tcpdump`) and does not keep up: the packet itself went its way.
    "PACKET_SOCK_ERROR",
    // A switch sent it to every port; this one is not meant.
    "OTHERHOST",
    "IPV6_NDISC_NS_OTHERHOST",
    // IPv6 is switched off: neighbours' multicast goes on.
    "IPV6DISABLED",
    // The data, or the acknowledgement, is there already: the other end sent it twice, or a later one came first.
    "TCP_OLD_DATA",
    "TCP_OLD_SEQUENCE",
    "TCP_OLD_ACK",
    "TCP_OFOMERGE",
    "TCP_RFC7323_PAWS_ACK",
    // Did its work: a reset that ended a connection (counted as such), a handshake that carried data.
    "TCP_RESET",
    "TCP_FASTOPEN",
];

/// Reasons, likewise, that are no loss of a frame that was sent to everybody: on a network with a hundred containers each
/// gets the multicast of all others (neighbour discovery, reports of groups), and few are meant. What is left out is that
/// nobody here wants it, and that there is nobody else to send it to; a filter, or a queue without room, counts.
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
    // A bridge's port that does not forward yet: what a container's device says as it comes up, on its way to everybody.
    "BRIDGE_INGRESS_STP_STATE",
];

/// Functions in which a drop without a reason is no loss.
pub(in crate::datapath) const FUNCTIONS: &[&str] = &[
    // A socket was closed with data unread.
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
    // The last segments of a connection that is in TIME_WAIT: what is really lost there has a reason.
    "tcp_v4_rcv",
    "tcp_v6_rcv",
    // ICMPv6 that was taken in: neighbour discovery, groups, pings. What is really lost there has a reason.
    "icmpv6_rcv",
    // An acknowledgement that did its work while the connection is being closed.
    "tcp_rcv_state_process",
    // A raw socket's copy of somebody else's ping, as the kernel program leaves it out where there is a reason.
    "rawv6_rcv",
    // An onlooker's copy, as above (before that had a reason).
    "packet_rcv",
    "tpacket_rcv",
    // Parts of a packet that was put together, when the whole is let go of (before 6.2 without the whole's reason).
    "skb_release_data",
];
