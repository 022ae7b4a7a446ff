//! What netmon's checks find, for *Overview*.

use netmon::collectors::catalog::{CHECK_SUCCESS, FINDING, FINDING_START_TIME, FINDINGS_LEFT_OUT};

use crate::{
    board::Row,
    label::{Check, Container, FindingSeverity, Instance, Network, Peer, Subject},
    panel::{Limits, Unit, stat, table},
    query::of,
};

/// What is wrong, the worst first.
pub(super) fn row() -> Row {
    let by = (Instance, FindingSeverity, Check, Network, Container, Peer, Subject);
    let left_out = of(FINDINGS_LEFT_OUT).now().sum(());
    let blind = of(CHECK_SUCCESS).now();
    let blind = blind.clone().count(()).minus(blind.sum(()));
    let critical = of(FINDING).is(FindingSeverity, "critical").now().sum(());
    Row::new("What is wrong?")
        .panel(4, 4, stat(
            "Critical findings",
            Unit::Count,
            Limits::Zero,
            "Faults that lose traffic, on all nodes. The table says which; `netmon doctor` on that node says what was seen, and what to do.",
            vec![critical.or(of(CHECK_SUCCESS).now().sum(()).times(0.0)).named("findings")],
        ))
        .panel(4, 4, stat(
            "Checks that cannot look",
            Unit::Count,
            Limits::Zero,
            "Checks that could not look the last time: their findings are old, or missing. `netmon doctor` on that node says why.",
            vec![blind.named("checks"), left_out.named("findings not listed")],
        ))
        .panel(16, 8, table(
            "Findings",
            "What netmon's checks found, with its subject. `netmon doctor` on that node says what was seen, and what to do. An empty table is good, if the checks can look.",
            by,
            ["Node", "Severity", "Check", "Network", "Container", "Other node", "Subject"],
        )
        .column("For", Unit::Seconds, Limits::None, &of(FINDING_START_TIME).now().max(by).age())
        .in_order("Severity"))
}
