//! The kernel's counts of a whole namespace, for all its networks together.

use super::tcp::Segments;

/// Counters of a namespace's protocols since the namespace was created. IPv4 and IPv6 are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocols {
    /// TCP segments and resets sent.
    pub segments: Segments,
    /// Sockets in the state `TIME_WAIT` (`sockstat`: `TCP: tw`).
    pub time_wait: u64,
    /// Sockets in any other state (`TCP: inuse` of `sockstat`, and `TCP6: inuse` of `sockstat6`). `None` if that was not
    /// read this time.
    pub sockets_in_use: Option<u64>,
    /// Packets and connections lost while receiving, sending or routing.
    pub losses: Losses,
}

/// A namespace's losses that no tracepoint reports per packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// `TcpExt: ListenOverflows`.
    pub tcp_listen_overflows: u64,
    /// `TcpExt: ListenDrops`, which includes the overflows.
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
