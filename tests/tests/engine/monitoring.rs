//! netmon, Prometheus and Grafana, deployed with one command. A real Prometheus finds every node; a busybox takes the
//! place of Grafana.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    fleet::{Fleet, PATIENCE, STACK, deploy},
    lab::{Engine, IMAGE, Lab, Node},
    patience::within,
    prometheus::{self, Prometheus},
    scratch::Scratch,
};
use serde_json::{Value, json};

use crate::{
    fleet::{both_ends_say_the_same, is_what_it_says},
    ground::{Interface, ping, reach},
};

/// An image of Debian's Prometheus.
const PROMETHEUS: &str = "lab/prometheus:1";

#[test]
fn on_the_nodes_network_prometheus_finds_every_node_by_name_and_sums_up_a_service() -> anyhow::Result<()> {
    let lab = lab(Engine::Installed)?;
    // Nobody deploys a Grafana with a password that everybody knows.
    let files = ["stack.yml", "monitoring.yml"].map(deploy);
    let refused = lab.deploy(STACK, &files, &[]);
    let refused = refused.err().context("it was deployed without a password")?;
    ensure!(format!("{refused:#}").contains("GRAFANA_PASSWORD"), "{refused:#}");
    Fleet::deploy_files(&lab, &["stack.yml", "monitoring.yml"], &variables("prometheus"))?;
    let prometheus = prometheus_of(&lab)?;
    finds_every_node(&lab, &prometheus)?;
    has_rules_and_dashboards(&lab, &prometheus)?;

    let manager = lab.node(1);
    manager.docker("network create -d overlay --attachable wide")?;
    manager.docker(&format!(
        "service create --detach --no-resolve-image --name web --mode global --endpoint-mode dnsrr --network wide {IMAGE}"
    ))?;
    let tasks = within(PATIENCE, "a task on every node", || {
        lab.nodes()
            .map(|number| task(lab.node(number), "web"))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    for (number, to) in [(1, 2), (2, 3)] {
        let address = lab.node(to).address_of(&tasks[usize::from(to) - 1], "wide")?;
        let from = &tasks[usize::from(number) - 1];
        reach(lab.node(number), from, address)?;
        ping(lab.node(number), from, address, 50)?;
    }
    within(
        PATIENCE,
        "the query to give the sum of what the kernels of all nodes say",
        || {
            let mut sum = 0;
            for (number, task) in lab.nodes().zip(&tasks) {
                let node = lab.node(number);
                sum += Interface::of(node, task, "wide")?.figures(node)?.transmit_packets;
            }
            for family in ["netmon_container_network", "netmon_service_network"] {
                let query =
                    format!("sum by (service) ({family}_transmit_packets_total{{service=\"web\", network=\"wide\"}})");
                let value = prometheus.value(&query)?;
                ensure!(
                    (value - sum as f64).abs() < 0.5,
                    "`{query}` is {value}, and the interfaces have {sum}"
                );
            }
            Ok(())
        },
    )?;
    Ok(())
}

#[test]
fn on_an_overlay_network_prometheus_finds_every_node_and_the_nodes_own_families_are_there() -> anyhow::Result<()> {
    let lab = lab(Engine::New)?;
    lab.node(1).docker("network create -d overlay --attachable wide")?;
    for number in lab.nodes() {
        lab.node(number)
            .start_container(&format!("after{number}"), "--network wide")?;
    }
    let files = ["stack-overlay.yml", "monitoring.yml"];
    let fleet = Fleet::deploy_files(&lab, &files, &variables("prometheus-overlay"))?;
    for number in lab.nodes() {
        is_what_it_says(&fleet, &lab, number, "observed")?;
        let page = fleet.page(number)?;
        page.one("netmon_node_tcp_listen_overflows_total", &[])?;
        let port = fleet.get_on_node(number, "/metrics");
        ensure!(port.is_err(), "netmon listens on the node {number}, too");
    }
    both_ends_say_the_same(&fleet, &lab)?;
    finds_every_node(&lab, &prometheus_of(&lab)?)?;

    // A container that is no task of a service cannot join the network, and read what is on it.
    let joined = lab
        .node(1)
        .docker(&format!("run --rm --network {STACK}_monitoring {IMAGE} true"));
    let refused = joined.err().context("a container joined the network")?;
    ensure!(format!("{refused:#}").contains("attachable"), "{refused:#}");

    // Swarm's own DNS, for a Prometheus that does not run on a manager.
    let manager = lab.node(1);
    let addresses: BTreeSet<IpAddr> = within(PATIENCE, "tasks.netmon to have three addresses", || {
        let (number, asker) = somewhere(&lab, &format!("{STACK}_grafana"))?;
        let text = lab
            .node(number)
            .docker(&format!("exec {asker} nslookup tasks.netmon 127.0.0.11"))?;
        let (_, answer) = text.split_once("Name:").context("no answer")?;
        let found: BTreeSet<IpAddr> = answer.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        ensure!(found.len() == 3, "{text}");
        Ok(found)
    })?;
    let own = manager.address_of(&fleet.container(manager)?, &format!("{STACK}_monitoring"))?;
    ensure!(addresses.contains(&own), "{addresses:?} has no {own}");
    Ok(())
}

/// Three nodes, with the images to deploy on each.
pub(crate) fn lab(engine: Engine) -> anyhow::Result<Lab> {
    let lab = Lab::up(3, engine)?;
    let scratch = Scratch::new()?;
    prometheus::root(scratch.path())?;
    lab.import(PROMETHEUS, scratch.path(), &prometheus::CHANGES)?;
    Ok(lab)
}

pub(crate) fn variables(discovery: &str) -> [(&str, &str); 4] {
    [
        ("GRAFANA_PASSWORD", "a password of a test"),
        ("PROMETHEUS_IMAGE", PROMETHEUS),
        ("GRAFANA_IMAGE", IMAGE),
        ("NETMON_DISCOVERY", discovery),
    ]
}

/// The stack's Prometheus, reached from its node.
pub(crate) fn prometheus_of(lab: &Lab) -> anyhow::Result<Prometheus> {
    within(PATIENCE, "Prometheus to be ready", || {
        let node = lab.node(1);
        let address = node.address_of(&task(node, &format!("{STACK}_prometheus"))?, "docker_gwbridge")?;
        Prometheus::at(node.netns(), SocketAddr::new(address, 9090))
    })
}

/// Checks that Prometheus and Grafana find the project's own files.
fn has_rules_and_dashboards(lab: &Lab, prometheus: &Prometheus) -> anyhow::Result<()> {
    let rules = prometheus.json("/api/v1/rules")?;
    let groups = rules.pointer("/data/groups").and_then(Value::as_array);
    let files: BTreeSet<&str> = groups
        .into_iter()
        .flatten()
        .filter_map(|group| group.get("file")?.as_str())
        .collect();
    let wanted = ["alerts", "recording"].map(|name| format!("/etc/prometheus/rules/{name}.yml"));
    ensure!(
        files.iter().eq(&wanted),
        "rules come from {files:?}, not from {wanted:?}"
    );

    let (number, grafana) = within(PATIENCE, "Grafana to run", || {
        somewhere(lab, &format!("{STACK}_grafana"))
    })?;
    let folder = "/var/lib/grafana/dashboards/netmon";
    let listed = lab.node(number).docker(&format!("exec {grafana} ls {folder}"))?;
    let listed: BTreeSet<&str> = listed.split_whitespace().collect();
    let files = fs::read_dir(deploy("../dashboards"))?;
    let names: BTreeSet<String> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|it| it == "json"))
        .collect();
    ensure!(names.iter().eq(&listed), "the dashboards are {listed:?}, not {names:?}");
    Ok(())
}

