//! `cargo xtask bench` and `cargo xtask soak`: runs the benchmarks, and owns which ones there are. Must not know what
//! a benchmark measures.
//!
//! - `netmon/benches/costs`: what netmon costs.
//! - `tests/benches/node`: the same on a node with a real engine.
//! - `tests/benches/scale`: how the costs grow with the number of containers.
//! - `tests/benches/churn`: short-lived containers.
//! - `tests/benches/week`: what the dashboards cost Prometheus.
//! - `tests/benches/soak`: whether memory, descriptors and map entries grow over time.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{build, needs::Purpose, setup, sh, test};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Packets, events, scrapes, attaching: a minute.
    Costs,
    /// A node with an engine: some minutes.
    Node,
    /// 10 to 1,000 containers, compared with Prometheus' node exporter: some minutes.
    Scale,
    /// Five thousand short-lived containers: some minutes.
    Churn,
    /// The dashboards' queries on a week of data: some minutes.
    Week,
}

/// Runs one benchmark or all of them, prints their tables, and fails if a bound is exceeded.
pub(crate) fn run(subject: Option<Subject>) -> anyhow::Result<()> {
    let wanted = |it| subject.is_none_or(|subject| subject == it);
    setup::run(Purpose::Bench)?;
    // All benchmarks run, even if the first one fails.
    let mut outcomes = Vec::new();
    if wanted(Subject::Costs) {
        let arguments = ["--package", "netmon", "--features", "bench", "--bench", "costs"];
        let mut cargo = sh::cargo(["bench"]);
        outcomes.push(sh::run(
            "measure netmon (a minute; results also in target/bench.jsonl)",
            cargo.args(arguments),
        ));
    }
    for (subject, name, what) in [
        (
            Subject::Node,
            "node",
            "measure a node with an engine (some minutes; results also in target/bench-node.jsonl)",
        ),
        (
            Subject::Scale,
            "scale",
            "measure up to a thousand containers (some minutes; results also in target/bench-scale.jsonl, scale.md, scale.svg)",
        ),
        (
            Subject::Churn,
            "churn",
            "measure five thousand short-lived containers (some minutes; results also in target/bench-churn.jsonl)",
        ),
        (
            Subject::Week,
            "week",
            "measure the dashboards on a week of data (some minutes; results also in target/bench-week.jsonl)",
        ),
    ] {
        if wanted(subject) {
            let mut cargo = sh::cargo(["bench", "--package", "netmon-tests", "--bench", name]);
            // The week benchmark runs Prometheus only, not netmon.
            let netmon = if subject == Subject::Week {
                PathBuf::new()
            } else {
                build::run(true)?
            };
            outcomes.push(sh::run(what, test::with_tools(&mut cargo, &netmon)?));
        }
    }
    outcomes.into_iter().collect()
}

/// Watches netmon for `minutes` while containers start and end. Fails if its resources grow or if it counts wrong.
pub(crate) fn soak(minutes: u64) -> anyhow::Result<()> {
    setup::run(Purpose::Test)?;
    let netmon = build::run(true)?;
    let mut cargo = sh::cargo(["bench", "--package", "netmon-tests", "--bench", "soak"]);
    cargo.env("NETMON_SOAK_MINUTES", minutes.to_string());
    sh::run(
        &format!("soak ({minutes} minutes; result also in target/soak.md)"),
        test::with_tools(&mut cargo, &netmon)?,
    )
}
