//! Who talks to whom: connections by both of their ends, compared with what the test's own sockets did.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use anyhow::ensure;
use netmon_tests::page::Page;

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
    world.is_service = false;
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
