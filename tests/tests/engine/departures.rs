//! Nodes that disappear, engines and servers that are killed. What they counted stays for the linger, then their
//! series end. Other nodes are not affected.

use std::{io::ErrorKind, net::SocketAddr};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    flow::{Client, Pings},
    lab::{Engine, IMAGE},
    patience::{PATIENCE, until, within},
    traffic,
};

use crate::{
    ground::CONTAINER,
    nodes::{Nodes, TASKS, ends, tunnel},
};

const NETWORK: &str = "wide";

#[test]
fn a_node_without_power_is_no_longer_shown_as_a_peer_and_is_again_when_it_is_back() -> anyhow::Result<()> {
    let mut nodes = Nodes::up(3, Engine::Installed)?;
    let members = nodes.overlay(NETWORK)?;
    let [one, two, three] = &members[..] else {
        anyhow::bail!("there are {} members", members.len());
    };
    for other in [two, three] {
        traffic::reach(&one.netns, other.address)?;
        traffic::ping(&one.netns, other.address, 10)?;
    }
    nodes.tunnel(1, 3, NETWORK)?;
    let pings = Pings::start(&one.netns, two.address)?;

    nodes.node(3).cut_power()?;
    // The other nodes learn of it by gossip, and remove the node's addresses from their tables.
    within(3 * PATIENCE, "the node to be no peer any more", || {
        let page = nodes.netmon(1).page()?;
        ensure!(tunnel(&page, nodes.node(3), NETWORK).is_err(), "it still is");
        Ok(())
    })?;
    nodes.tunnel(1, 2, NETWORK)?;
    let (sent, answered) = pings.stop()?;
    ensure!(
        sent == answered,
        "{answered} of {sent} pings to the other node were answered"
    );
    one.agrees(&nodes)?;
    one.sums_agree(&nodes)?;
    // The network's members are asked for again when its tables disagree with them.
    within(
        2 * PATIENCE,
        "the other node's container to be no member any more",
        || {
            for number in [1, 2] {
                let page = nodes.netmon(number).page()?;
                let more = page
                    .samples
                    .iter()
                    .find(|it| it.labels.get("container").is_some_and(|it| it == "a3"));
                ensure!(more.is_none(), "it is shown on node {number}: {more:?}");
            }
            Ok(())
        },
    )?;

    nodes.until_manager_says(3, "down")?;
    nodes.node(3).boot()?;
    nodes.watch_again(3)?;
    // Not before the node is in the Swarm again. The engine asks its manager for an address, gives up after 20 s, and
    // has to start the container again. Three attempts were too few beside other engines.
    within(TASKS, "the container to start", || nodes.node(3).docker("start a3"))?;
    let three = nodes.member(3, "a3", NETWORK)?;
    traffic::reach(&one.netns, three.address)?;
    traffic::ping(&one.netns, three.address, 20)?;
    three.agrees(&nodes)?;
    let shown = nodes.tunnel(1, 3, NETWORK)?;
    ensure!(shown.receive_packets >= 20, "the node is back, and {shown:?} is shown");
    Ok(())
}

#[test]
fn a_drained_node_shows_nothing_of_what_it_ran() -> anyhow::Result<()> {
    let nodes = Nodes::up(3, Engine::Installed)?;
    let members = nodes.overlay(NETWORK)?;
    nodes.node(1).docker(&format!(
        "service create --detach --name web --network {NETWORK} --endpoint-mode dnsrr --mode global \
         --stop-grace-period 1s --no-resolve-image {IMAGE} httpd -f -p 80 -h /www"
    ))?;
    for number in nodes.numbers() {
        nodes.task(number, "web")?;
    }
    let drops = nodes.drops()?;
    let pings = Pings::start(&members[0].netns, members[1].address)?;
    // After that, nothing on the node uses the network.
    nodes.node(3).docker("rm -f a3")?;
    nodes.node(1).docker("node update --availability drain n3")?;
    ends(nodes.netmon(3), 2, CONTAINER, &[("network", NETWORK)])?;
    for family in [
        "netmon_service_network",
        "netmon_vxlan",
        "netmon_overlay_transmit",
        "netmon_container_tcp",
        "netmon_container_info",
    ] {
        let of = if family.ends_with("info") {
            ("service", "web")
        } else {
            ("network", NETWORK)
        };
        ends(nodes.netmon(3), 2, family, &[of]).with_context(|| nodes.netmon(3).log())?;
    }
    within(3 * PATIENCE, "the node to be no peer any more", || {
        let page = nodes.netmon(1).page()?;
        ensure!(tunnel(&page, nodes.node(3), NETWORK).is_err(), "it still is");
        Ok(())
    })?;
    let (sent, answered) = pings.stop()?;
    ensure!(
        sent == answered,
        "{answered} of {sent} pings between the others were answered"
    );
    for member in &members[..2] {
        member.agrees(&nodes)?;
    }
    nodes.dropped_nothing_since(&drops)?;
    nodes.node(1).docker("node update --availability active n3")?;
    let back = nodes.task(3, "web")?;
    nodes.member(3, &back, NETWORK)?.agrees(&nodes).map(drop)
}

