//! Connections for the golden page.

use std::sync::Arc;

use netmon_common::tcp::Tcp;

use super::{
    facts::{ConnectionsRow, TcpRow},
    families,
};
use crate::{
    collectors::sample::web,
    model::tcp::{Events, Segments},
    page::rows::Rows,
};

/// A container with programs on two networks.
pub(super) fn rows() -> Vec<Rows> {
    let mut counts = Tcp::ZERO;
    counts.connects = 10;
    counts.accepts = 20;
    counts.failures[1] = 2;
    counts.round_trips[2] = 5;
    counts.round_trips[12] = 1;
    counts.round_trip_microseconds = 702_000;
    let row = |network: &str, sent, events| TcpRow {
        identity: web(),
        network: network.into(),
        segments: Segments {
            sent,
            retransmitted: sent / 100,
            resets_sent: sent / 200,
            resets_received: sent / 400,
        },
        events: Some(Arc::new(events)),
    };
    let networks = [
        row("shop_front", 1000, Events::from(counts)),
        row("", 400, Events::default()),
    ];
    let connections = [ConnectionsRow {
        identity: web(),
        states: vec![("established", 4), ("listen", 1)],
    }];
    families::rows(&networks, &connections, true)
}
