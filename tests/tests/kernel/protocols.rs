//! The counters of namespaces' protocols: a kernel program reads what `/proc/net` shows.

use std::{
    io::{ErrorKind, Read as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use netmon_tests::{netmon::Netmon, netns::Netns, page::Page, patience::slowness, traffic};
use socket2::{Domain, Socket, Type};

use crate::world::{Cable, Member, World, ready};

/// Ports: nobody listens, somebody does not read, somebody does not accept.
const CLOSED: u16 = 5400;
const UNREAD: u16 = 5401;
const FULL: u16 = 5402;
/// Somebody accepts, and closes once the other end has.
const OPEN: u16 = 5403;
/// How many connections end.
const ENDED: u64 = 7;

/// A family of the page, and the kernel's counters that it is the sum of.
const FAMILIES: &[(&str, &[&str])] = &[
    ("tcp_listen_overflows", &["TcpExtListenOverflows"]),
    ("tcp_listen_drops", &["TcpExtListenDrops"]),
    ("tcp_backlog_drops", &["TcpExtTCPBacklogDrop"]),
    ("tcp_receive_queue_drops", &["TcpExtTCPRcvQDrop"]),
    ("tcp_prunes", &["TcpExtRcvPruned", "TcpExtOfoPruned"]),
    ("udp_receive_buffer_errors", &["UdpRcvbufErrors", "Udp6RcvbufErrors"]),
    ("udp_send_buffer_errors", &["UdpSndbufErrors", "Udp6SndbufErrors"]),
    ("udp_checksum_errors", &["UdpInCsumErrors", "Udp6InCsumErrors"]),
    ("udp_no_ports", &["UdpNoPorts", "Udp6NoPorts"]),
    ("ip_no_routes", &["IpOutNoRoutes", "Ip6OutNoRoutes"]),
    ("ip_reassembly_failures", &["IpReasmFails", "Ip6ReasmFails"]),
];
/// Families by network: the kernel's counter is the sum over networks. What is on no network is shown one page late.
const BY_NETWORK: &[(&str, &str)] = &[
    ("tcp_sent_segments", "TcpOutSegs"),
    ("tcp_retransmitted_segments", "TcpRetransSegs"),
    ("tcp_resets_sent", "TcpOutRsts"),
];

/// The counters of a namespace, as the kernel's files show them, in the order of the families.
fn kernel(netns: &Netns) -> anyhow::Result<Vec<u64>> {
    let sums = FAMILIES.iter().map(|(_, counters)| {
        let counts = counters.iter().map(|counter| netns.nstat(counter));
        counts.sum::<anyhow::Result<u64>>()
    });
    let by_network = BY_NETWORK.iter().map(|(_, counter)| netns.nstat(counter));
    sums.chain(by_network).collect()
}

/// The same, as a page shows them.
fn shown(page: &Page, container: &str) -> anyhow::Result<Vec<u64>> {
    let of = |family: &str| format!("netmon_container_{family}_total");
    let sums = FAMILIES
        .iter()
        .map(|(family, _)| page.count(&of(family), &[("container", container)]));
    let by_network = BY_NETWORK.iter().map(|(family, _)| {
        ["net", ""]
            .into_iter()
            .map(|network| page.count(&of(family), &[("container", container), ("network", network)]))
            .sum()
    });
    sums.chain(by_network).collect()
}

/// Whether the program reads.
fn is_by_program(netmon: &Netmon) -> anyhow::Result<bool> {
    let page = netmon.page()?;
    Ok(!page
        .all("netmon_bpf_program_info", &[("program", "protocols_read")])
        .is_empty())
}

/// Makes something of everything that a container can lose, until it is told to end.
fn lose(from: &Netns, to: &Member, done: &AtomicBool) -> anyhow::Result<()> {
    from.within(|| {
        let sockets = ["0.0.0.0:0", "[::]:0"]
            .into_iter()
            .map(UdpSocket::bind)
            .collect::<Result<Vec<_>, _>>()?;
        while !done.load(Ordering::Relaxed) {
            for (socket, address) in sockets.iter().zip([to.address, to.ipv6_address]) {
                for port in [CLOSED, UNREAD] {
                    // An answer that nobody listens is an error of the next datagram.
                    let _sent = socket.send_to(&[0; 900], SocketAddr::new(address, port));
                }
                ensure!(TcpStream::connect((address, CLOSED)).is_err(), "somebody listens");
            }
            for nowhere in ["192.0.2.1", "2001:db8::1"] {
                let nowhere: IpAddr = nowhere.parse()?;
                let refused = TcpStream::connect((nowhere, CLOSED)).err().context("there is a way")?;
                ensure!(
                    refused.kind() == ErrorKind::NetworkUnreachable,
                    "to {nowhere}: {refused}"
                );
            }
            let full = SocketAddr::new(to.address, FULL);
            let _refused = TcpStream::connect_timeout(&full, Duration::from_millis(20));
        }
        Ok(())
    })
}

/// Sockets that are never read or accepted from.
fn deaf(netns: &Netns) -> anyhow::Result<(Vec<Socket>, TcpListener)> {
    netns.within(|| {
        let unread = [Domain::IPV4, Domain::IPV6].map(|domain| -> anyhow::Result<Socket> {
            let socket = Socket::new(domain, Type::DGRAM, None)?;
            let any: IpAddr = if domain == Domain::IPV4 { "0.0.0.0" } else { "::" }.parse()?;
            if domain == Domain::IPV6 {
                socket.set_only_v6(true)?;
            }
            socket.set_recv_buffer_size(4096)?;
            socket.bind(&SocketAddr::new(any, UNREAD).into())?;
            Ok(socket)
        });
        let full = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        full.bind(&SocketAddr::new("0.0.0.0".parse()?, FULL).into())?;
        full.listen(1)?;
        Ok((unread.into_iter().collect::<anyhow::Result<_>>()?, full.into()))
    })
}

#[test]
fn a_program_reads_what_procfs_shows_also_while_it_changes() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    // Containers have no way out here, and a route that is missing is what is wanted.
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    ensure!(is_by_program(&netmon)?, "no program: {:?}", netmon.said());
    let _deaf = deaf(&b.netns)?;
    let first: Vec<Vec<u64>> = [&a, &b]
        .into_iter()
        .map(|member| kernel(&member.netns))
        .collect::<anyhow::Result<_>>()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let losing = scope.spawn(|| lose(&a.netns, &b, &done));
        let begin = Instant::now();
        let compared = (|| {
            let mut earlier = first.clone();
            while begin.elapsed() < Duration::from_secs(5) * slowness() {
                for (member, earlier) in [&a, &b].into_iter().zip(&mut earlier) {
                    let before = kernel(&member.netns)?;
                    let shown = shown(&netmon.page()?, &member.name)?;
                    let after = kernel(&member.netns)?;
                    let at_once = FAMILIES.iter().map(|it| (it.0, false));
                    let families = at_once.chain(BY_NETWORK.iter().map(|it| (it.0, true)));
                    for (at, (family, is_late)) in families.enumerate() {
                        let least = if is_late { earlier[at] } else { before[at] };
                        ensure!(
                            (least..=after[at]).contains(&shown[at]),
                            "{family} of {}: netmon shows {}, the kernel {least} to {}",
                            member.name,
                            shown[at],
                            after[at]
                        );
                    }
                    *earlier = before;
                }
            }
            Ok(())
        })();
        done.store(true, Ordering::Relaxed);
        losing.join().map_err(|_| anyhow::anyhow!("the traffic ended"))??;
        compared
    })?;
    // At rest they are equal, and all that can be made has been made.
    let last: Vec<Vec<u64>> = [&a, &b]
        .into_iter()
        .map(|member| kernel(&member.netns))
        .collect::<anyhow::Result<_>>()?;
    for (member, name) in [
        (0, "ip_no_routes"),
        (1, "udp_no_ports"),
        (1, "udp_receive_buffer_errors"),
        (1, "tcp_listen_overflows"),
    ] {
        let at = FAMILIES.iter().position(|(family, _)| *family == name).context(name)?;
        ensure!(last[member][at] > first[member][at], "{name} did not move");
    }
    netmon.page_until("the counters to be equal", |page| {
        for member in [&a, &b] {
            let (shown, kernel) = (shown(page, &member.name)?, kernel(&member.netns)?);
            ensure!(shown == kernel, "{}: {shown:?}, not {kernel:?}", member.name);
        }
        Ok(())
    })?;
    Ok(())
}

