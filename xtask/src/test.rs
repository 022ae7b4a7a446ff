//! `cargo xtask test`: three tiers, none skipped in silence.

use std::{path::Path, process::Command};

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use crate::{
    build, dist,
    image::{self, Image},
    needs,
    needs::Purpose,
    setup, sh, vm,
};

/// A tier of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// No privileges, no kernel, no engine: unit tests and golden files.
    Pure,
    /// The real kernel: network namespaces, programs attached. Needs root.
    Kernel,
    /// Real engines, a real Swarm, a real Prometheus. Needs root.
    Engine,
}

/// Tests that do to a machine what nobody wants done to his own: they run with `--kernel`, in an emulated one.
const EMULATED_ONLY: &str = "clock::";

/// Runs one tier or all; of those, only what the name says.
pub(crate) fn run(tier: Option<Tier>, name: Option<&str>) -> anyhow::Result<()> {
    let wanted = |it| tier.is_none_or(|tier| tier == it);
    if wanted(Tier::Pure) {
        setup::run(Purpose::Build)?;
        let mut cargo = sh::cargo([
            "test",
            "--workspace",
            "--exclude",
            "netmon-ebpf",
            "--exclude",
            "netmon-fuzz",
            "--exclude",
            "netmon-tests",
        ]);
        sh::run("pure tests", cargo.args(name))?;
    }
    if !wanted(Tier::Kernel) && !wanted(Tier::Engine) {
        return Ok(());
    }
    if !sh::is_root() {
        bail!(
            "the kernel's and the engine's tests need root: `sudo -E env PATH=$PATH cargo xtask test`, or `cargo xtask \
             test pure` for the others"
        );
    }
    setup::run(Purpose::Test)?;
    // What is run on nodes, to the byte: not another build of it.
    let image = image::run()?;
    if wanted(Tier::Kernel) {
        sh::run("kernel tests", &mut tests("kernel", name, &image)?)?;
    }
    if wanted(Tier::Engine) {
        let package = dist::package(&image)?;
        // What netmon is upgraded to.
        let other_build = build::run(false)?;
        sh::run(
            "engine tests",
            tests("engine", name, &image)?
                .env("NETMON_TEST_PACKAGE", package)
                .env("NETMON_TEST_OTHER_BUILD", other_build),
        )?;
    }
    Ok(())
}

/// Runs the kernel's tests on another kernel than this machine's.
pub(crate) fn on_kernel(series: &str, name: Option<&str>) -> anyhow::Result<()> {
    setup::run(Purpose::Vm)?;
    vm::run(series, name, &image::run()?.binary)
}

/// The tests of one tier.
fn tests(target: &str, name: Option<&str>, image: &Image) -> anyhow::Result<Command> {
    let mut cargo = sh::cargo(["test", "--package", "netmon-tests", "--test", target]);
    with_tools(&mut cargo, &image.binary)?
        .env("NETMON_TEST_IMAGE", &image.archive)
        .args(name)
        // Tests share one kernel with one networking lock and one set of counters of programs: side by side they
        // would measure each other.
        .args(["--", "--test-threads=1", "--skip", EMULATED_ONLY]);
    Ok(cargo)
}

/// Tells the command where everything is that fixtures need.
pub(crate) fn with_tools<'a>(command: &'a mut Command, netmon: &Path) -> anyhow::Result<&'a mut Command> {
    let path = std::env::var("PATH").context("PATH is not set")?;
    Ok(command
        .env("NETMON_TEST_BINARY", netmon)
        .env("NETMON_TEST_PROMETHEUS", needs::prometheus().join("usr/bin"))
        .env("NETMON_TEST_NODE_EXPORTER", needs::node_exporter())
        .env("NETMON_TEST_NEW_ENGINE", needs::new_engine())
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        // Errors say where and what; whose code passed them on helps nobody.
        .env("RUST_BACKTRACE", "0"))
}
