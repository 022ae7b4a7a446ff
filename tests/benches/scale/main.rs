//! How netmon's costs grow with a node: ten to a thousand busy containers with two networks each. For comparison,
//! Prometheus' node exporter runs on the same devices in the same run, and is asked in the same way.
//!
//! Run with `cargo xtask bench scale`; needs root. The containers are namespaces, and the engine is a fake one: a
//! real engine on two cores takes too long to start a thousand containers.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod ask;
mod beside;
mod clients;
mod emulated;
mod load;
mod moves;
mod parts;
mod plot;
mod process;
#[path = "../../../netmon/benches/costs/report.rs"]
mod report;
mod site;
mod world;

use std::{env, fs, thread, time::Duration};

use anyhow::{Context as _, ensure};
use netmon_tests::page::Page;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    moves::Moves,
    parts::{Part, Parts},
    process::{Exporter, Process},
    report::Report,
    site::{Run, Site, Started},
};

/// The numbers of containers. Each container is on two networks.
const CONTAINERS: [usize; 5] = [10, FEW, 100, MEMORY_CONTAINERS, MANY];
const FEW: usize = 30;
/// These have as many devices as 200 containers on three networks.
const MEMORY_CONTAINERS: usize = 300;
const MANY: usize = 1000;
/// Other numbers of containers, separated by commas.
const WISH: &str = "NETMON_SCALE_CONTAINERS";
/// How often a run is repeated over the same containers. The figure is the median of the runs' figures.
const RUNS: usize = 3;

/// The memory that netmon may use with [`MEMORY_CONTAINERS`], in megabytes.
const MEMORY_BOUND: f64 = 24.0;
/// What a page may cost, in milliseconds of CPU, by the number of containers.
const CPU_BOUNDS: [(usize, f64); 2] = [(FEW, 2.0), (MANY, 30.0)];
/// What a page of [`MANY`] may cost, in percent of what the node exporter takes.
const SHARE_BOUND: f64 = 5.0;
/// How long a page of [`MANY`] may take, in milliseconds.
const LATENCY_BOUND: f64 = 60.0;
/// How long it may take until [`MANY`] are named, in seconds.
const NAMED_BOUND: f64 = 5.0;
/// How long netmon may take to end after the signal, in seconds. It would be killed after ten.
const END_BOUND: f64 = 1.0;

/// The measurements at one size.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    containers: usize,
    started: Started,
    /// From the signal to the end of the process.
    ended: Duration,
    netmon: Costs,
    node_exporter: Costs,
    /// A page beside containers that are still.
    still: Run,
    /// The kernel memory of netmon's maps, in megabytes.
    maps: f64,
    parts: Vec<Part>,
    /// The most memory that netmon used, with slow readers at last, in megabytes.
    slow_readers: f64,
}

/// What an exporter costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    memory_bytes: f64,
    runs: [Run; RUNS],
    /// In milliseconds.
    latency: f64,
    series: usize,
    /// The bytes of a compressed page.
    bytes: usize,
}

impl Costs {
    /// The CPU of a page, in milliseconds: the median of the runs.
    fn cpu(&self) -> f64 {
        median(&self.runs.map(|run| run.cpu))
    }
}

fn main() -> anyhow::Result<()> {
    let descriptors = getrlimit(Resource::Nofile);
    // The containers' sockets are all in this process.
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: descriptors.maximum,
            ..descriptors
        },
    )?;
    if let Some(outcome) = emulated::run_as_asked() {
        return outcome;
    }
    let rows = sizes(&CONTAINERS)?
        .into_iter()
        .map(measure)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut report = Report::default();
    for row in &rows {
        add(&mut report, row);
    }
    clients::clients(&mut report)?;
    print!("{report}");
    // cargo runs benchmarks in the package's folder.
    report.write("../target/bench-scale.jsonl".as_ref())?;
    let mut tables = vec![table(&rows), beside::table(&rows)];
    tables.extend(rows.last().map(|row| parts::table(row.containers, &row.parts)));
    let tables = tables.join("\n");
    print!("\n{tables}");
    fs::write("../target/scale.md", tables).context("target/scale.md cannot be written")?;
    fs::write("../target/scale.svg", plot::draw(&rows)).context("target/scale.svg cannot be written")?;
    report.verdict()
}

/// The numbers of containers to measure: those that were asked for.
fn sizes(otherwise: &[usize]) -> anyhow::Result<Vec<usize>> {
    let Ok(wish) = env::var(WISH) else {
        return Ok(otherwise.to_vec());
    };
    wish.split(',')
        .map(|number| {
            number
                .parse()
                .with_context(|| format!("{WISH}: {number:?} is no number"))
        })
        .collect()
}

fn measure(containers: usize) -> anyhow::Result<Row> {
    let site = Site::start(containers)?;
    let exporter = Exporter::start(site.world.hub())?;
    let mut parts = Parts::default();
    let mut gatherings = [
        Gathering::new(site.process(), site.client(true)?)?,
        Gathering::new(exporter.process(), exporter.client()?)?,
    ];
    let before = Moves::of(&site.netmon.page()?);
    for _ in 0..RUNS {
        let [netmon, node_exporter] = &mut gatherings;
        netmon.run(&site, |page| parts.note(page))?;
        node_exporter.run(&site, |_| Ok(()))?;
    }
    before.have_moved(&Moves::of(&site.netmon.page()?))?;
    let [netmon, node_exporter] = gatherings;
    let (netmon, node_exporter) = (netmon.costs()?, node_exporter.costs()?);
    let still = site.run_beside_none(&mut site.client(true)?)?;
    let maps = site.maps()?;
    let slow_readers = clients::slow_readers(&site.netmon)?;
    let started = site.started;
    let (status, ended) = site.end()?;
    ensure!(status.success(), "netmon ended with {status}");
    let row = Row {
        containers,
        started,
        ended,
        netmon,
        node_exporter,
        still,
        maps,
        parts: parts.of(netmon.latency),
        slow_readers,
    };
    for (who, costs) in [("netmon", &row.netmon), ("the node exporter", &row.node_exporter)] {
        ensure!(
            costs.series > 20 * containers,
            "{who} shows {} series of {containers} containers with two devices each",
            costs.series
        );
    }
    Ok(row)
}