pub(crate) fn finds_every_node(lab: &Lab, prometheus: &Prometheus) -> anyhow::Result<()> {
    let wanted: BTreeSet<String> = lab.nodes().map(|number| format!("n{number}")).collect();
    within(PATIENCE, "every node to be a target that is up", || {
        let up = prometheus.labels("up{job=\"netmon\"} == 1", "instance")?;
        ensure!(up == wanted, "{up:?}, not {wanted:?}");
        let all = prometheus.value("count(up)")?;
        ensure!((all - 3.0).abs() < 0.5, "{all} targets");
        // A first page may come before the engine has reported the node's hostname.
        let named = prometheus.labels("netmon_node_info", "hostname")?;
        ensure!(named == wanted, "{named:?}, not {wanted:?}");
        Ok(())
    })
}

/// The container of a service's only task on a node.
fn task(node: Node<'_>, service: &str) -> anyhow::Result<String> {
    let filter = format!("label=com.docker.swarm.service.name={service}");
    let all = node.docker(&format!("ps --format {{{{.Names}}}} --filter {filter}"))?;
    ensure!(all.split_whitespace().count() == 1, "{service} has here: {all:?}");
    Ok(all)
}

/// The container of a service's only task, and the number of its node.
fn somewhere(lab: &Lab, service: &str) -> anyhow::Result<(u8, String)> {
    let found = lab
        .nodes()
        .find_map(|number| Some((number, task(lab.node(number), service).ok()?)));
    found.with_context(|| format!("{service} runs nowhere"))
}

