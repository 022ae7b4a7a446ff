//! `cargo xtask build`.

use std::path::PathBuf;

use crate::{needs::Purpose, setup, sh};

/// Builds netmon and returns the binary's path.
pub(crate) fn run(release: bool) -> anyhow::Result<PathBuf> {
    setup::run(Purpose::Build)?;
    let profile = if release { "release" } else { "debug" };
    let mut cargo = sh::cargo(["build", "--package", "netmon"]);
    if release {
        cargo.arg("--release");
    }
    sh::run(&format!("build netmon ({profile})"), &mut cargo)?;
    Ok(binary(release))
}

/// The path that cargo builds the binary to.
pub(crate) fn binary(release: bool) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| sh::workspace().join("target"), PathBuf::from);
    target.join(if release { "release" } else { "debug" }).join("netmon")
}
