//! `cargo xtask bench`: what netmon costs (`netmon/benches/costs`), with a real engine (`tests/benches/node`), how it grows
//! (`tests/benches/scale`), with containers that come and go (`tests/benches/churn`), and what its dashboards cost
//! Prometheus (`tests/benches/week`). `cargo xtask soak`: whether it stays as it is (`tests/benches/soak`).

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{build, needs::Purpose, setup, sh, test};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Packets, events, scrapes, attaching: a minute.
    Costs,
    /// A node with an engine: some minutes.
    Node,
    /// Up to a thousand containers, beside Prometheus' node exporter: some minutes.
    Scale,
    /// Five thousand short-lived containers: some minutes.
    Churn,
    /// The dashboards' queries on a week of data: some minutes.
    Week,
}

/// Measures one thing or all, prints the tables, and fails if a bound is not kept.
pub(crate) fn run(subject: Option<Subject>) -> anyhow::Result<()> {
    let wanted = |it| subject.is_none_or(|subject| subject == it);
    setup::run(Purpose::Bench)?;
    // All are measured, whatever the first of them says.
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
            // Nothing runs but Prometheus on a week of data.
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

/// Watches netmon for that long while containers come and go, and fails if what it holds grows or it counts wrong.
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
