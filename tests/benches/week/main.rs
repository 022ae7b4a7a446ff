//! How long the dashboards take to open on a week of data: three nodes, every panel, a real Prometheus.
//!
//! Run with `cargo xtask bench week`. The data are made from the golden page: its series, with more containers, on
//! three nodes, every 15 s for a week. promtool writes them into Prometheus' storage, where they stay for the next
//! run.
//!
//! Each query is sent as Grafana sends it, over HTTP, several times. The result is the least processor time that
//! Prometheus used for it, over all its threads. So long does a person wait if the machine does nothing else. The
//! elapsed time would also depend on what else it does.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod history;
#[path = "../../../netmon/benches/costs/report.rs"]
mod report;

use std::{
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    dashboards::{Panel, Query, panels},
    prometheus::Prometheus,
};

use history::{History, INTERVAL};
use report::Report;

/// The time range that a dashboard shows when it is opened.
const OPENED: Duration = Duration::from_hours(1);
/// The time range of all data.
const WEEK: Duration = Duration::from_hours(7 * 24);
/// The number of points that a panel has room for.
const POINTS: u32 = 720;
/// The folder of the data, relative to the package's folder, where cargo runs benchmarks.
const FOLDER: &str = "../target/week";
/// How often each query is sent.
const ROUNDS: usize = 5;
/// How many of the slowest panels are listed.
const WORST: usize = 10;
/// How long a query of an opened dashboard may take, in milliseconds of processor time.
const BOUND: f64 = 50.0;
/// How long Prometheus may take to compact its blocks.
const SETTLING: Duration = Duration::from_mins(5);

fn main() -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let folder = env::current_dir()?.join(FOLDER);
    let begin = Instant::now();
    let history = History::new()?;
    let end = history.write(&folder, now, WEEK)?;
    println!(
        "a week of {} series: to write it, or to find it written, took {:.0} s",
        history.series(),
        begin.elapsed().as_secs_f64()
    );
    let prometheus = Prometheus::start(&folder, &[])?;
    settle(&prometheus)?;
    let stored = prometheus.series(&format!("count({{job=\"netmon\"}} @ {end})"))?;
    ensure!(!stored.is_empty(), "Prometheus has nothing of it");

    let mut report = Report::default();
    let range = OPENED.as_secs();
    let step = (range / u64::from(POINTS)).max(INTERVAL);
    let rate = (step + INTERVAL).max(4 * INTERVAL);
    let window = format!("start={}&end={end}&step={step}", end - range);
    let mut times = Vec::new();
    for Panel { name, queries } in panels(&format!("{rate}s"), &format!("{range}s"))? {
        let mut slowest = 0_f64;
        for query in &queries {
            let time = best(&prometheus, query, &window, end).with_context(|| format!("{name}: `{}`", query.text))?;
            slowest = slowest.max(time);
        }
        times.push((slowest, name));
    }
    times.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (middle, _) = times.get(times.len() / 2).context("there are no panels")?;
    report.add(
        &format!("the middle one of {} panels", times.len()),
        *middle,
        "ms",
        Some(BOUND),
    );
    for (time, name) in times.iter().take(WORST) {
        report.add(name, *time, "ms", Some(BOUND));
    }
    print!("{report}");
    report.write("../target/bench-week.jsonl".as_ref())?;
    report.verdict()
}

/// The least processor time of an answer, in milliseconds.
fn best(prometheus: &Prometheus, query: &Query, window: &str, end: u64) -> anyhow::Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begin = prometheus.processor_time()?;
        if query.is_instant {
            prometheus.moment(&query.text, end)?;
        } else {
            prometheus.range(&query.text, window)?;
        }
        let took = prometheus.processor_time()?.saturating_sub(begin);
        best = best.min(took.as_secs_f64() * 1000.0);
    }
    Ok(best)
}

/// Waits until Prometheus has compacted its blocks. The measurement would otherwise include that.
fn settle(prometheus: &Prometheus) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut last = (String::new(), Instant::now());
    while begin.elapsed() < SETTLING {
        let metrics = prometheus.text("/metrics")?;
        let compactions: String = metrics
            .lines()
            .filter(|line| {
                line.starts_with("prometheus_tsdb_compactions_t") || line.starts_with("prometheus_tsdb_blocks")
            })
            .collect();
        if compactions != last.0 {
            last = (compactions, Instant::now());
        } else if last.1.elapsed() > Duration::from_secs(15) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
