//! The pages, from a client's point of view.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use netmon_tests::{
    netmon::{Netmon, binary, get_in},
    page::Page,
    patience::until,
    prometheus::{self, Prometheus},
    traffic,
};

use crate::world::{Cable, World, ready};

#[test]
fn a_page_is_in_the_format_that_the_client_asks_for() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Vxlan)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 3)?;
    traffic::ping(&a.netns, b.address, 5)?;

    let plain = netmon.get("/metrics")?;
    ensure!(plain.head.contains("text/plain; version=0.0.4"), "{}", plain.head);
    prometheus::check_metrics(&plain.body)?;

    let asked = |headers: &str| {
        netmon.request(&format!(
            "GET /metrics HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"
        ))
    };
    let open = asked("Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n")?;
    ensure!(open.head.contains("application/openmetrics-text"), "{}", open.head);
    ensure!(open.text().ends_with("# EOF\n"), "no end");
    ensure!(!Page::parse(&open.text())?.samples.is_empty(), "an empty page");

    let zipped = asked("Accept-Encoding: gzip\r\n")?;
    ensure!(
        zipped.head.contains("gzip") && zipped.body.starts_with(&[0x1f, 0x8b]),
        "{}",
        zipped.head
    );
    ensure!(zipped.body.len() * 3 < plain.body.len(), "it is hardly smaller");

    let head = netmon.request("HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    ensure!(head.status == 200 && head.body.is_empty(), "{head:?}");
    for (path, status, words) in [
        ("/", 200, "/metrics"),
        ("/-/healthy", 200, ""),
        ("/-/ready", 200, ""),
        ("/no-such-page", 404, ""),
    ] {
        let answer = netmon.get(path)?;
        ensure!(
            answer.status == status && answer.text().contains(words),
            "{path}: {answer:?}"
        );
    }
    let post = netmon.request("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    ensure!(post.status == 405, "{post:?}");
    Ok(())
}

/// By the setting, an address of IPv6 takes IPv4 too, or does not. netmon must not depend on it.
#[test]
fn every_address_means_those_of_ipv4_too_whatever_the_kernels_setting() -> anyhow::Result<()> {
    let request = "GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let world = World::new()?;
    world.home.run("sysctl --quiet --write net.ipv6.bindv6only=1")?;
    let netmon = world.netmon(&["--web.listen-address=:9801", "--web.listen-address=[::]:9802"])?;
    for port in [9801, 9802] {
        for address in ["127.0.0.1", "[::1]"] {
            let address = format!("{address}:{port}").parse()?;
            let answer = get_in(Some(world.home.path()), address, request)
                .with_context(|| format!("{address}: {}", netmon.log()))?;
            ensure!(answer.status == 200, "{address}: {answer:?}");
        }
    }
    Ok(())
}

/// Reading asks the kernel for everything, so it must not depend on how many ask, and how often.
#[test]
fn clients_that_ask_at_the_same_time_share_a_page() -> anyhow::Result<()> {
    const CLIENTS: usize = 8;
    const AGE: Duration = Duration::from_millis(500);
    let mut world = World::new()?;
    world.shares_pages = true;
    let netmon = world.netmon(&[])?;
    let scrapes = |page: &Page| page.count("netmon_scrapes_total", &[]);
    let begin = Instant::now();
    let first = scrapes(&netmon.page()?)?;
    let pages = thread::scope(|scope| {
        let ask = || -> anyhow::Result<usize> {
            let mut pages = 0;
            while begin.elapsed() < 6 * AGE {
                scrapes(&netmon.page()?)?;
                pages += 1;
            }
            Ok(pages)
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        let pages = clients.into_iter().map(|client| client.join().expect("no panic"));
        pages.sum::<anyhow::Result<usize>>()
    })?;
    let last = scrapes(&netmon.page()?)?;
    // Two beginnings are at least that long apart.
    let most = u64::try_from(begin.elapsed().as_millis().div_ceil(AGE.as_millis()))?;
    ensure!(
        last > first && last - first <= most,
        "{pages} pages came from {} scrapes, at most {most} were expected",
        last - first
    );
    ensure!(pages as u64 > 2 * most, "the clients asked only {pages} times");
    Ok(())
}

#[test]
fn flags_have_twins_in_the_environment() -> anyhow::Result<()> {
    let world = World::new()?;
    let mut command = Command::new(binary()?);
    command
        .env("NETMON_WEB_TELEMETRY_PATH", "/figures")
        .env("NETMON_WEB_DISABLE_EXPORTER_METRICS", "true")
        .env("NETMON_DOCKER_HOST", "unix:///run/no-such.sock")
        .env("NETMON_BPF_ATTACH", "off");
    let netmon = world.spawn(&command)?;
    let answer = netmon.get("/figures")?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(
        !answer.text().contains("process_cpu_seconds_total"),
        "the process is shown"
    );
    ensure!(netmon.get("/metrics")?.status == 404, "the usual path is there, too");
    Ok(())
}

/// How many clients connect and send no request.
const IDLE: usize = 1000;
/// How many clients send a request that never ends.
const SLOW: usize = 50;

#[test]
fn idle_and_slow_clients_by_the_thousand_keep_no_scrape_waiting() -> anyhow::Result<()> {
    let world = World::new()?;
    let netmon = world.netmon(&[])?;
    netmon.page()?;
    let before = (netmon.descriptors()?, netmon.memory()?);
    let mut idle = Vec::new();
    let mut slow = Vec::new();
    for number in 0..IDLE {
        idle.push(netmon.connect()?);
        if number % (IDLE / SLOW) == 0 {
            let mut stream = netmon.connect()?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")?;
            slow.push(stream);
        }
        if number % 100 == 0 {
            netmon.page()?;
        }
    }
    // One byte at a time, so that none of them is ever silent.
    for _ in 0..20 {
        for stream in &mut slow {
            // A client notices only later that netmon has closed its connection.
            drop(stream.write(b"x"));
        }
        netmon.page()?;
    }
    let page = netmon.page()?;
    let open = page.count("netmon_http_connections", &[])?;
    ensure!(open <= 256, "{open} connections are open");
    let turned_away = page.count("netmon_http_turned_away_total", &[("reason", "connections")])?;
    ensure!(
        turned_away >= (IDLE + SLOW) as u64 - 256,
        "only {turned_away} had to go"
    );
    ensure!(
        netmon.descriptors()? <= before.0 + 260,
        "{} descriptors",
        netmon.descriptors()?
    );

    // netmon does not wait for clients that send no request, either.
    netmon.page_until("the last of them to be shown the door", |page| {
        let open = page.count("netmon_http_connections", &[])?;
        let too_slow = page.count("netmon_http_turned_away_total", &[("reason", "slow")])?;
        ensure!(open <= 2 && too_slow >= 1, "{open} are open, {too_slow} were too slow");
        Ok(())
    })?;
    drop((idle, slow));
    until("descriptors and memory to come back", || {
        let after = (netmon.descriptors()?, netmon.memory()?);
        ensure!(
            after.0 <= before.0 && after.1 < before.1 + (16 << 20),
            "{after:?} after, {before:?} before"
        );
        Ok(())
    })
}

#[test]
fn clients_that_take_no_page_give_their_places_back() -> anyhow::Result<()> {
    let world = World::new()?;
    let netmon = world.netmon(&["--web.max-requests=2"])?;
    let mut lazy = Vec::new();
    for _ in 0..10 {
        let mut stream = netmon.connect()?;
        // More answers than the kernel's buffers hold.
        stream.write_all("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200).as_bytes())?;
        lazy.push(stream);
    }
    until("a page to be had all the same", || netmon.page().map(drop))?;
    Ok(())
}

#[test]
fn requests_that_are_too_long_are_refused_and_cost_nothing() -> anyhow::Result<()> {
    let world = World::new()?;
    let netmon = world.netmon(&[])?;
    netmon.page()?;
    let memory = netmon.memory()?;
    let long = "x".repeat(1 << 20);
    let headers = "X-Many: y\r\n".repeat(1000);
    for (request, statuses) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), &[414, 431][..]),
        (
            format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"),
            &[431],
        ),
        (
            format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{headers}\r\n"),
            &[431, 400],
        ),
        ("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_owned(), &[400]),
        // A body that is announced and never read.
        (
            format!("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{long}"),
            &[405],
        ),
    ] {
        for _ in 0..20 {
            // netmon answers in the middle of the request, and closes. The rest of the request makes the kernel reset
            // the connection, and the reset may overtake the answer.
            if let Some(status) = status_of(&netmon, &request)? {
                ensure!(statuses.contains(&status), "{status} to {request:.60}");
            }
        }
    }
    let page = netmon.page()?;
    let malformed = page.count("netmon_http_turned_away_total", &[("reason", "malformed")])?;
    ensure!(malformed >= 60, "{malformed} were malformed");
    let now = netmon.memory()?;
    ensure!(now < memory + (16 << 20), "{now} bytes of memory, {memory} before");
    Ok(())
}

#[test]
fn many_scrapes_at_once_are_each_whole_or_turned_away() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&["--web.max-requests=8"])?;
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 5)?;
    let statuses: Vec<u16> = thread::scope(|scope| {
        let ask = || {
            (0..10)
                .map(|_| {
                    let answer = netmon.get("/metrics")?;
                    if answer.status == 200 {
                        Page::parse(&answer.text())?.interface("a", "net")?;
                    }
                    Ok(answer.status)
                })
                .collect::<anyhow::Result<Vec<u16>>>()
        };
        let clients: Vec<_> = (0..40).map(|_| scope.spawn(ask)).collect();
        let joined = clients
            .into_iter()
            .map(|it| it.join().map_err(|_| anyhow::anyhow!("a client panicked"))?);
        joined.collect::<anyhow::Result<Vec<_>>>()
    })?
    .concat();
    ensure!(statuses.contains(&200), "none was served");
    ensure!(statuses.iter().all(|it| matches!(it, 200 | 503)), "{statuses:?}");
    let turned_away = statuses.iter().filter(|it| **it == 503).count();
    let said = netmon
        .page()?
        .count("netmon_http_turned_away_total", &[("reason", "scrapes")])?;
    ensure!(
        said == turned_away as u64,
        "{turned_away} were turned away, {said} are said"
    );
    Ok(())
}

