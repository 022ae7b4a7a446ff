//! The families of services.

use std::sync::Arc;

use crate::{
    collectors::service::facts::{EventsRow, OfService, ServiceRow},
    model::{
        counters::{Directions, Totals},
        events::EventSums,
        tcp::FAILURE_REASONS,
    },
    page::{
        key::Key,
        labels::key_labels,
        limits::{SERVICE, SERVICE_CAUSED, SERVICE_REASONS},
        rows::{Rows, schemas},
    },
};

key_labels! {
    /// A service on a network.
    pub Service { service, stack, network }
    /// What befalls a service on a network, by reason.
    pub ServiceReason { service, stack, network, reason = what }
}

schemas! {
    pub families of super::NAME;
    "Services" {
        /// A service on a network.
        SERVICES(it in Directions<Totals>) by Service, SERVICE {
            SERVICE_RECEIVE_BYTES: Counter, "netmon_service_network_receive" in Bytes,
                it.receive.bytes,
                "Bytes that the service's containers on this node received from the network since netmon started. Containers that have ended are included.";
            SERVICE_TRANSMIT_BYTES: Counter, "netmon_service_network_transmit" in Bytes,
                it.transmit.bytes,
                "Bytes that the service's containers on this node sent to the network since netmon started. Containers that have ended are included.";
            SERVICE_RECEIVE_PACKETS: Counter, "netmon_service_network_receive_packets",
                it.receive.packets,
                "Packets that the service's containers on this node received from the network since netmon started. Containers that have ended are included.";
            SERVICE_TRANSMIT_PACKETS: Counter, "netmon_service_network_transmit_packets",
                it.transmit.packets,
                "Packets that the service's containers on this node sent to the network since netmon started. Containers that have ended are included.";
        }
        /// A service's TCP connections on a network.
        CONNECTIONS(it in EventSums) by Service, SERVICE {
            SERVICE_TCP_SENT_SEGMENTS: Counter, "netmon_service_tcp_sent_segments",
                it.segments.map(|segments| segments.sent),
                "TCP segments that the service's containers on this node sent since netmon started, without retransmits. Containers that have ended are included; of one that no scrape saw, only what it sent with kernel programs attached.";
            SERVICE_TCP_RETRANSMITTED_SEGMENTS: Counter, "netmon_service_tcp_retransmitted_segments",
                it.segments.map(|segments| segments.retransmitted),
                "TCP segments that the service's containers on this node retransmitted since netmon started. Containers that have ended are included. The network is empty for loopback and where it is not known.";
            SERVICE_TCP_CONNECTS: Counter, "netmon_service_tcp_connects",
                it.made.map(|made| made.connects),
                "TCP connections that the service's containers on this node opened since netmon started. Containers that have ended are included.";
            SERVICE_TCP_ACCEPTS: Counter, "netmon_service_tcp_accepts",
                it.made.map(|made| made.accepts),
                "TCP connections that the service's containers on this node accepted since netmon started. Containers that have ended are included.";
        }
        /// A service's failed connections.
        FAILURES(it in u64) by ServiceReason, SERVICE_REASONS {
            SERVICE_TCP_CONNECT_FAILURES: Counter, "netmon_service_tcp_connect_failures",
                *it,
                "TCP connections that the service's containers on this node failed to open since netmon started. Containers that have ended are included. The reasons are those of netmon_container_tcp_connect_failures_total; one appears when it is first counted.";
        }
        /// A service's dropped packets.
        DROPS(it in u64) by ServiceReason, SERVICE_CAUSED {
            SERVICE_PACKET_DROPS: Counter, "netmon_service_packet_drops",
                *it,
                "Packets that the kernel dropped in the namespaces of the service's containers on this node since netmon started, by the kernel's drop reason. Containers that have ended are included.";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(traffic: &[ServiceRow], events: &[EventsRow]) -> Vec<Rows> {
    let drops = events.iter().flat_map(|row| {
        let reasons = row.counts.drops.iter();
        reasons.map(|(reason, packets)| (key(row).what(Arc::clone(reason)), *packets))
    });
    vec![
        SERVICES.rows(traffic.iter().map(|row| (key(row), &row.counts))),
        CONNECTIONS.rows(
            events
                .iter()
                .filter(|row| row.counts.segments.is_some())
                .map(|row| (key(row), &row.counts)),
        ),
        FAILURES.rows(events.iter().flat_map(failures)),
        DROPS.rows(drops),
    ]
}

fn key<T>(row: &OfService<T>) -> Key {
    Key::of(&row.identity).on(&row.network)
}

/// A reason appears when it is counted: there are eight, and most services have none.
fn failures(row: &EventsRow) -> impl Iterator<Item = (Key, u64)> {
    let counts = row.counts.made.map(|made| made.failures);
    let reasons = counts
        .into_iter()
        .flat_map(|counts| FAILURE_REASONS.map(|(reason, index)| (reason, counts[index])));
    reasons
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| (key(row).what(reason), count))
}
