//! Faults made in a real Swarm, and what netmon says of them: which check, about what, how soon, and until when.

mod node;
mod times;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    lab::{Engine, Node, UNDERLAY},
    netmon::{self, Netmon},
    patience::{slowness, within},
};
use serde_json::Value;

use self::times::{Seen, Times};
use crate::nodes::Nodes;

/// Within this time a fault has to be a finding, and a fault that was mended has to be none.
const SOON: Duration = Duration::from_mins(1);

/// What identifies a finding: severity, check, network, container, peer, subject.
type Found = (String, String, String, String, String, String);

#[test]
fn faults_of_a_swarm_are_named_and_end_when_they_are_mended() -> anyhow::Result<()> {
    faults(Engine::Installed)
}

#[test]
fn faults_of_a_swarm_with_a_new_engine_are_named_too() -> anyhow::Result<()> {
    faults(Engine::New)
}

fn faults(engine: Engine) -> anyhow::Result<()> {
    let nodes = Nodes::up(2, engine)?;
    let members = nodes.overlay("wide")?;
    let first = nodes.node(1);
    first.docker("network create -d overlay --attachable idle")?;
    // This `docker` does not give an older engine a hardware address.
    let mac = "02:42:ac:1e:00:05";
    let has_macs = matches!(engine, Engine::New);
    if has_macs {
        first.start_container("one", &format!("--mac-address {mac}"))?;
    }
    let netmons = [1, 2].map(|number| nodes.node(number).netmon(&[]));
    let netmons: Vec<Netmon> = netmons.into_iter().collect::<anyhow::Result<_>>()?;
    netmons.iter().try_for_each(Netmon::wait_ready)?;
    let nothing = BTreeSet::new();
    for (number, netmon) in (1..).zip(&netmons) {
        agree(netmon, &nothing, SOON).with_context(|| format!("node {number} is healthy"))?;
        healthy(nodes.node(number), netmon)?;
    }

    let mut times = Times::default();
    let begin = Instant::now();
    let vni = vni(first, "idle")?;
    let other = members[1].address.to_string();
    let overlay = namespace_of(first, "wide")?;
    first.exec("sysctl -q -w net.ipv4.ip_forward=0")?;
    first.exec(&format!("ip link add vx-left type vxlan id {vni} dstport 4789"))?;
    first.exec(&format!("ip link add vx-else type vxlan id {vni} dstport 4790"))?;
    first.exec_in(&overlay, &format!("ip neigh del {other} dev vxlan0"))?;
    if has_macs {
        first.start_container("other", &format!("--mac-address {mac}"))?;
    }
    let site = format!("{}.0/24", UNDERLAY.rsplit_once('.').context("an address")?.0);
    first.docker(&format!("network create -d overlay --subnet {site} site"))?;
    let own = first.address();

    let mut wanted: BTreeSet<Found> = [
        of("critical", "forwarding", "", "", "", "net.ipv4.ip_forward"),
        of("critical", "vxlan_device", "idle", "", "", "vx-left"),
        of(
            "critical",
            "overlay_tables",
            "wide",
            "",
            &nodes.node(2).name(),
            "missing",
        ),
        of("info", "subnet_overlap", "site", "", "", &own),
    ]
    .into();
    if has_macs {
        wanted.insert(of("critical", "duplicate_address", "bridge", "one", "", mac));
    }
    times.add(since(begin, &netmons[0], &wanted).context("the faults of the first node")?);
    let (status, said) = doctor(first, &netmons[0])?;
    ensure!(status == 1, "netmon doctor ended with {status}");
    for words in [
        "sysctl -w net.ipv4.ip_forward=1",
        "ip link delete vx-left",
        "1 of 1 container on node",
        "(a2)",
    ] {
        ensure!(said.contains(words), "no {words:?} in what netmon doctor says: {said}");
    }
    // The network of the whole Swarm is seen from there, too. Nothing else is wrong on the second node.
    let of_second: BTreeSet<Found> = BTreeSet::new();
    agree(&netmons[1], &of_second, SOON).context("the second node")?;

    let begin = Instant::now();
    first.exec("sysctl -q -w net.ipv4.ip_forward=1")?;
    first.exec("ip link delete vx-left")?;
    let neighbour = mac_of(nodes.node(2), "a2", "wide")?;
    first.exec_in(
        &overlay,
        &format!("ip neigh add {other} lladdr {neighbour} dev vxlan0 nud permanent"),
    )?;
    if has_macs {
        first.docker("rm -f other")?;
    }
    first.docker("network rm site")?;
    times.add(since(begin, &netmons[0], &nothing).context("all faults are mended")?);
    healthy(first, &netmons[0])?;

    // The second node gets another address than the Swarm knows.
    let second = nodes.node(2);
    let address = second.address();
    let begin = Instant::now();
    second.exec(&format!("ip address flush to {address}/32"))?;
    let wanted = [of("warning", "node_address", "", "", "", &address)].into();
    let found = since(begin, &netmons[1], &wanted).context("the node's address is missed");
    let begin = Instant::now();
    second.exec(&format!("ip address add {address}/24 dev eth0"))?;
    times.add(found?);
    times.add(since(begin, &netmons[1], &nothing).context("the node has its address again")?);
    times.write(engine)
}

