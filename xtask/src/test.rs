//! `cargo xtask test`: three tiers, none of which is skipped silently. Owns which tests run, and with which tools;
//! `.config/nextest.toml` owns how.

#[cfg(test)]
mod profiles;
pub(crate) mod report;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;

use self::report::Report;
use crate::{
    build, ci, dist, image, needs,
    needs::Purpose,
    setup, sh,
    vm::{self, Machine},
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

    /// Its profile in `.config/nextest.toml`.
    fn profile(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Kernel => "kernel",
            Self::Engine => "engine",
        }
    }

    /// The packages and targets that cargo builds.
    fn packages(self) -> Vec<&'static str> {
        match self {
            Self::Quick => vec!["--workspace", "--exclude", "netmon-fuzz", "--exclude", "netmon-tests"],
            Self::Kernel | Self::Engine => vec!["--package", "netmon-tests", "--test", self.profile()],
        }
    }

    /// What the tier does to the machine, and how long it takes on two processors once everything is built.
    fn announcement(self) -> &'static str {
        match self {
            Self::Quick => "decisions, encodings, golden pages; a minute",
            Self::Kernel => "network namespaces and kernel programs, all the tests' own; about three minutes",
            Self::Engine => "Docker engines and Swarms of the tests' own, beside the machine's; about six minutes",
        }
    }
}

/// Which tests to run, and how.
#[derive(Debug)]
pub(crate) struct Wish {
    /// One tier, or all.
    pub(crate) tier: Option<Tier>,
    /// Only tests whose names contain one of these; all tests if it is empty.
    pub(crate) names: Vec<String>,
    /// Whether to build, to run, or both.
    pub(crate) how: How,
}

/// What to do with the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    BuildAndRun,
    Build,
    /// Run what was built before, without cargo: another cargo may hold its lock.
    RunAsBuilt,
}

/// The files that cargo-nextest needs to run a tier's tests without cargo: cargo's metadata of the workspace, and
/// nextest's list of test programs.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) cargo: PathBuf,
    pub(crate) binaries: PathBuf,
}

impl Built {
    /// The paths of the files.
    pub(crate) fn of(tier: Tier) -> Self {
        let folder = sh::workspace().join("target/tests").join(tier.profile());
        Self {
            cargo: folder.join("cargo.json"),
            binaries: folder.join("binaries.json"),
        }
    }

    /// The files of the last build.
    pub(crate) fn before(tier: Tier) -> anyhow::Result<Self> {
        let built = Self::of(tier);
        // This file is written last.
        ensure!(
            built.cargo.exists(),
            "nothing was built: run `cargo xtask test --no-run {}` first",
            tier.profile()
        );
        Ok(built)
    }

    /// Builds the tests.
    pub(crate) fn make(tier: Tier) -> anyhow::Result<Self> {
        let built = Self::of(tier);
        fs::create_dir_all(built.cargo.parent().context("no folder")?)?;
        // An interrupted build must not look complete.
        for file in [&built.cargo, &built.binaries].into_iter().filter(|file| file.exists()) {
            fs::remove_file(file).with_context(|| format!("{} cannot be removed", file.display()))?;
        }
        let mut nextest = nextest("list")?;
        nextest.args(tier.packages());
        sh::run_into(
            &format!("build the {} tests", tier.profile()),
            nextest.args(["--list-type", "binaries-only", "--message-format", "json"]),
            &built.binaries,
        )?;
        sh::run_into(
            "ask cargo what the workspace is",
            &mut sh::cargo(["metadata", "--format-version", "1", "--locked"]),
            &built.cargo,
        )?;
        Ok(built)
    }
}