#[test]
fn without_programs_the_counters_are_those_of_procfs() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&["--bpf.attach=off"])?;
    netmon.wait_ready()?;
    ensure!(!is_by_program(&netmon)?, "there is a program");
    let _deaf = deaf(&b.netns)?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let losing = scope.spawn(|| lose(&a.netns, &b, &done));
        thread::sleep(Duration::from_secs(1));
        done.store(true, Ordering::Relaxed);
        losing.join().map_err(|_| anyhow::anyhow!("the traffic ended"))?
    })?;
    netmon.page_until("the counters to be equal", |page| {
        for member in [&a, &b] {
            for (family, counters) in FAMILIES {
                let of = format!("netmon_container_{family}_total");
                let shown = page.count(&of, &[("container", &member.name)])?;
                let kernel: u64 = counters
                    .iter()
                    .map(|counter| member.netns.nstat(counter))
                    .sum::<anyhow::Result<u64>>()?;
                ensure!(shown == kernel, "{family} of {}: {shown}, not {kernel}", member.name);
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Sockets in `TIME_WAIT`, as the kernel shows them.
fn waiting(netns: &Netns) -> anyhow::Result<u64> {
    let text = netns.run("cat /proc/net/sockstat")?;
    let (_, count) = text.split_once(" tw ").context("no such count")?;
    Ok(count.split_whitespace().next().context("no number")?.parse()?)
}

#[test]
fn ended_connections_that_wait_are_as_many_as_procfs_shows() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    ensure!(is_by_program(&netmon)?, "no program: {:?}", netmon.said());
    let listener = b.netns.within(|| Ok(TcpListener::bind(("0.0.0.0", OPEN))?))?;
    for _ in 0..ENDED {
        let connection = a.netns.within(|| Ok(TcpStream::connect((b.address, OPEN))?))?;
        let (mut accepted, _) = listener.accept()?;
        drop(connection);
        // Both ends would wait if this one were closed before it knows that the other one is.
        ensure!(accepted.read(&mut [0])? == 0, "nothing was sent");
        drop(accepted);
    }
    netmon.page_until("the connections to wait", |page| {
        for (member, expected) in [(&a, ENDED), (&b, 0)] {
            let labels = [("container", &*member.name), ("state", "time_wait")];
            let shown = page.count("netmon_container_tcp_connections", &labels)?;
            let kernel = waiting(&member.netns)?;
            ensure!(
                (shown, kernel) == (expected, expected),
                "{}: {shown}, and the kernel has {kernel}",
                member.name
            );
        }
        Ok(())
    })?;
    Ok(())
}

/// Has the kernel track what arrives in a namespace, which it does only if a rule needs it.
fn track(netns: &Netns) -> anyhow::Result<()> {
    for command in [
        "nft add table inet follow",
        "nft add chain inet follow c { type filter hook input priority 0 ; }",
        "nft add rule inet follow c ct state new accept",
        // The default is half a minute, which an emulated machine takes for some tests.
        "sysctl -qw net.netfilter.nf_conntrack_udp_timeout=3600",
    ] {
        netns.run(command)?;
    }
    Ok(())
}

#[test]
fn tracked_connections_are_as_many_as_procfs_shows_also_while_they_become_more() -> anyhow::Result<()> {
    for (flags, is_program) in [(&[][..], true), (&["--bpf.attach=off"], false)] {
        let mut world = World::new()?;
        let (a, b) = world.pair(Cable::Bridge)?;
        let netmon = world.netmon(flags)?;
        netmon.wait_ready()?;
        ensure!(is_by_program(&netmon)? == is_program, "{:?}", netmon.said());
        track(&b.netns)?;
        let kernel = |netns: &Netns| -> anyhow::Result<u64> {
            Ok(netns.run("sysctl -n net.netfilter.nf_conntrack_count")?.parse()?)
        };
        let shown = |member: &Member| {
            let labels = [("container", &*member.name)];
            netmon.page()?.count("netmon_container_conntrack_entries", &labels)
        };
        // The first page finds out where the program reads.
        shown(&b)?;
        ensure!(
            netmon
                .log()
                .contains("a kernel program reads how many connections conntrack tracks")
                == is_program,
            "netmon's log:\n{}",
            netmon.log()
        );
        // Nothing ends in this time, so the count only grows.
        for round in 0..50 {
            let before = kernel(&b.netns)?;
            let shown = thread::scope(|scope| {
                let sending = scope.spawn(|| {
                    let ports = (0..20).map(|port| 10_000 + 20 * round + port);
                    ports
                        .map(|port| traffic::datagrams(&a.netns, SocketAddr::new(b.address, port), 1, 10))
                        .collect::<anyhow::Result<Vec<_>>>()
                });
                let shown = shown(&b);
                sending.join().map_err(|_| anyhow::anyhow!("the traffic ended"))??;
                shown
            })?;
            let after = kernel(&b.netns)?;
            ensure!(
                (before..=after).contains(&shown),
                "netmon shows {shown}, the kernel {before} to {after}"
            );
        }
        let (kernel, shown) = ((kernel(&a.netns)?, kernel(&b.netns)?), (shown(&a)?, shown(&b)?));
        ensure!(
            kernel == shown && shown.0 == 0 && shown.1 >= 1000,
            "{shown:?} is shown of {kernel:?}"
        );
    }
    Ok(())
}
