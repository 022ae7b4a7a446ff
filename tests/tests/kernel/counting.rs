//! Every packet sent is counted once: for every kind of traffic, over every kind of cable, and with every way to
//! attach programs.

use anyhow::ensure;
use netmon_tests::{figures::Figures, netmon::Netmon, page::Page, traffic};

use crate::world::{Cable, DEVICE, Member, World, agree, best_mode, offloads, quiet, ready};

/// A kind of traffic. `packets` is how many packets it consists of in each direction, if that is known beforehand.
struct Kind {
    name: &'static str,
    send: fn(&Member, &Member) -> anyhow::Result<()>,
    /// Packets that the first container sends, and packets that the second one sends.
    packets: Option<(u64, u64)>,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "ping",
        send: |a, b| traffic::ping(&a.netns, b.address, 50),
        packets: Some((50, 50)),
    },
    Kind {
        name: "ping over IPv6",
        send: |a, b| traffic::ping(&a.netns, b.ipv6_address, 50),
        packets: Some((50, 50)),
    },
    Kind {
        name: "UDP",
        send: |a, b| traffic::udp(&a.netns, &b.netns, b.address, 200, 1000),
        packets: Some((200, 0)),
    },
    Kind {
        name: "UDP over IPv6",
        send: |a, b| traffic::udp(&a.netns, &b.netns, b.ipv6_address, 200, 1000),
        packets: Some((200, 0)),
    },
    Kind {
        // 4000 bytes are three packets, with an MTU of 1450 or of 1500.
        name: "fragments",
        send: |a, b| traffic::udp(&a.netns, &b.netns, b.address, 100, 4000),
        packets: Some((300, 0)),
    },
    Kind {
        name: "TCP",
        send: |a, b| traffic::tcp(&a.netns, &b.netns, b.address, traffic::stream()),
        packets: None,
    },
    Kind {
        name: "TCP over IPv6",
        send: |a, b| traffic::tcp(&a.netns, &b.netns, b.ipv6_address, traffic::stream()),
        packets: None,
    },
];

#[test]
fn every_packet_over_a_veth_is_counted() -> anyhow::Result<()> {
    exact(Cable::Veth, best_mode()?)
}

#[test]
fn every_packet_over_a_bridge_is_counted() -> anyhow::Result<()> {
    exact(Cable::Bridge, best_mode()?)
}

#[test]
fn every_packet_over_macvlan_is_counted() -> anyhow::Result<()> {
    exact(Cable::Macvlan, best_mode()?)
}

#[test]
fn every_packet_over_an_overlay_is_counted() -> anyhow::Result<()> {
    exact(Cable::Vxlan, best_mode()?)
}

#[test]
fn every_packet_is_counted_with_clsact_filters() -> anyhow::Result<()> {
    exact(Cable::Bridge, "clsact")?;
    exact(Cable::Vxlan, "clsact")
}

#[test]
fn every_packet_is_counted_without_programs() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&["--bpf.attach=off"])?;
    netmon.wait_ready()?;
    quiet(&[&a, &b])?;
    for kind in KINDS {
        round(kind, &netmon, &a, &b)?;
    }
    let page = netmon.page()?;
    ensure!(
        page.all("netmon_bpf_program_info", &[]).is_empty(),
        "programs are shown"
    );
    Ok(())
}

/// Every kind of traffic in both directions, with segmentation offload on and off.
fn exact(cable: Cable, mode: &str) -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(cable)?;
    let netmon = world.netmon(&[&format!("--bpf.attach={mode}")])?;
    // The two containers' devices, and the VXLAN device of an overlay.
    ready(&netmon, if cable == Cable::Vxlan { 3 } else { 2 })?;
    netmon.page()?.one(
        "netmon_bpf_program_info",
        &[("program", "traffic_ingress"), ("mode", mode)],
    )?;
    quiet(&[&a, &b])?;
    for state in ["on", "off"] {
        offloads(&a, state)?;
        offloads(&b, state)?;
        for kind in KINDS {
            round(kind, &netmon, &a, &b)?;
            segments(kind, &netmon, &a, &b)?;
            round(kind, &netmon, &b, &a)?;
        }
    }
    if cable == Cable::Vxlan {
        vxlan(&world, &netmon)?;
    }
    Ok(())
}

/// Sends, and compares the counts with the kernel's at both ends.
fn round(kind: &Kind, netmon: &Netmon, from: &Member, to: &Member) -> anyhow::Result<()> {
    let before = (agree(netmon, from, "net")?.1, agree(netmon, to, "net")?.1);
    (kind.send)(from, to)?;
    let (page, after) = agree(netmon, from, "net")?;
    let near = after.since(before.0);
    let far = agree(netmon, to, "net")?.1.since(before.1);
    if let Some((there, back)) = kind.packets {
        for (what, figure, wanted) in [
            ("sender sent", near.transmit_packets, there),
            ("receiver received", far.receive_packets, there),
            ("receiver sent", far.transmit_packets, back),
            ("sender received", near.receive_packets, back),
        ] {
            ensure!(
                figure == wanted,
                "{}: {wanted} packets, of which the {what} {figure} by the kernel's count",
                kind.name
            );
        }
    }
    // The labels come from the engine's answers.
    page.one(
        "netmon_container_network_receive_packets_total",
        &[
            ("container", &from.name),
            ("service", "shop_web"),
            ("stack", "shop"),
            ("network", "net"),
            ("interface", DEVICE),
        ],
    )?;
    Ok(())
}

/// The counted segments are those that TCP says it sent, whether or not the device segments them.
fn segments(kind: &Kind, netmon: &Netmon, from: &Member, to: &Member) -> anyhow::Result<()> {
    if !kind.name.starts_with("TCP") {
        return Ok(());
    }
    let tcp = |member: &Member| -> anyhow::Result<u64> {
        Ok(member.netns.nstat("TcpOutSegs")? + member.netns.nstat("TcpRetransSegs")?)
    };
    let counted = |page: &Page, member: &Member| {
        page.count(
            "netmon_container_network_transmit_segments_total",
            &[("container", &member.name), ("network", "net")],
        )
    };
    let before = (agree(netmon, from, "net")?.0, tcp(from)?, tcp(to)?);
    (kind.send)(from, to)?;
    let page = agree(netmon, to, "net")?.0;
    for (member, segments) in [(from, tcp(from)? - before.1), (to, tcp(to)? - before.2)] {
        let shown = counted(&page, member)? - counted(&before.0, member)?;
        ensure!(
            shown == segments,
            "{}: {} sent {segments} segments by the kernel's count, {shown} by netmon",
            kind.name,
            member.name
        );
    }
    Ok(())
}

/// The overlay's VXLAN device, in the overlay's own namespace.
fn vxlan(world: &World, netmon: &Netmon) -> anyhow::Result<()> {
    let overlay = world.overlay_netns()?;
    netmon.page_until("the VXLAN device's figures", |page| {
        let before = overlay.figures("vxlan0")?;
        let shown = page.figures("netmon_vxlan", &[("network", "net"), ("interface", "vxlan0")])?;
        ensure!(before == shown, "netmon shows {shown:?}, the kernel {before:?}");
        ensure!(shown > Figures::default(), "nothing passed the VXLAN device");
        Ok(())
    })
}
