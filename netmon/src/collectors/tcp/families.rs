//! The families of TCP connections.

use crate::{
    collectors::tcp::facts::{ConnectionsRow, TcpRow},
    model::tcp::{Events, FAILURE_REASONS, NO_NETWORK},
    page::{
        key::Key,
        labels::key_labels,
        limits::{CONTAINER, CONTAINER_NOW, CONTAINER_TRAFFIC},
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// A container on a network.
    pub ContainerNetwork { container, service, stack, network }
    /// Failed connections of a container.
    pub ContainerNetworkFailure { container, service, stack, network, reason = what }
    /// A container's connections in a state.
    pub Connections { container, service, stack, state = what }
}

schemas! {
    pub families of super::NAME;
    "TCP" {
        /// A container's segments and connections on a network. Without programs only the kernel's own counts are there.
        NETWORKS(it in TcpRow) by ContainerNetwork, CONTAINER {
            CONTAINER_TCP_SENT_SEGMENTS: Counter, "netmon_container_tcp_sent_segments",
                it.segments.sent,
                "TCP segments that the container sent, without retransmits. Summed over networks it equals the namespace's TcpOutSegs since netmon or the container started. The network is empty for loopback, for devices without kernel programs, and for answers without a connection over IPv6. What has no network is shown one scrape late.";
            CONTAINER_TCP_RETRANSMITTED_SEGMENTS: Counter, "netmon_container_tcp_retransmitted_segments",
                it.segments.retransmitted,
                "TCP segments that the container retransmitted. Summed over networks it equals the namespace's TcpRetransSegs since netmon or the container started. The network is empty for loopback and where it is not known, and shown one scrape late.";
            CONTAINER_TCP_RESETS_SENT: Counter, "netmon_container_tcp_resets_sent",
                it.segments.resets_sent,
                "TCP resets that the container sent. It refused or aborted a connection. Summed over networks it equals the namespace's TcpOutRsts since netmon or the container started. Before Linux 6.10, resets for closed ports and ended connections have no network.";
            CONTAINER_TCP_RESETS_RECEIVED: Counter, "netmon_container_tcp_resets_received",
                it.events.as_ref().map(|_| it.segments.resets_received),
                "TCP resets that the container received. The other end refused or aborted a connection.";
            CONTAINER_TCP_CONNECTS: Counter, "netmon_container_tcp_connects",
                it.events.as_ref().map(|events| events.counts().connects),
                "TCP connections that the container opened.";
            CONTAINER_TCP_ACCEPTS: Counter, "netmon_container_tcp_accepts",
                it.events.as_ref().map(|events| events.counts().accepts),
                "TCP connections that the container accepted.";
        }
        /// A container's failed connections.
        FAILURES(it in u64) by ContainerNetworkFailure, CONTAINER {
            CONTAINER_TCP_CONNECT_FAILURES: Counter, "netmon_container_tcp_connect_failures",
                *it,
                "TCP connections that the container failed to open, by reason. refused: nobody listens. timeout: nobody answered until the kernel gave up. unanswered: nobody answered the first SYN, and the application gave up after the second. unreachable: a router or this host reported that there is no way. reset: the other end aborted it. local: this host failed it before the first SYN, mostly because no local port was free. aborted: the application gave up before the second SYN. other: any other error.";
        }
        /// A container's round-trip times. A histogram has fifteen series, so it appears only if there is an observation.
        ROUND_TRIPS(it in Events) by ContainerNetwork, CONTAINER_TRAFFIC {
            CONTAINER_TCP_ROUND_TRIP_TIME: Histogram, "netmon_container_tcp_round_trip_time" in Seconds,
                Some(it.round_trips()),
                "Smoothed round-trip time of the container's TCP connections, as the kernel estimates it. One in eight acknowledgements of sent data is observed.";
        }
        /// A container's sockets.
        SOCKETS(it in u64) by Connections, CONTAINER_NOW {
            CONTAINER_TCP_CONNECTIONS: Gauge, "netmon_container_tcp_connections",
                *it,
                "TCP sockets of the container, by state. Changes of state that were lost are made good, mostly within a minute.";
        }
    }
}

/// The rows of a scrape. Without events only the kernel's own counts are there, and the other groups are left off.
pub(crate) fn rows(tcp: &[TcpRow], connections: &[ConnectionsRow], has_events: bool) -> Vec<Rows> {
    let networks = NETWORKS.rows(tcp.iter().map(|row| (key(row), row)));
    if !has_events {
        return vec![networks];
    }
    let states = connections.iter().flat_map(|row| {
        let states = row.states.iter();
        states.map(|(state, count)| (Key::of(&row.identity).what(*state), *count))
    });
    let events = tcp.iter().filter_map(|row| Some((row, &**row.events.as_ref()?)));
    let observed = events.filter(|(_, events)| events.has_round_trips());
    vec![
        networks,
        FAILURES.rows(tcp.iter().flat_map(failures)),
        ROUND_TRIPS.rows(observed.map(|(row, events)| (key(row), events))),
        SOCKETS.rows(states),
    ]
}

fn key(row: &TcpRow) -> Key {
    Key::of(&row.identity).on(&row.network)
}

/// Connections without a known network fail rarely, so their reasons appear only when counted. Those of a network
/// appear from the start.
fn failures(row: &TcpRow) -> impl Iterator<Item = (Key, u64)> {
    let counts = row.events.as_ref().map(|events| events.counts().failures);
    let reasons = counts
        .into_iter()
        .flat_map(|counts| FAILURE_REASONS.map(|(reason, index)| (reason, counts[index])));
    let shown = reasons.filter(|(_, count)| &*row.network != NO_NETWORK || *count > 0);
    shown.map(|(reason, count)| (key(row).what(reason), count))
}