/// Runs one tier or all, limited to the given names.
pub(crate) fn run(wish: &Wish) -> anyhow::Result<()> {
    let tiers: Vec<Tier> = wish.tier.map_or(Tier::ALL.to_vec(), |tier| vec![tier]);
    announce(&tiers, wish.how);
    let needs_root = tiers.iter().any(|tier| *tier != Tier::Quick);
    if needs_root && !sh::is_root() {
        bail!(
            "the kernel's and the engine's tests need root: `sudo -E env PATH=$PATH cargo xtask test`, or `cargo xtask \
             test quick` for the others"
        );
    }
    setup::run(if needs_root { Purpose::Test } else { Purpose::Quick })?;
    if wish.how == How::Build {
        for tier in &tiers {
            Built::make(*tier)?;
        }
        if tiers.contains(&Tier::Engine) {
            build::run(false)?;
            dist::package(&image::run()?)?;
        }
        return Ok(());
    }
    // All tiers run, even if the first one fails.
    let outcomes: Vec<anyhow::Result<()>> = tiers
        .iter()
        .map(|tier| run_tier(*tier, wish).inspect_err(sh::complain))
        .collect();
    report(tiers.iter().map(|tier| junit(tier.profile())));
    outcomes.into_iter().collect()
}

/// Prints the reports, and writes the list of tests that needed a second try.
fn report(files: impl IntoIterator<Item = PathBuf>) {
    let report = Report::of(files);
    report.print();
    if let Err(error) = report.keep_retried(&results().join("retried")) {
        sh::complain(&error);
    }
}

/// The same for all existing reports.
pub(crate) fn report_all() {
    let folders = fs::read_dir(results()).into_iter().flatten();
    report(folders.filter_map(|entry| Some(entry.ok()?.path().join("junit.xml"))));
}

/// The number of possible processors of one run: figures that are summed over processors then have sixty-four parts.
const MANY_CPUS: u32 = 64;

/// Runs the kernel tier on every kernel that the archive has. The newest runs twice more: with many processors, and
/// under AppArmor.
pub(crate) fn on_all_kernels(names: &[String]) -> anyhow::Result<()> {
    setup::run(Purpose::Vm)?;
    let series = vm::all_series()?;
    ensure!(
        series.iter().any(|it| it == ci::KERNEL),
        "the archive has kernels of {}, and none of {}, which is the oldest that is promised",
        series.join(", "),
        ci::KERNEL
    );
    let mut machines: Vec<Machine> = series.iter().map(|series| Machine::of(series)).collect();
    if let Some(newest) = machines.last().cloned() {
        machines.push(Machine {
            possible_cpus: Some(MANY_CPUS),
            ..newest.clone()
        });
        machines.push(Machine {
            confined: true,
            ..newest
        });
    }
    on_machines(&machines, names, How::BuildAndRun)
}

