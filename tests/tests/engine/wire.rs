//! Faults between nodes are shown as what they are. Retransmits equal the kernel's count, no packet is counted as a
//! container's drop, and other containers are not affected.

use std::{
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    flow::{Pings, Stream},
    lab::Engine,
    patience::until,
    traffic,
};

use crate::nodes::{Member, Nodes};

const NETWORK: &str = "wide";
/// How many packets may be lost while an engine's forwarding table lacks containers of a node that it took for dead.
/// An engine that was cut off takes all others for dead, until they answer.
const FORGOTTEN: u64 = 30;

/// The faults share a Swarm: each is repaired before the next.
#[test]
fn faults_of_the_wire_are_shown_as_the_kernel_counts_them() -> anyhow::Result<()> {
    let nodes = Nodes::up(3, Engine::Installed)?;
    let members = nodes.overlay(NETWORK)?;
    let [one, two, three] = &members[..] else {
        anyhow::bail!("there are {} members", members.len());
    };
    traffic::reach(&one.netns, two.address)?;
    traffic::reach(&one.netns, three.address)?;
    partition(&nodes, [one, two, three]).context("a node is cut off")?;
    loss(&nodes, [one, two]).context("a node loses what it sends")?;
    firewall(&nodes, [one, two]).context("tunnels are forbidden")?;
    black_hole(&nodes, [one, two]).context("a node takes short packets only")?;
    for member in &members {
        member.agrees(&nodes)?;
        member.sums_agree(&nodes)?;
    }
    Ok(())
}

/// The stream to the node stops, and others go on.
fn partition(nodes: &Nodes, [one, two, three]: [&Member; 3]) -> anyhow::Result<()> {
    let drops = nodes.drops()?;
    let again = one.sent_again(nodes)?;
    let stream = Stream::start(&one.netns, &two.netns, two.address)?;
    stream.flows()?;
    nodes.node(2).partition()?;
    let still = settled(nodes)?;
    until("the stream to be sent again", || {
        let more = one.netns.nstat("TcpRetransSegs")? - again;
        ensure!(more >= 3, "{more} segments were");
        Ok(())
    })?;
    one.sums_agree(nodes)?;
    traffic::ping(&one.netns, three.address, 50)?;
    let now = nodes.tunnel(1, 2, NETWORK)?;
    ensure!(
        now.receive_packets == still.receive_packets && now.transmit_packets > still.transmit_packets,
        "of the node that is cut off nothing comes, and to it goes what is sent again: {still:?}, then {now:?}"
    );
    nodes.lab.heal()?;
    stream.flows()?;
    stream.stop()?;
    ensure!(one.sent_again(nodes)? > again, "nothing was sent again");
    two.sums_agree(nodes)?;
    nodes.dropped_only_without_target_since(&drops, NETWORK, FORGOTTEN)
}

/// The first node's counts of traffic from the second, once all packets under way have arrived.
fn settled(nodes: &Nodes) -> anyhow::Result<netmon_tests::figures::Figures> {
    until("what is under way to come", || {
        let before = nodes.tunnel(1, 2, NETWORK)?;
        thread::sleep(Duration::from_millis(300));
        let after = nodes.tunnel(1, 2, NETWORK)?;
        ensure!(
            before.receive_packets == after.receive_packets,
            "{before:?}, then {after:?}"
        );
        Ok(after)
    })
}

fn loss(nodes: &Nodes, [one, two]: [&Member; 2]) -> anyhow::Result<()> {
    let drops = nodes.drops()?;
    let before = one.sent_again(nodes)?;
    nodes.node(1).loses(5)?;
    let stream = Stream::start(&one.netns, &two.netns, two.address)?;
    until("much to be sent again", || {
        one.sums_agree(nodes)?;
        let more = one.netns.nstat("TcpRetransSegs")? - before;
        ensure!(more >= 20, "{more} segments were");
        Ok(())
    })?;
    stream.stop()?;
    nodes.lab.heal()?;
    let again = one.sent_again(nodes)? - before;
    ensure!(again >= 20, "{again} segments were sent again");
    two.sums_agree(nodes)?;
    nodes.dropped_only_without_target_since(&drops, NETWORK, FORGOTTEN)
}

