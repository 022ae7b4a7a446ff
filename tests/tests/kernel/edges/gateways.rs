//! Whoever is beyond a gateway.

use std::net::TcpStream;

use anyhow::{Context as _, ensure};

use super::{Counts, Edge, exchange, world};
use crate::{
    tcp::server::Server,
    world::{Cable, ready},
};

/// Whoever is beyond a gateway has no name. To the other end, the first one is who it is.
#[test]
fn what_is_beyond_a_gateway_is_outside() -> anyhow::Result<()> {
    let mut world = world()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for (address, prefix, gateway, family) in [
        ("192.0.2.1", "192.0.2.0/24", b.address, ""),
        ("2001:db8::1", "2001:db8::/64", b.ipv6_address, "-6"),
    ] {
        b.netns.run(&format!("ip {family} addr add {address} dev lo"))?;
        a.netns.run(&format!("ip {family} route add {prefix} via {gateway}"))?;
        let server = Server::start(&b.netns, address.parse()?)?;
        let mut stream = a.netns.within(|| Ok(TcpStream::connect(server.address)?))?;
        exchange(&mut stream, 1000)?;
    }
    let wanted = Counts::over(2, 2000);
    netmon.page_until("both ends to be named", |page| {
        for edge in [Edge::of("a", "(outside)", "client"), Edge::of("a", "b", "server")] {
            let counts = edge.counts(page)?;
            ensure!(counts == wanted, "{} shows {counts:?}", edge.side);
        }
        Ok(())
    })
}

/// The programs know the addresses of the node's devices. Another host beyond the same gateway has no name.
#[test]
fn the_node_is_named_behind_a_gateway() -> anyhow::Result<()> {
    let mut world = world()?;
    world.sees_node = true;
    let (a, _b) = world.pair(Cable::Bridge)?;
    world.other("host")?;
    let (node, host) = (world.node()?, world.others.last().context("it was just made")?);
    node.ip(&[
        "addr add 10.77.0.254/24 dev br0".to_owned(),
        "addr add fd77::fe/64 dev br0 nodad".to_owned(),
        format!(
            "link add uplink type veth peer name uplink netns {}",
            host.path().display()
        ),
        "addr add 192.0.2.1/24 dev uplink".to_owned(),
        "addr add 2001:db8::1/64 dev uplink nodad".to_owned(),
        "link set uplink up".to_owned(),
    ])?;
    node.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
    host.ip(&[
        "addr add 192.0.2.9/24 dev uplink".to_owned(),
        "addr add 2001:db8::9/64 dev uplink nodad".to_owned(),
        "link set uplink up".to_owned(),
        "route add 10.77.0.0/24 via 192.0.2.1".to_owned(),
        "route add fd77::/64 via 2001:db8::1".to_owned(),
    ])?;
    // A device without a link-local address asks for no neighbour.
    for (one, other, address) in [(node, host, "2001:db8::9"), (host, node, "2001:db8::1")] {
        let mac = other.mac("uplink")?;
        one.run(&format!(
            "ip neigh replace {address} lladdr {mac} dev uplink nud permanent"
        ))?;
        one.passes("uplink")?;
    }
    a.netns.ip(&[
        "route add default via 10.77.0.254".to_owned(),
        "route add ::/0 via fd77::fe".to_owned(),
    ])?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    netmon.page_until("the programs to know the node", |page| {
        let known = page.count("netmon_bpf_map_entries", &[("map", "EDGE_KNOWN")])?;
        ensure!(known > 0, "they know {known} prefixes");
        Ok(())
    })?;
    for (netns, addresses) in [
        (node, ["192.0.2.1", "2001:db8::1"]),
        (host, ["192.0.2.9", "2001:db8::9"]),
    ] {
        for address in addresses {
            let server = Server::start(netns, address.parse()?)?;
            let connect = || TcpStream::connect(server.address).context(server.address);
            exchange(&mut a.netns.within(connect)?, 1000)?;
        }
    }
    let wanted = Counts::over(2, 2000);
    netmon.page_until("all to be named", |page| {
        for (server, side) in [("(node)", "client"), ("(node)", "server"), ("(outside)", "client")] {
            let counts = Edge::of("a", server, side).counts(page)?;
            ensure!(counts == wanted, "{server}, {side}: {counts:?}");
        }
        Ok(())
    })
}
