//! Who talks to whom: connections by both of their ends, compared with what the test's own sockets did.

mod gateways;
mod scan;
pub(crate) mod virtual_address;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use anyhow::ensure;
use netmon_tests::{filter::Filter, page::Page, patience::until};
use rustix::net::sockopt::set_socket_linger;

use crate::{
    tcp::server::Server,
    world::{Cable, World, ready},
};

/// The port of the server in [`crate::tcp`].
const PORT: u16 = 5300;

/// An edge between two containers, as one of them sees it.
#[derive(Clone, Copy)]
struct Edge {
    client: &'static str,
    server: &'static str,
    network: &'static str,
    port: u16,
    side: &'static str,
}

/// What is known of an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    connections: u64,
    active: u64,
    transmit: u64,
    receive: u64,
}

impl Counts {
    /// Of connections that are over, and carried so many bytes in each direction.
    const fn over(connections: u64, bytes: u64) -> Self {
        Self {
            connections,
            active: 0,
            transmit: bytes,
            receive: bytes,
        }
    }
}

impl Edge {
    const fn of(client: &'static str, server: &'static str, side: &'static str) -> Self {
        Self {
            client,
            server,
            network: "net",
            port: PORT,
            side,
        }
    }

    fn count(self, page: &Page, family: &str, more: &[(&str, &str)]) -> anyhow::Result<u64> {
        let port = self.port.to_string();
        let mut labels = vec![
            ("client", self.client),
            ("server", self.server),
            ("network", self.network),
            ("port", port.as_str()),
            ("side", self.side),
        ];
        labels.extend(more);
        page.count(&format!("netmon_edge_{family}"), &labels)
    }

    fn counts(self, page: &Page) -> anyhow::Result<Counts> {
        Ok(Counts {
            connections: self.count(page, "connections_total", &[])?,
            active: self.count(page, "active_connections", &[])?,
            transmit: self.count(page, "transmit_bytes_total", &[])?,
            receive: self.count(page, "receive_bytes_total", &[])?,
        })
    }
}

/// Two containers without a service.
fn world() -> anyhow::Result<World> {
    let mut world = World::new()?;
    world.labels.clear();
    Ok(world)
}

/// Sends so many bytes, and waits for as many.
fn exchange(stream: &mut TcpStream, bytes: usize) -> anyhow::Result<()> {
    stream.write_all(&vec![1; bytes])?;
    stream.read_exact(&mut vec![0; bytes])?;
    Ok(())
}

