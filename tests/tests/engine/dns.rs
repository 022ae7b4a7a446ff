//! What containers ask the engine's own resolver, and what that asks outside, compared with what the test's client and
//! resolver sent and received.

use std::{collections::BTreeMap, net::TcpStream, time::Duration};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    lab::{Engine, Lab, Node},
    netmon::Netmon,
    netns::Netns,
    resolver::{ENGINES, Resolver, ask, named, query, receive, send, shown},
};

use crate::ground::netmon_on;

/// How long the client waits: longer than an engine waits for a resolver outside.
const PATIENCE: Duration = Duration::from_secs(6);
const A: u16 = 1;
const AAAA: u16 = 28;

/// What the client knows: its queries, and their answers by the name that netmon has for the code.
#[derive(Default)]
struct Client(BTreeMap<String, u64>);

impl Client {
    fn count(&mut self, name: &str) {
        *self.0.entry(name.to_owned()).or_default() += 1;
    }

    fn note(&mut self, kind: u16, code: Option<u8>) {
        self.count(if kind == A { "query A" } else { "query AAAA" });
        let Some(code) = code else {
            self.count("unanswered");
            return;
        };
        self.count("observed");
        self.count(match code {
            0 => "noerror",
            2 => "servfail",
            3 => "nxdomain",
            5 => "refused",
            _ => "other",
        });
    }

    /// Asks over UDP.
    fn ask(&mut self, query: &[u8], kind: u16) -> anyhow::Result<()> {
        self.note(kind, ask(ENGINES, query, PATIENCE)?);
        Ok(())
    }

    /// Asks over TCP, in one connection.
    fn ask_in_connection(&mut self, queries: &[Vec<u8>], kind: u16) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(ENGINES)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        for query in queries {
            send(&mut stream, query)?;
            let answer = receive(&mut stream)?;
            self.note(kind, Some(answer[3] & 0x0f));
        }
        Ok(())
    }
}

#[test]
fn what_the_engines_resolver_is_asked_and_asks_is_counted_query_by_query() -> anyhow::Result<()> {
    for engine in [Engine::Installed, Engine::New] {
        with(engine).with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}

fn with(engine: Engine) -> anyhow::Result<()> {
    let lab = Lab::up(1, engine)?;
    let node = lab.node(1);
    node.docker("network create -d overlay --attachable wide")?;
    let outside = node.address();
    node.start_container("web", &format!("--network wide --dns {outside}"))?;
    node.start_container("plain", &format!("--dns {outside}"))?;
    node.start_container("hosts", "--network host")?;
    node.start_container("alone", "--network none")?;
    let netmon = netmon_on(node)?;
    // Two networks and loopback, and the one of `plain`.
    netmon.page_until("all to have programs", |page| {
        let [interfaces, slots] = ["TRAFFIC", "DNS"].map(|map| page.count("netmon_bpf_map_entries", &[("map", map)]));
        let waiting = page.count("netmon_attach_waiting_interfaces", &[])?;
        let found = (interfaces?, slots?, waiting);
        ensure!(found.1 == 2 && found.2 == 0, "{found:?}");
        Ok(())
    })?;
    let resolver = Resolver::start(&Netns::of_others(&node.netns()), outside.parse()?, Duration::ZERO)?;
    asks_the_engine(node, &netmon, &resolver)?;
    asks_by_itself(node, &netmon, &resolver)?;
    let page = netmon.page()?;
    for container in ["hosts", "alone"] {
        let series = page.all("netmon_container_dns_queries_total", &[("container", container)]);
        ensure!(series.is_empty(), "{container} has {} series", series.len());
    }
    Ok(())
}

/// A container with the engine's resolver, which asks outside for it.
fn asks_the_engine(node: Node<'_>, netmon: &Netmon, resolver: &Resolver) -> anyhow::Result<()> {
    let netns = node.namespace(&node.sandbox("web")?)?;
    let client = netns.within(|| {
        let mut client = Client::default();
        for id in 0..300 {
            client.ask(&named(id, &["web"], A, None), A)?;
        }
        for (answer, kind) in [
            ("noerror", A),
            ("nxdomain", A),
            ("noerror", AAAA),
            ("servfail", A),
            ("refused", A),
            ("silent", A),
        ] {
            for id in 0..3 {
                client.ask(&query(id, answer, kind, Some(0)), kind)?;
            }
        }
        let queries: Vec<_> = (0..20).map(|id| named(id, &["web"], A, None)).collect();
        client.ask_in_connection(&queries, A)?;
        Ok(client)
    })?;
    ensure!(
        client.0["noerror"] >= 320,
        "the engine does not know its own names: {:?}",
        client.0
    );
    netmon.page_until("what the client knows", |page| {
        let docker = shown(page, "web", "docker")?;
        ensure!(
            docker == client.0,
            "netmon shows {docker:?}, the client knows {:?}",
            client.0
        );
        let outside = shown(page, "web", "outside")?;
        let of = |name: &str| outside.get(name).copied().unwrap_or_default();
        let [received, answered] = resolver.counts();
        let sent = of("query A") + of("query AAAA") + of("retries");
        let responses = of("observed") + of("unmatched");
        ensure!(
            [sent, responses] == [received, answered],
            "netmon shows {outside:?}, the resolver received {received} and answered {answered}"
        );
        ensure!(received > 0 && of("query other") == 0, "{outside:?}");
        Ok(())
    })
}

/// A container on the default bridge, which has no resolver of the engine.
fn asks_by_itself(node: Node<'_>, netmon: &Netmon, resolver: &Resolver) -> anyhow::Result<()> {
    let netns = node.namespace(&node.sandbox("plain")?)?;
    netns.within(|| {
        for id in 0..50 {
            let code = ask(resolver.address, &query(id, "nxdomain", AAAA, None), PATIENCE)?;
            ensure!(code == Some(3), "the answer is {code:?}");
        }
        Ok(())
    })?;
    netmon.page_until("its queries to be those of a resolver outside", |page| {
        let outside: Vec<_> = shown(page, "plain", "outside")?.into_iter().collect();
        let expected = [("nxdomain", 50), ("observed", 50), ("query AAAA", 50)];
        ensure!(
            outside == expected.map(|(name, count)| (name.to_owned(), count)),
            "{outside:?}"
        );
        let docker = page.all(
            "netmon_container_dns_queries_total",
            &[("container", "plain"), ("resolver", "docker")],
        );
        ensure!(docker.is_empty(), "it has no such resolver");
        Ok(())
    })
}
