//! How netmon's costs grow with a node: ten to a thousand containers with two networks each. For comparison,
//! Prometheus' node exporter runs on the same devices in the same run.
//!
//! Run with `cargo xtask bench scale`; needs root. The containers are namespaces, and the engine is a fake one: a
//! real engine on two cores takes too long to start a thousand containers.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod plot;
mod process;
#[path = "../../../netmon/benches/costs/report.rs"]
mod report;
mod world;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    netmon::Netmon,
    page::Page,
    patience::{until, within},
    scratch::Scratch,
};

use process::{Exporter, Process};
use report::Report;
use world::World;

/// The numbers of containers. Each container is on two networks.
const CONTAINERS: [usize; 4] = [10, 100, MEMORY_CONTAINERS, 1000];
/// These have as many devices as 200 containers on three networks.
const MEMORY_CONTAINERS: usize = 300;
/// The memory that netmon may use with these, in megabytes.
const MEMORY_BOUND: f64 = 30.0;
/// The number of scrapes. The duration of a scrape is that of the fastest, and its cost is the mean of all.
const SCRAPES: u32 = 20;
/// How long it may take until the last of a thousand containers has its programs.
const ATTACHING: Duration = Duration::from_mins(8);
/// What a scrape of a thousand containers may cost, in milliseconds of CPU.
const SCRAPE_BOUND: f64 = 30.0;

/// How many clients take a page each, in plain text, and read only its beginning. No more may take one at a time.
const SLOW_READERS: usize = 8;
/// The most memory that netmon may have used beside them, in megabytes: the limit in the stack's file.
const SLOW_READERS_BOUND: f64 = 256.0;

/// How long netmon may take to end after the signal, in seconds. It would be killed after ten.
const END_BOUND: f64 = 1.0;
/// How many clients connect and send no request, and how many send a request that never ends.
const CLIENTS: (usize, usize) = (1000, 50);
/// How many times each of the slow clients sends another byte.
const TRICKLES: usize = 20;
/// How long a page may take beside these clients, in milliseconds. A request that is too long must be refused as
/// soon.
const CLIENTS_BOUND: f64 = 2000.0;
/// How long a page may take beside clients that do not read their answers, in milliseconds.
const LAZY_BOUND: f64 = 4000.0;

/// The measurements at one size.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    containers: usize,
    /// From netmon's start until every interface has its programs.
    attached: Duration,
    /// From the signal to the end of the process.
    ended: Duration,
    netmon: Costs,
    node_exporter: Costs,
    /// The most memory that netmon used, with slow readers at last, in megabytes.
    slow_readers: f64,
}

/// What an exporter costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    memory_bytes: f64,
    scrape: Duration,
    scrape_cpu: Duration,
    series: usize,
}

fn main() -> anyhow::Result<()> {
    let rows = CONTAINERS
        .into_iter()
        .map(measure)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut report = Report::default();
    for Row {
        containers,
        attached,
        ended,
        netmon,
        node_exporter,
        slow_readers,
    } in &rows
    {
        let mut add = |what: &str, value, unit, bound| {
            report.add(&format!("{what}, {containers} containers"), value, unit, bound);
        };
        add(
            "start until all programs are attached",
            attached.as_secs_f64(),
            "s",
            None,
        );
        add("asked to end, ended after", ended.as_secs_f64(), "s", Some(END_BOUND));
        add(
            &format!("netmon: peak memory beside {SLOW_READERS} clients that do not read their pages"),
            *slow_readers,
            "MB",
            Some(SLOW_READERS_BOUND),
        );
        for (who, costs) in [("netmon", netmon), ("node exporter", node_exporter)] {
            let of_ours = |bound, at| (who == "netmon" && *containers == at).then_some(bound);
            add(
                &format!("{who}: resident memory"),
                costs.memory_bytes / 1e6,
                "MB",
                of_ours(MEMORY_BOUND, MEMORY_CONTAINERS),
            );
            add(
                &format!("{who}: a scrape"),
                costs.scrape.as_secs_f64() * 1e3,
                "ms",
                None,
            );
            add(
                &format!("{who}: CPU of a scrape"),
                costs.scrape_cpu.as_secs_f64() * 1e3,
                "ms",
                of_ours(SCRAPE_BOUND, 1000),
            );
            add(&format!("{who}: series"), costs.series as f64, "", None);
        }
    }
    clients(&mut report)?;
    print!("{report}");
    // cargo runs benchmarks in the package's folder.
    report.write("../target/bench-scale.jsonl".as_ref())?;
    let table = table(&rows);
    print!("\n{table}");
    fs::write("../target/scale.md", table).context("target/scale.md cannot be written")?;
    fs::write("../target/scale.svg", plot::draw(&rows)).context("target/scale.svg cannot be written")?;
    report.verdict()
}

