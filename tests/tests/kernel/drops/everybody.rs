//! No loss: broadcast and multicast, which every container on a network gets and few listen to.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use anyhow::ensure;
use netmon_tests::{netns::Netns, patience::until};

use super::Drops;
use crate::world::{Cable, DEVICE, Member, World, ready};

/// The namespaces of three containers on one bridge. The engine reports two of them.
fn three(world: &mut World) -> anyhow::Result<(Member, Member, Netns)> {
    world.sees_node = true;
    let (a, b) = world.pair(Cable::Bridge)?;
    let third = world.sandbox("cccccccccccc")?;
    let (bridge, there) = (world.node()?, third.path().display());
    bridge.run(&format!("ip link add veth2 type veth peer name {DEVICE} netns {there}"))?;
    bridge.run("ip link set veth2 master br0 up")?;
    third.run(&format!("ip addr add 10.77.0.3/24 dev {DEVICE}"))?;
    third.run(&format!("ip addr add fd77::3/64 dev {DEVICE} nodad"))?;
    third.run(&format!("ip link set {DEVICE} up"))?;
    Ok((a, b, third))
}

#[test]
fn what_is_for_everybody_and_wanted_by_nobody_is_no_loss() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b, third) = three(&mut world)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for netns in [&a.netns, &b.netns, &third] {
        // Multicast and broadcast go through the device, whatever other routes there are.
        for everybody in ["224.0.0.0/4", "255.255.255.255"] {
            netns.run(&format!("ip route replace {everybody} dev {DEVICE}"))?;
        }
        let ifindex = u32::try_from(netns.ifindex(DEVICE)?)?;
        let group = |text: &str| anyhow::Ok(SocketAddr::from(SocketAddrV6::new(text.parse()?, 5353, 0, ifindex)));
        for to in [
            // Several protocols of service discovery, and DHCP.
            "224.0.0.251:5353".parse()?,
            "239.255.255.250:1900".parse()?,
            "10.77.0.255:138".parse()?,
            "255.255.255.255:67".parse()?,
            group("ff02::fb")?,
            group("ff02::1")?,
            group("ff02::c")?,
        ] {
            let drops = Drops::with_node(&netmon)?;
            netns.within(|| send(to))?;
            drops.are_none().map_err(|error| error.context(format!("to {to}")))?;
        }
    }
    Ok(())
}

/// Every container's device is in this state when it comes up: its port forwards only a moment later. Unicast packets
/// are lost meanwhile.
#[test]
fn what_a_port_that_does_not_forward_yet_is_sent_for_everybody_is_no_loss() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, _b, third) = three(&mut world)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    third.run(&format!("ip route replace 255.255.255.255 dev {DEVICE}"))?;
    third.run(&format!(
        "ip neigh replace {} lladdr {} dev {DEVICE}",
        a.address,
        a.netns.mac(DEVICE)?
    ))?;
    // The state "blocking".
    world.node()?.run("bridge link set dev veth2 state 4")?;
    let drops = Drops::with_node(&netmon)?;
    third.within(|| send("255.255.255.255:67".parse()?))?;
    drops.are_none()?;
    third.within(|| send(SocketAddr::new(a.address, 67)))?;
    until("what was meant for somebody to be shown", || {
        let now = drops.now()?;
        ensure!(now.values().sum::<u64>() == 20, "dropped were {now:?}");
        Ok(())
    })
}

fn send(to: SocketAddr) -> anyhow::Result<()> {
    let any = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.set_broadcast(true)?;
    for _ in 0..20 {
        socket.send_to(&[0x5a; 100], to)?;
    }
    Ok(())
}

#[test]
fn neighbours_that_find_each_other_lose_nothing() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b, third) = three(&mut world)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let all = [&a.netns, &b.netns, &third];
    let drops = Drops::with_node(&netmon)?;
    // All containers delete their neighbour entries, and leave their groups. Each waits until the bridge has noticed
    // the one before: the bridge would lose packets at a port whose other end is down.
    for (number, netns) in all.iter().enumerate() {
        netns.run(&format!("ip link set {DEVICE} down"))?;
        until("the bridge to know of it", || {
            let ports = world.node()?.run("ip -br link show type veth")?;
            let up = ports.lines().filter(|line| line.contains(" UP ")).count();
            ensure!(up == all.len() - number - 1, "{ports}");
            Ok(())
        })?;
    }
    for (number, netns) in all.iter().enumerate() {
        // The device joins groups, checks for duplicate addresses, and looks for routers.
        netns.run(&format!(
            "sysctl -qw net.ipv6.conf.{DEVICE}.accept_dad=1 net.ipv6.conf.{DEVICE}.router_solicitations=2"
        ))?;
        netns.run(&format!("ip link set {DEVICE} addrgenmode eui64"))?;
        netns.run(&format!("ip link set {DEVICE} up"))?;
        netns.run(&format!("ip addr replace fd77::{}/64 dev {DEVICE} nodad", number + 1))?;
    }
    for (from, netns) in all.iter().enumerate() {
        for to in (0..all.len()).filter(|to| *to != from) {
            let number = to + 1;
            // The first pings may come before the address is usable. So this waits until two are answered.
            netns.run(&format!("ping -q -c 2 -i 0.1 -w 10 10.77.0.{number}"))?;
            netns.run(&format!("ping -q -c 2 -i 0.1 -w 10 fd77::{number}"))?;
        }
    }
    drops.are_none()
}
