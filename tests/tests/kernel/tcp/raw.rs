//! Segments that no connection sends: those of raw and packet sockets, and the kernel's own answers.

use std::net::{IpAddr, SocketAddr, TcpStream};

use anyhow::{bail, ensure};
use etherparse::PacketBuilder;
use netmon_tests::{frames, netmon::Netmon};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{PORT, counts::count};
use crate::world::{Cable, DEVICE, Member, World, ready};

/// What each kind of socket sends.
const SYNS: u32 = 100;
/// Nobody listens there.
const CLOSED: u16 = PORT + 1;

/// The lengths of IP headers without options or extensions.
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

/// A SYN from one member to a closed port of the other, from the IP header on.
fn syn(from: IpAddr, to: IpAddr, sequence: u32) -> anyhow::Result<Vec<u8>> {
    let builder = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        _ => bail!("{from} and {to} are of different families"),
    };
    let mut packet = Vec::new();
    builder
        .tcp(40_000, CLOSED, sequence, 1000)
        .syn()
        .write(&mut packet, &[])?;
    Ok(packet)
}

/// Sends SYNs through a raw socket of this protocol, which adds what comes before `from`.
fn send(member: &Member, (source, to): (IpAddr, IpAddr), protocol: Protocol, from: usize) -> anyhow::Result<()> {
    member.netns.within(|| {
        let target = SocketAddr::new(to, 0);
        let socket = Socket::new(Domain::for_address(target), Type::RAW, Some(protocol))?;
        for sequence in 0..SYNS {
            let packet = syn(source, to, sequence)?;
            socket.send_to(&packet[from..], &SockAddr::from(target))?;
        }
        Ok(())
    })
}

/// The segments that a container sent, as the page and the kernel count them: on the network, on none, and in all.
fn sums_agree(netmon: &Netmon, member: &Member, wanted: (u64, u64)) -> anyhow::Result<()> {
    netmon.page_until("the segments to be counted", |page| {
        let of = |network: &str| count(page, "sent_segments", &member.name, network);
        let (shown, kernel) = ((of("net")?, of("")?), member.netns.nstat("TcpOutSegs")?);
        ensure!(
            shown == wanted && kernel == shown.0 + shown.1,
            "{}: {shown:?}, not {wanted:?}; the kernel counts {kernel}",
            member.name
        );
        Ok(())
    })
}

#[test]
fn segments_of_raw_sockets_are_not_sent_over_tcp() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let ipv4 = (a.address, b.address);
    // IPPROTO_RAW: the IP header is in the packet.
    send(&a, ipv4, Protocol::from(255), 0)?;
    send(&a, ipv4, Protocol::TCP, IPV4_HEADER)?;
    // IPPROTO_MPTCP: of this number the IP header has eight bits, which are those of TCP.
    send(&a, ipv4, Protocol::from(262), IPV4_HEADER)?;
    send(&a, (a.ipv6_address, b.ipv6_address), Protocol::TCP, IPV6_HEADER)?;
    let mac = |member: &Member| frames::mac(&member.netns.mac(DEVICE)?);
    let mut frame = [mac(&b)?, mac(&a)?].concat();
    frame.extend([0x08, 0x00]);
    frame.extend(syn(a.address, b.address, 0)?);
    frames::send(&a.netns, DEVICE, &frame, SYNS)?;
    // A connection of `a`, refused: one SYN. Each segment of the IPv4 sockets got an answer, and so did this one. The
    // kernel answers over IPv4 through a raw socket of its own, and over IPv6 without a socket.
    let refused = a
        .netns
        .within(|| Ok(TcpStream::connect((b.address, CLOSED)).is_err()))?;
    ensure!(refused, "somebody listens");
    sums_agree(&netmon, &a, (1, 0))?;
    sums_agree(&netmon, &b, (4 * u64::from(SYNS) + 1, u64::from(SYNS)))
}
