//! Losses for the golden page.

use super::{facts::SocketRows, families};
use crate::{collectors::sample::web, model::protocols::Losses, page::rows::Rows};

/// A container's and the node's.
pub(super) fn rows() -> Vec<Rows> {
    families::rows(&SocketRows {
        containers: vec![(web(), losses(1))],
        node: Some(losses(100)),
    })
}

/// Values that differ in every family.
fn losses(base: u64) -> Losses {
    Losses {
        tcp_listen_overflows: base,
        tcp_listen_drops: base + 1,
        tcp_backlog_drops: base + 2,
        tcp_receive_queue_drops: base + 3,
        tcp_prunes: base + 4,
        udp_receive_buffer_errors: base + 5,
        udp_send_buffer_errors: base + 6,
        udp_checksum_errors: base + 7,
        udp_no_ports: base + 8,
        ip_no_routes: base + 9,
        ip_reassembly_failures: base + 10,
    }
}
