//! What containers ask their resolvers, compared with what the test's own client sent and received.

mod hostile;
mod programs;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::ensure;
use netmon_tests::{
    netmon::Netmon,
    page::Page,
    resolver::{ENGINES, Resolver, ask_all, id, query, receive, send, shown},
};

use crate::world::{Cable, World, ready};

/// The types that a client asks for, by the word that stands for them.
const TYPES: [(&str, u16); 6] = [
    ("A", 1),
    ("AAAA", 28),
    ("PTR", 12),
    ("SRV", 33),
    ("other", 16),
    ("other", 255),
];

/// Waits until exactly that is shown.
fn shows(netmon: &Netmon, resolver: &str, expected: &[(&str, u64)]) -> anyhow::Result<Page> {
    let expected: BTreeMap<String, u64> = expected
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect();
    netmon.page_until("every query to be counted", |page| {
        let shown = shown(page, "a", resolver)?;
        ensure!(shown == expected, "{resolver}: {shown:?}, not {expected:?}");
        Ok(())
    })?;
    netmon.page()
}

/// Waits until two containers' interfaces and loopbacks have programs.
fn counts_dns(netmon: &Netmon) -> anyhow::Result<()> {
    ready(netmon, 2)?;
    netmon.page_until("two namespaces to have a slot", |page| {
        let slots = page.count("netmon_bpf_map_entries", &[("map", "DNS")])?;
        ensure!(slots == 2, "{slots} have one");
        Ok(())
    })?;
    Ok(())
}

#[test]
fn queries_to_both_resolvers_count_by_type_and_answers_by_code() -> anyhow::Result<()> {
    const CODES: [(&str, &str); 6] = [
        ("noerror", "noerror"),
        ("nxdomain", "nxdomain"),
        ("servfail", "servfail"),
        ("refused", "refused"),
        ("notimp", "other"),
        ("cut", "noerror"),
    ];
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    counts_dns(&netmon)?;
    let mut queries = Vec::new();
    for (number, (_, kind)) in TYPES.iter().cycle().take(600).enumerate() {
        let (answer, _) = CODES[number / 6 % CODES.len()];
        let edns = [None, Some(0), Some(12), Some(28)][number % 4];
        queries.push(query(u16::try_from(number)?, answer, *kind, edns));
    }
    for (resolver, rounds, servers) in [
        ("docker", 1, vec![(&a.netns, ENGINES.ip())]),
        ("outside", 2, vec![(&b.netns, b.address), (&b.netns, b.ipv6_address)]),
    ] {
        for (netns, address) in servers {
            let server = Resolver::start(netns, address, Duration::ZERO)?;
            ask_all(&a.netns, server.address, &queries)?;
        }
        let expected = [
            ("query A", 100),
            ("query AAAA", 100),
            ("query PTR", 100),
            ("query SRV", 100),
            ("query other", 200),
            ("noerror", 198),
            ("nxdomain", 102),
            ("servfail", 102),
            ("refused", 102),
            ("other", 96),
            ("truncated", 96),
            ("observed", 600),
        ];
        shows(&netmon, resolver, &expected.map(|(name, count)| (name, rounds * count)))?;
    }
    let page = netmon.page()?;
    // Whoever answers has asked nobody.
    ensure!(
        page.all("netmon_container_dns_queries_total", &[("container", "b")])
            .is_empty()
    );
    Ok(())
}

#[test]
fn what_goes_over_tcp_is_counted_too() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    counts_dns(&netmon)?;
    for (name, netns, address) in [
        ("outside", &b.netns, b.address),
        ("outside", &b.netns, b.ipv6_address),
        ("docker", &a.netns, ENGINES.ip()),
    ] {
        let server = Resolver::start(netns, address, Duration::ZERO)?;
        a.netns.within(|| {
            // Two connections with ten queries each, one after the other.
            for _ in 0..2 {
                let mut stream = TcpStream::connect(server.address)?;
                for number in 0..10 {
                    let query = query(number, "noerror", 28, Some(0));
                    send(&mut stream, &query)?;
                    ensure!(id(&receive(&mut stream)?) == number, "another query was answered");
                }
            }
            Ok(())
        })?;
        let rounds = if address == b.ipv6_address { 2 } else { 1 };
        let expected = [("query AAAA", 20), ("noerror", 20), ("observed", 20)];
        shows(&netmon, name, &expected.map(|(name, count)| (name, rounds * count)))?;
    }
    Ok(())
}

#[test]
fn a_query_without_an_answer_counts_after_five_seconds_and_one_that_is_sent_again_is_one() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    counts_dns(&netmon)?;
    for (name, netns, address) in [("docker", &a.netns, ENGINES.ip()), ("outside", &b.netns, b.address)] {
        let server = Resolver::start(netns, address, Duration::ZERO)?;
        let begin = Instant::now();
        a.netns.within(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(server.address)?;
            for number in 0..50 {
                for _ in 0..3 {
                    socket.send(&query(number, "silent", 1, None))?;
                }
            }
            Ok(())
        })?;
        shows(&netmon, name, &[("query A", 50), ("retries", 100)])?;
        let expected = [("query A", 50), ("retries", 100), ("unanswered", 50)];
        shows(&netmon, name, &expected)?;
        ensure!(begin.elapsed() >= Duration::from_secs(5), "it was given up too soon");
    }
    Ok(())
}

#[test]
fn times_are_those_that_the_client_measures() -> anyhow::Result<()> {
    const DELAY: Duration = Duration::from_millis(20);
    const QUERIES: u16 = 50;
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    counts_dns(&netmon)?;
    for (name, netns, address) in [("docker", &a.netns, ENGINES.ip()), ("outside", &b.netns, b.address)] {
        let server = Resolver::start(netns, address, DELAY)?;
        let queries: Vec<_> = (0..QUERIES).map(|id| query(id, "noerror", 1, None)).collect();
        let begin = Instant::now();
        ask_all(&a.netns, server.address, &queries)?;
        let measured = begin.elapsed().as_secs_f64();
        let page = shows(&netmon, name, &[("query A", 50), ("noerror", 50), ("observed", 50)])?;
        let labels = [("container", "a"), ("resolver", name)];
        let sum = page.value("netmon_container_dns_duration_seconds_sum", &labels)?;
        ensure!(
            sum > 0.9 * measured && sum <= measured,
            "{name}: {sum} s, and the client measured {measured} s"
        );
        let early = [labels.as_slice(), &[("le", "0.01")]].concat();
        ensure!(page.count("netmon_container_dns_duration_seconds_bucket", &early)? == 0);
    }
    Ok(())
}
