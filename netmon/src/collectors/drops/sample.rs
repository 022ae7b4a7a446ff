//! Drops for the golden page.

use super::{
    facts::{DropRow, DropRows, UnattributedRow},
    families,
};
use crate::{collectors::sample::web, model::place::Cause, page::rows::Rows};

/// Drops of every kind of owner.
pub(super) fn rows() -> Vec<Rows> {
    let row = |network: &str, reason: &str, packets| DropRow {
        network: network.into(),
        reason: reason.into(),
        packets,
    };
    families::rows(&DropRows {
        containers: vec![
            (web(), row("shop_front", "NETFILTER_DROP", 7)),
            (web(), row("", "NO_SOCKET", 1)),
        ],
        overlays: vec![row("shop_front", "NO_TX_TARGET", 4)],
        load_balancers: vec![row("shop_front", "IP_RPFILTER", 2)],
        node: vec![row("", "PKT_TOO_SMALL", 3), row("bridge", "NETFILTER_DROP", 5)],
        unattributed: vec![UnattributedRow {
            reason: "UDP_CSUM".into(),
            cause: Cause::NoNamespace,
            packets: 6,
        }],
    })
}