#[test]
fn both_ends_see_a_connections_bytes_while_it_is_open_and_after_its_end() -> anyhow::Result<()> {
    let mut world = world()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let sides = [Edge::of("a", "b", "client"), Edge::of("a", "b", "server")];
    let mut wanted = Counts::default();
    for address in [b.address, b.ipv6_address] {
        let server = Server::start(&b.netns, address)?;
        let mut streams = a.netns.within(|| {
            let streams = (0..20).map(|_| Ok(TcpStream::connect(server.address)?));
            streams.collect::<anyhow::Result<Vec<_>>>()
        })?;
        for (number, stream) in streams.iter_mut().enumerate() {
            let bytes = 1 + number * 1000;
            exchange(stream, bytes)?;
            wanted.transmit += bytes as u64;
            wanted.receive += bytes as u64;
        }
        wanted.connections += 20;
        for active in [20, 7, 0] {
            streams.truncate(active);
            wanted.active = active as u64;
            netmon.page_until("both ends to show all of it", |page| {
                for edge in sides {
                    let counts = edge.counts(page)?;
                    ensure!(counts == wanted, "{} shows {counts:?}, not {wanted:?}", edge.side);
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn connections_that_fail_and_that_are_reset_are_the_edges() -> anyhow::Result<()> {
    let mut world = world()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let server = Server::start(&b.netns, b.address)?;
    a.netns.within(|| {
        for _ in 0..30 {
            ensure!(TcpStream::connect((b.address, PORT + 1)).is_err(), "somebody listens");
        }
        for _ in 0..25 {
            let stream = TcpStream::connect(server.address)?;
            set_socket_linger(&stream, Some(Duration::ZERO))?;
        }
        Ok(())
    })?;
    let (client, of_server) = (Edge::of("a", "b", "client"), Edge::of("a", "b", "server"));
    let closed = Edge {
        port: PORT + 1,
        ..client
    };
    netmon.page_until("failures and resets to be counted", |page| {
        for edge in [client, of_server] {
            let (resets, connections) = (edge.count(page, "resets_total", &[])?, edge.counts(page)?.connections);
            ensure!(
                (resets, connections) == (25, 25),
                "{}: {resets} of {connections}",
                edge.side
            );
        }
        let failures = |reason| closed.count(page, "connect_failures_total", &[("reason", reason)]);
        let (refused, timeout) = (failures("refused")?, failures("timeout")?);
        ensure!((refused, timeout) == (30, 0), "{refused} refused, {timeout} timed out");
        let connections = closed.counts(page)?;
        ensure!(connections == Counts::default(), "{connections:?}");
        Ok(())
    })
}

/// What a container did is in its service's sums after its end, also if no scrape saw it.
#[test]
fn a_container_that_no_scrape_saw_has_its_edges() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&["--container.linger=1s"])?;
    ready(&netmon, 2)?;
    let before = netmon.page()?;
    let server = Server::start(&b.netns, b.address)?;
    for _ in 0..10 {
        let mut stream = a.netns.within(|| Ok(TcpStream::connect(server.address)?))?;
        exchange(&mut stream, 100)?;
    }
    until("the server to be done", || {
        ensure!(server.served() == 10, "{} are done", server.served());
        Ok(())
    })?;
    world.end(a)?;
    // Longer than its values linger.
    thread::sleep(Duration::from_secs(4));
    let edge = Edge {
        client: "shop_web",
        server: "shop_web",
        ..Edge::of("", "", "client")
    };
    ensure!(edge.counts(&before).is_err(), "it is counted before it is");
    netmon.page_until("its last connections to be counted", |page| {
        let counts = edge.counts(page)?;
        ensure!(
            (counts.connections, counts.transmit, counts.active) == (10, 1000, 0),
            "{counts:?}"
        );
        Ok(())
    })
}

/// The engine forgets the addresses of what has ended. The server's side still tells who the client was.
#[test]
fn a_client_that_ended_before_the_scrape_is_named_by_its_server() -> anyhow::Result<()> {
    let mut world = world()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let mut servers = Vec::new();
    for address in [b.address, b.ipv6_address] {
        let server = Server::start(&b.netns, address)?;
        let mut stream = a.netns.within(|| Ok(TcpStream::connect(server.address)?))?;
        exchange(&mut stream, 100)?;
        servers.push(server);
    }
    world.end(a)?;
    // By now netmon has seen its end.
    thread::sleep(Duration::from_secs(2));
    let edge = Edge::of("a", "b", "server");
    netmon.page_until("its connections to be counted", |page| {
        let counts = edge.counts(page)?;
        let wanted = Counts {
            connections: 2,
            active: 0,
            transmit: 200,
            receive: 200,
        };
        ensure!(counts == wanted, "{counts:?}, not {wanted:?}");
        Ok(())
    })
}

/// Only what it carries from now on is counted. Who listens on a connection's port is its server.
#[test]
fn a_connection_from_before_netmon_counts_from_then_on() -> anyhow::Result<()> {
    let mut world = world()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let mut streams = Vec::new();
    let mut servers = Vec::new();
    for address in [b.address, b.ipv6_address] {
        let server = Server::start(&b.netns, address)?;
        let mut stream = a.netns.within(|| Ok(TcpStream::connect(server.address)?))?;
        exchange(&mut stream, 70_000)?;
        servers.push(server);
        streams.push(stream);
    }
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let sides = [Edge::of("a", "b", "client"), Edge::of("a", "b", "server")];
    let shows = |wanted: Counts| {
        netmon.page_until("both ends to show the connections", |page| {
            for edge in sides {
                let counts = edge.counts(page)?;
                ensure!(counts == wanted, "{} shows {counts:?}, not {wanted:?}", edge.side);
            }
            Ok(())
        })
    };
    let mut wanted = Counts {
        active: 2,
        ..Counts::default()
    };
    shows(wanted)?;
    for (stream, bytes) in streams.iter_mut().zip([3000, 500]) {
        exchange(stream, bytes)?;
    }
    (wanted.transmit, wanted.receive) = (3500, 3500);
    shows(wanted)?;
    drop(streams);
    wanted.active = 0;
    shows(wanted)?;
    for _ in 0..5 {
        let unheard = netmon.page()?.count("netmon_edge_unheard_connections", &[])?;
        ensure!(unheard == 0, "the end of {unheard} was not heard");
    }
    Ok(())
}

/// Something on the way has forgotten an idle connection: it answers the next segment with a reset, or not at all.
#[test]
fn a_connection_that_breaks_after_an_idle_time_is_counted_by_that_time() -> anyhow::Result<()> {
    const IDLE: &str = "netmon_edge_idle_breaks_total";
    let mut world = world()?;
    // A minute is three seconds.
    world.times.push_str(",idle-second=50ms");
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let server = Server::start(&b.netns, b.address)?;
    let connect = || {
        let mut stream = a.netns.within(|| Ok(TcpStream::connect(server.address)?))?;
        exchange(&mut stream, 100)?;
        anyhow::Ok(stream)
    };
    let (mut reset, mut silent, mut healed) = (connect()?, connect()?, connect()?);
    let port = |stream: &TcpStream| anyhow::Ok(stream.local_addr()?.port());
    let rules = [
        format!("tcp sport {} reject with tcp reset", port(&reset)?),
        format!("tcp sport {} drop", port(&silent)?),
    ];
    thread::sleep(Duration::from_secs(4));
    let forgotten = rules.iter().map(|rule| Filter::new(&b.netns, "input", rule));
    let forgotten = forgotten.collect::<anyhow::Result<Vec<_>>>()?;
    let lost = Filter::new(&b.netns, "input", &format!("tcp sport {} drop", port(&healed)?))?;
    for stream in [&mut reset, &mut silent, &mut healed] {
        stream.write_all(b"x")?;
    }
    ensure!(reset.read(&mut [0]).is_err(), "it is not reset");
    thread::sleep(Duration::from_millis(700));
    drop(lost);
    healed.read_exact(&mut [0])?;
    // The application gives up. The reset that it sends gets lost, too.
    set_socket_linger(&silent, Some(Duration::ZERO))?;
    drop(silent);
    drop(healed);
    netmon.page_until("two of three to have broken", |page| {
        let of = |idle| page.sum(IDLE, &[("client", "a"), ("side", "client"), ("idle", idle)]);
        let broke = ["60", "300", "870", "960", "3600"].map(of);
        ensure!(broke == [2, 0, 0, 0, 0], "{broke:?}");
        Ok(())
    })?;
    drop(forgotten);
    Ok(())
}
