//! What a connection sent and received: the kernel's own counts on its socket.

use netmon_common::edges::Connection;

use super::Object;

/// `SOCK_DONE` in a socket's flags (`enum sock_flags`): a FIN was received (`tcp_fin`).
const SOCK_DONE: u32 = 1;

/// What a socket sent and received so far.
pub(super) struct Totals {
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    pub(super) retransmitted_segments: u64,
    /// In microseconds; 0 if it is not known.
    pub(super) round_trip: u64,
}

impl Totals {
    /// What of it is newer than the programs.
    #[inline(always)]
    pub(super) fn since(self, connection: &Connection) -> Self {
        Self {
            sent_bytes: self.sent_bytes.saturating_sub(connection.sent_before),
            received_bytes: self.received_bytes.saturating_sub(connection.received_before),
            retransmitted_segments: self
                .retransmitted_segments
                .saturating_sub(connection.retransmitted_before),
            round_trip: self.round_trip,
        }
    }
}

/// What a socket sent and received; `None` if it is none of TCP.
#[inline(always)]
pub(super) fn totals(object: &impl Object, socket: u64) -> Option<Totals> {
    let tcp = object.tcp_socket(socket);
    if tcp == 0 {
        return None;
    }
    // SAFETY: `tcp` is a `struct tcp_sock *`, which begins with the socket.
    // The flags come first: a FIN that arrives meanwhile is then a byte too many, and not one of none.
    let (flags, sent, resent, received, segments, smoothed) = unsafe {
        (
            object.field::<u64>(tcp, object.socket_flags()),
            object.field::<u64>(tcp, object.tcp_bytes_sent()),
            object.field::<u64>(tcp, object.tcp_bytes_resent()),
            object.field::<u64>(tcp, object.tcp_bytes_received()),
            object.field::<u32>(tcp, object.tcp_retransmits()),
            object.field::<u32>(tcp, object.tcp_round_trip()),
        )
    };
    let sent_bytes = sent.saturating_sub(resent);
    Some(Totals {
        sent_bytes,
        // The kernel counts a FIN as a byte received (`tcp_rcv_nxt_update`).
        received_bytes: received.saturating_sub(flags >> SOCK_DONE & 1),
        retransmitted_segments: segments.into(),
        // The kernel stores eight times as much. Without data of its own, the time is that of the handshake.
        round_trip: if sent_bytes == 0 { 0 } else { (smoothed >> 3).into() },
    })
}