/// A finding: severity, check, network, container, peer, subject.
fn of(severity: &str, check: &str, network: &str, container: &str, peer: &str, subject: &str) -> Found {
    [severity, check, network, container, peer, subject]
        .map(str::to_owned)
        .into()
}

/// Waits until a node's findings are exactly these, on the page of metrics and in the JSON.
fn agree(netmon: &Netmon, wanted: &BTreeSet<Found>, time: Duration) -> anyhow::Result<()> {
    let begin = Instant::now();
    wait(begin, netmon, wanted, time)?;
    ensure!(begin.elapsed() <= time * slowness(), "it took {:?}", begin.elapsed());
    Ok(())
}

/// The same, soon after faults were made or mended. Returns how soon after `begin` each was seen.
fn since(begin: Instant, netmon: &Netmon, wanted: &BTreeSet<Found>) -> anyhow::Result<Seen> {
    let made = begin.elapsed();
    let seen = wait(begin, netmon, wanted, SOON)?;
    let took = begin.elapsed().saturating_sub(made);
    ensure!(took <= SOON * slowness(), "it took {took:?}");
    Ok(seen)
}

fn wait(begin: Instant, netmon: &Netmon, wanted: &BTreeSet<Found>, time: Duration) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    within(time, "the findings", || {
        let document: Value = serde_json::from_str(&netmon.get("/api/v1/findings")?.text())?;
        let text = |value: &Value, field: &str| value[field].as_str().map(str::to_owned).unwrap_or_default();
        let checks = document["checks"].as_array().context("no checks")?;
        for check in checks {
            ensure!(check["success"] == true, "{check} could not look");
        }
        ensure!(!checks.is_empty(), "no check has looked");
        let findings = document["findings"].as_array().context("no findings")?;
        let found: BTreeSet<Found> = findings
            .iter()
            .map(|it| {
                ["severity", "check", "network", "container", "peer", "subject"]
                    .map(|field| text(it, field))
                    .into()
            })
            .collect();
        seen.at(&found, begin.elapsed());
        ensure!(
            found == *wanted,
            "{found:#?} after {:?}, not {wanted:#?}",
            begin.elapsed()
        );
        for it in findings {
            ensure!(
                !text(it, "evidence").is_empty() && !text(it, "remedy").is_empty(),
                "{it} says nothing"
            );
        }
        let page = netmon.page()?;
        for (severity, check, network, container, peer, subject) in wanted {
            let labels = [
                ("severity", severity.as_str()),
                ("check", check),
                ("network", network),
                ("container", container),
                ("peer", peer),
                ("subject", subject),
            ];
            ensure!(
                page.count("netmon_finding", &labels)? == 1,
                "{check} is not on the page"
            );
        }
        let all = page.all("netmon_finding", &[]).len();
        ensure!(all == wanted.len(), "the page has {all} findings");
        Ok(())
    })?;
    Ok(seen)
}

/// Checks that `netmon doctor` finds nothing.
fn healthy(node: Node<'_>, netmon: &Netmon) -> anyhow::Result<()> {
    let (status, said) = doctor(node, netmon)?;
    ensure!(status == 0, "netmon doctor ended with {status}: {said}");
    Ok(())
}

/// How `netmon doctor` ends on a node, and what it prints.
fn doctor(node: Node<'_>, netmon: &Netmon) -> anyhow::Result<(i64, String)> {
    let binary = netmon::binary()?;
    let script = format!(
        "{} --web.listen-address={} doctor 2>&1; echo status $?",
        binary.display(),
        netmon.address
    );
    let said = node.script(&script)?;
    let (text, status) = said.rsplit_once("status ").context("no status")?;
    Ok((status.trim().parse()?, text.to_owned()))
}

/// An overlay network's VNI.
fn vni(node: Node<'_>, network: &str) -> anyhow::Result<u32> {
    let described = node.docker(&format!("network inspect {network}"))?;
    let described: Value = serde_json::from_str(&described)?;
    let list = described[0]["Options"]["com.docker.network.driver.overlay.vxlanid_list"].as_str();
    Ok(list.context("it has no VNI")?.parse()?)
}

/// The file of an overlay network's namespace on a node.
fn namespace_of(node: Node<'_>, network: &str) -> anyhow::Result<String> {
    let id = node.docker(&format!("network inspect {network} --format {{{{.Id}}}}"))?;
    let files = node.exec("ls /run/docker/netns")?;
    let its = files.split_whitespace().find(|file| file.ends_with(&id[..10]));
    Ok(its
        .with_context(|| format!("{network} has no namespace among {files}"))?
        .to_owned())
}

/// A container's hardware address on a network.
fn mac_of(node: Node<'_>, container: &str, network: &str) -> anyhow::Result<String> {
    let described = node.inspect(container)?;
    let mac = described["NetworkSettings"]["Networks"][network]["MacAddress"].as_str();
    Ok(mac.context("it has no hardware address")?.to_owned())
}
