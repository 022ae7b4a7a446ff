//! A network that is encrypted between nodes, set up as the engine does it: ESP in transport mode around the tunnel's
//! packets.
//!
//! On a kernel without ESP the engine can set up only the policy. Then no packet leaves the node, and the page has to
//! show that too.

use anyhow::{Context as _, ensure};
use netmon_tests::{netmon::Netmon, netns::Netns, patience::until, traffic};

use super::{PEER, node};
use crate::world::{World, modes};

/// The addresses of both nodes.
pub(crate) const ADDRESSES: [&str; 2] = ["10.88.0.1", "10.88.0.2"];
/// An AES key of 128 bits, followed by the four bytes of salt of RFC 4106.
pub(crate) const KEY: &str = "0x0102030405060708090a0b0c0d0e0f1011121314";
/// The payload of a datagram in bytes.
const CONTENT: usize = 500;
/// The size of the inner packet with its IP and UDP headers, as MTUs count it.
const INNER: u64 = 20 + 8 + CONTENT as u64;
/// Its size between nodes: with the outer Ethernet header, and with the overhead that netmon reports for a packet of
/// that size.
const OUTER: u64 = 14 + INNER + 50 + 26;

/// Adds the policy that packets to the other node's VXLAN port must be encrypted.
fn policy(netns: &Netns, number: usize) -> anyhow::Result<()> {
    let (own, other) = (ADDRESSES[number], ADDRESSES[1 - number]);
    netns
        .run(&format!(
            "ip xfrm policy add src {own}/32 dst {other}/32 proto udp dport 4789 dir out \
             tmpl src {own} dst {other} proto esp reqid 1 mode transport"
        ))
        .map(drop)
}

/// Adds the security association for one direction.
///
/// # Errors
/// The kernel cannot encrypt.
fn state(netns: &Netns, [from, to]: [&str; 2]) -> anyhow::Result<()> {
    let line = format!(
        "ip xfrm state add src {from} dst {to} proto esp spi 0x101 reqid 1 mode transport aead rfc4106(gcm(aes)) {KEY} 64"
    );
    netns.run(&line).map(drop)
}

/// The kernel's count of packets for one direction.
fn packets(netns: &Netns, [from, to]: [&str; 2]) -> anyhow::Result<u64> {
    let text = netns.run(&format!("ip -s xfrm state list src {from} dst {to}"))?;
    // The output has `lifetime current:`, and in the next line `12(bytes), 3(packets)`.
    let current = text.split("lifetime current:").nth(1).context("no such state")?;
    let (count, _) = current.split_once("(packets)").context("it counts nothing")?;
    let digits = count.rsplit(|it: char| !it.is_ascii_digit()).next();
    Ok(digits.unwrap_or_default().parse()?)
}

fn errors(netmon: &Netmon, reason: &str) -> anyhow::Result<u64> {
    netmon
        .page()?
        .count("netmon_node_xfrm_errors_total", &[("reason", reason)])
}

/// Cleartext packets received and sent.
fn cleartext(netmon: &Netmon) -> anyhow::Result<[u64; 2]> {
    let page = netmon.page()?;
    let of = |direction| {
        let labels = [("network", "net"), ("peer", PEER), ("direction", direction)];
        page.count("netmon_overlay_cleartext_packets_total", &labels)
    };
    Ok([of("receive")?, of("transmit")?])
}

fn nodes(world: &World) -> anyhow::Result<[&Netns; 2]> {
    Ok([world.node()?, world.far_node()?])
}

#[test]
fn an_encrypted_network_is_seen_encrypted_or_fails_closed() -> anyhow::Result<()> {
    let (world, a, b, netmon) = node(true, modes()?[0])?;
    let nodes = nodes(&world)?;
    for (number, node) in nodes.iter().enumerate() {
        policy(node, number)?;
    }
    let [there, back] = [ADDRESSES, [ADDRESSES[1], ADDRESSES[0]]];
    let can = match state(nodes[0], there) {
        Ok(()) => true,
        Err(_) if std::env::var_os("NETMON_TEST_ESP").is_none() => false,
        Err(error) => return Err(error.context("this kernel should have ESP")),
    };
    ensure!(errors(&netmon, "XfrmOutNoStates")? == 0, "nothing was sent yet");
    let labels = [("peer", PEER)];
    if !can {
        // The other node does not receive them.
        let to = std::net::SocketAddr::new(b.address, 7000);
        let sent = traffic::datagrams(&a.netns, to, 20, CONTENT)?;
        until("the packets without a state to be counted", || {
            let shown = errors(&netmon, "XfrmOutNoStates")?;
            let kernel = xfrm_stat(nodes[0], "XfrmOutNoStates")?;
            ensure!(
                shown == kernel && shown >= sent,
                "{sent} were sent, netmon shows {shown}, the kernel {kernel}"
            );
            Ok(())
        })?;
        let figures = netmon.page()?.figures("netmon_overlay_esp", &labels)?;
        ensure!(figures == netmon_tests::figures::Figures::default(), "{figures:?} left");
        ensure!(cleartext(&netmon)? == [0, 0], "something left in the clear");
        return Ok(());
    }
    state(nodes[0], back)?;
    state(nodes[1], there)?;
    state(nodes[1], back)?;
    traffic::udp(&a.netns, &b.netns, b.address, 20, CONTENT)?;
    traffic::udp(&b.netns, &a.netns, a.address, 10, CONTENT)?;
    until("what was encrypted to be counted", || {
        let shown = netmon.page()?.figures("netmon_overlay_esp", &labels)?;
        let kernel = [packets(nodes[0], back)?, packets(nodes[0], there)?];
        ensure!(
            [shown.receive_packets, shown.transmit_packets] == kernel && kernel == [10, 20],
            "netmon shows {shown:?}, the kernel received and sent {kernel:?}"
        );
        ensure!(
            [shown.receive_bytes, shown.transmit_bytes] == [10 * OUTER, 20 * OUTER],
            "{shown:?} are not as large as expected"
        );
        Ok(())
    })?;
    ensure!(cleartext(&netmon)? == [0, 0], "something passed in the clear");
    // Without this state, the node cannot decrypt what the other node sends.
    nodes[0].run(&format!(
        "ip xfrm state delete src {} dst {} proto esp spi 0x101",
        back[0], back[1]
    ))?;
    traffic::datagrams(&b.netns, std::net::SocketAddr::new(a.address, 7000), 5, CONTENT)?;
    until("what nobody can decrypt to be counted", || {
        let shown = errors(&netmon, "XfrmInNoStates")?;
        ensure!(shown == 5, "netmon shows {shown}");
        Ok(())
    })
}

fn xfrm_stat(netns: &Netns, name: &str) -> anyhow::Result<u64> {
    let text = netns.run("cat /proc/net/xfrm_stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.context("the kernel does not count it")?.trim().parse()?)
}
