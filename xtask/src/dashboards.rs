//! `cargo xtask dashboards`: makes the dashboards and rules from the code in `dashboards/`, checks them, or draws them.
//!
//! Must not know what they show: the package `netmon-dashboards` does, and needs netmon's catalog, which xtask does not
//! want to be built for.

mod preview;

use crate::{needs::Purpose, setup, sh};

/// What is to be done with the dashboards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Make the files anew.
    Make,
    /// Fail if a file is not what would be made.
    Check,
    /// Make them, and pictures of them.
    Preview,
}

/// Does it.
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
