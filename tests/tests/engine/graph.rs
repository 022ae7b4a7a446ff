//! `deploy/examples/tiers.yml` on three nodes: who talks to whom is what the test's clients did, edge by edge, connection by
//! connection and byte by byte. The dashboard draws the same graph.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    dashboards::panels,
    fleet::{Fleet, PATIENCE},
    lab::{Engine, Lab},
    netns::Netns,
    page::Page,
    patience::within,
    prometheus::Prometheus,
    scratch::Scratch,
};

use crate::{
    nodes,
    tiers::{self, STACK},
};

/// The services listen, and ask nobody. Each gateway is on a node of its own, and so is each auth-service: one of them with
/// the database.
const SILENT: &str = r#"version: "3.9"
services:
  reverse-proxy:
    command: [sh, -c, "echo proxy > /tmp/index.html; exec httpd -f -p 80 -h /tmp"]
  api-gateway:
    command: [sh, -c, "echo gateway > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
    deploy: {placement: {max_replicas_per_node: 1}}
  auth-service:
    command: [sh, -c, "echo auth > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
    deploy: {replicas: 2, placement: {constraints: [node.hostname != n1], max_replicas_per_node: 1}}
  database:
    deploy: {placement: {constraints: [node.hostname == n2]}}
"#;
/// Each tier: the service that asks, the one that is asked, its port, the network, how many tasks both have, and how often
/// each task asks each other one.
const TIERS: [Tier; 3] = [
    Tier::of("reverse-proxy", ("api-gateway", 8080), "internal", [1, 3], 4),
    Tier::of("api-gateway", ("auth-service", 8080), "services", [3, 2], 3),
    Tier::of("auth-service", ("database", 5432), "database", [2, 1], 5),
];
const REQUEST: &[u8] = b"GET /index.html HTTP/1.0\r\n\r\n";

struct Tier {
    client: &'static str,
    server: &'static str,
    port: u16,
    network: &'static str,
    tasks: [usize; 2],
    requests: usize,
}

impl Tier {
    const fn of(
        client: &'static str,
        (server, port): (&'static str, u16),
        network: &'static str,
        tasks: [usize; 2],
        requests: usize,
    ) -> Self {
        Self {
            client,
            server,
            port,
            network,
            tasks,
            requests,
        }
    }

    fn edge(&self) -> Edge {
        Edge {
            client: full(self.client),
            server: full(self.server),
            network: full(self.network),
            port: self.port.to_string(),
        }
    }
}

/// What the stack makes of a name in its file.
fn full(name: &str) -> String {
    format!("{STACK}_{name}")
}

/// An edge between two services.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    client: String,
    server: String,
    network: String,
    port: String,
}

/// What happened on an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Happened {
    connections: u64,
    failures: u64,
    sent: u64,
    received: u64,
}

type Graph = BTreeMap<Edge, Happened>;

/// A task, and how to be in it.
struct Task {
    netns: Netns,
    address: IpAddr,
}

#[test]
fn the_graph_is_what_the_clients_did_edge_by_edge() -> anyhow::Result<()> {
    let lab = Lab::up(3, Engine::New)?;
    let scratch = Scratch::new()?;
    let fleet = tiers::deploy(&lab, &scratch, SILENT)?;
    let targets: Vec<SocketAddr> = lab
        .nodes()
        .map(|number| Ok(format!("{}:10095", lab.node(number).address()).parse()?))
        .collect::<anyhow::Result<_>>()?;
    let prometheus = Prometheus::start_in(Some(lab.node(1).netns()), scratch.path(), &targets, &[])?;

    let mut graph = Graph::new();
    for tier in &TIERS {
        let clients = tasks(&lab, tier.client, tier.network, tier.tasks[0])?;
        let servers = tasks(&lab, tier.server, tier.network, tier.tasks[1])?;
        counts_them(&lab, &fleet, tier)?;
        let happened = graph.entry(tier.edge()).or_default();
        for client in &clients {
            for server in &servers {
                let server = SocketAddr::new(server.address, tier.port);
                ask(&client.netns, server, tier.requests, happened)?;
            }
        }
    }
    for (edge, happened) in &graph {
        ensure!(happened.connections > 0, "nothing went over {edge:?}");
    }
    // Where a kernel cannot encrypt, the database answers on its own node only.
    let open: u64 = graph.values().map(|happened| happened.connections).sum();
    ensure!(open >= 12 + 18 + 5, "{graph:?}");

    for (side, stack) in [("client", "client_stack"), ("server", "server_stack")] {
        within(PATIENCE, "the pages to have the graph", || {
            let shown = shown(&lab, &fleet, side, stack)?;
            // Only the client sees that a connection failed.
            let expected: Graph = if side == "client" {
                graph.clone()
            } else {
                let without = graph.iter().map(|(edge, happened)| {
                    let failures = 0;
                    (edge.clone(), Happened { failures, ..*happened })
                });
                without.collect()
            };
            ensure!(
                shown == expected,
                "seen from the {side}:\n{shown:#?}\nnot\n{expected:#?}"
            );
            Ok(())
        })?;
    }
    within(PATIENCE, "the dashboard to draw it", || {
        let (drawn, expected) = (drawn(&prometheus)?, pairs(&graph));
        ensure!(drawn == expected, "it draws {drawn:?}, not {expected:?}");
        Ok(())
    })?;
    // Checks have looked several times by now.
    for number in lab.nodes() {
        let page = fleet.page(number)?;
        let checks = page.all("netmon_check_success", &[]);
        ensure!(
            !checks.is_empty() && checks.iter().all(|check| check.value > 0.0),
            "a check on node {number} could not look: {checks:?}"
        );
        let mut findings = page.all("netmon_finding", &[]);
        // A kernel without IPVS balances nothing, and that is what the finding says.
        findings.retain(|it| has_ipvs() || !it.has(&[("check", "load_balancer"), ("subject", "ip_vs")]));
        ensure!(findings.is_empty(), "node {number} is healthy, and has {findings:?}");
    }
    Ok(())
}

/// Whether this kernel has IPVS.
fn has_ipvs() -> bool {
    Path::new("/proc/net/ip_vs").exists()
}

/// The tasks of a service on all nodes, once there are so many.
fn tasks(lab: &Lab, service: &str, network: &str, count: usize) -> anyhow::Result<Vec<Task>> {
    let (service, network) = (full(service), full(network));
    within(PATIENCE, &format!("the tasks of {service}"), || {
        let mut tasks = Vec::new();
        for number in lab.nodes() {
            let node = lab.node(number);
            for name in nodes::tasks(node, &service)? {
                tasks.push(Task {
                    netns: node.namespace(&node.sandbox(&name)?)?,
                    address: node.address_of(&name, &network)?,
                });
            }
        }
        ensure!(tasks.len() == count, "{} of {count}", tasks.len());
        Ok(tasks)
    })
}

/// Waits until all tasks of a tier are counted.
fn counts_them(lab: &Lab, fleet: &Fleet<'_>, tier: &Tier) -> anyhow::Result<()> {
    for (service, count) in [tier.client, tier.server].into_iter().zip(tier.tasks) {
        within(PATIENCE, "all to be counted", || {
            let labels = [("service", &*full(service)), ("network", &*full(tier.network))];
            let mut known = 0;
            for number in lab.nodes() {
                let page = fleet.page(number)?;
                known += page.all("netmon_container_interface_info", &labels).len();
            }
            ensure!(known == count, "{known} of {count} interfaces of {service}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Asks so often, one after the other, and notes what happened. An overlay network carries packets a moment after its tasks run,
/// so a first attempt may fail.
fn ask(client: &Netns, server: SocketAddr, requests: usize, happened: &mut Happened) -> anyhow::Result<()> {
    let now = client.within(|| {
        let mut now = Happened::default();
        for _ in 0..requests {
            let Ok(mut stream) = TcpStream::connect_timeout(&server, Duration::from_secs(3)) else {
                now.failures += 1;
                continue;
            };
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(REQUEST)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).context("no answer")?;
            now.connections += 1;
            now.sent += REQUEST.len() as u64;
            now.received += answer.len() as u64;
        }
        Ok(now)
    })?;
    happened.connections += now.connections;
    happened.failures += now.failures;
    happened.sent += now.sent;
    happened.received += now.received;
    Ok(())
}

/// The edges that the nodes' pages show, as one end of the stack's containers sees them.
fn shown(lab: &Lab, fleet: &Fleet<'_>, side: &str, stack: &str) -> anyhow::Result<Graph> {
    let mut graph = Graph::new();
    let labels = [("side", side), (stack, STACK)];
    for number in lab.nodes() {
        let page = fleet.page(number)?;
        let mut add = |family: &str, field: fn(&mut Happened) -> &mut u64| {
            for (edge, value) in edges(&page, family, &labels) {
                *field(graph.entry(edge).or_default()) += value;
            }
        };
        add("connections_total", |it| &mut it.connections);
        add("connect_failures_total", |it| &mut it.failures);
        add("transmit_bytes_total", |it| &mut it.sent);
        add("receive_bytes_total", |it| &mut it.received);
    }
    Ok(graph)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole numbers"
)]
fn edges(page: &Page, family: &str, labels: &[(&str, &str)]) -> Vec<(Edge, u64)> {
    let all = page.all(&format!("netmon_edge_{family}"), labels);
    let edge = all.into_iter().map(|sample| {
        let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
        let edge = Edge {
            client: label("client"),
            server: label("server"),
            network: label("network"),
            port: label("port"),
        };
        (edge, sample.value as u64)
    });
    edge.collect()
}

/// The pairs of a graph, with their stacks.
fn pairs(graph: &Graph) -> BTreeSet<(String, String)> {
    let of_stack = |name: &str| format!("{STACK} {name}");
    let edges = graph.keys();
    edges
        .map(|edge| (of_stack(&edge.client), of_stack(&edge.server)))
        .collect()
}

/// The pairs that the graph on the dashboard *Overview* has.
fn drawn(prometheus: &Prometheus) -> anyhow::Result<BTreeSet<(String, String)>> {
    let panels = panels("1m", "5m")?;
    let panel = panels
        .iter()
        .find(|panel| panel.name.ends_with("Services, and what goes between them"))
        .context("there is no graph")?;
    let mut pairs = BTreeSet::new();
    for query in &panel.queries {
        for series in prometheus.series(&query.text)? {
            let label = |name: &str| Some(series.pointer(&format!("/metric/{name}"))?.as_str()?.to_owned());
            pairs.extend(label("source").zip(label("target")));
        }
    }
    Ok(pairs)
}