/// Runs the kernel tier on these machines instead of this one. Only tests whose names contain one of `names` run, if
/// there are any names.
pub(crate) fn on_machines(machines: &[Machine], names: &[String], how: How) -> anyhow::Result<()> {
    setup::run(Purpose::Vm)?;
    let (image, built) = match how {
        How::RunAsBuilt => (image::made()?, Built::before(Tier::Kernel)?),
        How::BuildAndRun | How::Build => (image::run()?, Built::make(Tier::Kernel)?),
    };
    // All machines run, even if the first one fails. As many run at a time as there are processors: each emulates
    // one.
    let left = Mutex::new(machines.iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let lane = || {
        std::iter::from_fn(next)
            .map(|machine| vm::run(machine, names, &image.binary, &built).inspect_err(sh::complain))
            .filter_map(Result::err)
            .collect::<Vec<_>>()
    };
    let lanes = thread::available_parallelism()?.get().min(machines.len());
    let failed: Vec<anyhow::Error> = thread::scope(|scope| {
        let running: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        running
            .into_iter()
            .flat_map(|it| it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    report(machines.iter().map(Machine::junit));
    failed.into_iter().next().map_or(Ok(()), Err)
}

/// Prints what is about to happen, and how long it takes.
fn announce(tiers: &[Tier], how: How) {
    sh::say(match how {
        How::Build => "This builds the tests (three minutes in a fresh clone on two processors), and runs none of:",
        How::BuildAndRun => {
            "This builds netmon and its tests (six minutes in a fresh clone on two processors), and runs:"
        }
        How::RunAsBuilt => "This runs, as they were built last:",
    });
    for tier in tiers {
        sh::say(format!("  {:<8} {}", tier.profile(), tier.announcement()));
    }
    sh::say("What it has to install is named before it is installed. What tests make is gone when they end.");
}

fn run_tier(tier: Tier, wish: &Wish) -> anyhow::Result<()> {
    let mut command = tests(tier, wish.how)?;
    if tier != Tier::Quick {
        // The tests use the binary of the image, byte for byte, not another build.
        let image = match wish.how {
            How::RunAsBuilt => image::made()?,
            How::BuildAndRun | How::Build => image::run()?,
        };
        with_tools(&mut command, &image.binary)?.env("NETMON_TEST_IMAGE", &image.archive);
        if tier == Tier::Engine {
            // The other build is what netmon is upgraded to in a test.
            let (package, other_build) = match wish.how {
                How::RunAsBuilt => (dist::package_made()?, build::binary(false)),
                How::BuildAndRun | How::Build => (dist::package(&image)?, build::run(false)?),
            };
            command
                .env("NETMON_TEST_PACKAGE", package)
                .env("NETMON_TEST_OTHER_BUILD", other_build);
        }
    }
    sh::run(&format!("{} tests", tier.profile()), command.args(&wish.names))?;
    report::check(&junit(tier.profile()))?;
    if tier == Tier::Quick {
        // cargo-nextest does not run the examples in the documentation.
        let mut cargo = sh::cargo(["test", "--quiet", "--doc"]);
        sh::run(
            "examples in the documentation",
            cargo.args(tier.packages()).args(&wish.names),
        )?;
    }
    Ok(())
}

/// The command that runs a tier's tests. The caller can add arguments and environment variables.
fn tests(tier: Tier, how: How) -> anyhow::Result<Command> {
    let file = junit(tier.profile());
    if file.exists() {
        // The report that is read afterwards has to be of this run.
        fs::remove_file(&file).with_context(|| format!("{} cannot be removed", file.display()))?;
    }
    let mut command = nextest("run")?;
    command.args(["--profile", tier.profile(), "--no-tests", "fail"]);
    if how == How::RunAsBuilt {
        let built = Built::before(tier)?;
        command.arg("--cargo-metadata").arg(built.cargo);
        command.arg("--binaries-metadata").arg(built.binaries);
    } else {
        command.args(tier.packages());
    }
    Ok(command)
}

/// cargo-nextest, in the workspace.
fn nextest(subcommand: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(needs::nextest().map_err(anyhow::Error::msg)?);
    command.current_dir(sh::workspace()).args(["nextest", subcommand]);
    Ok(command)
}

/// The file of a profile's results.
pub(crate) fn junit(profile: &str) -> PathBuf {
    results().join(profile).join("junit.xml")
}

/// The folder of all profiles' results.
pub(crate) fn results() -> PathBuf {
    sh::workspace().join("target/nextest")
}

/// Sets the environment variables that fixtures find their tools by.
pub(crate) fn with_tools<'a>(command: &'a mut Command, netmon: &Path) -> anyhow::Result<&'a mut Command> {
    let path = std::env::var("PATH").context("PATH is not set")?;
    Ok(command
        .env("NETMON_TEST_BINARY", netmon)
        .env("NETMON_TEST_PROMETHEUS", needs::prometheus().join("usr/bin"))
        .env("NETMON_TEST_NODE_EXPORTER", needs::node_exporter())
        .env("NETMON_TEST_HAPROXY", needs::haproxy())
        .env("NETMON_TEST_NEW_ENGINE", needs::new_engine())
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        // Errors say what failed and where. A backtrace adds nothing.
        .env("RUST_BACKTRACE", "0"))
}
