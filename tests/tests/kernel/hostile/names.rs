//! Names of containers, labels and devices.

use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt as _};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    fake_engine::{Container, Endpoint, task_labels},
    figures::Figures,
    netmon::Netmon,
    page::Page,
    patience::until,
    prometheus, sh, traffic,
};

use super::{Scene, labelled, neighbour};
use crate::world::{Cable, DEVICE, World, ready};

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
            label("com.docker.compose.service", ODD),
            label("com.docker.compose.project", &long),
            // Two labels with the same meaning, and some that become equal when they are converted to label names.
            label("com.docker.swarm.service.name", "swarm"),
            label("com.docker.swarm.task.name", &format!("{ODD}.{long}.x")),
            label("a.b", "one"),
            label("a_b", "two"),
            label("a-b", "three"),
            label(ODD, ODD),
            label(&long, &long),
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

/// The sums of a service are those of its own containers: of `a` and `b`, which Compose started, and of a task.
#[test]
fn a_container_with_the_labels_of_anothers_task_is_in_no_service() -> anyhow::Result<()> {
    let scene = Scene::new(&[])?;
    let task = "shop_web.3.r2wxhwvcfb9n3jot2txseunfj";
    let mut labels = task_labels(task);
    labels.insert("com.docker.stack.namespace".to_owned(), "shop".to_owned());
    // `docker commit` of a task keeps its labels.
    let copy = labelled(&scene.world, "copy", 67, labels.clone())?;
    let real = labelled(&scene.world, task, 68, labels)?;
    ready(&scene.netmon, 5)?;
    // The kernel's count of the service's containers, and the page's. A service's sum starts with netmon.
    let look = || -> anyhow::Result<(u64, u64, Page)> {
        let of = |figures: Figures| figures.transmit_packets;
        let members = || anyhow::Ok(of(scene.a.figures()?) + of(scene.b.figures()?) + of(real.figures(DEVICE)?));
        let service = [("service", "shop_web"), ("stack", "shop"), ("network", "net")];
        let before = members()?;
        let page = scene.netmon.page()?;
        ensure!(before == members()?, "the devices are not quiet");
        let sum = page.count("netmon_service_network_transmit_packets_total", &service)?;
        Ok((before, sum, page))
    };
    let (kernels, sums, _) = until("the devices to be quiet", look)?;
    for (netns, pings) in [(&copy, 20), (&real, 30), (&scene.a.netns, 40)] {
        traffic::ping(netns, scene.b.address, pings)?;
    }
    until("the service's sum to be its containers'", || {
        let (kernel, sum, page) = look()?;
        let (kernel, sum) = (kernel - kernels, sum - sums);
        ensure!(
            sum == kernel && kernel >= 30 + 40,
            "the sum is {sum}, the kernel has {kernel}"
        );
        page.one(
            "netmon_container_info",
            &[
                ("container", "copy"),
                ("service", ""),
                ("stack", ""),
                ("task_id", ""),
                ("task_slot", ""),
            ],
        )?;
        page.one(
            "netmon_container_info",
            &[
                ("container", task),
                ("service", "shop_web"),
                ("stack", "shop"),
                ("task_slot", "3"),
            ],
        )?;
        let own = [("container", "copy"), ("service", ""), ("network", "net")];
        let copies = page.count("netmon_container_network_transmit_packets_total", &own)?;
        ensure!(copies >= 20, "the copy itself has {copies}");
        Ok(())
    })
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

/// Only a device whose name is no text cannot be given to the library that attaches programs.
#[test]
fn a_device_has_programs_whatever_its_name_is_as_long_as_it_is_text() -> anyhow::Result<()> {
    for mode in ["auto", "clsact"] {
        let mut world = World::new()?;
        let (a, _b) = world.pair(Cable::Bridge)?;
        let odd: [&[u8]; 3] = ["\u{e9}t\u{e9}".as_bytes(), b"\"\\'=,#", b"\xff\xfe"];
        let mut containers = Vec::new();
        for (number, name) in (60..).zip(odd) {
            let netns = neighbour(&world, &format!("odd{number}"), number)?;
            netns.run(&format!("ip link set {DEVICE} down"))?;
            let mut rename = netns.command(&format!("ip link set {DEVICE} name"));
            sh::output(rename.arg(OsStr::from_bytes(name)))?;
            sh::output(netns.command("ip link set").arg(OsStr::from_bytes(name)).arg("up"))?;
            containers.push(netns);
        }
        let netmon = world.netmon(&[&format!("--bpf.attach={mode}")])?;
        ready(&netmon, 4)?;
        let failed = |page: &Page, reason: &str| page.count("netmon_attach_failures_total", &[("reason", reason)]);
        let gone = netmon.page_until("it to be said that the third has none", |page| {
            ensure!(failed(page, "name")? > 0, "{mode}: it is not said");
            failed(page, "gone")
        })?;
        ensure!(gone == 0, "{mode}: a device that is there is gone");
        let odd: Vec<_> = (60..62).map(|number| format!("10.77.0.{number}")).collect();
        for (number, address) in (60..).zip(odd) {
            traffic::ping(&a.netns, address.parse()?, 10)?;
            let labels = [("container", &*format!("odd{number}")), ("network", "net")];
            netmon.page_until("what is received to be counted", |page| {
                let segments = page.count("netmon_container_network_receive_segments_total", &labels)?;
                ensure!(segments >= 10, "{mode}: {segments} segments");
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Checks that Prometheus' own parser accepts the page, and that ours accepts it in both formats.
fn is_read(netmon: &Netmon) -> anyhow::Result<()> {
    prometheus::check_metrics(&netmon.get("/metrics")?.body)?;
    let open = netmon.request(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0\r\nConnection: \
         close\r\n\r\n",
    )?;
    ensure!(open.text().ends_with("# EOF\n"), "no end");
    Page::parse(&open.text()).map(drop)
}
