//! Containers' TCP connections.

use std::fmt;

use super::{
    catalog,
    family::Page,
    labels::{Connections, ContainerNetwork, ContainerNetworkFailure, Rows},
};
use crate::model::{
    snapshot::{ConnectionsRow, TcpRow},
    tcp::{FAILURE_REASONS, NO_NETWORK},
};

/// Writes the connections.
pub(super) fn encode(page: &mut Page<'_>, tcp: &[TcpRow], connections: &[ConnectionsRow]) -> fmt::Result {
    let rows = Rows::new(tcp.iter().map(|row| (container_network(row), row)));

    catalog::CONTAINER_TCP_SENT_SEGMENTS.encode(page, rows.each(|row| row.segments.sent))?;
    catalog::CONTAINER_TCP_RETRANSMITTED_SEGMENTS.encode(page, rows.each(|row| row.segments.retransmitted))?;
    catalog::CONTAINER_TCP_RESETS_SENT.encode(page, rows.each(|row| row.segments.resets_sent))?;

    let counted = Rows::new(
        rows.iter()
            .filter_map(|row| Some((container_network(row), (*row, row.events?)))),
    );
    catalog::CONTAINER_TCP_RESETS_RECEIVED.encode(page, counted.each(|(row, _)| row.segments.resets_received))?;
    catalog::CONTAINER_TCP_CONNECTS.encode(page, counted.each(|(_, it)| it.counts().connects))?;
    catalog::CONTAINER_TCP_ACCEPTS.encode(page, counted.each(|(_, it)| it.counts().accepts))?;

    let failures = counted.iter().flat_map(|(row, events)| {
        let counts = FAILURE_REASONS.map(|(reason, index)| (reason, events.counts().failures[index]));
        // Connections without a known network fail rarely, so their reasons appear only when counted. Those of a
        // network appear from the start.
        let shown = |(_, count): &(&str, u64)| &*row.network != NO_NETWORK || *count > 0;
        counts
            .into_iter()
            .filter(shown)
            .map(|(reason, count)| (failure(row, reason), count))
    });
    let failures = Rows::new(failures);
    catalog::CONTAINER_TCP_CONNECT_FAILURES.encode(page, failures.each(|count| *count))?;

    // A histogram has fifteen series, so it appears only if there is an observation.
    let round_trips = counted
        .iter()
        .map(|(row, events)| (container_network(row), events.round_trips()));
    let round_trips = Rows::new(round_trips.filter(|(_, histogram)| histogram.count > 0));
    catalog::CONTAINER_TCP_ROUND_TRIP_TIME.encode(page, round_trips.each_ref())?;

    let states = Rows::new(connections.iter().flat_map(|row| {
        let ConnectionsRow { identity, states } = row;
        states.iter().map(move |(state, count)| {
            let labels = Connections {
                container: &identity.container,
                service: &identity.service,
                stack: &identity.stack,
                state,
            };
            (labels.block(), *count)
        })
    }));
    catalog::CONTAINER_TCP_CONNECTIONS.encode(page, states.each(|count| *count))
}

fn container_network(row: &TcpRow) -> super::labels::Block<ContainerNetwork<'static>> {
    ContainerNetwork {
        container: &row.identity.container,
        service: &row.identity.service,
        stack: &row.identity.stack,
        network: &row.network,
    }
    .block()
}

fn failure(row: &TcpRow, reason: &str) -> super::labels::Block<ContainerNetworkFailure<'static>> {
    ContainerNetworkFailure {
        container: &row.identity.container,
        service: &row.identity.service,
        stack: &row.identity.stack,
        network: &row.network,
        reason,
    }
    .block()
}
