//! Names of containers, labels and devices.

use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt as _};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    fake_engine::{Container, Endpoint},
    netmon::Netmon,
    prometheus, sh, traffic,
};

use super::Scene;
use crate::world::DEVICE;

/// Characters that would end a label's value, a line or the page, or confuse a parser.
const ODD: &str = "q\" b\\ n\n\r\t\0 } 1 # {=,\u{2028}\u{feff}\u{202e}";

#[test]
fn names_and_labels_of_any_kind_stay_values_and_spoil_nobodys() -> anyhow::Result<()> {
    let scene = Scene::new(&[])?;
    let long = "x".repeat(64 << 10);
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let hostile = |name: &str, labels: BTreeMap<String, String>| Container {
        name: name.to_owned(),
        sandbox: scene.hostile.path().to_path_buf(),
        labels,
        network_mode: ODD.to_owned(),
        endpoints: vec![Endpoint {
            network: "net".to_owned(),
            mac: "not a hardware address".to_owned(),
            address: "10.77.0.66".to_owned(),
            ipv6_address: long.clone(),
        }],
    };
    scene.world.engine.end_container("hostile");
    // All of these containers claim the same namespace, as if each were the hostile one.
    scene.world.engine.start_container(hostile(
        "odd",
        BTreeMap::from([
            label("com.docker.swarm.service.name", ODD),
            label("com.docker.stack.namespace", &long),
            // Two labels with the same meaning, and some that become equal when they are converted to label names.
            label("com.docker.compose.service", "compose"),
            label("com.docker.swarm.task.name", &format!("{ODD}.{long}.x")),
            label("a.b", "one"),
            label("a_b", "two"),
            label("a-b", "three"),
            label(ODD, ODD),
            label(&long, &long),
        ]),
    ));
    // The service and the stack of the other containers.
    scene.world.engine.start_container(hostile(
        "b2",
        BTreeMap::from([
            label("com.docker.swarm.service.name", "shop_web"),
            label("com.docker.stack.namespace", "shop"),
        ]),
    ));
    // Bytes that are not valid text.
    let invalid = hostile("invalid", BTreeMap::new());
    let path = format!("/containers/{}/json", invalid.id());
    let mut json = br#"{"Id": "ffff", "Name": "/inv"#.to_vec();
    json.extend_from_slice(b"\xff\xfe\x80\xc0");
    json.extend_from_slice(br#"", "Config": {"Labels": {"\ud800": "x"}}}"#);
    scene.world.engine.answer(&path, &json);
    scene.world.engine.start_container(invalid);
    scene.netmon.page_until("the odd one to be named", |page| {
        let infos = page.all("netmon_container_info", &[("container", "odd")]);
        ensure!(infos.len() == 1, "{} are", infos.len());
        Ok(())
    })?;
    traffic::ping(&scene.a.netns, scene.b.address, 20)?;
    let page = scene.is_unharmed()?;
    let odd = page.one("netmon_container_info", &[("container", "odd")])?;
    let service = odd.labels.get("service").context("no service")?;
    ensure!(service.contains("q\" b\\ n\n"), "{service:?}");
    ensure!(!service.contains('\0'), "{service:?}");
    let longest = page
        .samples
        .iter()
        .flat_map(|it| it.labels.values())
        .map(String::len)
        .max();
    ensure!(longest < Some(1100), "a value has {longest:?} bytes");
    is_read(&scene.netmon)
}

#[test]
fn devices_with_odd_names_and_others_addresses_spoil_nobodys_figures() -> anyhow::Result<()> {
    let scene = Scene::new(&[])?;
    let odd: [&[u8]; 5] = [b"\xff\xfe", b"\"\\{}=,#", b"eth0\"}1", b"\x01\x02\x7f", b"..."];
    for name in odd {
        sh::output(
            scene
                .hostile
                .command("ip link add name")
                .arg(OsStr::from_bytes(name))
                .args(["type", "veth"]),
        )?;
        sh::output(
            scene
                .hostile
                .command("ip link set dev")
                .arg(OsStr::from_bytes(name))
                .arg("up"),
        )?;
    }
    // The neighbour's addresses on a device of its own. Further below, its hardware address is also on the engine's
    // device.
    let mac = scene.a.netns.mac(DEVICE)?;
    let own = scene.hostile.mac(DEVICE)?;
    scene
        .hostile
        .run(&format!("ip link add spoof type veth peer name foops address {mac}"))?;
    scene.hostile.run("ip addr add 10.77.0.1/32 dev foops")?;
    // Its own addresses on a second device: only the traffic of the engine's device counts for the network.
    scene
        .hostile
        .run(&format!("ip link add again type veth peer name niaga address {own}"))?;
    scene.hostile.run("ip addr add 10.77.0.66/32 dev niaga")?;
    for device in ["spoof", "foops", "again", "niaga"] {
        scene.hostile.run(&format!("ip link set {device} up"))?;
    }
    for number in 0..50 {
        scene
            .hostile
            .run(&format!("ip link set {DEVICE} address 02:66:00:00:00:{number:02x}"))?;
    }
    scene.hostile.run(&format!("ip link set {DEVICE} address {mac}"))?;
    traffic::ping(&scene.a.netns, scene.b.address, 20).or_else(|_| {
        // The bridge may have learnt the wrong port for a moment. That is the kernel's behaviour, which this does not
        // test.
        scene.hostile.run(&format!("ip link set {DEVICE} address {own}"))?;
        traffic::ping(&scene.a.netns, scene.b.address, 20)
    })?;
    let page = scene.is_unharmed()?;
    for container in ["a", "b", "hostile"] {
        let on_net = [("container", container), ("network", "net")];
        page.one("netmon_container_network_receive_packets_total", &on_net)?;
    }
    is_read(&scene.netmon)
}

/// Checks that Prometheus' own parser accepts the page, and that ours accepts it in both formats.
fn is_read(netmon: &Netmon) -> anyhow::Result<()> {
    prometheus::check_metrics(&netmon.get("/metrics")?.body)?;
    let open = netmon.request(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0\r\nConnection: \
         close\r\n\r\n",
    )?;
    ensure!(open.text().ends_with("# EOF\n"), "no end");
    netmon_tests::page::Page::parse(&open.text()).map(drop)
}
