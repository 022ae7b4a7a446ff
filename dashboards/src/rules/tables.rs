//! Alerts on kernel tables that are forgotten until they are full.

use netmon::collectors::catalog::{
    CONTAINER_CONNTRACK_ENTRIES, NODE_CONNTRACK_DROPS, NODE_CONNTRACK_EARLY_DROPS, NODE_CONNTRACK_ENTRIES,
    NODE_CONNTRACK_LIMIT, NODE_NEIGHBOUR_ENTRIES, NODE_NEIGHBOUR_EXEMPT, NODE_NEIGHBOUR_LIMIT,
    NODE_NEIGHBOUR_TABLE_FULL,
};

use super::{
    Group,
    Severity::{Critical, Warning},
    alert,
};
use crate::{
    label::{AddressFamily, Container, Instance, Job, Service, Stack, Threshold},
    query::{Window, of},
};

const RUNBOOK: &str = "tables";
/// The share from which on a table is nearly full.
const NEARLY: f64 = 0.8;

pub(super) fn group() -> anyhow::Result<Group> {
    let window = Window::Of("10m");
    let node = (Job, Instance);
    let container = (Job, Instance, Stack, Service, Container);
    let family = (Job, Instance, AddressFamily);
    // A limit of 0 means no limit.
    let limit = || of(NODE_CONNTRACK_LIMIT).now().max(node).above(0.0);
    let most = of(NODE_NEIGHBOUR_LIMIT)
        .is(Threshold, "gc_thresh3")
        .now()
        .max(family)
        .above(0.0);
    // Permanent neighbours are among the entries, but have no limit. An engine adds one for each endpoint elsewhere.
    let bounded = of(NODE_NEIGHBOUR_ENTRIES)
        .now()
        .max(family)
        .minus(of(NODE_NEIGHBOUR_EXEMPT).now().max(family));
    let lost = of(NODE_CONNTRACK_DROPS).increase(window).sum(node);
    let lost = lost.plus(of(NODE_CONNTRACK_EARLY_DROPS).increase(window).sum(node));
    Ok(Group {
        name: "netmon-tables".to_owned(),
        rules: vec![
            alert(
                RUNBOOK,
                "NetmonConntrackNearlyFull",
                Warning,
                "5m",
                &of(NODE_CONNTRACK_ENTRIES).now().max(node).per(limit()).above(NEARLY),
                "A node's table of connections is nearly full.",
                "The packet filter of {instance} follows {share} of the connections it may.",
            )?,
            // The node's limit applies to each namespace.
            alert(
                RUNBOOK,
                "NetmonContainerConntrackNearlyFull",
                Warning,
                "5m",
                &of(CONTAINER_CONNTRACK_ENTRIES)
                    .now()
                    .max(container)
                    .per_one(node, limit())
                    .above(NEARLY),
                "A container's table of connections is nearly full.",
                "The packet filter follows {share} of the connections it may in {container} on {instance}.",
            )?,
            alert(
                RUNBOOK,
                "NetmonConntrackFull",
                Critical,
                "0m",
                &lost.above(0.0),
                "Connections are lost because the table of connections is full.",
                "{instance} dropped or forgot {value} connections within ten minutes: net.netfilter.nf_conntrack_max is reached.",
            )?,
            alert(
                RUNBOOK,
                "NetmonNeighbourTableNearlyFull",
                Warning,
                "5m",
                &bounded.per(most).above(NEARLY),
                "A node's table of neighbours is nearly full.",
                "{instance} knows {share} of the {family} neighbours that it may, in all namespaces together. Permanent ones do not count.",
            )?,
            alert(
                RUNBOOK,
                "NetmonNeighbourTableFull",
                Critical,
                "0m",
                &of(NODE_NEIGHBOUR_TABLE_FULL).increase(window).sum(family).above(0.0),
                "A node's table of neighbours is full.",
                "{instance} had no room for another {family} neighbour {value} times within ten minutes: whoever is new cannot be reached.",
            )?,
        ],
    })
}
