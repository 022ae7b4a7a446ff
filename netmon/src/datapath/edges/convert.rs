//! What the programs count, as the rest of the daemon knows it.

use std::net::Ipv6Addr;

use netmon_common::edges::{Edge, FAR_ADDRESS, FAR_OUTSIDE, Key, Live, SERVER};

use crate::model::{
    edges::{EdgeCounts, EdgeId, EdgeReading, Far, RoundTrips, Side},
    interface::{InterfaceId, NetnsId},
};

pub(super) fn id(key: &Key) -> EdgeId {
    EdgeId {
        interface: InterfaceId {
            netns: NetnsId(key.netns),
            ifindex: key.ifindex,
        },
        side: if key.role == SERVER { Side::Server } else { Side::Client },
        port: key.port,
        far: match key.far {
            FAR_ADDRESS => Far::Address(Ipv6Addr::from(key.remote).to_canonical()),
            FAR_OUTSIDE => Far::Outside,
            _ => Far::Over,
        },
    }
}

pub(super) const fn counts(edge: &Edge) -> EdgeCounts {
    let Edge {
        opened,
        closed,
        sent_bytes,
        received_bytes,
        retransmitted_segments,
        round_trips,
        round_trip_microseconds,
        resets,
        failures,
        idle_breaks,
    } = *edge;
    EdgeCounts {
        opened,
        closed,
        sent_bytes,
        received_bytes,
        retransmitted_segments,
        resets,
        failures,
        idle_breaks,
        round_trips: RoundTrips {
            count: round_trips,
            microseconds: round_trip_microseconds,
        },
    }
}

pub(super) fn reading(key: &Key, edge: &Edge, live: &Live) -> EdgeReading {
    let mut counts = counts(edge);
    counts.accumulate(&EdgeCounts {
        sent_bytes: live.sent_bytes,
        received_bytes: live.received_bytes,
        retransmitted_segments: live.retransmitted_segments,
        ..EdgeCounts::default()
    });
    EdgeReading {
        id: id(key),
        counts,
        live: live.connections,
        round_trips: RoundTrips {
            count: live.round_trips,
            microseconds: live.round_trip_microseconds,
        },
    }
}
