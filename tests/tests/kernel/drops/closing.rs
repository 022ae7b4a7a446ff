//! No loss: connections that are closed, in every way there is.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustix::net::sockopt::set_socket_linger;

use super::{Drops, none::quietly};
use crate::world::{Cable, Member, World, ready};

const PORT: u16 = 7100;
/// How many connections are closed in each way.
const CONNECTIONS: u32 = 40;
/// How long one end waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// What each end does with a connection: the client first, then the server.
struct Way {
    name: &'static str,
    ends: [fn(TcpStream) -> anyhow::Result<()>; 2],
}

/// Waits until the other end has closed, which may be by a reset.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it is one of the ends of a way, and others can fail"
)]
fn to_its_end(mut stream: TcpStream) -> anyhow::Result<()> {
    let _reset = stream.read_to_end(&mut Vec::new());
    Ok(())
}

/// Waits until the other end has sent something, and leaves it unread.
fn something(stream: &TcpStream) -> anyhow::Result<()> {
    ensure!(stream.peek(&mut [0])? == 1, "the other end closed without a word");
    Ok(())
}

fn at_once(stream: &TcpStream) -> anyhow::Result<()> {
    Ok(set_socket_linger(stream, Some(Duration::ZERO))?)
}

const WAYS: &[Way] = &[
    Way {
        name: "the client closes first",
        ends: [|_stream| Ok(()), to_its_end],
    },
    Way {
        name: "the server closes first",
        ends: [to_its_end, |_stream| Ok(())],
    },
    Way {
        name: "question and answer",
        ends: [
            |mut stream| {
                stream.write_all(b"question")?;
                stream.shutdown(Shutdown::Write)?;
                stream.read_to_end(&mut Vec::new())?;
                Ok(())
            },
            |mut stream| {
                stream.read_to_end(&mut Vec::new())?;
                stream.write_all(&[0x5a; 20_000])?;
                Ok(())
            },
        ],
    },
    Way {
        name: "the server closes with data unread",
        ends: [
            |mut stream| {
                stream.write_all(&[0x5a; 5000])?;
                to_its_end(stream)
            },
            |stream| something(&stream),
        ],
    },
    Way {
        name: "the client closes with data unread",
        ends: [
            |stream| something(&stream),
            |mut stream| {
                stream.write_all(&[0x5a; 5000])?;
                to_its_end(stream)
            },
        ],
    },
    Way {
        name: "the client resets",
        ends: [
            |mut stream| {
                stream.write_all(b"goodbye")?;
                at_once(&stream)
            },
            |stream| {
                something(&stream)?;
                to_its_end(stream)
            },
        ],
    },
    Way {
        name: "the server resets",
        ends: [
            |mut stream| {
                stream.write_all(b"hello")?;
                to_its_end(stream)
            },
            |stream| {
                something(&stream)?;
                at_once(&stream)
            },
        ],
    },
    Way {
        name: "both reset",
        ends: [
            |mut stream| {
                stream.write_all(b"hello")?;
                something(&stream)?;
                at_once(&stream)
            },
            |mut stream| {
                stream.write_all(b"hello")?;
                something(&stream)?;
                at_once(&stream)
            },
        ],
    },
    Way {
        name: "both close at once",
        ends: [|_stream| Ok(()), |_stream| Ok(())],
    },
    Way {
        name: "a half is closed, and the other goes on",
        ends: [
            |stream| {
                stream.shutdown(Shutdown::Write)?;
                to_its_end(stream)
            },
            |mut stream| {
                stream.read_to_end(&mut Vec::new())?;
                for _ in 0..5 {
                    stream.write_all(&[0x5a; 1000])?;
                }
                Ok(())
            },
        ],
    },
];

/// Makes connections from one container to another, one after the other. Each is closed in that way.
fn connections(from: &Member, to: &Member, address: SocketAddr, way: &Way) -> anyhow::Result<()> {
    let any = if address.is_ipv4() {
        SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT)
    } else {
        SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT)
    };
    let listener = to.netns.within(|| Ok(TcpListener::bind(any)?))?;
    let [client, server] = way.ends;
    std::thread::scope(|scope| {
        let other_end = scope.spawn(|| -> anyhow::Result<()> {
            for _ in 0..CONNECTIONS {
                let (stream, _) = listener.accept()?;
                stream.set_read_timeout(Some(PATIENCE))?;
                server(stream)?;
            }
            Ok(())
        });
        from.netns.within(|| {
            for _ in 0..CONNECTIONS {
                let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                client(stream)?;
            }
            Ok(())
        })?;
        other_end.join().map_err(|_| anyhow::anyhow!("the server panicked"))?
    })
}

#[test]
fn connections_that_are_closed_in_every_way_lose_nothing() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.sees_node = true;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for way in WAYS {
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let addresses = [b.address, b.ipv6_address].map(|it| (&a, it));
        for (from, address) in addresses.into_iter().chain(loopback.map(|it| (&b, it))) {
            let drops = Drops::with_node(&netmon)?;
            connections(from, &b, SocketAddr::new(address, PORT), way)
                .and_then(|()| drops.are_none())
                .with_context(|| format!("{}, to {address}", way.name))?;
        }
    }
    Ok(())
}

#[test]
fn a_listener_that_is_closed_with_connections_unaccepted_loses_nothing() -> anyhow::Result<()> {
    quietly(Cable::Bridge, |a, b| {
        for address in [b.address, b.ipv6_address] {
            let to = SocketAddr::new(address, PORT);
            let listener = b.netns.within(|| Ok(TcpListener::bind(to)?))?;
            let streams = a.netns.within(|| {
                let connect = |_| -> anyhow::Result<TcpStream> {
                    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
                    stream.write_all(b"hello")?;
                    Ok(stream)
                };
                (0..CONNECTIONS).map(connect).collect::<anyhow::Result<Vec<_>>>()
            })?;
            drop(listener);
            for stream in streams {
                stream.set_read_timeout(Some(PATIENCE))?;
                to_its_end(stream)?;
            }
        }
        Ok(())
    })
}
