//! How netmon grows with a node: ten to a thousand containers with two networks each, and beside it, on the
//! same devices in the same run, what people run instead as far as it is packaged: Prometheus' node exporter.
//!
//! Run with `cargo xtask bench scale`; needs root. The containers are namespaces, and the engine says what it is told to:
//! no engine that fits on two cores starts a thousand containers while somebody waits.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod plot;
mod process;
#[path = "../../../netmon/benches/costs/report.rs"]
mod report;
mod world;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use netmon_tests::{netmon::Netmon, page::Page, patience::within, scratch::Scratch};

use process::{Exporter, Process};
use report::Report;
use world::World;

/// How many containers; each is on two networks.
const CONTAINERS: [usize; 4] = [10, 100, MEMORY_CONTAINERS, 1000];
/// With as many devices as 200 containers on three networks have.
const MEMORY_CONTAINERS: usize = 300;
/// What netmon may hold of them, in megabytes.
const MEMORY_BOUND: f64 = 30.0;
/// Scrapes: the best is how long one takes, all together what one costs.
const SCRAPES: u32 = 20;
/// How long it may take until the last of a thousand containers has its programs.
const ATTACHING: Duration = Duration::from_mins(8);
/// What a scrape of a thousand containers may cost, in milliseconds of CPU.
const SCRAPE_BOUND: f64 = 30.0;

/// What was measured at one size.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    containers: usize,
    /// From netmon's start until programs are on every interface.
    attached: Duration,
    netmon: Costs,
    node_exporter: Costs,
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
        netmon,
        node_exporter,
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
    let row = Row {
        containers,
        attached,
        netmon: costs(&Process::of(netmon.pid()), || Ok(netmon.get("/metrics")?.text()))?,
        node_exporter: costs(&exporter.process(), || exporter.page())?,
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

fn costs(process: &Process, scrape: impl Fn() -> anyhow::Result<String>) -> anyhow::Result<Costs> {
    // The first makes room for the page.
    let text = scrape()?;
    let before = process.cpu()?;
    let mut best = Duration::MAX;
    for _ in 0..SCRAPES {
        let begin = Instant::now();
        scrape()?;
        best = best.min(begin.elapsed());
    }
    Ok(Costs {
        memory_bytes: process.memory_bytes()?,
        scrape: best,
        scrape_cpu: (process.cpu()?.saturating_sub(before)) / SCRAPES,
        series: Page::parse(&text)?.samples.len(),
    })
}

/// The rows for people.
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
