//! `cargo xtask bench`: what netmon costs. The measuring is `netmon/benches/costs`, and with a real engine
//! `tests/benches/node`.

use crate::{build, needs::Purpose, setup, sh, test};

/// Measures, prints the tables, and fails if a bound is not kept.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::run(Purpose::Test)?;
    let netmon = build::run(true)?;
    let costs = sh::run(
        "measure netmon (a minute; results also in target/bench.jsonl)",
        &mut sh::cargo([
            "bench",
            "--package",
            "netmon",
            "--features",
            "bench",
            "--bench",
            "costs",
        ]),
    );
    let mut cargo = sh::cargo(["bench", "--package", "netmon-tests", "--bench", "node"]);
    sh::run(
        "measure a node with an engine (some minutes; results also in target/bench-node.jsonl)",
        test::with_tools(&mut cargo, &netmon)?,
    )?;
    costs
}
