//! Edges for the golden page.

use std::sync::Arc;

use super::{
    facts::{EdgeKey, EdgeSum, OUTSIDE, Party},
    families,
};
use crate::{
    model::edges::{EdgeCounts, RoundTrips, Side},
    page::rows::Rows,
};

/// A service that another one asks, and that the world asks.
pub(super) fn rows() -> Vec<Rows> {
    let of = |name: &str| Party {
        name: format!("shop_{name}").into(),
        stack: "shop".into(),
    };
    let key = |near: Party, far: Party, network: &str, port: u16, side: Side| EdgeKey {
        near,
        far,
        network: network.into(),
        port,
        side,
    };
    let sum = |opened: u64| {
        let mut counts = EdgeCounts {
            opened,
            closed: opened - 2,
            sent_bytes: opened * 1000,
            received_bytes: opened * 3000,
            retransmitted_segments: opened / 10,
            resets: opened / 20,
            ..EdgeCounts::default()
        };
        counts.failures[0] = opened / 5;
        EdgeSum {
            counts,
            round_trips: RoundTrips {
                count: opened - 1,
                microseconds: opened * 500,
            },
            live: 2,
            changed: None,
        }
    };
    let edges = [
        (key(of("web"), of("db"), "shop_back", 5432, Side::Client), sum(100)),
        (
            key(of("web"), Party::word(OUTSIDE), "docker_gwbridge", 8080, Side::Server),
            sum(60),
        ),
    ];
    let edges = edges.map(|(key, sum)| (Arc::new(key), sum));
    let edges = edges.iter().enumerate();
    families::rows(
        &mut families::Labels::default(),
        edges.map(|(number, (key, sum))| (number, key, sum)),
        3,
    )
}
