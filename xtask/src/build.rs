//! `cargo xtask build`.

use std::path::PathBuf;

use crate::{needs::Purpose, setup, sh};

/// Builds netmon, and gives the binary's path.
pub(crate) fn run(release: bool) -> anyhow::Result<PathBuf> {
    setup::run(Purpose::Build)?;
    let profile = if release { "release" } else { "debug" };
    let mut cargo = sh::cargo(["build", "--package", "netmon"]);
    if release {
        cargo.arg("--release");
    }
    sh::run(&format!("build netmon ({profile})"), &mut cargo)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| sh::workspace().join("target"), PathBuf::from);
    Ok(target.join(profile).join("netmon"))
}
