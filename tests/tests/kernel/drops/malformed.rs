//! Malformed packets, built by hand. Whatever detects the fault drops them.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use anyhow::{bail, ensure};
use netmon_tests::{
    frames::{self, Envelope, mac},
    patience::until,
};

use super::{Drops, Where, reason};
use crate::world::{Cable, DEVICE, Member, World, ready};

const B: Where<'_> = Where::Container("b", "net");
/// How many packets of each kind are sent.
const COUNT: u32 = 20;

/// The envelope of frames from one container to another.
pub(super) fn envelope(from: &Member, to: &Member) -> anyhow::Result<Envelope> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.address, to.address) else {
        bail!("{} and {} are not IPv4", from.address, to.address);
    };
    Ok(Envelope {
        macs: (mac(&from.netns.mac(DEVICE)?)?, mac(&to.netns.mac(DEVICE)?)?),
        addresses: (source, destination),
    })
}

#[test]
fn what_is_not_right_is_the_receivers_who_finds_it_out() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.sees_node = true;
    let (a, b) = world.pair(Cable::Bridge)?;
    // Otherwise bridges check IP headers themselves, on kernels that have this setting.
    drop(world.node()?.run("sysctl -qw net.bridge.bridge-nf-call-iptables=0"));
    b.netns.run(&format!(
        "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.{DEVICE}.rp_filter=1"
    ))?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let right = envelope(&a, &b)?;
    let mut from_nowhere = right;
    from_nowhere.addresses.0 = Ipv4Addr::new(172, 31, 0, 9);
    for (counter, frame, name) in [
        ("TcpInCsumErrors", right.tcp_damaged(9)?, "TCP_CSUM"),
        ("IpInHdrErrors", right.ip_damaged(9)?, "IP_CSUM"),
        ("IpInUnknownProtos", right.unheard_of()?, "IP_NOPROTO"),
        ("TcpExtIPReversePathFilter", from_nowhere.udp(9, 20)?, "IP_RPFILTER"),
    ] {
        let drops = Drops::with_node(&netmon)?;
        let before = b.netns.nstat(counter)?;
        frames::send(&a.netns, DEVICE, &frame, COUNT)?;
        let kernel = b.netns.nstat_at_rest(counter)? - before;
        ensure!(kernel == u64::from(COUNT), "{counter} counted {kernel} of {COUNT}");
        drops.are(&[(B, reason(&[name])?, kernel)])?;
    }
    Ok(())
}

#[test]
fn a_header_that_a_bridge_finds_wrong_is_the_nodes() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.sees_node = true;
    let (a, b) = world.pair(Cable::Bridge)?;
    let looks = world
        .node()?
        .run("sysctl -qw net.bridge.bridge-nf-call-iptables=1")
        .is_ok();
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::with_node(&netmon)?;
    let frame = envelope(&a, &b)?.ip_damaged(9)?;
    frames::send(&a.netns, DEVICE, &frame, COUNT)?;
    // If bridges do not check IP headers, the receiver drops the packet.
    let place = if looks { Where::Node("net") } else { B };
    // The reason existed before bridges gave it.
    until("the bridge's drops", || {
        let now = drops.now()?;
        let shown: u64 = ["IP_INHDR", "IP_CSUM", "NOT_SPECIFIED"]
            .into_iter()
            .filter_map(|name| now.get(&place.key(name)))
            .sum();
        ensure!(shown == u64::from(COUNT) && now.len() == 1, "dropped were {now:?}");
        Ok(())
    })
}

/// A datagram in a socket's queue no longer has a device. Only kernels from 6.11 on say which socket it was for.
#[test]
fn a_wrong_datagram_that_is_found_out_when_read_is_the_receivers_or_nobodys() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    // At first the kernel gave no reason for drops at reading.
    let names = ["UDP_CSUM", "NOT_SPECIFIED"];
    let nobodys = || -> anyhow::Result<u64> {
        let page = netmon.page()?;
        let of = |name| {
            let labels = [("reason", name), ("cause", "no_namespace")];
            page.count("netmon_unattributed_drops_total", &labels).unwrap_or(0)
        };
        Ok(names.into_iter().map(of).sum())
    };
    let (drops, before) = (Drops::since_now(&netmon)?, nobodys()?);
    let socket = b.netns.within(|| Ok(UdpSocket::bind((b.address, 7001))?))?;
    socket.set_nonblocking(true)?;
    let frame = envelope(&a, &b)?.udp_damaged(7001)?;
    frames::send(&a.netns, DEVICE, &frame, COUNT)?;
    until("the checksums to be looked at", || {
        ensure!(socket.recv(&mut [0; 500]).is_err(), "a wrong datagram was delivered");
        let errors = b.netns.nstat_at_rest("UdpInCsumErrors")?;
        ensure!(errors == u64::from(COUNT), "{errors} of {COUNT} are found wrong");
        Ok(())
    })?;
    until("the drops to be somebody's or nobody's", || {
        let (all, of_nobody) = (drops.now()?, nobodys()? - before);
        let of_b: u64 = names.into_iter().filter_map(|name| all.get(&B.key(name))).sum();
        ensure!(all.values().sum::<u64>() == of_b, "not all of b's: {all:?}");
        ensure!(
            of_b + of_nobody >= u64::from(COUNT),
            "{of_b} are of b, {of_nobody} of nobody"
        );
        Ok(())
    })
}
