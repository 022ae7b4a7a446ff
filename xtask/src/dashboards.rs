//! `cargo xtask dashboards`: generates the dashboards and rules from the code in `dashboards/`, checks them, or draws
//! them.
//!
//! Must not know what they show. That is in the package `netmon-dashboards`, which runs as a process of its own: it
//! needs netmon's catalog, and xtask is to build without netmon.

mod preview;

use crate::{needs::Purpose, setup, sh};

/// What to do with the dashboards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Generate the files.
    Make,
    /// Fail if a file differs from what would be generated.
    Check,
    /// Generate the files, and draw pictures of the dashboards.
    Preview,
}

/// Carries out `wish`.
pub(crate) fn run(wish: Wish) -> anyhow::Result<()> {
    setup::run(Purpose::Build)?;
    let mut cargo = sh::cargo(["run", "--quiet", "--package", "netmon-dashboards"]);
    match wish {
        Wish::Check => sh::run("dashboards and rules", cargo.args(["--", "--check"])),
        Wish::Make => sh::run("dashboards and rules", &mut cargo),
        Wish::Preview => {
            sh::run("dashboards and rules", &mut cargo)?;
            preview::run()
        }
    }
}
