//! Every family of the catalog is in a panel or a rule, or in the list of exceptions with a reason.

use std::collections::BTreeSet;

use netmon::collectors;
use netmon_dashboards::{
    boards,
    rules::{self, Rule},
};
use promql_parser::parser::{self, Expr};

/// Families that no panel or rule uses, and the reason.
const UNSHOWN: &[(&str, &str)] = &[
    (
        "netmon_attach_waiting_interfaces",
        "for scripts that wait until all is attached; a panel has how long that takes",
    ),
    (
        "netmon_check_duration_seconds",
        "a check takes microseconds; the panels of netmon itself have the time of a scrape",
    ),
    (
        "netmon_container_network_receive_segments_total",
        "for those who compare with a wire; panels have the packets that the interface counts",
    ),
    (
        "netmon_container_network_transmit_segments_total",
        "for those who compare with a wire; panels have the packets that the interface counts",
    ),
    (
        "netmon_container_tcp_listen_drops_total",
        "nearly always the overflows, which are shown",
    ),
    (
        "netmon_container_listen_backlog_limit",
        "a setting to look up when connections are turned away, the same in nearly all containers",
    ),
    (
        "netmon_edge_unheard_connections",
        "the kernel missed events, which panels of netmon itself show by program",
    ),
    (
        "netmon_unread_namespaces",
        "how many, when a collector is incomplete, which has an alert",
    ),
    (
        "netmon_node_softnet_processed_total",
        "hundreds of thousands a second beside the few that are dropped, which are shown",
    ),
    (
        "netmon_node_qdisc_overlimits_total",
        "a queue that holds packets back does its work; those it drops are shown",
    ),
    (
        "netmon_vxlan_receive_packets_total",
        "panels have its bytes, and the packets by node",
    ),
    (
        "netmon_vxlan_transmit_packets_total",
        "panels have its bytes, and the packets by node",
    ),
    (
        "netmon_vxlan_receive_segments_total",
        "panels have its bytes, and the packets by node",
    ),
    (
        "netmon_vxlan_transmit_segments_total",
        "panels have its bytes, and the packets by node",
    ),
    (
        "netmon_overlay_peer_info",
        "for looking up which address a node has, and for joins",
    ),
    (
        "netmon_overlay_endpoint_info",
        "for looking up whose an address is, and for joins",
    ),
    (
        "netmon_overlay_service_info",
        "for looking up whose an address is, and for joins",
    ),
    (
        "netmon_process_capability_info",
        "for auditors: it does not change while netmon runs",
    ),
    (
        "process_virtual_memory_bytes",
        "address space costs nothing; panels have the resident memory",
    ),
    (
        "netmon_scrapes_total",
        "Prometheus knows how often it asks; this is for finding out that somebody else does, too",
    ),
    ("process_threads", "does not change while netmon runs"),
];

#[test]
fn every_family_is_in_a_panel_or_a_rule_or_somebody_said_why_not() {
    let asked = asked();
    for family in collectors::families() {
        let name = family.name();
        // The series of a histogram have the names of its parts.
        let names = ["", "_bucket", "_sum", "_count"].map(|part| format!("{name}{part}"));
        let is_shown = names.iter().any(|name| asked.contains(name));
        let excuse = UNSHOWN.iter().find(|(unshown, _)| *unshown == name);
        match excuse {
            None => assert!(
                is_shown,
                "nothing shows {name}: give it a panel or a rule, or say in UNSHOWN why it needs none"
            ),
            Some(_) => assert!(!is_shown, "{name} is shown: take it out of UNSHOWN"),
        }
    }
    for (unshown, _) in UNSHOWN {
        assert!(
            collectors::families().any(|family| family.name() == *unshown),
            "there is no family {unshown}"
        );
    }
}

/// The names of all series that panels and rules query.
fn asked() -> BTreeSet<String> {
    let boards = boards::all();
    let panels = boards.iter().flat_map(|board| &board.panels);
    let panels = panels.flat_map(|panel| panel.panels.iter().flatten().chain([panel]));
    let mut queries: Vec<String> = panels
        .flat_map(|panel| &panel.targets)
        .map(|target| target.expr.replace("$__rate_interval", "1m").replace("$__range", "1h"))
        .collect();
    for file in [rules::recording(), rules::alerts()] {
        let groups = file.expect("rules").groups;
        queries.extend(groups.into_iter().flat_map(|group| group.rules).map(|rule| match rule {
            Rule::Record { expr, .. } | Rule::Alert { expr, .. } => expr.0,
        }));
    }
    let mut names = BTreeSet::new();
    for query in queries {
        let parsed = parser::parse(&query).unwrap_or_else(|error| panic!("{error}: {query}"));
        collect(&parsed, &mut names);
    }
    assert!(names.len() > 50, "panels and rules ask for {names:?} only");
    names
}

fn collect(expression: &Expr, names: &mut BTreeSet<String>) {
    match expression {
        Expr::Aggregate(it) => collect(&it.expr, names),
        Expr::Unary(it) => collect(&it.expr, names),
        Expr::Binary(it) => {
            collect(&it.lhs, names);
            collect(&it.rhs, names);
        }
        Expr::Paren(it) => collect(&it.expr, names),
        Expr::Subquery(it) => collect(&it.expr, names),
        Expr::Call(it) => it.args.args.iter().for_each(|it| collect(it, names)),
        Expr::VectorSelector(it) => names.extend(it.name.clone()),
        Expr::MatrixSelector(it) => names.extend(it.vs.name.clone()),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}