/// The runs of one exporter so far.
struct Gathering {
    process: Process,
    client: ask::Client,
    runs: Vec<Run>,
    series: usize,
    bytes: usize,
}

impl Gathering {
    fn new(process: Process, mut client: ask::Client) -> anyhow::Result<Self> {
        // The first page allocates the exporter's buffers.
        let answer = client.ask()?;
        Ok(Self {
            process,
            client,
            runs: Vec::new(),
            series: Page::parse(&answer.text()?)?.samples.len(),
            bytes: answer.len(),
        })
    }

    fn run(&mut self, site: &Site, mut look: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let run = site.run(self.process, &mut self.client, |answer| look(&answer.text()?))?;
        self.runs.push(run);
        Ok(())
    }

    fn costs(self) -> anyhow::Result<Costs> {
        // Memory at rest: netmon drops a page when nobody can get it any more, which is a moment after the scrape.
        thread::sleep(Duration::from_millis(100));
        let latencies: Vec<_> = self.runs.iter().map(|run| run.latency).collect();
        Ok(Costs {
            memory_bytes: self.process.memory_bytes()?,
            runs: self.runs.try_into().ok().context("there were other runs")?,
            latency: median(&latencies),
            series: self.series,
            bytes: self.bytes,
        })
    }
}

/// Adds what was measured at one size, and the bounds at that size.
fn add(report: &mut Report, row: &Row) {
    let containers = row.containers;
    let at = |size, bound| (containers == size).then_some(bound);
    let mut add = |what: &str, value, unit, bound| {
        report.add(&format!("{what}, {containers} containers"), value, unit, bound);
    };
    let (named, attached) = (row.started.named.as_secs_f64(), row.started.attached.as_secs_f64());
    add(
        "start until all containers are named",
        named,
        "s",
        at(MANY, NAMED_BOUND),
    );
    add(
        "start until all programs are attached",
        attached,
        "s",
        at(MANY, beside::BEFORE_ATTACHED),
    );
    add(
        "asked to end, ended after",
        row.ended.as_secs_f64(),
        "s",
        Some(END_BOUND),
    );
    add(
        &format!(
            "netmon: peak memory beside {} clients that do not read their pages",
            clients::SLOW_READERS
        ),
        row.slow_readers,
        "MB",
        Some(clients::SLOW_READERS_BOUND),
    );
    add("netmon: kernel memory of its maps", row.maps, "MB", None);
    let cpu_bound = CPU_BOUNDS.into_iter().find_map(|(size, bound)| at(size, bound));
    for (who, costs, is_ours) in [
        ("netmon", &row.netmon, true),
        ("node exporter", &row.node_exporter, false),
    ] {
        let ours = |bound: Option<f64>| bound.filter(|_| is_ours);
        let memory_bound = at(MEMORY_CONTAINERS, MEMORY_BOUND);
        add(
            &format!("{who}: resident memory"),
            costs.memory_bytes / 1e6,
            "MB",
            ours(memory_bound),
        );
        add(
            &format!("{who}: a page"),
            costs.latency,
            "ms",
            ours(at(MANY, LATENCY_BOUND)),
        );
        for (number, run) in costs.runs.iter().enumerate() {
            add(
                &format!("{who}: CPU of a page, run {}", number + 1),
                run.cpu,
                "ms",
                None,
            );
        }
        add(&format!("{who}: CPU of a page"), costs.cpu(), "ms", ours(cpu_bound));
        add(&format!("{who}: series"), costs.series as f64, "", None);
        add(
            &format!("{who}: a page, compressed"),
            costs.bytes as f64 / 1e3,
            "kB",
            None,
        );
    }
    let share = row.netmon.cpu() / row.node_exporter.cpu() * 100.0;
    add(
        "netmon: CPU of a page, of the node exporter's",
        share,
        "%",
        at(MANY, SHARE_BOUND),
    );
    add(
        "netmon: CPU of a page beside containers that are still",
        row.still.cpu,
        "ms",
        None,
    );
    for part in &row.parts {
        add(&format!("part of netmon's page: {}", part.name), part.share, "%", None);
    }
}

/// The median of at least one figure.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[half - 1], sorted[half])
    } else {
        sorted[half]
    }
}

/// The rows as a table in Markdown.
fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| containers (two networks each) | named after | attached after | netmon: memory | a page | CPU of a page | series | \
         node exporter: memory | a page | CPU of a page | series |"
            .to_owned(),
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for row in rows {
        let cells = |costs: &Costs| {
            format!(
                "{:.0} MB | {:.1} ms | {:.1} ms | {}",
                costs.memory_bytes / 1e6,
                costs.latency,
                costs.cpu(),
                costs.series
            )
        };
        lines.push(format!(
            "| {} | {:.1} s | {:.0} s | {} | {} |",
            row.containers,
            row.started.named.as_secs_f64(),
            row.started.attached.as_secs_f64(),
            cells(&row.netmon),
            cells(&row.node_exporter)
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}