#[test]
fn an_engine_that_crashes_loses_no_packet_and_no_name() -> anyhow::Result<()> {
    engine_crashes(Engine::Installed)
}

#[test]
fn a_newer_engine_that_crashes_loses_no_packet_and_no_name() -> anyhow::Result<()> {
    engine_crashes(Engine::New)
}

/// When an engine of a Swarm starts, it ends the containers that ran when it was killed.
fn engine_crashes(engine: Engine) -> anyhow::Result<()> {
    let nodes = Nodes::up(2, engine)?;
    let members = nodes.overlay(NETWORK)?;
    let one = &members[0];
    nodes.node(1).docker(&format!(
        "service create --detach --name web --network {NETWORK} --endpoint-mode dnsrr \
         --constraint node.hostname==n2 --stop-grace-period 1s --no-resolve-image {IMAGE} httpd -f -p 80 -h /www"
    ))?;
    let name = nodes.task(2, "web")?;
    let server = nodes.member(2, &name, NETWORK)?;
    traffic::reach(&one.netns, server.address)?;
    let (before, before_sender) = (server.agrees(&nodes)?, one.agrees(&nodes)?);
    let up = |wanted: u64| {
        nodes
            .netmon(2)
            .page_until(&format!("netmon_docker_up to be {wanted}"), |page| {
                let up = page.count("netmon_docker_up", &[])?;
                ensure!(up == wanted, "it is {up}");
                Ok(())
            })
    };
    up(1)?;
    let pings = Pings::start(&one.netns, server.address)?;
    nodes.node(2).crash_engine()?;
    up(0)?;
    let enough = before.receive_packets + 50;
    nodes
        .netmon(2)
        .page_until("packets to be counted while it is down", |page| {
            let shown = page.interface(&name, NETWORK)?;
            ensure!(shown.receive_packets >= enough, "{shown:?} is shown, {before:?} before");
            Ok(())
        })?;
    nodes.until_manager_says(2, "down")?;
    nodes.node(2).start_engine()?;
    up(1)?;
    // The engine kills the task, and its last values linger.
    let last = until("the task to be ended", || {
        let page = nodes.netmon(2).page()?;
        let states = page.all("netmon_container_info", &[("container", &name)]);
        ensure!(
            states.iter().all(|it| it.has(&[("state", "ended")])),
            "it is in {states:?}"
        );
        page.interface(&name, NETWORK)
    })
    .with_context(|| nodes.netmon(2).log())?;
    let (sent, answered) = pings.stop()?;
    let answers = last.since(before).transmit_packets;
    // The task also answers ARP requests.
    ensure!(
        (answered..=answered + 20).contains(&answers),
        "{answered} of {sent} pings were answered, and the task is charged with {answers} packets"
    );
    let got = one.agrees(&nodes)?.since(before_sender);
    ensure!(
        got.receive_packets >= answered,
        "{answered} pings were answered, and the sender is charged with {got:?}"
    );
    ends(nodes.netmon(2), 1, CONTAINER, &[("container", &name)])?;
    nodes.until_manager_says(2, "ready")?;
    let new = nodes.another_task(2, "web", &name)?;
    let new = nodes.member(2, &new, NETWORK)?;
    traffic::reach(&one.netns, new.address)?;
    traffic::ping(&one.netns, new.address, 20)?;
    new.agrees(&nodes)?;
    Ok(())
}