fn measure(containers: usize) -> anyhow::Result<Row> {
    let scratch = Scratch::new()?;
    let world = World::new(&scratch, containers)?;
    let begin = Instant::now();
    let netmon = Netmon::start(&world.flags())?;
    let interfaces = 2 * containers;
    within(ATTACHING, "every interface to have programs", || {
        thread::sleep(Duration::from_millis(200));
        let used = netmon.page()?.count("netmon_bpf_map_entries", &[("map", "TRAFFIC")])?;
        ensure!(used == interfaces as u64, "{used} of {interfaces} have programs");
        Ok(())
    })?;
    let attached = begin.elapsed();
    let exporter = Exporter::start(world.hub())?;
    let costs_of_netmon = costs(&Process::of(netmon.pid()), || Ok(netmon.get("/metrics")?.text()))?;
    let node_exporter = costs(&exporter.process(), || exporter.page())?;
    let slow_readers = slow_readers(&netmon)?;
    let (status, ended) = netmon.terminate()?;
    ensure!(status.success(), "netmon ended with {status}");
    let row = Row {
        containers,
        attached,
        ended,
        netmon: costs_of_netmon,
        node_exporter,
        slow_readers,
    };
    ensure!(
        row.netmon.series > 10 * interfaces,
        "netmon shows {} series of {interfaces} interfaces",
        row.netmon.series
    );
    ensure!(
        row.node_exporter.series > 10 * interfaces,
        "the node exporter shows {} series of {interfaces} devices",
        row.node_exporter.series
    );
    Ok(row)
}

/// The most memory that netmon used, in megabytes, with clients that do not read their pages. Each has a page of its
/// own, because tests and benchmarks share none.
fn slow_readers(netmon: &Netmon) -> anyhow::Result<f64> {
    let mut readers = Vec::with_capacity(SLOW_READERS);
    for _ in 0..SLOW_READERS {
        let mut stream = netmon.connect()?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin)?;
        ensure!(begin.ends_with(b"200"), "the answer begins with {begin:?}");
        readers.push(stream);
    }
    Ok(Process::of(netmon.pid()).peak_memory_bytes()? / 1e6)
}

