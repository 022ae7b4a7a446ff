//! `cargo xtask fuzz`: runs the targets in `fuzz/` under libFuzzer, which generates their inputs.
//!
//! Does what `cargo fuzz` does, but with the stable compiler. The instrumentation is LLVM's and is in every compiler;
//! only its flags are reserved for nightly ones.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::{needs::Purpose, setup, sh};

/// What to do.
#[derive(Debug, Args)]
pub(crate) struct Wish {
    /// The target, as in `fuzz/fuzz_targets`; without it all of them, one after the other.
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Run nothing; of the inputs found so far, keep those that reach code that no kept input reaches.
    #[arg(long, conflicts_with = "minutes")]
    keep: bool,
}

/// Counts which code was run, records comparisons, and checks memory accesses.
const INSTRUMENTS: &str = "-Zsanitizer=address -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// An input that takes longer is a fault, in seconds. No input should take a hundredth of it.
const PATIENCE: u32 = 10;
/// An input that takes more memory is a fault, in MiB. The instrumentation's own memory is included.
const MEMORY: u32 = 2048;
/// The maximum length of an input in bytes.
const LONGEST: u32 = 4096;

/// Inputs that this machine has and that are too large to be kept: (target, file).
const HERE: [(&str, &str); 2] = [("types", "/sys/kernel/btf/vmlinux"), ("procfs", "/proc/kallsyms")];

/// Builds the targets and runs them.
pub(crate) fn run(wish: &Wish) -> anyhow::Result<()> {
    setup::run(Purpose::Fuzz)?;
    let all = targets()?;
    let wanted: Vec<&String> = match &wish.target {
        None => all.iter().collect(),
        Some(name) => match all.get(name) {
            Some(name) => vec![name],
            None => bail!(
                "there is no fuzz target {name}; there are {}",
                all.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            ),
        },
    };
    let programs = build()?;
    // All targets run, even if the first one finds a fault.
    let outcomes: Vec<_> = wanted
        .into_iter()
        .map(|target| {
            let program = programs.join(target);
            if wish.keep {
                keep(target, &program)
            } else {
                fuzz(target, &program, wish.minutes)
            }
        })
        .collect();
    outcomes.into_iter().collect()
}

/// The names of the targets: one file each.
fn targets() -> anyhow::Result<BTreeSet<String>> {
    let folder = sh::workspace().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    let name = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    Ok(entries.filter_map(|entry| name(entry.ok()?.path())).collect())
}

/// Builds every target, and returns the folder of the programs.
fn build() -> anyhow::Result<PathBuf> {
    let folder = sh::workspace().join("target/fuzz");
    let version = sh::ask(Command::new("rustc").arg("-vV")).context("there is no rustc")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say what it compiles for")?;
    sh::run(
        "build the fuzz targets (some minutes for the first time)",
        sh::cargo(["build", "--package", "netmon-fuzz", "--profile", "fuzz"])
            .args(["--target", host, "--target-dir"])
            .arg(&folder)
            .env("RUSTFLAGS", INSTRUMENTS)
            .env("RUSTC_BOOTSTRAP", "1")
            // No target runs a kernel program.
            .env("NETMON_EBPF_SKIP", "1"),
    )?;
    Ok(folder.join(host).join("fuzz"))
}

/// The folders of a target's inputs: the kept ones, and the ones found.
fn inputs(target: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let kept = sh::workspace().join("fuzz/corpus").join(target);
    let found = sh::workspace().join("target/fuzz/corpus").join(target);
    fs::create_dir_all(&found).with_context(|| format!("{}", found.display()))?;
    Ok((kept, found))
}

fn fuzz(target: &str, program: &Path, minutes: u64) -> anyhow::Result<()> {
    let (kept, found) = inputs(target)?;
    let faults = sh::workspace().join("target/fuzz/faults");
    fs::create_dir_all(&faults).with_context(|| format!("{}", faults.display()))?;
    let command = || {
        let mut command = Command::new(program);
        command
            .arg(format!("-timeout={PATIENCE}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .arg(format!("-artifact_prefix={}/{target}-", faults.display()));
        command
    };
    for (_, file) in HERE
        .iter()
        .filter(|(of, file)| *of == target && Path::new(file).exists())
    {
        sh::run(&format!("{target}: what this machine has"), command().arg(file))?;
    }
    let mut fuzz = command();
    let words = sh::workspace().join("fuzz/words").join(target);
    if words.exists() {
        fuzz.arg(format!("-dict={}", words.display()));
    }
    fuzz.arg(format!("-max_len={LONGEST}"))
        .arg(format!("-max_total_time={}", minutes * 60))
        .arg("-print_final_stats=1")
        .args([&found, &kept]);
    sh::run(&format!("{target} for {minutes} minutes"), &mut fuzz).with_context(|| {
        format!(
            "{target} found a fault: the input is in {}; mend it, and keep the input as fuzz/corpus/{target}/fault-NAME",
            faults.display()
        )
    })
}

fn keep(target: &str, program: &Path) -> anyhow::Result<()> {
    let (kept, found) = inputs(target)?;
    sh::run(
        &format!("{target}: keep what is new"),
        Command::new(program)
            // As few inputs as possible that reach all of the code. How often they reach a place does not matter.
            .args(["-merge=1", "-set_cover_merge=1", "-use_counters=0"])
            .args([&kept, &found]),
    )
}