#[test]
fn the_projects_prometheus_configurations_are_right() -> anyhow::Result<()> {
    for file in ["prometheus.yml", "prometheus-overlay.yml"] {
        prometheus::check_config(&deploy(file))?;
    }
    Ok(())
}

#[test]
fn with_tls_prometheus_finds_what_it_finds_without() -> anyhow::Result<()> {
    for name in ["prometheus", "prometheus-overlay"] {
        let text = |file: &str| -> anyhow::Result<String> { Ok(fs::read_to_string(deploy(file))?) };
        let with = text(&format!("{name}-tls.yml"))?;
        // Prometheus checks that these files are there.
        let scratch = Scratch::new()?;
        for file in ["netmon.crt", "netmon.password"] {
            fs::write(scratch.path().join(file), "")?;
        }
        let copy = scratch.path().join("prometheus.yml");
        fs::write(
            &copy,
            with.replace("/run/secrets", &scratch.path().display().to_string()),
        )?;
        prometheus::check_config(&copy)?;

        let (_, begin) = with.split_once("global:").context("no beginning")?;
        let (before, rest) = begin.split_once("    scheme: https\n").context("no TLS")?;
        let (_, after) = rest.split_once("netmon.password\n").context("no password")?;
        let without = text(&format!("{name}.yml"))?;
        let (_, without) = without.split_once("global:").context("no beginning")?;
        ensure!(
            format!("{before}{after}") == without,
            "{name}-tls.yml has more than TLS and a password that {name}.yml has not:\n{with}"
        );
    }
    Ok(())
}

/// A manager that joined without `--advertise-addr`, and was the leader once, is listed at 0.0.0.0: that is whoever asks.
#[test]
fn a_node_is_scraped_at_an_address_of_its_own_unless_it_is_drained() -> anyhow::Result<()> {
    let node = |hostname: &str, address: &str, manager: &str, availability: &str| {
        json!({
            "__address__": format!("{address}:10095"),
            "__meta_dockerswarm_node_address": address,
            "__meta_dockerswarm_node_availability": availability,
            "__meta_dockerswarm_node_hostname": hostname,
            "__meta_dockerswarm_node_manager_address": manager,
            "__meta_dockerswarm_node_role": if manager.is_empty() { "worker" } else { "manager" },
            "__meta_dockerswarm_node_status": "ready",
        })
    };
    let nodes = json!([
        node("n1", "10.0.0.1", "10.0.0.1:2377", "active"),
        node("n2", "0.0.0.0", "10.0.0.2:2377", "active"),
        node("n3", "0.0.0.0", "[fd00::3]:2377", "active"),
        node("n4", "10.0.0.4", "", "active"),
        node("n5", "10.0.0.5", "", "pause"),
        node("n6", "10.0.0.6", "10.0.0.6:2377", "drain"),
    ]);
    let scratch = Scratch::new()?;
    let mut found = BTreeMap::new();
    for labels in prometheus::relabel(scratch.path(), &deploy("prometheus.yml"), &nodes)? {
        let text = |name: &str| labels[name].as_str().unwrap_or_default().to_owned();
        if text("instance").is_empty() {
            continue;
        }
        found.insert(text("instance"), text("__address__"));
    }
    let wanted = [
        ("n1", "10.0.0.1:10095"),
        ("n2", "10.0.0.2:10095"),
        ("n3", "[fd00::3]:10095"),
        ("n4", "10.0.0.4:10095"),
        ("n5", "10.0.0.5:10095"),
    ];
    let wanted = wanted
        .map(|(name, address)| (name.to_owned(), address.to_owned()))
        .into();
    ensure!(found == wanted, "{found:?}");
    Ok(())
}
