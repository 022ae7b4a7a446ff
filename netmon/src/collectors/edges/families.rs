//! The families of edges.

use std::sync::{Arc, LazyLock};

use crate::{
    collectors::edges::facts::{EdgeKey, EdgeSum},
    model::{
        edges::{IDLE_BOUNDS, Side},
        histogram::Histogram,
        tcp::FAILURE_REASONS,
    },
    page::{
        labels::{Block, LabelSet, Unlabelled, label_sets, last},
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

/// An edge and what has happened on it, with a number that no other has meanwhile.
type Row<'a> = (usize, &'a Arc<EdgeKey>, &'a EdgeSum);

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

/// The rendered labels of edges. They stay the same from page to page.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    of: Vec<Option<(Arc<EdgeKey>, Block<Edge<'static>>)>>,
}

impl Labels {
    /// The labels of an edge with this number.
    fn of(&mut self, number: usize, key: &Arc<EdgeKey>) -> Block<Edge<'static>> {
        if self.of.len() <= number {
            self.of.resize_with(number + 1, || None);
        }
        match self.of.get_mut(number) {
            Some(Some((known, labels))) if Arc::ptr_eq(known, key) => labels.clone(),
            place => {
                let labels = render(key);
                if let Some(place) = place {
                    *place = Some((Arc::clone(key), labels.clone()));
                }
                labels
            }
        }
    }
}

/// The last label of each row of a reason and of an idle time, in the order of a page, with the place of the count.
static LAST_OF_REASONS: LazyLock<Vec<(String, usize)>> = LazyLock::new(|| {
    let reasons = FAILURE_REASONS.into_iter();
    lasts::<EdgeReason<'_>>(reasons.map(|(reason, place)| (reason.to_owned(), place)))
});
static LAST_OF_IDLE_TIMES: LazyLock<Vec<(String, usize)>> = LazyLock::new(|| {
    let bounds = IDLE_BOUNDS.into_iter().enumerate();
    lasts::<EdgeIdle<'_>>(bounds.map(|(place, bound)| (bound.to_string(), place)))
});

fn lasts<L: LabelSet>(values: impl Iterator<Item = (String, usize)>) -> Vec<(String, usize)> {
    let mut lasts: Vec<_> = values.map(|(value, place)| (last::<L>(&value), place)).collect();
    lasts.sort_unstable();
    lasts
}

/// The rows of a scrape.
pub(crate) fn rows<'a>(labels: &mut Labels, edges: impl Iterator<Item = Row<'a>>, unheard: u64) -> Vec<Rows> {
    let (mut all, mut failures, mut breaks) = (Vec::new(), Vec::new(), Vec::new());
    for (number, key, sum) in edges {
        let labels = labels.of(number, key);
        let (side, counts) = (key.side, &sum.counts);
        if side == Side::Client {
            let reasons = LAST_OF_REASONS.iter();
            failures.extend(reasons.map(|(last, place)| (labels.and(last), counts.failures[*place])));
        }
        let idle = LAST_OF_IDLE_TIMES.iter();
        breaks.extend(idle.map(|(last, place)| (labels.and(last), counts.idle_breaks[*place])));
        all.push((labels, EdgeRow { side, sum: *sum }));
    }
    vec![
        EDGES.labelled(all),
        UNHEARD.row(&unheard),
        FAILURES.labelled(failures),
        IDLE.labelled(breaks),
    ]
}

fn render(key: &EdgeKey) -> Block<Edge<'static>> {
    let (client, server) = key.client_and_server();
    let port = if key.port == 0 {
        String::new()
    } else {
        key.port.to_string()
    };
    Edge {
        client: &client.name,
        client_stack: &client.stack,
        server: &server.name,
        server_stack: &server.stack,
        network: &key.network,
        port: &port,
        side: key.side.as_str(),
    }
    .block()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::{EDGES, FAILURES, IDLE, Labels, rows};
    use crate::{
        collectors::edges::facts::{EdgeKey, EdgeSum, Party},
        model::edges::Side,
        page::rows::Rows,
    };

    /// Edges whose names are parts of each other.
    fn keys() -> BTreeSet<Arc<EdgeKey>> {
        let names = ["web", "web-1", "web_1", "web.1", "w", "(outside)", ""];
        let party = |name: &str, stack: &str| Party {
            name: name.into(),
            stack: stack.into(),
        };
        let mut keys = BTreeSet::new();
        for (number, near) in names.into_iter().enumerate() {
            for far in names {
                for port in [0, 8, 80, 443, 8080, 65_535] {
                    for side in [Side::Client, Side::Server] {
                        keys.insert(Arc::new(EdgeKey {
                            near: party(near, names[number / 2]),
                            far: party(far, near),
                            network: far.into(),
                            port,
                            side,
                        }));
                    }
                }
            }
        }
        keys
    }

    fn page(labels: &mut Labels, keys: impl Iterator<Item = Arc<EdgeKey>>) -> Vec<Vec<String>> {
        let (keys, sum): (Vec<_>, _) = (keys.collect(), EdgeSum::default());
        let edges = keys.iter().enumerate().map(|(number, key)| (number, key, &sum));
        let rows = rows(labels, edges, 0);
        let sorted = rows.iter().map(Rows::sorted);
        sorted
            .map(|lines| lines.of(0).map(|(labels, _)| labels.to_owned()).collect())
            .collect()
    }

    #[test]
    fn edges_come_in_the_order_of_their_labels() {
        let (keys, sum) = (keys(), EdgeSum::default());
        let edges = keys.iter().enumerate().map(|(number, key)| (number, key, &sum));
        let rows = rows(&mut Labels::default(), edges, 0);
        for group in [EDGES.group(), FAILURES.group(), IDLE.group()] {
            let rows = rows.iter().find(|rows| std::ptr::eq(rows.group(), group));
            let rows = rows.expect("all groups have rows");
            assert!(
                rows.sorted().were_sorted(),
                "{} has to be sorted on each page",
                group.families[0].base
            );
        }
    }

    #[test]
    fn a_number_that_another_edge_has_now_has_its_labels() {
        let mut labels = Labels::default();
        let first = page(&mut labels, keys().into_iter());
        assert_eq!(first, page(&mut labels, keys().into_iter()), "from the second page on");
        let half: Vec<_> = keys().into_iter().skip(100).collect();
        assert_eq!(
            page(&mut labels, half.iter().cloned()),
            page(&mut Labels::default(), half.iter().cloned())
        );
    }
}
