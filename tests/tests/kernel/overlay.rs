//! What passes between nodes is counted by network and by node, with the outer headers, and what should be encrypted and
//! is not is seen.

use std::net::UdpSocket;

use anyhow::ensure;
use netmon_tests::{figures::Figures, netmon::Netmon, patience::until, traffic};

use crate::world::{Cable, Member, World, modes, quiet, ready};

/// The other node.
const PEER: &str = "10.88.0.2";
/// What a tunnel adds to what the VXLAN device counts: outer Ethernet, IPv4, UDP and VXLAN headers, and the inner
/// Ethernet header, which that device does not count.
const OUTER_BYTES: u64 = 14 + 20 + 8 + 8 + 14;

/// A node with an overlay network, whose tunnels are counted from now on.
fn node(encrypted: bool, mode: &str) -> anyhow::Result<(World, Member, Member, Netmon)> {
    let mut world = World::new()?;
    world.sees_node = true;
    world.encrypted = encrypted;
    let (a, b) = world.pair(Cable::Vxlan)?;
    quiet(&[&a, &b])?;
    let netmon = world.netmon(&[&format!("--bpf.attach={mode}")])?;
    ready(&netmon, 3)?;
    until("the programs to be on the device", || {
        ensure!(
            netmon.log().contains("what passes between nodes is counted here"),
            "they are not: {}",
            netmon.log()
        );
        Ok(())
    })?;
    Ok((world, a, b, netmon))
}

fn shown(netmon: &Netmon) -> anyhow::Result<Figures> {
    netmon
        .page()?
        .figures("netmon_overlay", &[("network", "net"), ("peer", PEER)])
}

/// What a VXLAN device's figures are with the outer headers.
fn wrapped(figures: Figures) -> Figures {
    Figures {
        receive_bytes: figures.receive_bytes + figures.receive_packets * OUTER_BYTES,
        transmit_bytes: figures.transmit_bytes + figures.transmit_packets * OUTER_BYTES,
        ..figures
    }
}

#[test]
fn what_passes_between_nodes_is_what_the_kernel_counts() -> anyhow::Result<()> {
    for mode in modes()? {
        let (world, a, b, netmon) = node(false, mode)?;
        let overlay = world.overlay_netns()?;
        // A node is there before anything was sent to it.
        ensure!(shown(&netmon)? == Figures::default(), "something passed already");
        let before = overlay.figures("vxlan0")?;
        traffic::ping(&a.netns, b.address, 30)?;
        traffic::ping(&b.netns, a.ipv6_address, 30)?;
        traffic::udp(&a.netns, &b.netns, b.address, 200, 1000)?;
        traffic::udp(&b.netns, &a.netns, a.ipv6_address, 100, 900)?;
        until("the tunnel's figures", || {
            let wanted = wrapped(overlay.figures("vxlan0")?.since(before));
            let shown = shown(&netmon)?;
            ensure!(wanted == shown, "{mode}: netmon shows {shown:?}, the kernel {wanted:?}");
            ensure!(
                shown.transmit_packets == 30 + 30 + 200 && shown.receive_packets == 30 + 30 + 100,
                "{shown:?} is not what was sent"
            );
            Ok(())
        })?;
        netmon.page()?.one(
            "netmon_bpf_program_info",
            &[("program", "overlay_egress"), ("mode", mode)],
        )?;
        // No network here is to be encrypted.
        ensure!(
            netmon
                .page()?
                .all("netmon_overlay_cleartext_packets_total", &[])
                .is_empty(),
            "cleartext is shown of a network that is meant to be in the clear"
        );
    }
    Ok(())
}

/// A super-packet is as many packets as the other node receives.
#[test]
fn packets_between_nodes_are_counted_as_on_the_wire() -> anyhow::Result<()> {
    let (_world, a, b, netmon) = node(false, modes()?[0])?;
    let sent = || Ok::<_, anyhow::Error>(a.netns.nstat("TcpOutSegs")? + a.netns.nstat("TcpRetransSegs")?);
    let (segments, before) = (sent()?, a.figures()?);
    traffic::tcp(&a.netns, &b.netns, b.address, 20_000_000)?;
    until("the segments to be counted", || {
        let (segments, packets) = (sent()? - segments, a.figures()?.since(before).transmit_packets);
        let shown = shown(&netmon)?.transmit_packets;
        ensure!(
            shown == segments && segments > packets,
            "{segments} segments in {packets} packets, netmon shows {shown}"
        );
        Ok(())
    })
}

#[test]
fn what_should_be_encrypted_and_is_not_is_seen() -> anyhow::Result<()> {
    let (_world, a, b, netmon) = node(true, modes()?[0])?;
    let cleartext = |direction: &str| {
        netmon.page()?.count(
            "netmon_overlay_cleartext_packets_total",
            &[("network", "net"), ("peer", PEER), ("direction", direction)],
        )
    };
    ensure!(
        (cleartext("receive")?, cleartext("transmit")?) == (0, 0),
        "there was some before anything was sent"
    );
    traffic::udp(&a.netns, &b.netns, b.address, 20, 500)?;
    traffic::udp(&b.netns, &a.netns, a.address, 10, 500)?;
    until("the cleartext to be counted", || {
        let shown = (cleartext("receive")?, cleartext("transmit")?);
        ensure!(shown == (10, 20), "received and sent in the clear: {shown:?}");
        Ok(())
    })?;
    // Encrypted packets of that node are counted by node, from nothing.
    netmon
        .page()?
        .figures("netmon_overlay_esp", &[("peer", PEER)])
        .map(drop)
}

/// What only looks like a tunnel's packet: another port, no identifier, another network's.
#[test]
fn what_is_no_tunnel_of_the_networks_is_not_counted() -> anyhow::Result<()> {
    let (world, _a, _b, netmon) = node(false, modes()?[0])?;
    let far = world.others.iter().find(|it| it.path().ends_with("node2"));
    let far = far.ok_or_else(|| anyhow::anyhow!("there is no other node"))?;
    let near = "10.88.0.1";
    let header = |flags: u8, vni: u8| [vec![flags, 0, 0, 0, 0, 0x10, vni, 0], vec![0; 60]].concat();
    let send = |port: u16, payload: &[u8]| {
        far.within(|| {
            let socket = UdpSocket::bind("10.88.0.2:0")?;
            for _ in 0..5 {
                socket.send_to(payload, (near, port))?;
            }
            Ok(())
        })
    };
    for (port, payload) in [
        (4790, header(8, 1)),
        (4789, header(0, 1)),
        (4789, header(8, 2)),
        (4789, vec![8; 3]),
    ] {
        send(port, &payload)?;
    }
    // That does, last.
    send(4789, &header(8, 1))?;
    until("the last to be counted", || {
        let shown = shown(&netmon)?;
        ensure!(shown.receive_packets == 5, "shown are {shown:?}");
        Ok(())
    })
}
