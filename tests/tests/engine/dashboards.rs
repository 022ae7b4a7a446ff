//! The queries of the dashboards and rules, sent to a Prometheus that scrapes two nodes of a Swarm with traffic and
//! faults.

use std::{fs, time::Duration};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    dashboards::{Panel, files, folder, panels},
    lab::{Engine, Lab, Node},
    patience::{until, within},
    prometheus::{Prometheus, promtool},
    scratch::Scratch,
};
use serde_json::Value;

/// Panels of faults that this test does not cause. Their queries are sent all the same.
const QUIET: &[&str] = &[
    "netmon-container: Odd packets",
    "netmon-container: Overruns of sockets",
    "netmon-container: Errors and drops of the interface",
    "netmon-losses: Connections turned away",
    "netmon-losses: Full",
    "netmon-losses: Nobody knows whose",
    "netmon-losses: Nobody's, by cause and reason",
    "netmon-losses: Queues of devices",
    "netmon-losses: TCP without room",
    "netmon-losses: UDP without room",
    // The kernel may lack ESP.
    "netmon-network: Encrypted, by node",
    "netmon-network: Encryption that fails",
    "netmon-network: In the clear",
    "netmon-overview: In the clear",
    "netmon-network: In the load balancer",
    "netmon-network: In the overlay's namespace",
    "netmon-network: On the node's side",
    "netmon-network: VXLAN devices: errors and drops",
    "netmon-losses: Sockets of the nodes themselves",
    "netmon-self: Drops that are nobody's",
];
/// The shown time range in queries that refer to it.
const SHOWN: &str = "60s";
/// The window of rates. It is longer than Grafana's (four scrapes), and than all queries take together.
const RATE: &str = "15s";
/// How long it may take until every panel shows something that has to.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn every_panel_of_every_dashboard_shows_what_goes_on_and_every_rule_works() -> anyhow::Result<()> {
    let lab = Lab::up(2, Engine::Installed)?;
    let nodes = [lab.node(1), lab.node(2)];
    nodes[0].docker("network create -d overlay --attachable wide")?;
    let shop = |service: &str| {
        format!("--network wide --label com.docker.compose.project=shop --label com.docker.compose.service={service}")
    };
    nodes[0].start_container("web", &shop("web"))?;
    nodes[1].start_container("api", &shop("api"))?;
    let mut netmons = Vec::new();
    for node in nodes {
        let reachable = format!("--web.listen-address={}:10095", node.address());
        netmons.push(node.netmon(&[&reachable])?);
    }
    for netmon in &netmons {
        netmon.wait_ready()?;
    }
    trouble(nodes)?;

    let scratch = Scratch::new()?;
    let targets = [
        format!("{}:10095", nodes[0].address()).parse()?,
        format!("{}:10095", nodes[1].address()).parse()?,
    ];
    let rules = files("rules", "yml")?;
    let prometheus = Prometheus::start_in(Some(nodes[0].netns()), scratch.path(), &targets, &rules)?;

    // netmon's work on new interfaces only shows while there are some. So the next container starts after the first
    // scrapes. It is a second task, which nobody asks.
    until("both nodes to have been scraped", || {
        let scraped = prometheus.value("count(netmon_attach_delay_seconds_count)")?;
        ensure!(scraped > 1.0, "one of them was");
        Ok(())
    })?;
    nodes[0].start_container("late", &shop("api"))?;

    let panels = panels(RATE, SHOWN)?;
    ensure!(panels.len() > 60, "there are {} panels only", panels.len());
    // Every query has to be valid, those of the quiet panels too.
    let mut waiting = ask(&prometheus, panels.iter().collect())?;
    waiting.retain(|panel| !QUIET.contains(&panel.name.as_str()));
    within(PATIENCE, "every panel to have shown something", || {
        waiting = ask(&prometheus, std::mem::take(&mut waiting))?;
        let names: Vec<_> = waiting.iter().map(|panel| &panel.name).collect();
        ensure!(names.is_empty(), "nothing is shown by {names:?}");
        Ok(())
    })?;
    // The name of a panel that was removed would later excuse a new panel of that name.
    for quiet in QUIET {
        ensure!(
            panels.iter().any(|panel| panel.name == *quiet),
            "there is no panel {quiet}"
        );
    }

    until("every rule to have been reckoned", || {
        let json = prometheus.json("/api/v1/rules")?;
        let groups = json
            .pointer("/data/groups")
            .and_then(Value::as_array)
            .context("no groups")?;
        let rules = groups
            .iter()
            .filter_map(|group| group.get("rules")?.as_array())
            .flatten();
        let mut count = 0;
        for rule in rules {
            ensure!(rule.get("health").and_then(Value::as_str) == Some("ok"), "{rule}");
            count += 1;
        }
        ensure!(count > 25, "there are {count} rules only");
        Ok(())
    })?;
    // The mean round-trip time needs more observations than a test makes. promtool tests its values.
    for recorded in [
        "service_network:netmon_receive_bytes:rate5m{service=\"web\", network=\"wide\"}",
        "container_network:netmon_tcp_retransmitted_segments:ratio_rate5m{container=\"web\"} > 0",
        "container_network_reason:netmon_packet_drops:increase10m{container=\"api\", reason=\"NETFILTER_DROP\"} > 0",
    ] {
        until(recorded, || {
            ensure!(!prometheus.series(recorded)?.is_empty(), "it has no series");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn alerts_fire_when_they_should_and_promtool_has_nothing_to_say_about_them() -> anyhow::Result<()> {
    let folder = folder().join("rules");
    promtool(&folder, &["check", "rules"], files("rules", "yml")?)?;
    let tests = files("rules/tests", "yml")?;
    promtool(&folder, &["test", "rules"], &tests)?;
    // Every alert has to be in a test.
    let mut told = String::new();
    for path in tests {
        told += &fs::read_to_string(path)?;
    }
    let alerts = fs::read_to_string(folder.join("alerts.yml"))?;
    let names: Vec<_> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    ensure!(!names.is_empty(), "there are no alerts");
    for name in names {
        ensure!(
            told.contains(&format!("alertname=\"{name}\"")) || told.contains(&format!("alertname: {name}")),
            "nothing tests when {name} fires"
        );
    }
    Ok(())
}

/// Sends all queries of these panels, and returns the panels that show nothing.
fn ask<'a>(prometheus: &Prometheus, panels: Vec<&'a Panel>) -> anyhow::Result<Vec<&'a Panel>> {
    let mut empty = Vec::new();
    for panel in panels {
        let mut series = 0;
        for query in &panel.queries {
            series += prometheus
                .series(&query.text)
                .with_context(|| panel.name.clone())?
                .len();
        }
        if series == 0 {
            empty.push(panel);
        }
    }
    Ok(empty)
}

/// `web` sends requests to `api`, which loses a TCP packet from time to time. `web` also tries a port on which
/// nothing listens, and asks for a name.
fn trouble([asking, node]: [Node<'_>; 2]) -> anyhow::Result<()> {
    // A finding: the node's own address is in it.
    asking.docker(&format!(
        "network create -d overlay --subnet {}/24 site",
        asking.address()
    ))?;
    let address = node.address_of("api", "wide")?;
    node.exec_in("api", "nft add table ip lossy")?;
    node.exec_in(
        "api",
        "nft add chain ip lossy c { type filter hook prerouting priority -300 ; }",
    )?;
    node.exec_in(
        "api",
        "nft add rule ip lossy c meta l4proto tcp numgen inc mod 40 == 0 counter drop",
    )?;
    node.docker("exec -d api httpd -f -p 8080 -h /bin")?;
    // Not busybox's wget: the statically linked one resolves names first, even for addresses, and crashes.
    let asks = format!(
        "while :; do printf 'GET /busybox HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} 8080 > /dev/null; nc -w 1 {address} 1 < \
         /dev/null; ping -q -c 1 -W 1 {address}; nslookup api 127.0.0.11; sleep 0.1; done"
    );
    asking.docker_script("exec -d web", &asks).map(drop)
}
