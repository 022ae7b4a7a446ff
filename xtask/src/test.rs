//! `cargo xtask test`: three tiers, none skipped in silence. Owns what is run and with what; `.config/nextest.toml` owns
//! how.

pub(crate) mod report;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use self::report::Report;
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
    #[value(alias = "pure")]
    Quick,
    /// The real kernel: network namespaces, programs attached. Needs root.
    Kernel,
    /// Real engines, a real Swarm, a real Prometheus. Needs root.
    Engine,
}

impl Tier {
    const ALL: [Self; 3] = [Self::Quick, Self::Kernel, Self::Engine];

    /// The profile in `.config/nextest.toml`.
    fn profile(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Kernel => "kernel",
            Self::Engine => "engine",
        }
    }

    /// What it does to the machine, and how long it takes on two processors once everything is built.
    fn announcement(self) -> &'static str {
        match self {
            Self::Quick => "decisions, encodings, golden pages; a minute",
            Self::Kernel => "network namespaces and kernel programs, all the tests' own; about four minutes",
            Self::Engine => "Docker engines and Swarms of the tests' own, beside the machine's; about eight minutes",
        }
    }
}

/// What somebody asked for.
#[derive(Debug)]
pub(crate) struct Wish {
    /// One tier, or all.
    pub(crate) tier: Option<Tier>,
    /// Only tests whose names contain one of these; all if there is none.
    pub(crate) names: Vec<String>,
    /// Only to build what they need.
    pub(crate) no_run: bool,
}

/// Runs one tier or all; of those, only what the names say.
pub(crate) fn run(wish: &Wish) -> anyhow::Result<()> {
    let tiers: Vec<Tier> = wish.tier.map_or(Tier::ALL.to_vec(), |tier| vec![tier]);
    announce(&tiers);
    let needs_root = tiers.iter().any(|tier| *tier != Tier::Quick);
    if needs_root && !sh::is_root() {
        bail!(
            "the kernel's and the engine's tests need root: `sudo -E env PATH=$PATH cargo xtask test`, or `cargo xtask \
             test quick` for the others"
        );
    }
    setup::run(if needs_root { Purpose::Test } else { Purpose::Quick })?;
    if wish.no_run {
        return build_all(&tiers);
    }
    let mut outcomes = Vec::new();
    for tier in &tiers {
        outcomes.push(run_tier(*tier, &wish.names));
    }
    Report::of(tiers.iter().map(|tier| junit(tier.profile())))?.print();
    outcomes.into_iter().collect()
}

/// Runs the kernel's tests on another kernel than this machine's.
pub(crate) fn on_kernel(series: &str, names: &[String]) -> anyhow::Result<()> {
    setup::run(Purpose::Vm)?;
    vm::run(series, names, &image::run()?.binary)
}

/// Says what is about to be done, and how long that takes.
fn announce(tiers: &[Tier]) {
    sh::say("This builds netmon and its tests (six minutes in a fresh clone on two processors), and runs:");
    for tier in tiers {
        sh::say(format!("  {:<8} {}", tier.profile(), tier.announcement()));
    }
    sh::say("What it has to install is named before it is installed. What tests make is gone when they end.");
}

/// Builds everything that those tiers run, but for netmon's image.
fn build_all(tiers: &[Tier]) -> anyhow::Result<()> {
    for tier in tiers {
        sh::run(
            &format!("build the {} tests", tier.profile()),
            tests(*tier)?.arg("--no-run"),
        )?;
    }
    if tiers.contains(&Tier::Engine) {
        build::run(false)?;
    }
    Ok(())
}

fn run_tier(tier: Tier, names: &[String]) -> anyhow::Result<()> {
    let mut command = tests(tier)?;
    if tier != Tier::Quick {
        // What is run on nodes, to the byte: not another build of it.
        let image = image::run()?;
        with_tools(&mut command, &image.binary)?.env("NETMON_TEST_IMAGE", &image.archive);
        if tier == Tier::Engine {
            with_engines(&mut command, &image)?;
        }
    }
    sh::run(&format!("{} tests", tier.profile()), command.args(names))
}

/// The tests of a tier: a command to which more arguments and an environment can be added.
fn tests(tier: Tier) -> anyhow::Result<Command> {
    let mut command = nextest(tier.profile())?;
    match tier {
        Tier::Quick => {
            command.arg("--workspace");
            for package in ["netmon-ebpf", "netmon-fuzz", "netmon-tests"] {
                command.args(["--exclude", package]);
            }
        }
        Tier::Kernel | Tier::Engine => {
            command.args(["--package", "netmon-tests", "--test", tier.profile()]);
        }
    }
    Ok(command)
}

/// cargo-nextest, by one of its profiles.
fn nextest(profile: &str) -> anyhow::Result<Command> {
    let program = needs::nextest().map_err(anyhow::Error::msg)?;
    let file = junit(profile);
    if file.exists() {
        // What is read afterwards is of this run.
        std::fs::remove_file(&file).with_context(|| format!("{} cannot be removed", file.display()))?;
    }
    let mut command = Command::new(program);
    command
        .current_dir(sh::workspace())
        .args(["nextest", "run", "--profile", profile, "--no-tests", "fail"]);
    Ok(command)
}

/// Where a profile's results are written.
pub(crate) fn junit(profile: &str) -> PathBuf {
    results().join(profile).join("junit.xml")
}

/// The folder of all profiles' results.
pub(crate) fn results() -> PathBuf {
    sh::workspace().join("target/nextest")
}

/// Adds what is installed and upgraded.
fn with_engines(command: &mut Command, image: &Image) -> anyhow::Result<()> {
    command
        .env("NETMON_TEST_PACKAGE", dist::package(image)?)
        // What netmon is upgraded to.
        .env("NETMON_TEST_OTHER_BUILD", build::run(false)?);
    Ok(())
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
