//! Traffic between nodes is counted by network and node, with the outer headers. Packets that should be encrypted and
//! are not are counted as such.

use std::{net::UdpSocket, time::Duration};

use anyhow::ensure;
use netmon_tests::{
    fake_engine::{NODES, network_id},
    figures::Figures,
    frames::{self, Envelope},
    netmon::Netmon,
    page::Page,
    patience::{until, within},
    sh, traffic,
};

use crate::{
    accidents::CHECK,
    world::{Cable, Member, World, modes, quiet, ready},
};

pub(crate) mod encrypted;

/// The other node's name, as the engine reports it.
pub(crate) const PEER: &str = "node2";
/// The other node's address.
const PEER_ADDRESS: &str = "10.88.0.2";
/// netmon reads the node's own devices once a minute.
const ROUND: Duration = Duration::from_secs(90);
/// What a tunnel adds to the bytes of the VXLAN device: the outer Ethernet, IPv4, UDP and VXLAN headers, and the
/// inner Ethernet header.
const OUTER_BYTES: u64 = 14 + 20 + 8 + 8 + 14;

/// A node with an overlay network whose tunnels are counted.
fn node(encrypted: bool, mode: &str) -> anyhow::Result<(World, Member, Member, Netmon)> {
    node_of(World::new()?, encrypted, mode)
}

/// The same, with other waiting times.
pub(crate) fn node_with(encrypted: bool, mode: &str, times: &str) -> anyhow::Result<(World, Member, Member, Netmon)> {
    let mut world = World::new()?;
    world.times.push_str(times);
    node_of(world, encrypted, mode)
}

