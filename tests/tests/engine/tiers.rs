//! `deploy/examples/tiers.yml`: an application in tiers, and the traffic on each tier.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, bail, ensure};
use netmon_tests::{
    fleet::{self, Fleet, PATIENCE},
    lab::{Engine, IMAGE, Lab},
    page::Page,
    patience::within,
    scratch::Scratch,
};

/// The name of the stack.
pub(crate) const STACK: &str = "tiers";
/// Where tasks run: one auth-service on the database's node, and one on another node.
const PLACES: &str = "version: \"3.9\"
services:
  auth-service:
    deploy: {replicas: 2, placement: {constraints: [node.hostname != n1], max_replicas_per_node: 1}}
  database:
    deploy: {placement: {constraints: [node.hostname == n2]}}
";
/// Each service, the number of its tasks, and its networks.
const SERVICES: [(&str, usize, &[&str]); 4] = [
    ("reverse-proxy", 1, &["public", "internal"]),
    ("api-gateway", 3, &["internal", "services"]),
    ("auth-service", 2, &["services", "database"]),
    ("database", 1, &["database"]),
];

#[test]
fn traffic_is_told_by_tier_and_an_encrypted_tier_fails_closed_where_the_kernel_cannot_encrypt() -> anyhow::Result<()> {
    let lab = Lab::up(3, Engine::New)?;
    let fleet = deploy(&lab, &Scratch::new()?, PLACES)?;
    every_task_is_on_its_tiers_and_no_other(&lab, &fleet)?;
    what_the_networks_are_is_told(&fleet)?;
    the_open_tiers_carry_requests(&lab, &fleet)?;
    the_database_answers_on_its_own_node(&fleet)?;
    nothing_leaves_for_the_database_from_another_node(&lab, &fleet)
}

/// Deploys netmon on all nodes, and the example with these changes to its file.
pub(crate) fn deploy<'lab>(lab: &'lab Lab, scratch: &Scratch, changes: &str) -> anyhow::Result<Fleet<'lab>> {
    let fleet = Fleet::deploy(lab)?;
    let file = scratch.path().join("changes.yml");
    fs::write(&file, changes)?;
    let files = [fleet::deploy("examples/tiers.yml"), file];
    lab.deploy(STACK, &files, &[("TIERS_IMAGE", IMAGE)])?;
    Ok(fleet)
}

fn every_task_is_on_its_tiers_and_no_other(lab: &Lab, fleet: &Fleet<'_>) -> anyhow::Result<()> {
    for (service, tasks, networks) in SERVICES {
        let name = format!("{STACK}_{service}");
        let mut expected: BTreeSet<String> = networks.iter().map(|it| format!("{STACK}_{it}")).collect();
        if networks.contains(&"public") {
            // Its port is published, and it is the only service with a way out.
            expected.extend(["ingress", "docker_gwbridge"].map(ToOwned::to_owned));
        }
        within(PATIENCE, &format!("the tasks of {service}"), || {
            let mut found: Vec<(String, BTreeSet<String>)> = Vec::new();
            for number in lab.nodes() {
                for sample in fleet
                    .page(number)?
                    .all("netmon_container_interface_info", &[("service", &name)])
                {
                    let label = |it: &str| sample.labels.get(it).cloned().unwrap_or_default();
                    match found.iter_mut().find(|(container, _)| *container == label("container")) {
                        Some((_, networks)) => drop(networks.insert(label("network"))),
                        None => found.push((label("container"), BTreeSet::from([label("network")]))),
                    }
                }
            }
            ensure!(found.len() == tasks, "{} of {tasks} tasks: {found:?}", found.len());
            ensure!(
                found.iter().all(|(_, networks)| *networks == expected),
                "{found:?}, not {expected:?}"
            );
            Ok(())
        })?;
    }
    Ok(())
}

fn what_the_networks_are_is_told(fleet: &Fleet<'_>) -> anyhow::Result<()> {
    // The manager knows all of the networks.
    let page = fleet.page(1)?;
    for (network, internal, encrypted, mtu) in [
        ("public", "false", "false", ""),
        // The file sets 1450, which Docker takes for the outer packet of the tunnel.
        ("internal", "true", "false", "1400"),
        ("services", "true", "false", ""),
        ("database", "true", "true", ""),
    ] {
        let name = format!("{STACK}_{network}");
        let labels = [
            ("network", name.as_str()),
            ("internal", internal),
            ("encrypted", encrypted),
            ("stack", STACK),
        ];
        let info = page.one("netmon_network_info", &labels)?;
        if !mtu.is_empty() {
            ensure!(info.has(&[("mtu", mtu)]), "{info:?}");
        }
    }
    Ok(())
}

