//! Faults of a single node: its bridges, routes and containers.

use std::{collections::BTreeSet, net::UdpSocket, time::Instant};

use anyhow::Context as _;
use netmon_tests::{
    lab::{Engine, Lab, Node},
    resolver::query,
};
use serde_json::Value;

use super::{Found, SOON, Times, agree, healthy, of, since};
use crate::ground::netmon_on;

#[test]
fn faults_of_a_node_are_named_and_end_when_they_are_mended() -> anyhow::Result<()> {
    faults(Engine::Installed)
}

#[test]
fn faults_of_a_node_with_a_new_engine_are_named_too() -> anyhow::Result<()> {
    faults(Engine::New)
}

/// A resolver that is none.
const NOBODY: &str = "192.0.2.9:53";
/// The type of queries for IPv4 addresses.
const A: u16 = 1;
/// How many containers fill a network of 13 addresses for containers by nine tenths.
const MANY: u8 = 12;

fn faults(engine: Engine) -> anyhow::Result<()> {
    let lab = Lab::up(1, engine)?;
    let node = lab.node(1);
    node.docker("network create front")?;
    node.docker("network create shared")?;
    node.docker("network create --subnet 10.77.1.0/28 small")?;
    node.docker("network create --opt com.docker.network.driver.mtu=9000 wide")?;
    node.start_container("one", "")?;
    node.start_container("web", "--network front")?;
    node.start_container("vpn", "--network front")?;
    node.start_container("app", "--network container:vpn")?;
    for project in ["shop", "wiki"] {
        let labels = format!("--label com.docker.compose.project={project} --label com.docker.compose.service=db");
        let flags = if project == "shop" { "--network-alias db" } else { "" };
        node.start_container(&format!("{project}-db"), &format!("--network shared {flags} {labels}"))?;
    }
    for number in 1..MANY {
        node.start_container(&format!("small{number}"), "--network small")?;
    }
    let netmon = netmon_on(node)?;
    netmon.wait_ready()?;
    let nothing = BTreeSet::new();
    agree(&netmon, &nothing, SOON).context("the node is healthy")?;
    healthy(node, &netmon)?;

    let mut times = Times::default();
    let veth = veth_of(node, "one")?;
    let front = bridge_of(node, "front")?;
    let shared = bridge_of(node, "shared")?;
    let gateway = node.gateway_of("web", "front")?;
    let address = node.address_of("shop-db", "shared")?;
    let begin = Instant::now();
    node.exec(&format!("ip link set {veth} nomaster"))?;
    node.exec(&format!("ip address flush dev {front}"))?;
    node.docker("restart -t 0 vpn")?;
    node.exec_in("web", "ip route del default")?;
    node.docker("network disconnect shared wiki-db")?;
    node.docker("network connect --alias db shared wiki-db")?;
    node.exec(&format!(
        "ip neigh replace {address} lladdr 02:00:00:00:00:99 dev {shared} nud permanent"
    ))?;
    node.start_container("big", "--network wide")?;
    node.start_container("small0", "--network small")?;
    node.exec("ip link add tun7 type bridge")?;
    node.exec("ip link set tun7 up")?;
    node.exec("ip route add 172.17.5.0/24 dev tun7")?;

    let wanted: BTreeSet<Found> = [
        of("critical", "bridge", "bridge", "one", "", "eth0"),
        of("critical", "bridge", "front", "", "", &front),
        of("critical", "shared_namespace", "", "app", "", ""),
        of("warning", "default_route", "front", "web", "", ""),
        of("warning", "alias_conflict", "shared", "", "", "db"),
        of("critical", "neighbour", "shared", "shop-db", "", &address.to_string()),
        of("info", "mtu", "wide", "", "", "eth0"),
        of("warning", "address_space", "small", "", "", "10.77.1.0/28"),
        of("critical", "subnet_overlap", "bridge", "", "", "172.17.5.0/24"),
    ]
    .into();
    times.add(since(begin, &netmon, &wanted).context("the faults")?);

    let begin = Instant::now();
    node.exec(&format!("ip link set {veth} master docker0"))?;
    node.exec(&format!("ip address add {gateway}/16 dev {front}"))?;
    node.docker("restart -t 0 app")?;
    node.exec_in("web", &format!("ip route add default via {gateway}"))?;
    node.docker("network disconnect shared wiki-db")?;
    node.exec(&format!("ip neigh del {address} dev {shared}"))?;
    node.docker("rm -f big small0")?;
    node.exec("ip route del 172.17.5.0/24 dev tun7")?;
    times.add(since(begin, &netmon, &nothing).context("all faults are mended")?);

    // What comes and goes by itself is looked for alone.
    let rule = format!("FORWARD -i {shared} -j DROP");
    let begin = Instant::now();
    node.exec(&format!("iptables -I {rule}"))?;
    // It gets no answer, and ends with a failure.
    let _no_answer = node.exec_in("shop-db", "ping -q -c 350 -i 0.1 -W 1 192.0.2.9");
    let dropped = of("warning", "node_drops", "shared", "", "", "NETFILTER_DROP");
    times.add(since(begin, &netmon, &[dropped].into()).context("the firewall drops")?);
    let begin = Instant::now();
    node.exec(&format!("iptables -D {rule}"))?;
    times.add(since(begin, &netmon, &nothing).context("the firewall drops nothing any more")?);

    let begin = Instant::now();
    let web = node.namespace(&node.sandbox("web")?)?;
    web.within(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        for id in 0..6 {
            socket.send_to(&query(id, "noerror", A, None), NOBODY)?;
        }
        Ok(())
    })?;
    let silent = of("warning", "resolver", "", "web", "", "outside unanswered");
    times.add(since(begin, &netmon, &[silent].into()).context("nobody answers")?);
    let begin = Instant::now();
    times.add(since(begin, &netmon, &nothing).context("nobody asks any more")?);
    healthy(node, &netmon)?;
    times.write(engine)
}

/// The node's end of a container's only device.
fn veth_of(node: Node<'_>, container: &str) -> anyhow::Result<String> {
    let own: Value = serde_json::from_str(&node.exec_in(container, "ip -j link show eth0")?)?;
    let peer = &own[0]["link_index"];
    let listed: Value = serde_json::from_str(&node.exec("ip -j link show type veth")?)?;
    let devices = listed.as_array().context("no devices")?;
    let end = devices.iter().find(|device| device["ifindex"] == *peer);
    let name = end.and_then(|end| end["ifname"].as_str());
    Ok(name
        .with_context(|| format!("the node has no device {peer}"))?
        .to_owned())
}

/// The name of a network's bridge.
fn bridge_of(node: Node<'_>, network: &str) -> anyhow::Result<String> {
    let id = node.docker(&format!("network inspect {network} --format {{{{.Id}}}}"))?;
    Ok(format!("br-{}", id.get(..12).context("a short id")?))
}