/// The status of the answer, if one arrives.
fn status_of(netmon: &Netmon, request: &str) -> anyhow::Result<Option<u16>> {
    let mut stream = netmon.connect()?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    drop(stream.write_all(request.as_bytes()));
    let mut head = [0; 12];
    Ok(match stream.read_exact(&mut head) {
        Ok(()) => std::str::from_utf8(&head)?
            .split(' ')
            .nth(1)
            .and_then(|it| it.parse().ok()),
        // netmon waits for more, or does nothing: neither is a refusal.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            bail!("no answer to {request:.60}")
        }
        Err(_) => None,
    })
}

#[test]
fn prometheus_scrapes_it() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let prometheus = Prometheus::start_in(
        Some(world.home.path().to_path_buf()),
        world.scratch.path(),
        &[netmon.address],
        &[],
    )?;
    until("the target to be up", || {
        let up = prometheus.value("up{job=\"netmon\"}")?;
        ensure!((up - 1.0).abs() < f64::EPSILON, "up is {up}");
        Ok(())
    })?;
    traffic::ping(&a.netns, b.address, 100)?;
    until("Prometheus to have the figures", || {
        let figure = prometheus
            .value("sum(netmon_container_network_transmit_packets_total{service=\"shop_web\",network=\"net\"})")?;
        #[expect(clippy::cast_precision_loss, reason = "a few hundred packets")]
        let wanted = (a.figures()?.transmit_packets + b.figures()?.transmit_packets) as f64;
        ensure!(
            (figure - wanted).abs() < f64::EPSILON,
            "Prometheus has {figure}, the kernel {wanted}"
        );
        Ok(())
    })
}
