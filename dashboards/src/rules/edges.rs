//! Alerts on edges: who talks to whom, and does not get through.

use netmon::collectors::catalog::EDGE_IDLE_BREAKS;

use super::{Group, Severity::Warning, alert};
use crate::{
    label::{Client, Idle, Instance, Job, Network, Port, Server, Side},
    query::{Window, of},
};

const RUNBOOK: &str = "edges";

/// Idle times that a load balancer's table does not outlive, in seconds: 15 minutes less a little, and longer ones.
const FORGOTTEN: &[&str] = &["870", "960", "3600"];
/// How many within an hour are a habit.
const MANY: f64 = 2.0;

pub(super) fn group() -> anyhow::Result<Group> {
    let edge = (Job, Instance, Client, Server, Network, Port);
    let broken = of(EDGE_IDLE_BREAKS)
        .is(Side, "client")
        .is_one_of(Idle, FORGOTTEN)
        .increase(Window::Of("1h"))
        .sum(edge);
    Ok(Group {
        name: "netmon-edges".to_owned(),
        rules: vec![alert(
            RUNBOOK,
            "NetmonIdleBreaks",
            Warning,
            "0m",
            &broken.above(MANY),
            "Connections break after a quarter of an hour without traffic.",
            "Within an hour, {value} connections of {client} to {server}, port {port} on network {network}, broke after an idle time.",
        )?],
    })
}
