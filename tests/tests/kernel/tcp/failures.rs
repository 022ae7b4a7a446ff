//! Connections that are not made: the reason of each, and those that have none.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{filter::Filter, netns::Netns, page::Page};
use socket2::{Domain, Protocol, Socket, Type};

use super::{PORT, counts::failures};
use crate::world::{Cable, World, ready};

/// Every reason.
const REASONS: [&str; 8] = [
    "aborted",
    "local",
    "other",
    "refused",
    "reset",
    "timeout",
    "unanswered",
    "unreachable",
];

/// How often each reason was counted for the container `a`.
fn all(page: &Page) -> anyhow::Result<Vec<(&'static str, u64)>> {
    let of = |reason| Ok((reason, failures(page, "a", reason)?));
    REASONS.into_iter().map(of).collect()
}

/// The kind of error of a try to connect.
fn refusal(netns: &Netns, target: SocketAddr, patience: Option<Duration>) -> anyhow::Result<ErrorKind> {
    let tried = netns.within(|| {
        Ok(match patience {
            Some(patience) => TcpStream::connect_timeout(&target, patience),
            None => TcpStream::connect(target),
        })
    })?;
    Ok(tried.err().context("somebody answers")?.kind())
}

#[test]
fn a_connection_that_the_kernel_gives_up_is_a_timeout_or_unreachable() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    a.netns.run("sysctl -qw net.ipv4.tcp_syn_retries=1")?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let silence = Filter::new(&b.netns, "prerouting", "meta l4proto tcp drop")?;
    a.netns.within(|| {
        ensure!(TcpStream::connect((b.address, PORT)).is_err(), "somebody answers");
        Ok(())
    })?;
    drop(silence);
    // There is no such neighbour. After three requests, one a second, the address is unreachable.
    a.netns.run("sysctl -qw net.ipv4.tcp_syn_retries=4")?;
    a.netns.within(|| {
        ensure!(TcpStream::connect(("10.77.0.99", PORT)).is_err(), "somebody answers");
        Ok(())
    })?;
    netmon.page_until("both to be counted", |page| {
        let (timeout, unreachable) = (failures(page, "a", "timeout")?, failures(page, "a", "unreachable")?);
        ensure!(
            (timeout, unreachable) == (1, 1),
            "{timeout} timeouts, {unreachable} unreachable"
        );
        Ok(())
    })
}

/// The sockets that are given up look alike: they have no error. How far each came tells them apart.
#[test]
fn a_connection_that_is_given_up_is_local_aborted_or_unanswered() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let addresses = [b.address, b.ipv6_address];
    for address in addresses {
        let silent = SocketAddr::new(address, PORT + 2);
        let silence = Filter::new(&b.netns, "prerouting", &format!("tcp dport {} drop", silent.port()))?;
        // The kernel sends a SYN again after a second.
        for patience in [300, 1500] {
            let error = refusal(&a.netns, silent, Some(Duration::from_millis(patience)))?;
            ensure!(error == ErrorKind::TimedOut, "{error}");
        }
        drop(silence);
        let error = refusal(&a.netns, SocketAddr::new(address, PORT + 1), None)?;
        ensure!(error == ErrorKind::ConnectionRefused, "{error}");
    }
    // A single port to connect from, and a connection that has it.
    a.netns
        .within(|| Ok(fs::write("/proc/sys/net/ipv4/ip_local_port_range", "32768 32768")?))?;
    for address in addresses {
        let target = SocketAddr::new(address, PORT);
        let _listener = b.netns.within(|| Ok(TcpListener::bind(target)?))?;
        let _first = a.netns.within(|| Ok(TcpStream::connect(target)?))?;
        let error = refusal(&a.netns, target, None)?;
        ensure!(error == ErrorKind::AddrNotAvailable, "{error}");
    }
    let wanted = REASONS.map(|reason| match reason {
        "aborted" | "local" | "refused" | "unanswered" => (reason, 2),
        _ => (reason, 0),
    });
    netmon.page_until("each to have its reason", |page| {
        let shown = all(page)?;
        ensure!(shown == wanted, "{shown:?}");
        Ok(())
    })
}

/// With Fast Open, `connect` sends nothing: the SYN waits for the first data. Nothing failed on this host if the
/// application closes before that.
#[test]
fn a_connection_that_is_given_up_before_its_first_data_is_aborted() -> anyhow::Result<()> {
    const CLIENTS_WITHOUT_COOKIES: &str = "5";
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for address in [b.address, b.ipv6_address] {
        let target = SocketAddr::new(address, PORT);
        a.netns.within(|| {
            fs::write("/proc/sys/net/ipv4/tcp_fastopen", CLIENTS_WITHOUT_COOKIES)?;
            let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
            netmon_tests::traffic::connect_with_the_first_data(&socket)?;
            socket.connect(&target.into()).context("it would be made later")?;
            Ok(())
        })?;
    }
    let wanted = REASONS.map(|reason| (reason, if reason == "aborted" { 2 } else { 0 }));
    netmon.page_until("both to have their reason", |page| {
        let shown = all(page)?;
        ensure!(shown == wanted, "{shown:?}");
        Ok(())
    })
}

/// Without a route there is no event: the socket stays closed.
#[test]
fn a_connection_that_has_no_route_is_no_failure_of_tcp() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    a.netns.run("ip route add prohibit 10.99.1.0/24")?;
    let nowhere = |address: &str| anyhow::Ok(SocketAddr::new(address.parse::<IpAddr>()?, PORT));
    let error = refusal(&a.netns, nowhere("10.99.0.1")?, None)?;
    ensure!(error == ErrorKind::NetworkUnreachable, "{error}");
    let error = refusal(&a.netns, nowhere("10.99.1.1")?, None)?;
    ensure!(error == ErrorKind::PermissionDenied, "{error}");
    // What is counted afterwards shows that the page has all from before.
    let error = refusal(&a.netns, SocketAddr::new(b.address, PORT + 1), None)?;
    ensure!(error == ErrorKind::ConnectionRefused, "{error}");
    let wanted = REASONS.map(|reason| (reason, u64::from(reason == "refused")));
    netmon.page_until("the last one alone to have a reason", |page| {
        let shown = all(page)?;
        ensure!(shown == wanted, "{shown:?}");
        let no_routes = page.count("netmon_container_ip_no_routes_total", &[("container", "a")])?;
        ensure!(no_routes == 1, "{no_routes} had no route");
        Ok(())
    })
}
