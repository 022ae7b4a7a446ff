//! Packets that a container did not receive.

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::ensure;
use netmon_tests::{
    fake_engine::{Endpoint, Network},
    filter::Filter,
    netns::Netns,
    patience::until,
    traffic,
};

use super::{Drops, Where, reason};
use crate::world::{Cable, DEVICE, World, ready};

const B: Where<'_> = Where::Container("b", "net");

#[test]
fn datagrams_to_a_port_where_nobody_listens() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for (address, counter) in [(b.address, "UdpNoPorts"), (b.ipv6_address, "Udp6NoPorts")] {
        let drops = Drops::since_now(&netmon)?;
        let before = b.netns.nstat(counter)?;
        traffic::datagrams(&a.netns, SocketAddr::new(address, 9), 100, 100)?;
        let counted = b.netns.nstat_at_rest(counter)? - before;
        ensure!(counted >= 100, "the kernel counted {counted} of 100");
        drops.are(&[(B, "NO_SOCKET", counted)])?;
    }
    Ok(())
}

#[test]
fn datagrams_that_the_receive_buffer_has_no_room_for() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    b.netns.run("sysctl -qw net.core.rmem_default=4096").ok();
    for (address, counter) in [(b.address, "UdpRcvbufErrors"), (b.ipv6_address, "Udp6RcvbufErrors")] {
        let drops = Drops::since_now(&netmon)?;
        let before = b.netns.nstat(counter)?;
        let receiver = b.netns.within(|| Ok(UdpSocket::bind((address, 7000))?))?;
        traffic::datagrams(&a.netns, SocketAddr::new(address, 7000), 1000, 1400)?;
        let counted = b.netns.nstat_at_rest(counter)? - before;
        ensure!(counted > 100, "the buffer lost only {counted} of 1000");
        drops.are(&[(B, "SOCKET_RCVBUFF", counted)])?;
        until("the buffer errors to be counted", || {
            let shown = netmon.page()?.count(
                "netmon_container_udp_receive_buffer_errors_total",
                &[("container", "b")],
            )?;
            let kernel = b.netns.nstat("UdpRcvbufErrors")? + b.netns.nstat("Udp6RcvbufErrors")?;
            ensure!(shown == kernel, "netmon shows {shown}, the kernel {kernel}");
            Ok(())
        })?;
        // Datagrams that were received but not read are dropped with the socket. That is no loss in the network.
        drop(receiver);
        drops.are(&[(B, "SOCKET_RCVBUFF", counted)])?;
    }
    Ok(())
}

#[test]
fn packets_that_a_filter_of_the_containers_forbids() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for hook in ["prerouting", "input"] {
        for address in [b.address, b.ipv6_address] {
            let drops = Drops::since_now(&netmon)?;
            let filter = Filter::new(&b.netns, hook, "udp dport 9999 counter drop")?;
            traffic::datagrams(&a.netns, SocketAddr::new(address, 9999), 50, 100)?;
            until("the filter to count", || {
                ensure!(filter.packets()? == 50, "{} of 50", filter.packets()?);
                Ok(())
            })?;
            drops.are(&[(B, "NETFILTER_DROP", 50)])?;
        }
    }
    Ok(())
}

#[test]
fn connections_to_a_port_where_nobody_listens() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for address in [b.address, b.ipv6_address] {
        let drops = Drops::since_now(&netmon)?;
        let before = b.netns.nstat("TcpOutRsts")?;
        a.netns.within(|| {
            for _ in 0..50 {
                ensure!(TcpStream::connect((address, 4444)).is_err(), "somebody listens");
            }
            Ok(())
        })?;
        let resets = b.netns.nstat_at_rest("TcpOutRsts")? - before;
        ensure!(resets == 50, "{resets} resets");
        drops.are(&[(B, "NO_SOCKET", 50)])?;
    }
    Ok(())
}

/// The kernel drops no packet here: only the namespace's own counter shows it.
#[test]
fn connections_that_the_accept_queue_has_no_room_for() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    b.netns.run("sysctl -qw net.core.somaxconn=1")?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::since_now(&netmon)?;
    let address = SocketAddr::new(b.address, 4445);
    let listener = b.netns.within(|| Ok(TcpListener::bind(address)?))?;
    let attempts = a.netns.within(|| {
        let attempt = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200));
        Ok((0..10).map(attempt).collect::<Vec<_>>())
    })?;
    let kernel = b.netns.nstat_at_rest("TcpExtListenOverflows")?;
    ensure!(kernel > 0, "the queue had room for all of them");
    until("the overflows to be counted", || {
        let before = b.netns.nstat("TcpExtListenOverflows")?;
        let shown = netmon
            .page()?
            .count("netmon_container_tcp_listen_overflows_total", &[("container", "b")])?;
        ensure!(shown == before, "netmon shows {shown}, the kernel {before}");
        Ok(())
    })?;
    drop((attempts, listener));
    drops.are_none()
}

#[test]
fn packets_that_come_from_where_there_is_no_way_back() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    b.netns
        .run("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1")?;
    a.netns.run("ip addr add 172.31.0.9/32 dev eth0")?;
    let drops = Drops::since_now(&netmon)?;
    let before = b.netns.nstat("TcpExtIPReversePathFilter")?;
    drop(a.netns.run("ping -q -c 20 -i 0.01 -W 1 -I 172.31.0.9 10.77.0.2"));
    let counted = b.netns.nstat_at_rest("TcpExtIPReversePathFilter")? - before;
    ensure!(counted == 20, "the kernel counted {counted} of 20");
    drops.are(&[(B, reason(&["IP_RPFILTER"])?, 20)])
}

