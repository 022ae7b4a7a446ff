//! How long the dashboards take on a week of data: three nodes, every panel, a real Prometheus.
//!
//! Run with `cargo xtask bench week`. The data are made from the golden page: its series, with more containers, on three
//! nodes, every 15 s for a week, written into Prometheus' storage by promtool.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod history;
#[path = "../../../netmon/benches/costs/report.rs"]
mod report;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    dashboards::{Panel, panels},
    prometheus::Prometheus,
    scratch::Scratch,
};

use history::History;
use report::Report;

/// What a dashboard shows when it is opened.
const OPENED: Duration = Duration::from_hours(1);
/// All there is.
const WEEK: Duration = Duration::from_hours(7 * 24);
/// Points that a panel has room for.
const POINTS: u32 = 720;
/// How often each query is asked; the median counts.
const ROUNDS: usize = 5;
/// How long a query of a dashboard that is opened may take.
const BOUND: f64 = 50.0;
/// How long Prometheus may take to put the days together.
const SETTLING: Duration = Duration::from_mins(5);

fn main() -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let scratch = Scratch::new()?;
    let begin = Instant::now();
    let history = History::new()?;
    let end = history.write(scratch.path(), now, WEEK)?;
    println!(
        "{} series, a week of them written in {:.0} s",
        history.series(),
        begin.elapsed().as_secs_f64()
    );
    let prometheus = Prometheus::start(scratch.path(), &[])?;
    settle(&prometheus)?;
    let stored = prometheus.series(&format!("count({{job=\"netmon\"}} @ {end})"))?;
    ensure!(!stored.is_empty(), "Prometheus has nothing of it");

    let mut report = Report::default();
    for (what, range, bound) in [("an hour", OPENED, Some(BOUND)), ("the week", WEEK, None)] {
        let step = (range.as_secs() / u64::from(POINTS)).max(history.interval());
        let rate = (step + history.interval()).max(4 * history.interval());
        let all = panels(&format!("{rate}s"), &format!("{}s", range.as_secs()))?;
        let mut times = Vec::new();
        for Panel { name, queries } in &all {
            for query in queries {
                let window = format!("start={}&end={end}&step={step}", end - range.as_secs());
                times.push((median(&prometheus, query, &window)?, name));
            }
        }
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (slowest, name) = times.last().context("there are no panels")?;
        let (middle, _) = times.get(times.len() / 2).context("there are no panels")?;
        report.add(&format!("a query over {what}, the middle one"), *middle, "ms", None);
        report.add(
            &format!("a query over {what}, the slowest ({name})"),
            *slowest,
            "ms",
            bound,
        );
    }
    print!("{report}");
    // cargo runs benchmarks in the package's folder.
    report.write("../target/bench-week.jsonl".as_ref())?;
    report.verdict()
}

/// The middle time of several, in milliseconds.
fn median(prometheus: &Prometheus, query: &str, window: &str) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        prometheus.range(query, window).with_context(|| format!("`{query}`"))?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    times.get(ROUNDS / 2).copied().context("no rounds")
}

/// Waits until Prometheus has put the blocks together: it would be measured doing that.
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
