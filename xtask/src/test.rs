//! `cargo xtask test`: three tiers, none skipped in silence. Owns what is run and with what; `.config/nextest.toml` owns
//! how.

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
    build, dist, image, needs,
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

    /// The profile in `.config/nextest.toml`.
    fn profile(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Kernel => "kernel",
            Self::Engine => "engine",
        }
    }

    /// What cargo is told to build.
    fn packages(self) -> Vec<&'static str> {
        match self {
            Self::Quick => vec![
                "--workspace",
                "--exclude",
                "netmon-ebpf",
                "--exclude",
                "netmon-fuzz",
                "--exclude",
                "netmon-tests",
            ],
            Self::Kernel | Self::Engine => vec!["--package", "netmon-tests", "--test", self.profile()],
        }
    }

    /// What it does to the machine, and how long it takes on two processors once everything is built.
    fn announcement(self) -> &'static str {
        match self {
            Self::Quick => "decisions, encodings, golden pages; a minute",
            Self::Kernel => "network namespaces and kernel programs, all the tests' own; about three minutes",
            Self::Engine => "Docker engines and Swarms of the tests' own, beside the machine's; about six minutes",
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
    /// Whether to build, to run, or both.
    pub(crate) how: How,
}

/// What is done with the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    BuildAndRun,
    Build,
    /// What was built before, without asking cargo, which others may keep busy.
    RunAsBuilt,
}

/// What cargo-nextest has to know of a tier's tests to run them without cargo: what cargo says of the workspace, and
/// cargo-nextest of its programs.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) cargo: PathBuf,
    pub(crate) binaries: PathBuf,
}

impl Built {
    /// Where that is written.
    pub(crate) fn of(tier: Tier) -> Self {
        let folder = sh::workspace().join("target/tests").join(tier.profile());
        Self {
            cargo: folder.join("cargo.json"),
            binaries: folder.join("binaries.json"),
        }
    }

    /// What was built before.
    pub(crate) fn before(tier: Tier) -> anyhow::Result<Self> {
        let built = Self::of(tier);
        // It is written last.
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
        // What is cut short is not taken for whole.
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

/// Runs one tier or all; of those, only what the names say.
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
    // All are run, whatever the first of them says.
    let outcomes: Vec<anyhow::Result<()>> = tiers
        .iter()
        .map(|tier| run_tier(*tier, wish).inspect_err(sh::complain))
        .collect();
    report(tiers.iter().map(|tier| junit(tier.profile())));
    outcomes.into_iter().collect()
}

/// Says what those reports say, and keeps which tests needed a second try.
fn report(files: impl IntoIterator<Item = PathBuf>) {
    let report = Report::of(files);
    report.print();
    if let Err(error) = report.keep_retried(&results().join("retried")) {
        sh::complain(&error);
    }
}

/// The same, of all reports that there are.
pub(crate) fn report_all() {
    let folders = fs::read_dir(results()).into_iter().flatten();
    report(folders.filter_map(|entry| Some(entry.ok()?.path().join("junit.xml"))));
}

/// How many processors a kernel has to be ready for once: what is summed over all of them is sixty-four sums.
const MANY_CPUS: u32 = 64;

/// Runs the kernel's tests on every kernel that the archive has; on the newest once more with many processors, and once
/// more under AppArmor.
pub(crate) fn on_all_kernels(names: &[String]) -> anyhow::Result<()> {
    setup::run(Purpose::Vm)?;
    let mut machines: Vec<Machine> = vm::all_series()?.iter().map(|series| Machine::of(series)).collect();
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

/// Runs the kernel's tests, or those whose names contain one of `names`, on these machines instead of this one.
pub(crate) fn on_machines(machines: &[Machine], names: &[String], how: How) -> anyhow::Result<()> {
    setup::run(Purpose::Vm)?;
    let (image, built) = match how {
        How::RunAsBuilt => (image::made()?, Built::before(Tier::Kernel)?),
        How::BuildAndRun | How::Build => (image::run()?, Built::make(Tier::Kernel)?),
    };
    // All are run, whatever the first of them says: as many at a time as there are processors, each of which emulates one.
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

/// Says what is about to be done, and how long that takes.
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
        // What is run on nodes, to the byte: not another build of it.
        let image = match wish.how {
            How::RunAsBuilt => image::made()?,
            How::BuildAndRun | How::Build => image::run()?,
        };
        with_tools(&mut command, &image.binary)?.env("NETMON_TEST_IMAGE", &image.archive);
        if tier == Tier::Engine {
            // The last is what netmon is upgraded to.
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
    if tier == Tier::Quick {
        // cargo-nextest knows no examples in the documentation.
        let mut cargo = sh::cargo(["test", "--quiet", "--doc"]);
        sh::run(
            "examples in the documentation",
            cargo.args(tier.packages()).args(&wish.names),
        )?;
    }
    Ok(())
}

/// The tests of a tier: a command to which more arguments and an environment can be added.
fn tests(tier: Tier, how: How) -> anyhow::Result<Command> {
    let file = junit(tier.profile());
    if file.exists() {
        // What is read afterwards is of this run.
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

/// Where a profile's results are written.
pub(crate) fn junit(profile: &str) -> PathBuf {
    results().join(profile).join("junit.xml")
}

/// The folder of all profiles' results.
pub(crate) fn results() -> PathBuf {
    sh::workspace().join("target/nextest")
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