#[test]
fn segments_with_a_wrong_checksum() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    // With a complete checksum in each packet, which the filter then corrupts on receipt.
    a.netns.run(&format!("ethtool -K {DEVICE} tx off"))?;
    let drops = Drops::since_now(&netmon)?;
    let spoiler = Filter::ingress(&b.netns, DEVICE, "@th,128,16 set 0x1234")?;
    let before = b.netns.nstat("TcpInCsumErrors")?;
    let refused = a.netns.within(|| {
        let address = SocketAddr::new(b.address, 4446);
        Ok(TcpStream::connect_timeout(&address, Duration::from_millis(1500)).is_err())
    })?;
    drop(spoiler);
    ensure!(refused, "a connection was made in spite of a wrong checksum");
    let counted = b.netns.nstat_at_rest("TcpInCsumErrors")? - before;
    ensure!(counted > 0, "the kernel found no wrong checksum");
    drops.are(&[(B, "TCP_CSUM", counted)])
}

/// The kernel checks the checksum when the datagram is read. By then the datagram no longer has its device.
#[test]
fn datagrams_with_a_wrong_checksum() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    a.netns.run(&format!("ethtool -K {DEVICE} tx off"))?;
    let drops = Drops::since_now(&netmon)?;
    let _spoiler = Filter::ingress(&b.netns, DEVICE, "@th,48,16 set 0x1234")?;
    let receiver = b.netns.within(|| Ok(UdpSocket::bind((b.address, 7001))?))?;
    receiver.set_read_timeout(Some(Duration::from_millis(500)))?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 7001), 20, 200)?;
    ensure!(receiver.recv(&mut [0; 300]).is_err(), "a datagram arrived");
    let kernel = b.netns.nstat_at_rest("UdpInCsumErrors")?;
    ensure!(kernel == 20, "the kernel counted {kernel} of 20");
    until("the errors to be counted", || {
        let shown = netmon
            .page()?
            .count("netmon_container_udp_checksum_errors_total", &[("container", "b")])?;
        ensure!(shown == 20, "netmon shows {shown} of 20");
        Ok(())
    })?;
    // Named or not, the drops are never another container's.
    let named = drops.now()?;
    ensure!(
        named
            .keys()
            .all(|(_, container, _, reason)| container == "b" && reason == "UDP_CSUM"),
        "dropped were {named:?}"
    );
    Ok(())
}

#[test]
fn what_is_lost_on_loopback_is_on_no_network() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, _b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::since_now(&netmon)?;
    let before = a.netns.nstat("UdpNoPorts")?;
    traffic::datagrams(&a.netns, "127.0.0.1:9".parse()?, 30, 100)?;
    let counted = a.netns.nstat_at_rest("UdpNoPorts")? - before;
    drops.are(&[(Where::Container("a", ""), "NO_SOCKET", counted)])
}

#[test]
fn two_networks_of_a_container_are_told_apart() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    second_network(&world, &a.netns, &b.netns)?;
    for (member, address) in [(&a, "10.78.0.1"), (&b, "10.78.0.2")] {
        let endpoint = Endpoint {
            network: "second".to_owned(),
            mac: member.netns.mac("eth1")?,
            address: address.to_owned(),
            ipv6_address: String::new(),
        };
        world.engine.connect(&member.name, endpoint);
    }
    ready(&netmon, 4)?;
    let drops = Drops::since_now(&netmon)?;
    let _filter = Filter::new(&b.netns, "input", "udp dport 9999 drop")?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9999), 10, 100)?;
    traffic::datagrams(&a.netns, "10.78.0.2:9999".parse()?, 20, 100)?;
    drops.are(&[
        (B, "NETFILTER_DROP", 10),
        (Where::Container("b", "second"), "NETFILTER_DROP", 20),
    ])?;

    // A packet that is sent has no device yet: the route says which one it would use.
    let drops = Drops::since_now(&netmon)?;
    let mut counted = Vec::new();
    let filter = Filter::new(&a.netns, "output", "udp dport 9998 counter drop")?;
    for (to, count) in [(b.address, 10), ("10.78.0.2".parse()?, 20)] {
        let before = filter.packets()?;
        traffic::datagrams(&a.netns, SocketAddr::new(to, 9998), count, 100)?;
        counted.push(filter.packets_at_rest()? - before);
    }
    drops.are(&[
        (Where::Container("a", "net"), "NETFILTER_DROP", counted[0]),
        (Where::Container("a", "second"), "NETFILTER_DROP", counted[1]),
    ])
}

/// A second veth pair between both containers, and a network for it.
fn second_network(world: &World, a: &Netns, b: &Netns) -> anyhow::Result<()> {
    world.engine.network(Network {
        name: "second".to_owned(),
        driver: "bridge".to_owned(),
        subnet: "10.78.0.0/24".to_owned(),
        vni: None,
        encrypted: false,
    });
    a.run(&format!(
        "ip link add eth1 type veth peer name eth1 netns {}",
        b.path().display()
    ))?;
    for (netns, address) in [(a, "10.78.0.1/24"), (b, "10.78.0.2/24")] {
        netns.run(&format!("ip addr add {address} dev eth1"))?;
        netns.run("ip link set eth1 up")?;
    }
    Ok(())
}
