//! A container that connects to everything.

use std::{
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::ensure;
use netmon_tests::patience::slowness;

use super::{Edge, exchange, world};
use crate::{
    tcp::server::Server,
    world::{Cable, DEVICE, ready},
};

/// A scan makes an edge for each address and port, until the container has used up its share. Meanwhile another container's
/// connections are counted one by one.
#[test]
fn who_connects_to_everything_costs_others_nothing() -> anyhow::Result<()> {
    const ADDRESSES: u8 = 250;
    // An emulated machine takes minutes for all of them.
    let ports = 400 / u16::try_from(slowness())?;
    let all = u64::from(ADDRESSES) * u64::from(ports);
    let mut world = world()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    // All of these are the other container's, so its kernel refuses.
    b.netns.run("ip route add local 10.78.0.0/24 dev lo")?;
    a.netns.run(&format!("ip route add 10.78.0.0/24 dev {DEVICE}"))?;
    let netmon = world.netmon(&["--limit.edges=100"])?;
    ready(&netmon, 2)?;
    let server = Server::start(&a.netns, a.address)?;
    let is_scanning = AtomicBool::new(true);
    let scan = || {
        for host in 1..=ADDRESSES {
            for port in 10_000..10_000 + ports {
                let address = SocketAddr::from(([10, 78, 0, host], port));
                ensure!(TcpStream::connect(address).is_err(), "somebody listens");
            }
        }
        Ok(())
    };
    let exchanges = thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            let mut exchanges = 0;
            while is_scanning.load(Ordering::Relaxed) {
                exchange(&mut b.netns.within(|| Ok(TcpStream::connect(server.address)?))?, 500)?;
                exchanges += 1;
                thread::sleep(Duration::from_millis(10));
            }
            anyhow::Ok(exchanges)
        });
        // It runs on a thread of its own, so that a panic there ends the neighbour, too.
        let scanned = scope.spawn(|| a.netns.within(scan)).join();
        is_scanning.store(false, Ordering::Relaxed);
        let exchanges = neighbour.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        scanned
            .map_err(|_| anyhow::anyhow!("the scan panicked"))?
            .and(exchanges)
    })?;
    ensure!(exchanges > 10_u64, "{exchanges} exchanges in the meantime");
    // Scrapes make room for the first one again.
    netmon.page_until("all to be counted, and the map to have room", |page| {
        let labels = [("client", "a"), ("side", "client"), ("reason", "refused")];
        let failures = page.sum("netmon_edge_connect_failures_total", &labels);
        ensure!(failures == all, "{failures} failed");
        let counts = Edge::of("b", "a", "client").counts(page)?;
        let wanted = (exchanges, exchanges * 500, exchanges * 500);
        ensure!(
            (counts.connections, counts.transmit, counts.receive) == wanted,
            "{counts:?}, not {wanted:?}"
        );
        let edges = page.all("netmon_edge_connections_total", &[]).len();
        ensure!(edges <= 102, "{edges} edges are shown");
        let lost = page.sum("netmon_bpf_map_update_failures_total", &[("map", "EDGES")]);
        ensure!(lost == 0, "{lost} found no room");
        let used = page.count("netmon_bpf_map_entries", &[("map", "EDGES")])?;
        ensure!(used < 20, "{used} edges are in the map");
        Ok(())
    })
}
