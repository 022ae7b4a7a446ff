//! Faults on nodes: the engine is killed or hangs, netmon is killed, netmon is stopped.

use std::{net::IpAddr, time::Duration};

use anyhow::ensure;
use netmon_tests::{
    figures::Figures,
    lab::Engine,
    patience::{PATIENCE, within},
};

use crate::ground::{Ground, Interface, netmon_on, ping};

#[test]
fn counting_goes_on_while_the_engine_is_down_and_names_come_back_with_it() -> anyhow::Result<()> {
    let ground = Ground::new(Engine::Installed)?;
    let steady = Steady::of(&ground)?;
    let node = ground.node();
    node.crash_engine()?;
    engine_is(&ground, 0, PATIENCE)?;
    steady.goes_on(&ground)?;

    node.start_engine()?;
    engine_is(&ground, 1, PATIENCE)?;
    let reconnects = ground.netmon.page()?.count("netmon_docker_reconnects_total", &[])?;
    ensure!(reconnects >= 1, "the stream of events was opened again");
    node.start_container("three", "--network steady")?;
    node.start_container("four", "--network steady")?;
    ground.carries("three", "four", "steady")
}

/// An engine that hangs closes no connection: only its silence tells.
#[test]
fn counting_goes_on_while_the_engine_hangs_which_is_seen_within_two_minutes() -> anyhow::Result<()> {
    let ground = Ground::new(Engine::Installed)?;
    let steady = Steady::of(&ground)?;
    let (node, netmon) = (ground.node(), &ground.netmon);
    node.hang_engine()?;
    // netmon asks once a minute, and waits half a minute for an answer.
    engine_is(&ground, 0, Duration::from_mins(2))?;
    steady.goes_on(&ground)?;
    // Nothing of that is netmon's fault: nobody should start it again.
    ensure!(netmon.get("/-/healthy")?.status == 200, "netmon is not healthy");

    node.wake_engine()?;
    engine_is(&ground, 1, PATIENCE)?;
    node.start_container("three", "--network steady")?;
    node.start_container("four", "--network steady")?;
    ground.carries("three", "four", "steady")?;
    steady.goes_on(&ground)
}

/// Two containers, and what was counted of them before a fault.
struct Steady {
    interfaces: [Interface; 2],
    before: [Figures; 2],
    other: IpAddr,
}

impl Steady {
    fn of(ground: &Ground) -> anyhow::Result<Self> {
        let (node, netmon) = (ground.node(), &ground.netmon);
        node.docker("network create steady")?;
        node.start_container("one", "--network steady")?;
        node.start_container("two", "--network steady")?;
        let interfaces = [
            Interface::of(node, "one", "steady")?,
            Interface::of(node, "two", "steady")?,
        ];
        let before = [interfaces[0].agrees(node, netmon)?, interfaces[1].agrees(node, netmon)?];
        engine_is(ground, 1, PATIENCE)?;
        Ok(Self {
            interfaces,
            before,
            other: node.address_of("two", "steady")?,
        })
    }

    /// Pings one container from the other, without the engine, and checks that both are charged for it.
    fn goes_on(&self, ground: &Ground) -> anyhow::Result<()> {
        let (node, netmon) = (ground.node(), &ground.netmon);
        let ping = format!("ping -q -c 100 -i 0.005 {}", self.other);
        let text = node.exec_in(&self.interfaces[0].sandbox, &ping)?;
        ensure!(text.contains("100 received"), "pings were lost: {text}");
        for (interface, before) in self.interfaces.iter().zip(self.before) {
            let more = interface.agrees(node, netmon)?.since(before);
            ensure!(
                more.receive_packets >= 100 && more.transmit_packets >= 100,
                "{} answered 100 pings, and is charged with {more:?}",
                interface.container
            );
        }
        Ok(())
    }
}

/// Waits until netmon says that the engine answers (1), or that it does not (0).
fn engine_is(ground: &Ground, wanted: u64, patience: Duration) -> anyhow::Result<()> {
    within(patience, &format!("netmon_docker_up to be {wanted}"), || {
        let up = ground.netmon.page()?.count("netmon_docker_up", &[])?;
        ensure!(up == wanted, "it is {up}");
        Ok(())
    })
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
