//! Edges of a busy node without a kernel, for the benchmarks.

use std::{sync::Arc, time::Duration, time::Instant};

use super::{
    facts::{EdgeLedger, Naming, Near, Party, Terms, Who},
    families,
};
use crate::{
    model::{
        edges::{EdgeCounts, EdgeId, EdgeReading, Far, RoundTrips, Side},
        interface::{InterfaceId, NetnsId},
    },
    page::rows::Rows,
};

/// How many tasks each service has here, with edges of their own in the kernel.
const TASKS: usize = 4;
/// How many services each service talks to.
const FAR: u16 = 10;

/// A node whose services talk to each other.
#[derive(Debug)]
pub struct EdgesOfNode {
    ledger: EdgeLedger,
    labels: families::Labels,
    readings: Vec<(EdgeReading, Who)>,
    now: Instant,
}

impl EdgesOfNode {
    /// So many edges between services.
    #[must_use]
    pub fn new(edges: usize, now: Instant) -> Self {
        let party = |number: usize| Party {
            name: format!("shop{}_service{number}", number % 7).into(),
            stack: format!("shop{}", number % 7).into(),
        };
        let reading = |number: usize| {
            let (edge, task) = (number / TASKS, number % TASKS);
            let service = edge / usize::from(FAR);
            let other = edge % usize::from(FAR);
            let [.., high, low] = edge.to_be_bytes();
            let side = if edge.is_multiple_of(2) {
                Side::Client
            } else {
                Side::Server
            };
            let id = EdgeId {
                interface: InterfaceId {
                    netns: NetnsId((service * TASKS + task) as u64),
                    ifindex: 2,
                },
                side,
                port: 8000 + u16::from(low) % FAR,
                far: Far::Address([10, 0, high, low].into()),
            };
            let reading = EdgeReading {
                id,
                counts: EdgeCounts::default(),
                live: 1,
                round_trips: RoundTrips::default(),
            };
            let near = Near {
                party: party(service),
                network: Arc::from("shop_backend"),
            };
            (reading, Who::Both(near, Naming::Certain(party(service + 1 + other))))
        };
        Self {
            ledger: EdgeLedger::default(),
            labels: families::Labels::default(),
            readings: (0..edges * TASKS).map(reading).collect(),
            now,
        }
    }

    /// A scrape after something has happened on every edge.
    pub fn scrape(&mut self) -> Vec<Rows> {
        self.now += Duration::from_secs(15);
        let terms = Terms {
            limit: 0,
            patience: Duration::ZERO,
            now: self.now,
            read: self.now,
        };
        self.ledger.begin(self.now);
        for (reading, who) in &mut self.readings {
            reading.counts.opened += 1;
            reading.counts.sent_bytes += 100;
            self.ledger.observe(reading, &terms, || who.clone());
        }
        self.ledger.end(|_| true);
        families::rows(&mut self.labels, self.ledger.sums(), 0)
    }
}