#[test]
fn a_server_that_is_killed_under_a_stream_is_counted_to_its_end_and_its_client_is_told_why() -> anyhow::Result<()> {
    server_killed(Engine::Installed)
}

#[test]
fn a_server_that_a_newer_engine_kills_is_counted_to_its_end_and_its_client_is_told_why() -> anyhow::Result<()> {
    server_killed(Engine::New)
}

fn server_killed(engine: Engine) -> anyhow::Result<()> {
    let nodes = Nodes::up(2, engine)?;
    let members = nodes.overlay(NETWORK)?;
    let one = &members[0];
    let node = nodes.node(2);
    node.start_container("server", &format!("--network {NETWORK}"))?;
    let server = nodes.member(2, "server", NETWORK)?;
    server.agrees(&nodes)?;
    // The server does not read the data. So the kernel resets the connection when the server is killed.
    node.docker_script("exec -d server", "nc -l -p 5302 -e sleep 1000")?;
    let resets = || one.tcp(&nodes, "resets_received", NETWORK);
    let client = Client::start(&one.netns, SocketAddr::new(server.address, 5302))?;
    // Attempts before the server listened were also answered with resets. TcpEstabResets does not count those.
    let before = (resets()?, one.netns.nstat("TcpEstabResets")?);
    let least = until("the stream to flow", || {
        let figures = server.interface.figures(node)?;
        ensure!(figures.receive_packets >= 20, "{figures:?}");
        Ok(figures)
    })?;
    node.docker("kill server")?;
    let how = client.broken()?;
    ensure!(how == ErrorKind::ConnectionReset, "the client was told {how:?}");
    until("what the client was told to be shown", || {
        let shown = resets()? - before.0;
        let counted = one.netns.nstat("TcpEstabResets")? - before.1;
        ensure!(
            shown == counted && counted == 1,
            "the kernel counts {counted} resets, netmon shows {shown}"
        );
        Ok(())
    })?;
    nodes.netmon(2).page_until("the server's last values", |page| {
        let shown = page.interface("server", NETWORK)?;
        ensure!(
            shown.receive_packets >= least.receive_packets,
            "the server had {least:?}, and {shown:?} is shown"
        );
        Ok(())
    })?;
    one.sums_agree(&nodes)?;
    // No container has the server's address now, so the tunnel drops packets to it. These drops are the network's.
    let overlay = nodes.overlay_netns(1, NETWORK)?;
    let no_target = || -> anyhow::Result<u64> {
        let page = nodes.netmon(1).page()?;
        let of = [("network", NETWORK), ("reason", "NO_TX_TARGET")];
        Ok(match page.all("netmon_overlay_packet_drops_total", &of)[..] {
            [] => 0,
            _ => page.count("netmon_overlay_packet_drops_total", &of)?,
        })
    };
    let dropped = || -> anyhow::Result<(u64, u64)> {
        let text = overlay.run("ip -j -s link show dev vxlan0")?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        let kernel = json
            .pointer("/0/stats64/tx/dropped")
            .and_then(serde_json::Value::as_u64);
        let shown = nodes
            .netmon(1)
            .page()?
            .count("netmon_vxlan_transmit_packets_dropped_total", &[("network", NETWORK)])?;
        Ok((kernel.context("no dropped packets")?, shown))
    };
    let before = (no_target()?, dropped()?);
    let _unanswered = one.netns.run(&format!("ping -q -c 20 -i 0.05 -W 1 {}", server.address));
    until("what the tunnel throws away to be shown", || {
        let (kernel, shown) = dropped()?;
        ensure!(kernel == shown, "the device dropped {kernel}, netmon shows {shown}");
        let (of_device, of_reason) = (shown - before.1.1, no_target()? - before.0);
        ensure!(
            of_device == of_reason,
            "the device dropped {of_device}, and netmon gives a reason for {of_reason}"
        );
        Ok(())
    })?;
    ends(nodes.netmon(2), 2, CONTAINER, &[("container", "server")])
}
