//! Panels of DNS: whether the name service answers, for several dashboards.

use netmon::{
    collectors::catalog::{
        CONTAINER_DNS_DURATION, CONTAINER_DNS_QUERIES, CONTAINER_DNS_RESPONSES, CONTAINER_DNS_RETRIES,
        CONTAINER_DNS_TRUNCATED, CONTAINER_DNS_UNANSWERED, CONTAINER_DNS_UNMATCHED, CONTAINER_DNS_UNTRACKED,
    },
    page::{
        family::{Counter, Family, Shape},
        labels::LabelSet,
    },
};

use super::SERVICE;
use crate::{
    board::{Row, uid},
    grafana::Panel,
    label::{Code, Label, Labels, Resolver, Service, Stack, Type},
    panel::{Limits, Unit, graph, table},
    query::{Query, Selection, Vector, of},
};

/// The codes that say that a resolver did not do its work. NXDOMAIN is an answer.
pub(crate) const FAULTS: &[&str] = &["servfail", "refused"];

/// The share of queries without a useful answer from which on it is suspicious, and bad.
const FAILED: (f64, f64) = (0.01, 0.1);

/// Whose queries.
#[derive(Clone, Copy)]
pub(super) struct Of<L> {
    /// The label that the dashboard's variable chooses.
    pub(super) chosen: Option<L>,
}

impl<C: Label + Copy> Of<C> {
    fn of<K: Shape, L: LabelSet>(self, family: Family<K, L>) -> Selection<K, L> {
        match self.chosen {
            Some(label) => of(family).chosen(label),
            None => of(family),
        }
    }

    /// Counts a second.
    fn rate<L: LabelSet, P: Labels>(self, family: Family<Counter, L>, by: P) -> Vector<P> {
        self.of(family).rate().sum(by)
    }

    /// The share of queries that had no answer, or one that says that the resolver failed.
    fn failed<P: Labels + Copy>(self, by: P) -> Vector<P> {
        let unanswered = self.rate(CONTAINER_DNS_UNANSWERED, by);
        let faults = self.of(CONTAINER_DNS_RESPONSES).is_one_of(Code, FAULTS).rate().sum(by);
        unanswered
            .plus(faults)
            .per(self.rate(CONTAINER_DNS_QUERIES, by).above(0.0))
    }

    /// The times that so many of all answers are below.
    fn times<P: Labels + Copy>(self, by: P) -> Vec<Query> {
        let below = |quantile, word| {
            let times = self.of(CONTAINER_DNS_DURATION).quantile(quantile, by).above(0.0);
            times.legend_and(by, word)
        };
        vec![below(0.5, "half"), below(0.95, "95 %"), below(0.99, "99 %")]
    }
}

/// The row of a service, or of a container.
pub(super) fn row<C: Label + Copy>(whose: Of<C>) -> Row {
    Row::new("Does the name service answer")
        .panel(8, 9, graph(
            "Queries, by type",
            Unit::PerSecond,
            Limits::None,
            "DNS queries a second, by resolver and type. docker is the engine's own resolver. outside is any other: what docker does not know, it asks there, so the two are not added up. Thousands a second: does the application keep its connections, and does its name end in a dot?",
            vec![whose.rate(CONTAINER_DNS_QUERIES, (Resolver, Type)).above(0.0).legend((Resolver, Type))],
        ))
        .panel(8, 9, graph(
            "Responses, by code",
            Unit::PerSecond,
            Limits::None,
            "nxdomain is normal: with search domains, a name is tried in several. servfail and refused: look at outside, and at the runbook of NetmonDnsFailures. A container on internal networks alone gets servfail for every name outside.",
            vec![whose.rate(CONTAINER_DNS_RESPONSES, (Resolver, Code)).above(0.0).legend((Resolver, Code))],
        ))
        .panel(8, 9, graph(
            "Queries that failed",
            Unit::Share,
            Limits::Above(FAILED.0, FAILED.1),
            "Share of queries without a response within five seconds, or with servfail or refused. docker and outside: the resolver outside, or the way there. docker alone: the node's own resolver if it has one, else the engine.",
            vec![whose.failed(Resolver).legend(Resolver)],
        ))
        .panel(8, 9, graph(
            "Time to the response",
            Unit::Seconds,
            Limits::None,
            "Names of services take the engine less than a millisecond. docker around four seconds: the first of several resolvers outside is dead. docker above its usual, and outside not: the engine is busy, mostly because containers start.",
            whose.times(Resolver),
        ))
        .panel(8, 9, graph(
            "Sent again, or asked again over TCP",
            Unit::PerSecond,
            Limits::None,
            "Again: the client sent a query once more, because no response came in its time. Cut: the response did not fit into a datagram.",
            vec![
                whose.rate(CONTAINER_DNS_RETRIES, Resolver).legend_and(Resolver, "again"),
                whose.rate(CONTAINER_DNS_TRUNCATED, Resolver).legend_and(Resolver, "cut"),
            ],
        ))
        .panel(8, 9, graph(
            "Not known",
            Unit::PerSecond,
            Limits::None,
            "Untracked: hundreds of queries waited at once, so netmon does not know what became of these. Unmatched: responses that came after five seconds, or twice, or that nobody asked for.",
            vec![
                whose.rate(CONTAINER_DNS_UNTRACKED, Resolver).legend_and(Resolver, "untracked"),
                whose.rate(CONTAINER_DNS_UNMATCHED, Resolver).legend_and(Resolver, "unmatched"),
            ],
        ))
}

/// Services, those first whose queries fail most.
pub(super) fn services() -> Panel {
    let rows = (Stack, Service, Resolver);
    let all = Of::<Service> { chosen: None };
    let slow = all.of(CONTAINER_DNS_DURATION).quantile(0.95, rows).above(0.0);
    table(
        "Services and their resolvers",
        "Whose DNS queries fail, and how long they take. docker and outside: the resolver outside, or the way there. docker alone: the node's own resolver if it has one, else the engine. outside alone: one of several resolvers outside, or containers that ask by themselves.",
        rows,
        ["Stack", "Service", "Resolver"],
    )
    .column("Queries", Unit::PerSecond, Limits::None, &all.rate(CONTAINER_DNS_QUERIES, rows))
    .column("Failed", Unit::Share, Limits::Above(FAILED.0, FAILED.1), &all.failed(rows))
    .column("95 % within", Unit::Seconds, Limits::Above(0.1, 1.0), &slow)
    .leads("Service", &uid(SERVICE), "service")
    .sorted("Failed")
}