/// How long a page takes, in milliseconds.
fn page(netmon: &Netmon) -> anyhow::Result<f64> {
    let begin = Instant::now();
    netmon.page()?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// A page, and netmon's end, beside clients that keep their connections. They send no request, never finish one, or
/// do not read the answer.
fn clients(report: &mut Report) -> anyhow::Result<()> {
    let (idle, slow) = CLIENTS;
    let scratch = Scratch::new()?;
    let world = World::new(&scratch, CONTAINERS[0])?;
    let netmon = Netmon::start(&world.flags())?;
    let alone = page(&netmon)?;
    let mut streams = Vec::new();
    let mut longest: f64 = 0.0;
    for number in 0..idle + slow {
        let mut stream = netmon.connect()?;
        if number % (idle / slow) == 0 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")?;
        }
        streams.push(stream);
        if number % 100 == 0 {
            longest = longest.max(page(&netmon)?);
        }
    }
    // One byte at a time, so that none of the slow clients is ever silent.
    for _ in 0..TRICKLES {
        for stream in streams.iter_mut().step_by(idle / slow) {
            // A client notices only later that netmon has closed its connection.
            drop(stream.write(b"x"));
        }
        longest = longest.max(page(&netmon)?);
    }
    let refused = refuse(&netmon)?;
    let (status, ended) = netmon.terminate()?;
    ensure!(status.success(), "netmon ended with {status}");
    report.add(
        "netmon: a request of 1 MiB, refused after",
        refused,
        "ms",
        Some(CLIENTS_BOUND),
    );
    report.add("netmon: a page, alone", alone, "ms", None);
    let what = format!(
        "netmon: a page beside {} idle and slow clients, the longest",
        idle + slow
    );
    report.add(&what, longest, "ms", Some(CLIENTS_BOUND));
    let what = "netmon: asked to end beside them, ended after";
    report.add(what, ended.as_secs_f64(), "s", Some(END_BOUND));

    let mut flags = world.flags();
    flags.push("--web.max-requests=2".to_owned());
    let netmon = Netmon::start(&flags)?;
    let mut lazy = Vec::new();
    for _ in 0..10 {
        let mut stream = netmon.connect()?;
        // More answers than the kernel's buffers hold.
        stream.write_all("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200).as_bytes())?;
        lazy.push(stream);
    }
    // Until a page is served: netmon takes the places back.
    let longest = until("a page to be had", || page(&netmon))?;
    let what = "netmon: a page beside ten clients that take none, two places";
    report.add(what, longest, "ms", Some(LAZY_BOUND));
    Ok(())
}

/// How long netmon takes to answer a request that is too long, or to close its connection, in milliseconds.
fn refuse(netmon: &Netmon) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let mut stream = netmon.connect()?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let long = "x".repeat(1 << 20);
    // netmon refuses the request before its end, and the rest cannot be sent.
    drop(stream.write_all(format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()));
    let timed_out = |error: &io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    let answer = stream.read(&mut [0; 12]);
    ensure!(
        !answer.as_ref().is_err_and(timed_out),
        "netmon waits for the rest of it"
    );
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

fn costs(process: &Process, scrape: impl Fn() -> anyhow::Result<String>) -> anyhow::Result<Costs> {
    // The first scrape allocates the page's buffers.
    let text = scrape()?;
    let before = process.cpu()?;
    let mut best = Duration::MAX;
    for _ in 0..SCRAPES {
        let begin = Instant::now();
        scrape()?;
        best = best.min(begin.elapsed());
    }
    let scrape_cpu = (process.cpu()?.saturating_sub(before)) / SCRAPES;
    // Memory at rest: netmon drops a page when nobody can get it any more, which is a moment after the scrape.
    thread::sleep(Duration::from_millis(100));
    Ok(Costs {
        memory_bytes: process.memory_bytes()?,
        scrape: best,
        scrape_cpu,
        series: Page::parse(&text)?.samples.len(),
    })
}

/// The rows as a table in Markdown.
fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| containers (two networks each) | attached after | netmon: memory | a scrape | CPU of a scrape | series | \
         node exporter: memory | a scrape | CPU of a scrape | series |"
            .to_owned(),
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for row in rows {
        let cells = |costs: Costs| {
            format!(
                "{:.0} MB | {:.1} ms | {:.1} ms | {}",
                costs.memory_bytes / 1e6,
                costs.scrape.as_secs_f64() * 1e3,
                costs.scrape_cpu.as_secs_f64() * 1e3,
                costs.series
            )
        };
        lines.push(format!(
            "| {} | {:.0} s | {} | {} |",
            row.containers,
            row.attached.as_secs_f64(),
            cells(row.netmon),
            cells(row.node_exporter)
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}