fn firewall(nodes: &Nodes, [one, two]: [&Member; 2]) -> anyhow::Result<()> {
    const ATTEMPTS: u64 = 3;
    let drops = nodes.drops()?;
    let timeouts = |member: &Member| {
        nodes.netmon(member.number).page()?.count(
            "netmon_container_tcp_connect_failures_total",
            &[
                ("container", member.name()),
                ("network", NETWORK),
                ("reason", "timeout"),
            ],
        )
    };
    // The kernel gives up after a few seconds, not after two minutes.
    one.netns.run("sysctl -qw net.ipv4.tcp_syn_retries=1")?;
    // Retransmits at the end of an earlier stream must not count for these attempts.
    until("earlier connections to be over", || {
        let open = one
            .netns
            .run("ss -Htan state established state fin-wait-1 state closing state last-ack")?;
        ensure!(open.trim().is_empty(), "these are open:\n{open}");
        Ok(())
    })?;
    let attempts = || one.netns.nstat("TcpExtTCPSynRetrans");
    let before = (timeouts(one)?, one.sent_again(nodes)?, attempts()?);
    nodes.lab.firewall("udp", 4789)?;
    let still = settled(nodes)?;
    let far = nodes.tunnel(2, 1, NETWORK)?;
    let pings = Pings::start(&one.netns, two.address)?;
    let address = SocketAddr::new(two.address, 9);
    for _ in 0..ATTEMPTS {
        let refused = one.netns.within(|| Ok(TcpStream::connect(address)))?;
        let kind = refused.map(drop).map_err(|error| error.kind());
        ensure!(
            kind == Err(std::io::ErrorKind::TimedOut),
            "the kernel says {kind:?} of the connection"
        );
    }
    let (sent, answered) = pings.stop()?;
    ensure!(sent > 0 && answered == 0, "{answered} of {sent} pings were answered");
    until("the tunnel to show it", || {
        let now = nodes.tunnel(1, 2, NETWORK)?;
        let more = now.transmit_packets - still.transmit_packets;
        ensure!(
            now.receive_packets == still.receive_packets && more >= sent + 2 * ATTEMPTS,
            "nothing comes, and {sent} pings went: {still:?}, then {now:?}"
        );
        match nodes.tunnel(2, 1, NETWORK) {
            Ok(there) => ensure!(
                there.receive_packets == far.receive_packets,
                "nothing arrives: {far:?}, then {there:?}"
            ),
            // A busy engine may take the other node for dead meanwhile. Then it sends nothing there, and the series
            // end.
            Err(error) => {
                let known = nodes.overlay_netns(2, NETWORK)?.run("bridge fdb show dev vxlan0")?;
                let node = nodes.node(1).address();
                ensure!(!known.contains(&node), "{error:#}, and {node} is sent to: {known}");
            }
        }
        Ok(())
    })?;
    let failures = timeouts(one)? - before.0;
    ensure!(failures == ATTEMPTS, "{failures} connections timed out, of {ATTEMPTS}");
    let again = one.sent_again(nodes)? - before.1;
    let attempts = attempts()? - before.2;
    ensure!(
        again == attempts && again >= ATTEMPTS,
        "each was tried once more at least, {attempts} times in all, and {again} were sent again"
    );
    nodes.lab.heal()?;
    traffic::reach(&one.netns, two.address)?;
    traffic::ping(&one.netns, two.address, 10)?;
    nodes.dropped_only_without_target_since(&drops, NETWORK, FORGOTTEN)
}

/// Short packets pass, long ones vanish between the nodes, and no sender is notified. A stream stops, its retransmits
/// are counted, and the tunnel goes on in both directions.
fn black_hole(nodes: &Nodes, [one, two]: [&Member; 2]) -> anyhow::Result<()> {
    let drops = nodes.drops()?;
    nodes.node(2).limit_packets_to(1400)?;
    traffic::ping(&one.netns, two.address, 10)?;
    let before = one.sent_again(nodes)?;
    let tunnel = nodes.tunnel(1, 2, NETWORK)?;
    let stream = Stream::start(&one.netns, &two.netns, two.address)?;
    until("it to be sent again", || {
        let more = one.netns.nstat("TcpRetransSegs")? - before;
        ensure!(more >= 3, "{more} segments were");
        Ok(())
    })?;
    ensure!(stream.received() == 0, "{} bytes of it arrived", stream.received());
    let again = one.sent_again(nodes)? - before;
    ensure!(again >= 3, "{again} segments were sent again");
    traffic::ping(&one.netns, two.address, 50)?;
    let more = nodes.tunnel(1, 2, NETWORK)?.since(tunnel);
    ensure!(
        more.receive_packets >= 50 && more.transmit_packets >= 50,
        "short packets pass: {more:?}"
    );
    nodes.lab.heal()?;
    stream.flows()?;
    stream.stop()?;
    nodes.dropped_only_without_target_since(&drops, NETWORK, FORGOTTEN)
}
