//! The dashboards, and the queries that several of them share.

mod container;
mod dns;
mod edges;
mod findings;
mod losses;
mod netmon;
mod network;
mod overview;
mod service;

use ::netmon::{
    collectors::catalog::{
        CONTAINER_TCP_RETRANSMITTED_SEGMENTS, CONTAINER_TCP_ROUND_TRIP_TIME, CONTAINER_TCP_SENT_SEGMENTS,
        ContainerNetwork, EXPOSED_SERIES, SCRAPE_COLLECTOR_SUCCESS,
    },
    page::family::{Counter, Histogram},
};

use crate::{
    grafana::Dashboard,
    label::{Collector, Labels},
    query::{Query, Selection, Vector, of},
};

pub(crate) use self::dns::FAULTS as DNS_FAULTS;

/// The names of dashboards, as used in links.
const CONTAINER: &str = "container";
const LOSSES: &str = "losses";
const NETMON: &str = "self";
const NETWORK: &str = "network";
const OVERVIEW: &str = "overview";
const SERVICE: &str = "service";

/// All dashboards.
#[must_use]
pub fn all() -> Vec<Dashboard> {
    vec![
        overview::board(),
        service::board(),
        container::board(),
        network::board(),
        losses::board(),
        netmon::board(),
    ]
}

/// The shares of retransmitted segments from which on they are suspicious, and bad.
const RETRANSMITS: (f64, f64) = (0.01, 0.05);

/// The share of retransmitted segments. No result if no segment was sent.
fn retransmitted<P: Labels + Copy>(
    narrow: impl Fn(Selection<Counter, ContainerNetwork>) -> Selection<Counter, ContainerNetwork>,
    by: P,
) -> Vector<P> {
    let again = narrow(of(CONTAINER_TCP_RETRANSMITTED_SEGMENTS)).rate().sum(by);
    let first = narrow(of(CONTAINER_TCP_SENT_SEGMENTS)).rate().sum(by);
    again_of_all(again, first)
}

/// The share of retransmitted segments (`again`) among all. No result if no segment was sent.
fn again_of_all<P: Labels>(again: Vector<P>, first: Vector<P>) -> Vector<P> {
    again.clone().per(first.plus(again).above(0.0))
}

/// The round-trip times that 50 %, 95 % and 99 % of all observations are below.
fn round_trip_times<P: Labels + Copy>(
    narrow: impl Fn(Selection<Histogram, ContainerNetwork>) -> Selection<Histogram, ContainerNetwork>,
    by: P,
) -> Vec<Query> {
    let quantile = |quantile, word: &str| {
        narrow(of(CONTAINER_TCP_ROUND_TRIP_TIME))
            .quantile(quantile, by)
            // Without observations the quantile is not a number. A graph shows that as a gap at best.
            .above(0.0)
            .legend_and(by, word)
    };
    vec![quantile(0.5, "half"), quantile(0.95, "95 %"), quantile(0.99, "99 %")]
}

/// 0 if the collector works, and no result if it does not. A missing series then means that nothing happened. Without
/// the collector, a missing series says nothing.
fn none_if_looked(collector: &str) -> Vector<()> {
    let exposed = of(EXPOSED_SERIES).is(Collector, collector).now();
    let succeeds = of(SCRAPE_COLLECTOR_SUCCESS).is(Collector, collector).now();
    exposed.only_with(succeeds.above(0.0)).sum(()).times(0.0)
}
