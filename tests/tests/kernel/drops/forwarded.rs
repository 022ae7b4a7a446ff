//! Packets that are lost between containers: in the node's namespace, and in an overlay's.

use std::net::SocketAddr;

use anyhow::ensure;
use netmon_tests::{filter::Filter, frames, netns::Netns, traffic};

use super::{Drops, Where, malformed::envelope, no_port, reason};
use crate::world::{Cable, DEVICE, Member, World, ready};

const NODE: Where<'_> = Where::Node("net");
const OVERLAY: Where<'_> = Where::Overlay("net");

/// A node that forwards from the containers' bridge to a host beyond it, over a path with an MTU of 1200.
fn routed(world: &mut World) -> anyhow::Result<(Member, Member, Netns)> {
    world.sees_node = true;
    let (a, b) = world.pair(Cable::Bridge)?;
    let beyond = Netns::new(&world.scratch.path().join("others"), "beyond")?;
    let node = world.node()?;
    node.run(&format!(
        "ip link add ext0 type veth peer name ext0 netns {}",
        beyond.path().display()
    ))?;
    node.run("ip addr add 10.77.0.254/24 dev br0")?;
    node.run("ip addr add 10.79.0.1/24 dev ext0")?;
    node.run("ip link set ext0 mtu 1200 up")?;
    node.run("sysctl -qw net.ipv4.ip_forward=1")?;
    beyond.run("ip addr add 10.79.0.2/24 dev ext0")?;
    beyond.run("ip link set ext0 up")?;
    beyond.run("ip route add default via 10.79.0.1")?;
    a.netns.run("ip route add default via 10.77.0.254")?;
    a.netns.run("ping -q -c 1 -W 5 10.79.0.2")?;
    Ok((a, b, beyond))
}

#[test]
fn packets_that_the_nodes_filter_does_not_forward() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, _b, _beyond) = routed(&mut world)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::with_node(&netmon)?;
    let filter = Filter::new(world.node()?, "forward", "udp dport 9999 counter drop")?;
    traffic::datagrams(&a.netns, "10.79.0.2:9999".parse()?, 40, 100)?;
    let counted = filter.packets_at_rest()?;
    ensure!(counted == 40, "{counted} of 40");
    drops.are(&[(NODE, "NETFILTER_DROP", 40)])
}

#[test]
fn packets_that_are_too_big_to_be_forwarded() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, _b, _beyond) = routed(&mut world)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::with_node(&netmon)?;
    let before = world.node()?.nstat("IpFragFails")?;
    for _ in 0..10 {
        // With "do not fragment" set. The flush deletes what the container learnt from the router's answer.
        drop(a.netns.run("ping -q -c 1 -W 1 -M do -s 1400 10.79.0.2"));
        a.netns.run("ip route flush cache")?;
    }
    let counted = world.node()?.nstat_at_rest("IpFragFails")? - before;
    ensure!(counted == 10, "the kernel counted {counted} of 10");
    drops.are(&[(NODE, reason(&["PKT_TOO_BIG"])?, 10)])
}

#[test]
fn packets_that_a_bridge_has_no_target_for() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.sees_node = true;
    let (a, _b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let node = world.node()?;
    a.netns
        .run("ip neigh replace 10.77.0.50 lladdr 02:00:00:00:00:99 dev eth0 nud permanent")?;
    let drops = Drops::with_node(&netmon)?;
    // The bridge floods the packets. The other container's device then ignores them, which is no loss.
    traffic::datagrams(&a.netns, "10.77.0.50:9".parse()?, 20, 100)?;
    drops.are_none()?;
    node.run("bridge link set dev veth1 flood off")?;
    traffic::datagrams(&a.netns, "10.77.0.50:9".parse()?, 20, 100)?;
    drops.are(&[(NODE, no_port()?, 20)])
}

#[test]
fn packets_that_an_overlay_has_no_node_for() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Vxlan)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 3)?;
    let overlay = world.overlay_netns()?;
    let drops = Drops::since_now(&netmon)?;
    traffic::ping(&a.netns, b.address, 5)?;
    drops.are_none()?;
    overlay.run("bridge fdb del 00:00:00:00:00:00 dev vxlan0 dst 10.88.0.2")?;
    // Also the entry that the device has learnt.
    overlay.run(&format!("bridge fdb del {} dev vxlan0 self", b.netns.mac(DEVICE)?))?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9), 20, 100)?;
    drops.are(&[(OVERLAY, reason(&["NO_TX_TARGET"])?, 20)])?;

    // Now the bridge does not even pass such packets to the VXLAN device.
    overlay.run("bridge link set dev vxlan0 flood off")?;
    let mut to_nobody = envelope(&a, &b)?;
    to_nobody.macs.1 = [2, 0, 0, 0, 0, 0x99];
    frames::send(&a.netns, DEVICE, &to_nobody.udp(9, 100)?, 30)?;
    let (of_device, of_bridge) = (reason(&["NO_TX_TARGET"])?, no_port()?);
    if of_device == of_bridge {
        drops.are(&[(OVERLAY, of_device, 50)])
    } else {
        drops.are(&[(OVERLAY, of_device, 20), (OVERLAY, of_bridge, 30)])
    }
}

#[test]
fn overlay_packets_of_a_network_that_the_node_does_not_have() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.sees_node = true;
    let (a, b) = world.pair(Cable::Vxlan)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 3)?;
    traffic::ping(&a.netns, b.address, 5)?;
    let Some(there) = world.others.iter().find(|it| it.path().ends_with("node2")) else {
        anyhow::bail!("there is no second node");
    };
    there.run("ip link add stray type vxlan id 9999 dstport 4789 remote 10.88.0.1 local 10.88.0.2")?;
    there.run("sysctl -qw net.ipv6.conf.stray.disable_ipv6=1")?;
    there.run("ip addr add 10.90.0.2/24 dev stray")?;
    there.run("ip link set stray up")?;
    there.run("ip neigh replace 10.90.0.1 lladdr 02:00:00:00:00:01 dev stray nud permanent")?;
    let drops = Drops::with_node(&netmon)?;
    traffic::datagrams(there, "10.90.0.1:9".parse()?, 20, 100)?;
    drops.are(&[(Where::Node(""), reason(&["VXLAN_VNI_NOT_FOUND"])?, 20)])
}
