//! Alerts on what netmon's checks find: one for each severity. What is wrong, the finding itself says.

use netmon::{
    collectors::catalog::{CHECK_SUCCESS, FINDING},
    model::finding::Severity as Found,
};

use super::{
    Group, Rule,
    Severity::{self, Critical, Info, Warning},
    alert,
};
use crate::{
    label::{Check, Container, FindingSeverity, Instance, Job, Network, Peer, Service, Subject},
    query::of,
};

const RUNBOOK: &str = "findings";

pub(super) fn group() -> anyhow::Result<Group> {
    let mut rules = Vec::new();
    for (name, severity, found, summary) in [
        (
            "NetmonFindingCritical",
            Critical,
            Found::Critical,
            "A check found a fault that loses traffic.",
        ),
        (
            "NetmonFindingWarning",
            Warning,
            Found::Warning,
            "A check found a fault that will lose traffic, or does for some.",
        ),
        (
            "NetmonFindingInfo",
            Info,
            Found::Info,
            "A check found something odd that harms nobody yet.",
        ),
    ] {
        rules.push(finding(name, severity, found, summary)?);
    }
    rules.push(alert(
        RUNBOOK,
        "NetmonCheckBlind",
        Warning,
        "10m",
        &of(CHECK_SUCCESS).now().max((Job, Instance, Check)).exactly(0.0),
        "A check cannot look.",
        "The check {check} on {instance} cannot look, so its findings are old or missing: `netmon doctor` there says why.",
    )?);
    Ok(Group {
        name: "netmon-findings".to_owned(),
        rules,
    })
}

/// Findings have waited for their check's patience already, so the alert need not wait.
fn finding(name: &'static str, severity: Severity, found: Found, summary: &'static str) -> anyhow::Result<Rule> {
    let standing = of(FINDING).is(FindingSeverity, found.as_str()).now();
    alert(
        RUNBOOK,
        name,
        severity,
        "0m",
        &standing.max((Job, Instance, Check, Network, Container, Service, Peer, Subject)),
        summary,
        "The check {check} on {instance} found a fault (network \"{network}\", container \"{container}\", node \"{peer}\", \
         subject \"{subject}\"): `netmon doctor` there says what was seen, and what to do.",
    )
}
