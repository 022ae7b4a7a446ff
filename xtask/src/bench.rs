//! `cargo xtask bench`: what netmon costs. The measuring is `netmon/benches/costs`.

use crate::{needs::Purpose, setup, sh};

/// Measures, prints the table, and fails if a bound is not kept.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::run(Purpose::Demo)?;
    sh::run(
        "measure (about a minute; results also in target/bench.jsonl)",
        &mut sh::cargo([
            "bench",
            "--package",
            "netmon",
            "--features",
            "bench",
            "--bench",
            "costs",
        ]),
    )
}
