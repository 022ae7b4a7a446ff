//! What netmon costs a node with a real engine: how much longer `docker run` takes, and what netmon uses when idle.
//!
//! Run with `cargo xtask bench`; needs root. The engine is the benchmark's own, in namespaces of its own.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "../../../netmon/benches/costs/report.rs"]
mod report;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use netmon_tests::{
    lab::{Engine, IMAGE, Lab, Node},
    processor,
};

use report::Report;

/// The number of rounds. Each has one half with netmon and one without, so that other load on the machine affects
/// both.
const ROUNDS: usize = 20;
/// How many containers run in each half of a round.
const RUNS: usize = 6;
/// The network of containers whose start is timed.
const NETWORK: &str = "bench";
/// How many containers exist while netmon is idle.
const CONTAINERS: usize = 20;
/// How long netmon is watched while idle.
const IDLE: Duration = Duration::from_mins(1);
/// How often each reading is repeated to compare costs.
const LOOKS: u32 = 20;
/// How long netmon may take to end after the signal, in seconds. An engine kills it after ten.
const END_BOUND: f64 = 1.0;
/// The interval of a usual Prometheus.
const SCRAPES_EVERY: Duration = Duration::from_secs(15);

fn main() -> anyhow::Result<()> {
    let mut report = Report::default();
    let lab = Lab::up(1, Engine::Installed)?;
    let node = lab.node(1);

    // With a resolver of the engine's, so that loopback gets a program, too.
    node.docker(&format!("network create {NETWORK}"))?;
    starts(&mut report, node)?;
    idle(&mut report, node)?;
    stats(&mut report, node)?;

    print!("{report}");
    // cargo runs benchmarks in the package's folder.
    report.write("../target/bench-node.jsonl".as_ref())?;
    report.verdict()
}

/// The time of `docker run`, from the command to its return: for containers that end at once, and for some that stay.
fn starts(report: &mut Report, node: Node<'_>) -> anyhow::Result<()> {
    for _ in 0..3 {
        run(node, "--rm", "true")?;
    }
    for (what, flags, command) in [("run --rm", "--rm", "true"), ("run -d", "-d", "sleep infinity")] {
        let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            // The order of the halves alternates, because a node may become slower over time.
            let mut half = |is_with: bool| -> anyhow::Result<f64> {
                let netmon = is_with.then(|| node.netmon(&[])).transpose()?;
                if let Some(netmon) = &netmon {
                    netmon.wait_ready()?;
                }
                let mut times = Vec::new();
                for _ in 0..RUNS {
                    times.push(run(node, flags, command)?);
                }
                let left = node.docker("ps -q")?.replace('\n', " ");
                if !left.is_empty() {
                    node.docker(&format!("rm -f {left}"))?;
                }
                let time = median(&mut times);
                if is_with { &mut with } else { &mut without }.push(time);
                Ok(time)
            };
            let (first, second) = (half(round % 2 == 0)?, half(round % 2 == 1)?);
            ratios.push(if round % 2 == 0 { first / second } else { second / first });
        }
        let (with, without) = (median(&mut with), median(&mut without));
        report.add(
            &format!("docker {what} without netmon (median)"),
            without * 1e3,
            "ms",
            None,
        );
        report.add(&format!("docker {what} with netmon (median)"), with * 1e3, "ms", None);
        let added = (median(&mut ratios) - 1.0) * 100.0;
        report.add(
            &format!("what netmon adds to docker {what} (median of rounds)"),
            added,
            "%",
            Some(5.0),
        );
    }
    Ok(())
}

/// The time it takes to run a container, in seconds.
fn run(node: Node<'_>, flags: &str, command: &str) -> anyhow::Result<f64> {
    let begin = Instant::now();
    node.docker(&format!("run {flags} --network {NETWORK} {IMAGE} {command}"))?;
    Ok(begin.elapsed().as_secs_f64())
}

/// netmon's CPU use with containers that do nothing, and a scrape from time to time.
fn idle(report: &mut Report, node: Node<'_>) -> anyhow::Result<()> {
    for number in 0..CONTAINERS {
        node.start_container(&format!("idle{number}"), "")?;
    }
    let netmon = node.netmon(&[])?;
    netmon.wait_ready()?;
    // netmon's own figure. Threads that entered a namespace end afterwards, so most of its threads have ended.
    let cpu = || netmon.page()?.value("process_cpu_seconds_total", &[]);
    let before = cpu()?;
    let mut after = before;
    for _ in 0..IDLE.as_secs() / SCRAPES_EVERY.as_secs() {
        thread::sleep(SCRAPES_EVERY);
        after = cpu()?;
    }
    let share = (after - before) / IDLE.as_secs_f64();
    report.add(
        "idle CPU, 20 containers, scraped every 15 s",
        share * 100.0,
        "% of a core",
        Some(0.1),
    );
    let (status, ended) = netmon.terminate()?;
    ensure!(status.success(), "netmon ended with {status}");
    report.add(
        "asked to end, 20 containers, ended after",
        ended.as_secs_f64(),
        "s",
        Some(END_BOUND),
    );
    Ok(())
}

/// What a scrape costs, compared with `docker stats`, which has no networks and no drops.
fn stats(report: &mut Report, node: Node<'_>) -> anyhow::Result<()> {
    let netmon = node.netmon(&[])?;
    netmon.wait_ready()?;
    // Its process id in the node's own PID namespace.
    let dockerd = node.exec("cat /run/docker.pid")?;
    let mut measure = |who: &str, file: File<'_>, look: Said<'_, ()>| -> anyhow::Result<()> {
        look()?;
        let (begin, before) = (Instant::now(), processor::time(&file("stat")?)?);
        for _ in 0..LOOKS {
            look()?;
        }
        let (time, spent) = (
            begin.elapsed().as_secs_f64(),
            (processor::time(&file("stat")?)?.saturating_sub(before)).as_secs_f64(),
        );
        let each = 1e3 / f64::from(LOOKS);
        report.add(&format!("{who}, {CONTAINERS} containers"), time * each, "ms", None);
        report.add(
            &format!("{who}, {CONTAINERS} containers: CPU of the one who is asked"),
            spent * each,
            "ms",
            None,
        );
        report.add(
            &format!("{who}, {CONTAINERS} containers: memory of the one who is asked"),
            processor::resident(&file("status")?)? as f64 / 1e6,
            "MB",
            None,
        );
        Ok(())
    };
    let file = |name: &str| Ok(std::fs::read_to_string(format!("/proc/{}/{name}", netmon.pid()))?);
    measure("a scrape of netmon", &file, &|| netmon.page().map(drop))?;
    let file = |name: &str| node.exec(&format!("cat /proc/{}/{name}", dockerd.trim()));
    measure("docker stats", &file, &|| {
        let shown = node.docker("stats --no-stream --format {{.Name}}={{.NetIO}}")?;
        anyhow::ensure!(shown.lines().count() == CONTAINERS, "docker stats shows {shown}");
        Ok(())
    })
}

/// A reading that is repeated.
type Said<'a, T> = &'a dyn Fn() -> anyhow::Result<T>;

/// Reads the file of that name in a process' `/proc` folder.
type File<'a> = &'a dyn Fn(&str) -> anyhow::Result<String>;

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
