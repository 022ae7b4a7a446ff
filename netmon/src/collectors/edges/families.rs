//! The families of edges.

use crate::{
    collectors::edges::facts::{EdgeKey, EdgeSum},
    model::{
        edges::{IDLE_BOUNDS, Side},
        histogram::Histogram,
        tcp::FAILURE_REASONS,
    },
    page::{
        labels::{Block, LabelSet, Unlabelled, label_sets},
        limits::SHOWN,
        rows::{Rows, schemas},
    },
};

label_sets! {
    /// An edge, seen from one of its ends.
    pub Edge { client, client_stack, server, server_stack, network, port, side }
    /// What befalls an edge after an idle time.
    pub EdgeIdle { client, client_stack, server, server_stack, network, port, side, idle }
    /// What befalls an edge, by reason.
    pub EdgeReason { client, client_stack, server, server_stack, network, port, side, reason }
}

/// An edge and what has happened on it.
type Row<'a> = (&'a EdgeKey, &'a EdgeSum);

schemas! {
    pub families of super::NAME;
    "Who talks to whom" {
        /// An edge.
        EDGES(it in EdgeRow) by Edge<'static>, SHOWN {
            EDGE_CONNECTIONS: Counter, "netmon_edge_connections",
                it.sum.counts.opened,
                "TCP connections from the client to the server that were established since netmon started. side says which end this node saw: sums over side=client count each connection between services once. Names in brackets are no services: (outside), (node), (ingress), (load balancer), (unknown), and (other) over --limit.edges. Connections over loopback are left out.";
            EDGE_ACTIVE_CONNECTIONS: Gauge, "netmon_edge_active_connections",
                it.sum.live,
                "TCP connections from the client to the server that are open at this moment.";
            EDGE_TRANSMIT_BYTES: Counter, "netmon_edge_transmit" in Bytes,
                it.transmit_bytes(),
                "Payload that the client sent to the server since netmon started, each byte once, on open connections and on those that have ended. On both sides it is the client's direction.";
            EDGE_RECEIVE_BYTES: Counter, "netmon_edge_receive" in Bytes,
                it.receive_bytes(),
                "Payload that the client received from the server since netmon started, each byte once, on open connections and on those that have ended. On both sides it is the client's direction.";
            EDGE_RETRANSMITTED_SEGMENTS: Counter, "netmon_edge_retransmitted_segments",
                it.sum.counts.retransmitted_segments,
                "TCP segments that this side's end retransmitted since netmon started, on connections that were established: of requests with side=client, of answers with side=server.";
            EDGE_RESETS: Counter, "netmon_edge_resets",
                it.sum.counts.resets,
                "TCP connections that a reset ended since netmon started, whichever end sent it.";
            EDGE_ROUND_TRIP_TIME: Histogram, "netmon_edge_round_trip_time" in Seconds,
                Some(it.round_trips()),
                "Smoothed round-trip time that this side's end measured: of each connection at its end, and of each open one in each scrape. Connections on which it sent nothing are left out. It has a sum and a count, and no buckets.";
        }
        /// Connections whose end was not heard.
        UNHEARD(it in u64) by Unlabelled, SHOWN {
            EDGE_UNHEARD_CONNECTIONS: Gauge, "netmon_edge_unheard_connections",
                *it,
                "TCP connections that are not open any more, and whose end no kernel program heard, in four scrapes in a row. What they sent and received is missing in the edges. Must stay 0.";
        }
        /// Failed connects of an edge.
        FAILURES(it in u64) by EdgeReason<'static>, SHOWN {
            EDGE_CONNECT_FAILURES: Counter, "netmon_edge_connect_failures",
                *it,
                "TCP connections from the client to the server that were not established since netmon started. Only the client sees them. The reasons are those of netmon_container_tcp_connect_failures_total.";
        }
        /// Connections of an edge that broke after an idle time.
        IDLE(it in u64) by EdgeIdle<'static>, SHOWN {
            EDGE_IDLE_BREAKS: Counter, "netmon_edge_idle_breaks",
                *it,
                "TCP connections that were idle and then broke, since netmon started: the next segment was answered by a reset, or by nothing until the end of the connection. idle is the least idle time of its bucket in seconds. From 870 and 960 on: something on the way has forgotten them, such as the load balancer of a Swarm network after 15 minutes.";
        }
    }
}

/// An edge and what has happened on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EdgeRow {
    side: Side,
    sum: EdgeSum,
}

impl EdgeRow {
    const fn transmit_bytes(&self) -> u64 {
        match self.side {
            Side::Client => self.sum.counts.sent_bytes,
            Side::Server => self.sum.counts.received_bytes,
        }
    }

    const fn receive_bytes(&self) -> u64 {
        match self.side {
            Side::Client => self.sum.counts.received_bytes,
            Side::Server => self.sum.counts.sent_bytes,
        }
    }

    fn round_trips(&self) -> Histogram {
        let mut histogram = Histogram::default();
        if let Some((_, count)) = histogram.buckets.last_mut() {
            *count = self.sum.round_trips.count;
        }
        histogram.sum_microseconds = self.sum.round_trips.microseconds;
        histogram
    }
}

/// The rows of a scrape.
pub(crate) fn rows<'a>(edges: impl Iterator<Item = Row<'a>>, unheard: u64) -> Vec<Rows> {
    let (mut all, mut failures, mut breaks) = (Vec::new(), Vec::new(), Vec::new());
    for (key, sum) in edges {
        let port = if key.port == 0 {
            String::new()
        } else {
            key.port.to_string()
        };
        let labels = values(key, &port);
        let (side, counts) = (key.side, &sum.counts);
        all.push((Block::new(&labels), EdgeRow { side, sum: *sum }));
        if side == Side::Client {
            let reasons = FAILURE_REASONS.map(|(reason, index)| (with(labels, reason), counts.failures[index]));
            failures.extend(reasons);
        }
        let bounds = IDLE_BOUNDS.into_iter().zip(counts.idle_breaks);
        breaks.extend(bounds.map(|(bound, breaks)| (with(labels, &bound.to_string()), breaks)));
    }
    vec![
        EDGES.labelled(all),
        UNHEARD.row(&unheard),
        FAILURES.labelled(failures),
        IDLE.labelled(breaks),
    ]
}

/// The values of an edge's labels, in the order of [`Edge`].
fn values<'a>(key: &'a EdgeKey, port: &'a str) -> [&'a str; 7] {
    let (client, server) = match key.side {
        Side::Client => (&key.near, &key.far),
        Side::Server => (&key.far, &key.near),
    };
    [
        &client.name,
        &client.stack,
        &server.name,
        &server.stack,
        &key.network,
        port,
        key.side.as_str(),
    ]
}

/// The labels of an edge, and one more.
fn with<'a, L: LabelSet>(values: [&'a str; 7], more: &'a str) -> Block<L> {
    let mut all = [more; 8];
    all[..7].copy_from_slice(&values);
    Block::new(&all)
}
