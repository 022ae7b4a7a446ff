//! The stack with a proxy before the engine's socket: netmon counts as without it, and nothing else passes.

use std::{env, path::Path};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    fleet::{Fleet, PATIENCE},
    lab::{Engine, Lab, Node},
    patience::within,
    program,
    scratch::Scratch,
};

use crate::fleet::both_ends_say_the_same;

/// An image of Debian's `HAProxy`.
const HAPROXY: &str = "lab/haproxy:1";
/// The proxy's socket, as it is on the node.
const SOCKET: &str = "/var/lib/docker/volumes/netmon_engine/_data/docker.sock";

#[test]
fn on_the_nodes_network_netmon_counts_behind_a_proxy_that_lets_nothing_else_through() -> anyhow::Result<()> {
    behind_a_proxy(Engine::Installed, "stack.yml")
}

#[test]
fn on_an_overlay_network_netmon_counts_behind_a_proxy_that_lets_nothing_else_through() -> anyhow::Result<()> {
    behind_a_proxy(Engine::New, "stack-overlay.yml")
}

fn behind_a_proxy(engine: Engine, stack: &str) -> anyhow::Result<()> {
    let lab = Lab::up(2, engine)?;
    let scratch = Scratch::new()?;
    let haproxy =
        env::var_os("NETMON_TEST_HAPROXY").context("NETMON_TEST_HAPROXY is not set: run `cargo xtask test`")?;
    program::root(Path::new(&haproxy), scratch.path())?;
    lab.import(HAPROXY, scratch.path(), &["ENV PATH=/usr/bin"])?;
    lab.node(1).docker("network create -d overlay --attachable wide")?;
    for number in lab.nodes() {
        lab.node(number)
            .start_container(&format!("after{number}"), "--network wide")?;
    }
    let fleet = Fleet::deploy_files(&lab, &[stack, "stack-proxy.yml"], &[("PROXY_IMAGE", HAPROXY)])?;
    for number in lab.nodes() {
        let netmon = lab.node(number).inspect(&fleet.container(lab.node(number))?)?;
        let mounts = netmon.pointer("/Mounts").context("no mounts")?.to_string();
        ensure!(!mounts.contains("\"Source\":\"/var/run/docker.sock\""), "{mounts}");
        fleet.page_until(number, "every collector to be complete", |page| {
            for sample in page.all("netmon_scrape_collector_success", &[]) {
                ensure!(sample.value > 0.0, "{sample:?}");
            }
            page.one("netmon_node_info", &[("hostname", &format!("n{number}"))])?;
            // The members of a network, and on a manager the nodes' names.
            page.one("netmon_overlay_endpoint_info", &[("container", "after2")])?;
            Ok(())
        })?;
        let log = fleet.log(number);
        ensure!(!log.contains("refused"), "the proxy refused something: {log}");
    }
    both_ends_say_the_same(&fleet, &lab)?;
    for number in lab.nodes() {
        lets_nothing_else_through(lab.node(number), number == 1)?;
    }
    // A proxy that is started again has another socket.
    let proxy = lab
        .node(2)
        .docker("ps -q --filter label=com.docker.swarm.service.name=netmon_proxy")?;
    lab.node(2).docker(&format!("kill {proxy}"))?;
    let reconnected = |page: &netmon_tests::page::Page| {
        let reconnects = page.count("netmon_docker_reconnects_total", &[])?;
        let up = page.count("netmon_docker_up", &[])?;
        ensure!(
            reconnects >= 1 && up == 1,
            "{reconnects} connections more, and up is {up}"
        );
        Ok(())
    };
    fleet.page_until(2, "netmon to find the new proxy", reconnected)
}

fn lets_nothing_else_through(node: Node<'_>, is_manager: bool) -> anyhow::Result<()> {
    let status = |flags: &str, path: &str| -> anyhow::Result<u16> {
        // As it is: curl would take `..` out.
        let text = node.exec(&format!(
            "curl --silent --max-time 10 --path-as-is --output /dev/null --write-out %{{http_code}} --unix-socket {SOCKET} \
             {flags} http://engine{path}"
        ))?;
        Ok(text.parse()?)
    };
    let container = node.docker("ps -q --no-trunc --filter name=after")?;
    let network = node.docker("network inspect -f {{.Id}} wide")?;
    within(PATIENCE, "the proxy to answer", || {
        let status = status("", "/version")?;
        ensure!(status == 200, "status {status}");
        Ok(())
    })?;
    for path in [
        "/info".to_owned(),
        "/v1.40/info".to_owned(),
        "/events?since=1&until=1".to_owned(),
        "/containers/json?all=1".to_owned(),
        format!("/containers/{container}/json"),
        "/networks".to_owned(),
        format!("/networks/{network}?verbose=true"),
    ] {
        let status = status("", &path)?;
        ensure!(status == 200, "{path}: status {status}");
    }
    // The engine's own answer, which the proxy lets through.
    let nodes = status("", "/nodes")?;
    ensure!(nodes == if is_manager { 200 } else { 503 }, "/nodes: status {nodes}");

    for path in ["/containers/create", "/networks/prune", "/events", "/info"] {
        let status = status("--request POST", path)?;
        ensure!(status == 403, "POST {path}: status {status}");
    }
    let its = format!("/containers/{container}");
    for (flags, path) in [
        ("--request DELETE", its.clone()),
        ("--request PUT", format!("{its}/archive?path=/")),
        ("--head", "/info".to_owned()),
        ("", format!("{its}/archive?path=/")),
        ("", format!("{its}/export")),
        ("", format!("{its}/logs?stdout=1")),
        ("", format!("{its}/attach/ws")),
        ("", format!("{its}/../../secrets")),
        ("", "/containers/%2e%2e/json".to_owned()),
        ("", "/networks/%2e%2e%2fsecrets".to_owned()),
        ("", "/v1.40/v1.40/info".to_owned()),
        ("", "//info".to_owned()),
        ("", "/info/".to_owned()),
        ("", "/secrets".to_owned()),
        ("", "/configs".to_owned()),
        ("", "/services".to_owned()),
        ("", "/tasks".to_owned()),
        ("", "/swarm".to_owned()),
        ("", "/swarm/unlockkey".to_owned()),
        ("", "/images/json".to_owned()),
        ("", "/volumes".to_owned()),
        ("", "/system/df".to_owned()),
        ("", "/nodes/self".to_owned()),
    ] {
        let status = status(flags, &path)?;
        ensure!(status == 403, "{flags} {path}: status {status}");
    }
    Ok(())
}
