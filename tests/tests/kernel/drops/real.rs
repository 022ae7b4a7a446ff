//! Real losses that the rules for harmless drops must not hide.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::ensure;
use netmon_tests::{filter::Filter, frames, traffic};
use rustix::net::sockopt::{set_ip_add_membership, set_socket_recv_buffer_size};
use socket2::{SockFilter, SockRef};

use super::{Drops, Where, malformed::envelope};
use crate::world::{Cable, DEVICE, World, ready};

const B: Where<'_> = Where::Container("b", "net");

/// The rule for copies that a socket's filter drops covers answers to pings only.
#[test]
fn datagrams_that_a_sockets_own_filter_throws_away() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for address in [b.address, b.ipv6_address] {
        let socket = b.netns.within(|| Ok(UdpSocket::bind((address, 7003))?))?;
        // "return 0": the filter drops every packet.
        SockRef::from(&socket).attach_filter(&[SockFilter::new(0x06, 0, 0, 0)])?;
        let drops = Drops::since_now(&netmon)?;
        let sent = traffic::datagrams(&a.netns, SocketAddr::new(address, 7003), 50, 100)?;
        drops.are(&[(B, "SOCKET_FILTER", sent)])?;
    }
    Ok(())
}

#[test]
fn pings_that_a_filter_of_the_containers_forbids() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::since_now(&netmon)?;
    let filter = Filter::new(&b.netns, "input", "icmp type echo-request counter drop")?;
    let answered = a
        .netns
        .run(&format!("ping -q -c 20 -i 0.01 -W 1 {}", b.address))
        .is_ok();
    ensure!(!answered, "a ping was answered");
    drops.are(&[(B, "NETFILTER_DROP", filter.packets_at_rest()?)])
}

/// A multicast packet is a loss for the container that listens to it.
#[test]
fn multicast_that_the_receive_buffer_has_no_room_for() -> anyhow::Result<()> {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 7, 7, 7);
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    for member in [&a, &b] {
        member.netns.run(&format!("ip route add 224.0.0.0/4 dev {DEVICE}"))?;
    }
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let socket = b.netns.within(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 7004))?;
        set_ip_add_membership(&socket, &GROUP, &Ipv4Addr::new(10, 77, 0, 2))?;
        set_socket_recv_buffer_size(&socket, 2048)?;
        Ok(socket)
    })?;
    let drops = Drops::since_now(&netmon)?;
    traffic::datagrams(&a.netns, SocketAddr::new(GROUP.into(), 7004), 200, 500)?;
    let kernel = b.netns.nstat_at_rest("UdpRcvbufErrors")?;
    ensure!(kernel > 100, "the buffer lost only {kernel} of 200");
    drops.are(&[(B, "SOCKET_RCVBUFF", kernel)])?;
    drop(socket);

    // So is one that a firewall drops, because somebody has configured it.
    let drops = Drops::since_now(&netmon)?;
    let filter = Filter::new(&b.netns, "input", "udp dport 7005 counter drop")?;
    traffic::datagrams(&a.netns, SocketAddr::new(GROUP.into(), 7005), 20, 100)?;
    traffic::datagrams(&a.netns, "10.77.0.255:7005".parse()?, 20, 100)?;
    let kernel = filter.packets_at_rest()?;
    ensure!(kernel > 0, "the filter counted nothing");
    drops.are(&[(B, "NETFILTER_DROP", kernel)])
}

/// Only a segment without data may be a late one of a connection that has ended.
#[test]
fn data_for_a_connection_that_is_over() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let frames_to_b = envelope(&a, &b)?;
    let drops = Drops::since_now(&netmon)?;
    frames::send(&a.netns, DEVICE, &frames_to_b.stray(4444, b"")?, 20)?;
    drops.are_none()?;
    let resets = b.netns.nstat("TcpOutRsts")?;
    // Payloads shorter and longer than a TCP header.
    for payload in [&b"x"[..], &[0x5a; 500]] {
        frames::send(&a.netns, DEVICE, &frames_to_b.stray(4444, payload)?, 20)?;
    }
    drops.are(&[(B, "NO_SOCKET", b.netns.nstat_at_rest("TcpOutRsts")? - resets)])
}
