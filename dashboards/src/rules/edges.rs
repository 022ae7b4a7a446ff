//! Alerts on edges: who talks to whom, and does not get through.

use netmon::{
    collectors::catalog::{
        CONTAINER_TCP_ACCEPTS, EDGE_CONNECT_FAILURES, EDGE_CONNECTIONS, EDGE_IDLE_BREAKS, EDGE_RETRANSMITTED_SEGMENTS,
        EDGE_ROUND_TRIP_TIME, EDGE_TRANSMIT_BYTES,
    },
    page::{family::Counter, labels::LabelSet},
};

use super::{
    Group, Rule,
    Severity::{Info, Warning},
    alert,
    recorded::{COURSE, EDGE, EDGE_RETRANSMITS, EDGE_ROUND_TRIPS, Edge},
};
use crate::{
    balance,
    edge::of_clients,
    label::{Client, Container, Idle, Instance, Job, Network, Port, Reason, Server, Service, Stack},
    query::{Recorded, Selection, Vector, Window, of},
};

const RUNBOOK: &str = "edges";

/// Idle times that a load balancer's table does not outlive, in seconds: 15 minutes less a little, and longer ones.
const FORGOTTEN: &[&str] = &["870", "960", "3600"];
/// The name of what is beyond a gateway.
const OUTSIDE: &str = "(outside)";
/// How many within an hour are a habit.
const MANY: f64 = 2.0;

/// An edge from one node.
type OnNode = (Job, Instance, Client, Server, Network, Port);
const ON_NODE: OnNode = (Job, Instance, Client, Server, Network, Port);

/// The hour of yesterday that this one is compared with, and when it ended.
const HOUR: &str = "1h";
const YESTERDAY: &str = "23h30m";
/// The same hour by minutes, and in how many of these a value has to be known.
const MINUTES_OF_HOUR: &str = "1h:1m";
const KNOWN: f64 = 30.0;

pub(super) fn group() -> anyhow::Result<Group> {
    let broken = of_clients(of(EDGE_IDLE_BREAKS))
        .is_one_of(Idle, FORGOTTEN)
        .increase(Window::Of("1h"))
        .sum(ON_NODE);
    Ok(Group {
        name: "netmon-edges".to_owned(),
        rules: vec![
            alert(
                RUNBOOK,
                "NetmonEdgeConnectFailures",
                Warning,
                "15m",
                &connect_failures(),
                "A service cannot reach another one.",
                "{share} of the connections from {client} on {instance} to {server}, port {port} on network {network}, fail.",
            )?,
            // More than an acknowledgement that waits for the answer takes: kernels delay them for 40 milliseconds.
            alert(
                RUNBOOK,
                "NetmonEdgeRoundTripTime",
                Warning,
                "20m",
                &against_yesterday(&EDGE_ROUND_TRIPS, 0.05),
                "The round-trip time between two services is far above yesterday's.",
                "Between {client} and {server}, port {port} on network {network}, a round trip takes {seconds}, more than three times as long as at this hour of yesterday.",
            )?,
            // A megabyte has some 700 segments, so this is about one in fifty.
            alert(
                RUNBOOK,
                "NetmonEdgeRetransmits",
                Warning,
                "20m",
                &against_yesterday(&EDGE_RETRANSMITS, 14.0),
                "Two services have to send much more again than yesterday.",
                "Of each megabyte between {client} and {server}, port {port} on network {network}, {value} segments are sent again, more than three times as many as at this hour of yesterday.",
            )?,
            alert(
                RUNBOOK,
                "NetmonIdleBreaks",
                Warning,
                "0m",
                &broken.above(MANY),
                "Connections break after a quarter of an hour without traffic.",
                "Within an hour, {value} connections of {client} to {server}, port {port} on network {network}, broke after an idle time.",
            )?,
            task_without_connections()?,
        ],
    })
}

/// The share of connections to another service that fail. Only the client's end sees them. Whoever looks for others in the
/// world has many.
fn connect_failures() -> Vector<OnNode> {
    let failed = |window| {
        of_clients(of(EDGE_CONNECT_FAILURES))
            .is_not(Server, OUTSIDE)
            .is_not(Reason, "aborted")
            .seen(Window::Of(window))
            .sum(ON_NODE)
    };
    let made = of_clients(of(EDGE_CONNECTIONS)).seen(Window::Of("10m")).sum(ON_NODE);
    let share = failed("10m").per(made.plus(failed("10m")).above(0.0));
    let enough = failed("10m").above(3.0);
    let still = failed("5m").above(0.0);
    share.above(0.1).only_with(enough).only_with(still)
}

/// Three times the value at the same hour of yesterday, if it was known then, and if it is more than `least`.
fn against_yesterday(now: &Recorded<Edge>, least: f64) -> Vector<Edge> {
    let usual = now.over("avg_over_time", HOUR, YESTERDAY);
    let known = now.over("count_over_time", MINUTES_OF_HOUR, YESTERDAY).above(KNOWN);
    now.now().above_that(usual.times(3.0)).above(least).only_with(known)
}

/// The mean round-trip time of each edge between services. Outside there is always somebody else.
pub(super) fn round_trips() -> Vector<Edge> {
    let window = Window::Of("10m");
    let edges = of_clients(of(EDGE_ROUND_TRIP_TIME)).is_not(Server, OUTSIDE);
    // Below this rate there is no useful mean.
    let observations = edges.clone().observations(window).sum(EDGE).above(0.01);
    edges.observed(window).sum(EDGE).per(observations)
}

/// How many segments of a megabyte that the client sends are sent again, of each edge between services.
pub(super) fn retransmits() -> Vector<Edge> {
    fn rate<L: LabelSet>(it: Selection<Counter, L>) -> Vector<Edge> {
        it.rate_over(Window::Of("10m")).sum(EDGE)
    }
    // Of less than ten kilobytes a second, one segment would be much.
    let megabytes = |bytes: Vector<Edge>| bytes.times(1e-6).above(0.01);
    let again = rate(of_clients(of(EDGE_RETRANSMITTED_SEGMENTS)).is_not(Server, OUTSIDE));
    again.per(megabytes(rate(of_clients(of(EDGE_TRANSMIT_BYTES)))))
}

/// A task that gets no connections, while its sisters get many.
fn task_without_connections() -> anyhow::Result<Rule> {
    let by = (Job, Instance, Stack, Service, Network, Container);
    let accepts = of(CONTAINER_TCP_ACCEPTS)
        .is_not(Service, "")
        .is_not(Network, "")
        .throughout(Window::Of("30m"))
        .sum(by);
    let each = balance::mean(accepts.clone(), COURSE);
    alert(
        RUNBOOK,
        "NetmonTaskGetsNothing",
        Info,
        "5m",
        &accepts.exactly(0.0).and(COURSE, each.above(30.0)),
        "A task gets no connections while its sisters do.",
        "{container} on {instance} has taken no connection on network {network} for half an hour, while the other tasks of {service} have.",
    )
}

/// How many times more connections the busiest task of a service takes than the mean of all.
pub(super) fn skew() -> Vector<(Job, Stack, Service, Network)> {
    let accepts = of(CONTAINER_TCP_ACCEPTS)
        .is_not(Service, "")
        .is_not(Network, "")
        .rate_over(Window::Of("10m"))
        .sum((Job, Stack, Service, Network, Container));
    balance::skew(accepts, COURSE)
}
