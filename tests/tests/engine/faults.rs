//! Faults on nodes: the engine is killed, netmon is killed, netmon is stopped.

use anyhow::ensure;
use netmon_tests::lab::Engine;

use crate::ground::{Ground, Interface, netmon_on, ping};

#[test]
fn counting_goes_on_while_the_engine_is_down_and_names_come_back_with_it() -> anyhow::Result<()> {
    let ground = Ground::new(Engine::Installed)?;
    let (node, netmon) = (ground.node(), &ground.netmon);
    node.docker("network create steady")?;
    node.start_container("one", "--network steady")?;
    node.start_container("two", "--network steady")?;
    let other = node.address_of("two", "steady")?;
    let interfaces = [
        Interface::of(node, "one", "steady")?,
        Interface::of(node, "two", "steady")?,
    ];
    let before = [interfaces[0].agrees(node, netmon)?, interfaces[1].agrees(node, netmon)?];
    let up = |wanted: u64| {
        netmon.page_until(&format!("netmon_docker_up to be {wanted}"), |page| {
            let up = page.count("netmon_docker_up", &[])?;
            ensure!(up == wanted, "it is {up}");
            Ok(())
        })
    };
    up(1)?;

    node.crash_engine()?;
    up(0)?;
    let text = node.exec_in(&interfaces[0].sandbox, &format!("ping -q -c 100 -i 0.005 {other}"))?;
    ensure!(text.contains("100 received"), "pings were lost: {text}");
    for (interface, before) in interfaces.iter().zip(before) {
        let more = interface.agrees(node, netmon)?.since(before);
        ensure!(
            more.receive_packets >= 100 && more.transmit_packets >= 100,
            "{} answered 100 pings while the engine was down, and is charged with {more:?}",
            interface.container
        );
    }

    node.start_engine()?;
    up(1)?;
    let reconnects = netmon.page()?.count("netmon_docker_reconnects_total", &[])?;
    ensure!(reconnects >= 1, "the stream of events was opened again");
    node.start_container("three", "--network steady")?;
    node.start_container("four", "--network steady")?;
    ground.carries("three", "four", "steady")
}

#[test]
fn totals_go_on_after_netmon_was_killed() -> anyhow::Result<()> {
    // In this order, so that netmon ends before the lab does.
    let Ground { lab, netmon } = Ground::new(Engine::Installed)?;
    let node = lab.node(1);
    node.docker("network create -d overlay --attachable wide")?;
    node.start_container("one", "--network wide")?;
    node.start_container("two", "--network wide")?;
    let other = node.address_of("two", "wide")?;
    let interface = Interface::of(node, "one", "wide")?;
    ping(node, "one", other, 50)?;
    let before = interface.agrees(node, &netmon)?;

    netmon.kill()?;
    ping(node, "one", other, 50)?;
    let netmon = netmon_on(node)?;
    let more = interface.agrees(node, &netmon)?.since(before);
    ensure!(
        more.receive_packets >= 50 && more.transmit_packets >= 50,
        "50 pings were sent while there was no netmon, and it charges {more:?}"
    );
    ping(node, "one", other, 50)?;
    interface.agrees(node, &netmon)?;
    Ok(())
}

#[test]
fn netmon_ends_when_it_is_told_to_and_nobody_misses_it() -> anyhow::Result<()> {
    let Ground { lab, netmon } = Ground::new(Engine::Installed)?;
    let node = lab.node(1);
    node.docker("network create -d overlay --attachable wide")?;
    for container in ["one", "two", "three", "four"] {
        node.start_container(container, "--network wide")?;
        Interface::of(node, container, "wide")?.agrees(node, &netmon)?;
    }
    netmon.wait_ready()?;
    let (status, _) = netmon.terminate()?;
    ensure!(status.success(), "netmon ended with {status}");
    let other = node.address_of("two", "wide")?;
    ping(node, "one", other, 10)
}
