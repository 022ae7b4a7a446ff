//! The pages, as clients see them.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use netmon_tests::{
    netmon::{Netmon, binary, free_port},
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

#[test]
fn flags_have_twins_in_the_environment() -> anyhow::Result<()> {
    let mut command = Command::new(binary()?);
    command
        .env("NETMON_WEB_TELEMETRY_PATH", "/figures")
        .env("NETMON_WEB_DISABLE_EXPORTER_METRICS", "true")
        .env("NETMON_DOCKER_HOST", "unix:///run/no-such.sock")
        .env("NETMON_BPF_ATTACH", "off");
    let netmon = Netmon::spawn(command, free_port()?)?;
    let answer = netmon.get("/figures")?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(
        !answer.text().contains("process_cpu_seconds_total"),
        "the process is shown"
    );
    ensure!(netmon.get("/metrics")?.status == 404, "the usual path is there, too");
    Ok(())
}

#[test]
fn clients_that_dawdle_hinder_nobody() -> anyhow::Result<()> {
    let world = World::new()?;
    let netmon = world.netmon(&[])?;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(netmon.address)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")?;
        slow.push(stream);
    }
    let begin = Instant::now();
    netmon.page()?;
    ensure!(
        begin.elapsed() < Duration::from_secs(2),
        "a page took {:?}",
        begin.elapsed()
    );
    // And they are shown the door.
    let mut first = slow.swap_remove(0);
    first.set_read_timeout(Some(Duration::from_mins(1)))?;
    let mut rest = Vec::new();
    first.read_to_end(&mut rest)?;
    Ok(())
}

#[test]
fn prometheus_scrapes_it() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let prometheus = Prometheus::start(world.scratch.path(), &[netmon.address])?;
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