/// The packets that a service's tasks on a node sent on a tier.
fn sent(page: &Page, service: &str, network: &str) -> anyhow::Result<u64> {
    let labels = [
        ("service", &*format!("{STACK}_{service}")),
        ("network", &*format!("{STACK}_{network}")),
    ];
    page.count("netmon_service_network_transmit_packets_total", &labels)
}

/// The same on all nodes together.
fn sent_anywhere(lab: &Lab, fleet: &Fleet<'_>, service: &str, network: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for number in lab.nodes() {
        // A node without a task of the service has no such series.
        sum += sent(&fleet.page(number)?, service, network).unwrap_or_default();
    }
    Ok(sum)
}

fn the_open_tiers_carry_requests(lab: &Lab, fleet: &Fleet<'_>) -> anyhow::Result<()> {
    for (service, network) in [
        ("reverse-proxy", "internal"),
        ("api-gateway", "internal"),
        ("api-gateway", "services"),
        ("auth-service", "services"),
    ] {
        let before = sent_anywhere(lab, fleet, service, network)?;
        within(PATIENCE, &format!("{service} to talk on {network}"), || {
            let now = sent_anywhere(lab, fleet, service, network)?;
            // A request and its answer are five packets in each direction.
            ensure!(now >= before + 10, "{before} packets, then {now}");
            Ok(())
        })?;
    }
    Ok(())
}

fn the_database_answers_on_its_own_node(fleet: &Fleet<'_>) -> anyhow::Result<()> {
    let before = sent(&fleet.page(2)?, "database", "database")?;
    fleet.page_until(2, "the database to answer", |page| {
        let now = sent(page, "database", "database")?;
        ensure!(now >= before + 10, "{before} packets, then {now}");
        ensure!(sent(page, "auth-service", "database")? > 0, "nobody asked");
        Ok(())
    })
}

/// This kernel has no ESP. Packets that should be encrypted are dropped before they leave, and are never sent in the
/// clear.
fn nothing_leaves_for_the_database_from_another_node(lab: &Lab, fleet: &Fleet<'_>) -> anyhow::Result<()> {
    let node = lab.node(3);
    let network = format!("{STACK}_database");
    let no_state = || -> anyhow::Result<u64> {
        let text = node.exec("cat /proc/net/xfrm_stat")?;
        let value = text.lines().find_map(|line| line.strip_prefix("XfrmOutNoStates"));
        Ok(value
            .context("the kernel does not count what IPsec refuses")?
            .trim()
            .parse()?)
    };
    let refused = [("network", network.as_str()), ("reason", "NETFILTER_DROP")];
    within(PATIENCE, "what IPsec refused to be told, to the packet", || {
        let before = no_state()?;
        let page = fleet.page(3)?;
        let after = no_state()?;
        let told = page.count("netmon_overlay_packet_drops_total", &refused)?;
        ensure!(
            told > 0 && (before..=after).contains(&told),
            "the kernel refused {before} packets, then netmon tells of {told}, then {after}"
        );
        let dropped = page.count("netmon_vxlan_transmit_packets_dropped_total", &refused[..1])?;
        ensure!(
            dropped >= told,
            "of {told} refused packets the VXLAN device dropped {dropped}"
        );
        // Each client gives up after its own timeout.
        let service = [("service", "tiers_auth-service"), refused[0]];
        let failures = page.all("netmon_container_tcp_connect_failures_total", &service);
        ensure!(
            failures.iter().any(|it| it.value > 0.0),
            "no connection failed: {failures:?}"
        );
        Ok(())
    })?;
    // No packet of the network is on the wire in the clear.
    for (number, peer) in [(3, 2), (2, 3)] {
        let page = fleet.page(number)?;
        let peer = [lab.node(peer).address(), format!("n{peer}")];
        for direction in ["transmit", "receive"] {
            let labels = |peer| [("network", network.as_str()), ("peer", peer), ("direction", direction)];
            let Some(clear) = peer
                .iter()
                .find_map(|peer| page.count("netmon_overlay_cleartext_packets_total", &labels(peer)).ok())
            else {
                bail!("node {number} does not say whether {network} leaks to {peer:?}");
            };
            ensure!(
                clear == 0,
                "{clear} packets of {network} in the clear on node {number} ({direction})"
            );
        }
    }
    Ok(())
}
