//! Alerts on DNS: the name service does not answer.

use netmon::collectors::catalog::{
    CONTAINER_DNS_DURATION, CONTAINER_DNS_QUERIES, CONTAINER_DNS_RESPONSES, CONTAINER_DNS_UNANSWERED,
};

use super::{
    Group,
    Severity::{Info, Warning},
    alert,
};
use crate::{
    boards::DNS_FAULTS,
    label::{Code, Container, Instance, Job, Resolver},
    query::{Vector, Window, of},
};

const RUNBOOK: &str = "dns";

/// A container's queries to a resolver.
type Asked = (Job, Instance, Container, Resolver);
const ASKED: Asked = (Job, Instance, Container, Resolver);

/// The time that is looked at, and its last part, in which it has to go on.
const TIME: Window = Window::Of("10m");
const LATELY: Window = Window::Of("5m");
/// Fewer failures than this within that time are no cause.
const FEW: f64 = 5.0;
/// The mean time to a response that is slow, in seconds.
const SLOW: f64 = 0.5;

pub(super) fn group() -> anyhow::Result<Group> {
    let unanswered = |window| of(CONTAINER_DNS_UNANSWERED).seen(window).sum(ASKED);
    let faults = |window| {
        let responses = of(CONTAINER_DNS_RESPONSES).is_one_of(Code, DNS_FAULTS);
        responses.seen(window).sum(ASKED)
    };
    Ok(Group {
        name: "netmon-dns".to_owned(),
        rules: vec![
            alert(
                RUNBOOK,
                "NetmonDnsUnanswered",
                Warning,
                "10m",
                &share(&unanswered),
                "A container's DNS queries are not answered.",
                "{share} of the DNS queries of {container} on {instance} to the resolver {resolver} have no response within five seconds.",
            )?,
            alert(
                RUNBOOK,
                "NetmonDnsFailures",
                Warning,
                "10m",
                &share(&faults),
                "A resolver answers a container's DNS queries with an error.",
                "{share} of the DNS queries of {container} on {instance} to the resolver {resolver} are answered with SERVFAIL or REFUSED.",
            )?,
            alert(
                RUNBOOK,
                "NetmonDnsSlow",
                Info,
                "15m",
                &slow(),
                "DNS takes long.",
                "The resolver {resolver} takes {seconds} in the mean to answer the DNS queries of {container} on {instance}.",
            )?,
        ],
    })
}

/// The share of queries that fail, if it is a tenth, if they are more than a few, and if it goes on.
fn share(failed: &impl Fn(Window) -> Vector<Asked>) -> Vector<Asked> {
    let queries = of(CONTAINER_DNS_QUERIES).seen(TIME).sum(ASKED);
    let share = failed(TIME).per(queries.above(0.0)).above(0.1);
    share
        .only_with(failed(TIME).above(FEW))
        .only_with(failed(LATELY).above(0.0))
}

/// The mean time to a response, if it is long and there are enough responses for a mean.
fn slow() -> Vector<Asked> {
    let observations = of(CONTAINER_DNS_DURATION).observations(TIME).sum(ASKED).above(0.01);
    of(CONTAINER_DNS_DURATION)
        .observed(TIME)
        .sum(ASKED)
        .per(observations)
        .above(SLOW)
}
