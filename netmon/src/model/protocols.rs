//! What the kernel counts for a namespace as a whole, whichever network it was on.

use super::tcp::Segments;

/// Counters of a namespace's protocols, since the namespace was made. IPv4 and IPv6 together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocols {
    /// TCP segments and resets sent.
    pub segments: Segments,
    /// What is left of closed connections (`sockstat`: `TCP: tw`).
    pub time_wait: u64,
    /// What could not be received, or sent, or found its way.
    pub losses: Losses,
}

/// What a namespace lost, and no packet tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// `TcpExt: ListenOverflows`.
    pub tcp_listen_overflows: u64,
    /// `TcpExt: ListenDrops`, the overflows among them.
    pub tcp_listen_drops: u64,
    /// `TcpExt: TCPBacklogDrop`.
    pub tcp_backlog_drops: u64,
    /// `TcpExt: TCPRcvQDrop`.
    pub tcp_receive_queue_drops: u64,
    /// `TcpExt: RcvPruned` and `OfoPruned`.
    pub tcp_prunes: u64,
    /// `Udp: RcvbufErrors`.
    pub udp_receive_buffer_errors: u64,
    /// `Udp: SndbufErrors`.
    pub udp_send_buffer_errors: u64,
    /// `Udp: InCsumErrors`.
    pub udp_checksum_errors: u64,
    /// `Udp: NoPorts`.
    pub udp_no_ports: u64,
    /// `Ip: OutNoRoutes`.
    pub ip_no_routes: u64,
    /// `Ip: ReasmFails`.
    pub ip_reassembly_failures: u64,
}
