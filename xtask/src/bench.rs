//! `cargo xtask bench`: what netmon costs (`netmon/benches/costs`), with a real engine (`tests/benches/node`), and what its
//! dashboards cost Prometheus (`tests/benches/week`).

use clap::ValueEnum;

use crate::{
    build,
    needs::{self, Purpose},
    setup, sh, test,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Packets, events, scrapes, attaching: a minute.
    Costs,
    /// A node with an engine: some minutes.
    Node,
    /// The dashboards' queries on a week of data: some minutes.
    Week,
}

/// Measures one thing or all, prints the tables, and fails if a bound is not kept.
pub(crate) fn run(subject: Option<Subject>) -> anyhow::Result<()> {
    let wanted = |it| subject.is_none_or(|subject| subject == it);
    setup::run(Purpose::Test)?;
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
    if wanted(Subject::Node) {
        let netmon = build::run(true)?;
        let mut cargo = sh::cargo(["bench", "--package", "netmon-tests", "--bench", "node"]);
        outcomes.push(sh::run(
            "measure a node with an engine (some minutes; results also in target/bench-node.jsonl)",
            test::with_tools(&mut cargo, &netmon)?,
        ));
    }
    if wanted(Subject::Week) {
        // Nothing runs but Prometheus.
        let mut cargo = sh::cargo(["bench", "--package", "netmon-tests", "--bench", "week"]);
        outcomes.push(sh::run(
            "measure the dashboards on a week of data (some minutes; results also in target/bench-week.jsonl)",
            cargo.env("NETMON_TEST_PROMETHEUS", needs::prometheus().join("usr/bin")),
        ));
    }
    outcomes.into_iter().collect()
}
