//! What loses nothing must not be said to: an alarm for nothing is a defect.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use netmon_tests::{netns::Netns, traffic};
use rustix::net::sockopt::set_socket_linger;

use super::Drops;
use crate::world::{Cable, Member, World, ready};

/// How much a healthy transfer sends. The environment can ask for less, for a machine that is emulated.
const TRANSFER: usize = 10_000_000_000;
const TRANSFER_VARIABLE: &str = "NETMON_TEST_TRANSFER";

fn quietly(cable: Cable, run: impl FnOnce(&Member, &Member) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.sees_node = true;
    let (a, b) = world.pair(cable)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, if cable == Cable::Vxlan { 3 } else { 2 })?;
    let drops = Drops::with_node(&netmon)?;
    run(&a, &b)?;
    drops.are_none().with_context(|| format!("over {cable:?}"))
}

#[test]
fn a_healthy_transfer_loses_nothing() -> anyhow::Result<()> {
    let bytes = match env::var(TRANSFER_VARIABLE) {
        Ok(bytes) => bytes.parse().with_context(|| format!("{TRANSFER_VARIABLE}={bytes}"))?,
        Err(_) => TRANSFER,
    };
    quietly(Cable::Bridge, |a, b| traffic::tcp(&a.netns, &b.netns, b.address, bytes))?;
    quietly(Cable::Vxlan, |a, b| {
        traffic::tcp(&a.netns, &b.netns, b.ipv6_address, bytes / 10)
    })
}

#[test]
fn pings_and_fragments_lose_nothing() -> anyhow::Result<()> {
    for cable in [Cable::Bridge, Cable::Vxlan] {
        quietly(cable, |a, b| {
            for (from, to) in [(a, b), (b, a)] {
                for address in [to.address, to.ipv6_address] {
                    traffic::ping(&from.netns, address, 20)?;
                    traffic::udp(&from.netns, &to.netns, address, 50, 4000)?;
                    traffic::udp(&from.netns, &to.netns, address, 50, 60_000)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// As [`traffic::ping`] by a raw socket, whose answers the kernel hands out and then throws away.
#[test]
fn pings_by_a_raw_socket_lose_nothing() -> anyhow::Result<()> {
    quietly(Cable::Bridge, |a, b| {
        a.netns.run("sysctl -qw net.ipv4.ping_group_range=1\t0").ok();
        traffic::ping(&a.netns, b.address, 20)?;
        traffic::ping(&a.netns, b.ipv6_address, 20)
    })
}

/// How a connection ends.
#[derive(Clone, Copy)]
enum End {
    Close,
    /// The server goes first.
    ServerFirst,
    /// With data that nobody has read.
    Unread,
    /// With a reset at once.
    Reset,
    /// One direction after the other.
    Halves,
}

#[test]
fn connections_that_end_in_every_way_lose_nothing() -> anyhow::Result<()> {
    quietly(Cable::Bridge, |a, b| {
        for address in [b.address, b.ipv6_address] {
            for end in [End::Close, End::ServerFirst, End::Unread, End::Reset, End::Halves] {
                connections(&a.netns, &b.netns, address, end)?;
            }
        }
        Ok(())
    })
}

fn connections(from: &Netns, to: &Netns, address: IpAddr, end: End) -> anyhow::Result<()> {
    const CONNECTIONS: usize = 40;
    let listener = to.within(|| Ok(TcpListener::bind(SocketAddr::new(address, 0))?))?;
    let target = listener.local_addr()?;
    thread::scope(|scope| {
        let server = scope.spawn(move || -> anyhow::Result<()> {
            for _ in 0..CONNECTIONS {
                let (mut stream, _) = listener.accept()?;
                match end {
                    End::Close | End::Halves => {
                        stream.read_to_end(&mut Vec::new())?;
                        stream.write_all(b"bye")?;
                    }
                    End::ServerFirst => stream.write_all(b"bye")?,
                    // Time for what is never read to arrive.
                    End::Unread | End::Reset => thread::sleep(Duration::from_millis(2)),
                }
            }
            Ok(())
        });
        from.within(|| {
            for _ in 0..CONNECTIONS {
                let mut stream = TcpStream::connect(target)?;
                match end {
                    End::Close => {
                        stream.write_all(b"hello")?;
                        stream.shutdown(Shutdown::Write)?;
                        stream.read_to_end(&mut Vec::new())?;
                    }
                    End::ServerFirst => {
                        stream.read_to_end(&mut Vec::new())?;
                    }
                    End::Unread => stream.write_all(&[0; 4000])?,
                    End::Reset => {
                        set_socket_linger(&stream, Some(Duration::ZERO))?;
                    }
                    End::Halves => {
                        stream.shutdown(Shutdown::Write)?;
                        stream.read_to_end(&mut Vec::new())?;
                    }
                }
            }
            Ok(())
        })?;
        server.join().map_err(|_| anyhow::anyhow!("the server panicked"))?
    })
}

#[test]
fn a_socket_that_is_closed_with_datagrams_unread_loses_nothing() -> anyhow::Result<()> {
    quietly(Cable::Bridge, |a, b| {
        for address in [b.address, b.ipv6_address] {
            let unread = b.netns.within(|| Ok(UdpSocket::bind((address, 7004))?))?;
            traffic::datagrams(&a.netns, SocketAddr::new(address, 7004), 20, 200)?;
            thread::sleep(Duration::from_millis(50));
            drop(unread);
        }
        Ok(())
    })
}

/// Every port of the network gets these, and few are meant.
#[test]
fn multicast_and_broadcast_that_nobody_wants_is_no_loss() -> anyhow::Result<()> {
    quietly(Cable::Bridge, |a, _| {
        for target in ["224.0.0.251:5353", "255.255.255.255:67", "10.77.0.255:138"] {
            a.netns.run("ip route replace 224.0.0.0/4 dev eth0")?;
            a.netns.run("ip route replace 255.255.255.255/32 dev eth0")?;
            traffic::datagrams(&a.netns, target.parse()?, 20, 100)?;
        }
        a.netns.run("ping -q -c 3 -i 0.1 -W 1 ff02::1%eth0").ok();
        a.netns.run("ping -q -c 3 -i 0.1 -W 1 ff02::fb%eth0").ok();
        Ok(())
    })
}