/// The same, in that world.
fn node_of(mut world: World, encrypted: bool, mode: &str) -> anyhow::Result<(World, Member, Member, Netmon)> {
    world.sees_node = true;
    world.encrypted = encrypted;
    let (a, b) = world.pair(Cable::Vxlan)?;
    quiet(&[&a, &b])?;
    let netmon = world.netmon(&[&format!("--bpf.attach={mode}")])?;
    ready(&netmon, 3)?;
    until("the programs to be on the device", || {
        ensure!(
            netmon.log().contains("counting traffic between nodes on this device"),
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

/// The figures of a VXLAN device, plus the outer headers.
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
        // A node is shown before any packet was sent to it.
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

#[test]
fn programs_that_somebody_takes_off_the_nodes_device_are_attached_anew() -> anyhow::Result<()> {
    for mode in modes()? {
        let mut world = World::new()?;
        world.times = format!("{},{CHECK}", world.times);
        let (world, a, b, netmon) = node_of(world, false, mode)?;
        let detached = |page: &Page| page.count("netmon_attach_failures_total", &[("reason", "detached")]);
        ensure!(detached(&netmon.page()?)? == 0, "something was detached already");
        if mode == "tcx" {
            let links = netmon.held_links()?;
            let detach = |link| sh::run(&format!("bpftool link detach id {link}"));
            // After the first, netmon may be quicker: it takes off the rest before it attaches anew.
            let done: Vec<_> = links.into_iter().map(detach).collect();
            ensure!(done.iter().any(Result::is_ok), "none was taken off: {done:?}");
        } else {
            world.node()?.run("tc qdisc del dev under0 clsact")?;
        }
        netmon.page_until("it to be said", |page| {
            let detached = detached(page)?;
            ensure!(detached > 0, "nothing was");
            Ok(())
        })?;
        let line = "counting traffic between nodes on this device device=under0";
        until("the programs to be on the device again", || {
            let log = netmon.log();
            ensure!(log.matches(line).count() == 2, "{mode}: {log}");
            Ok(())
        })?;
        let before = shown(&netmon)?;
        traffic::ping(&a.netns, b.address, 30)?;
        netmon.page_until("the tunnel's figures", |page| {
            let more = page
                .figures("netmon_overlay", &[("network", "net"), ("peer", PEER)])?
                .since(before);
            ensure!(
                more.transmit_packets >= 30 && more.receive_packets >= 30,
                "{mode}: {more:?} of 30 pings"
            );
            Ok(())
        })?;
        let page = netmon.page()?;
        let success = page.count("netmon_scrape_collector_success", &[("collector", "overlay")])?;
        ensure!(success == 1, "{mode}: the collector is incomplete");
    }
    Ok(())
}

/// A super-packet counts as the packets that the other node receives.
#[test]
fn packets_between_nodes_are_counted_as_on_the_wire() -> anyhow::Result<()> {
    let (_world, a, b, netmon) = node(false, modes()?[0])?;
    let sent = || Ok::<_, anyhow::Error>(a.netns.nstat("TcpOutSegs")? + a.netns.nstat("TcpRetransSegs")?);
    let (segments, before) = (sent()?, a.figures()?);
    traffic::tcp(&a.netns, &b.netns, b.address, traffic::stream())?;
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
    // Encrypted packets are counted by node, from 0.
    netmon
        .page()?
        .figures("netmon_overlay_esp", &[("peer", PEER)])
        .map(drop)
}

/// Packets that only look like a tunnel's: with another port, without a VNI, or with the VNI of another network.
#[test]
fn what_is_no_tunnel_of_the_networks_is_not_counted() -> anyhow::Result<()> {
    let (world, _a, _b, netmon) = node(false, modes()?[0])?;
    let far = world.far_node()?;
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
    // The last packets are the network's.
    send(4789, &header(8, 1))?;
    until("the last to be counted", || {
        let shown = shown(&netmon)?;
        ensure!(shown.receive_packets == 5, "shown are {shown:?}");
        Ok(())
    })
}

/// A packet in a VLAN passes the lower device with its tag, and then the VLAN device. It must be counted once.
#[test]
fn what_has_a_vlans_tag_is_left_to_the_device_of_that_vlan() -> anyhow::Result<()> {
    let (world, _a, _b, netmon) = node(false, modes()?[0])?;
    let far = world.far_node()?;
    let envelope = Envelope {
        macs: (
            frames::mac(&far.mac("under0")?)?,
            frames::mac(&world.node()?.mac("under0")?)?,
        ),
        addresses: ([10, 88, 0, 2].into(), [10, 88, 0, 1].into()),
    };
    let mut plain = envelope.udp(4789, 60)?;
    // The payload of the datagram begins with a VXLAN header with the network's VNI.
    plain[42..50].copy_from_slice(&[8, 0, 0, 0, 0, 0x10, 1, 0]);
    let tagged = |vlan: u8| [&plain[..12], &[0x81, 0, 0, vlan], &plain[12..]].concat();
    frames::send(far, "under0", &tagged(100), 5)?;
    // A tag with a priority and without a VLAN.
    frames::send(far, "under0", &tagged(0), 2)?;
    frames::send(far, "under0", &plain, 1)?;
    until("what has no VLAN to be counted", || {
        let shown = shown(&netmon)?;
        ensure!(shown.receive_packets == 3, "shown are {shown:?}");
        Ok(())
    })
}

/// Larger packets in an overlay need larger ones between nodes. The page has both sizes, so that they can be
/// compared.
#[test]
fn how_large_packets_may_be_is_what_the_devices_say() -> anyhow::Result<()> {
    let (world, _a, _b, netmon) = node(false, modes()?[0])?;
    let looks = |overlay: u64, underlay: u64| {
        within(ROUND, "the sizes", || {
            let page = netmon.page()?;
            let network = [("network", "net")];
            let shown = page.count("netmon_overlay_mtu_bytes", &network)?;
            ensure!(shown == overlay, "netmon shows {shown} of the overlay");
            let overhead = page.count("netmon_overlay_overhead_bytes", &network)?;
            ensure!(overhead == 50, "netmon shows {overhead} of headers");
            let below = page.count("netmon_underlay_mtu_bytes", &[("interface", "under0")])?;
            ensure!(below == underlay, "netmon shows {below} below");
            page.one(
                "netmon_network_info",
                &[("network", "net"), ("vni", "4097"), ("mtu", &overlay.to_string())],
            )
            .map(drop)
        })
    };
    let overlay = world.overlay_netns()?;
    looks(1450, 1500)?;
    overlay.run("ip link set vxlan0 mtu 1400")?;
    world.node()?.run("ip link set under0 mtu 1480")?;
    looks(1400, 1480)
}

/// If a Swarm has another path for its data (`--data-path-addr`), it sends no overlay packet through the device with
/// the node's address. That device's MTU does not matter.
#[test]
fn only_devices_that_lead_to_other_nodes_bound_how_large_packets_may_be() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let info = r#"{"Name":"demo","ServerVersion":"28.0.0","Swarm":{"NodeID":"n","NodeAddr":"10.99.0.1"}}"#;
    world.engine.answer("/info", info.as_bytes());
    world.sees_node = true;
    let (_a, _b) = world.pair(Cable::Vxlan)?;
    let node = world.node()?;
    node.run("ip link add swarm0 mtu 1300 type veth peer name swarm1")?;
    node.run("ip addr add 10.99.0.1/24 dev swarm0")?;
    node.run("ip link set swarm0 up")?;
    let netmon = world.netmon(&[])?;
    until("what passes both devices to be counted", || {
        for device in ["swarm0", "under0"] {
            let line = format!("counting traffic between nodes on this device device={device}");
            ensure!(netmon.log().contains(&line), "{line}: {}", netmon.log());
        }
        Ok(())
    })?;
    let page = netmon.page()?;
    let sizes = page.all("netmon_underlay_mtu_bytes", &[]);
    ensure!(sizes.len() == 1, "{sizes:?}");
    let size = page.count("netmon_underlay_mtu_bytes", &[("interface", "under0")])?;
    ensure!(size == 1500, "{sizes:?}");
    Ok(())
}

#[test]
fn other_nodes_and_what_is_on_them_are_named() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let id = network_id("net");
    let tasks = format!(
        r#"[{{"Name":"shop_web.2.x","EndpointIP":"10.77.0.9","Info":{{"Host IP":"{PEER_ADDRESS}"}}}},
            {{"Name":"an \"odd\" one\n","EndpointIP":"10.77.0.10","Info":{{"Host IP":"192.0.2.1"}}}}]"#
    );
    let verbose = format!(r#"{{"Id":"{id}","Services":{{"shop_web":{{"VIP":"10.77.0.8","Tasks":{tasks}}},"odd":7}}}}"#);
    world.engine.answer(&format!("/networks/{id}"), verbose.as_bytes());
    world.sees_node = true;
    let (_a, _b) = world.pair(Cable::Vxlan)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 3)?;
    netmon.page_until("the names", |page| {
        page.one(
            "netmon_overlay_endpoint_info",
            &[
                ("network", "net"),
                ("ip_address", "10.77.0.9"),
                ("container", "shop_web.2.x"),
                ("service", "shop_web"),
                ("peer", PEER),
            ],
        )?;
        page.one(
            "netmon_overlay_service_info",
            &[("network", "net"), ("service", "shop_web"), ("virtual_ip", "10.77.0.8")],
        )?;
        page.one(
            "netmon_overlay_peer_info",
            &[
                ("peer", PEER),
                ("address", PEER_ADDRESS),
                ("hostname", PEER),
                ("node_id", NODES[1].0),
            ],
        )?;
        // An endpoint on a node that the manager does not know waits for a name. Invalid entries were counted.
        ensure!(
            page.all("netmon_overlay_endpoint_info", &[]).len() == 1,
            "an endpoint's node has no name yet"
        );
        ensure!(
            page.count("netmon_docker_decode_errors_total", &[])? > 0,
            "nonsense was not counted"
        );
        Ok(())
    })?;
    let off = world.netmon(&["--no-collector.members"])?;
    off.page_until("the network", |page| {
        page.one("netmon_overlay_mtu_bytes", &[]).map(drop)
    })?;
    ensure!(
        off.page()?.all("netmon_overlay_endpoint_info", &[]).is_empty(),
        "it was switched off"
    );
    Ok(())
}
