//! `cargo xtask bench` and `cargo xtask soak`: runs the benchmarks, and owns which ones there are. Must not know what
//! a benchmark measures.
//!
//! - `netmon/benches/costs`: what netmon costs.
//! - `tests/benches/node`: the same on a node with a real engine.
//! - `tests/benches/scale`: how the costs grow with the number of containers.
//! - `tests/benches/churn`: short-lived containers.
//! - `tests/benches/week`: what the dashboards cost Prometheus.
//! - `tests/benches/soak`: whether memory, descriptors and map entries grow over time.

use std::{fs, path::PathBuf, thread};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use serde_json::Value;

use crate::{
    build,
    needs::Purpose,
    setup, sh, test,
    vm::{self, Benchmark, Machine},
};

/// The numbers of containers that the benchmark of growth takes, instead of its own.
const CONTAINERS: &str = "NETMON_SCALE_CONTAINERS";
/// The file that it writes in an emulated machine, and two of these files, to compare them.
const INTO: &str = "NETMON_SCALE_INTO";
const COMPARE: &str = "NETMON_SCALE_COMPARE";

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Packets, events, scrapes, attaching: a minute.
    Costs,
    /// A node with an engine: some minutes.
    Node,
    /// 10 to 1,000 busy containers, compared with Prometheus' node exporter: a quarter of an hour.
    Scale,
    /// Five thousand short-lived containers: some minutes.
    Churn,
    /// The dashboards' queries on a week of data: some minutes.
    Week,
}

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Wish {
    /// What to measure; without it everything.
    #[arg(value_enum)]
    subject: Option<Subject>,
    /// Of `scale`: these numbers of containers, separated by commas.
    #[arg(long, value_name = "NUMBERS")]
    containers: Option<String>,
    /// Of `scale`: compare two emulated machines with Debian's kernel of this series (6.1, 6.12, 7). One has as many
    /// possible processors as --possible-cpus says, the other one has two.
    #[arg(long, value_name = "SERIES", requires = "possible_cpus")]
    kernel: Option<String>,
    /// The possible processors of the larger machine.
    #[arg(long, value_name = "COUNT", requires = "kernel", value_parser = clap::value_parser!(u32).range(3..))]
    possible_cpus: Option<u32>,
}

/// Runs one benchmark or all of them, prints their tables, and fails if a bound is exceeded.
pub(crate) fn run(wish: &Wish) -> anyhow::Result<()> {
    ensure!(
        wish.subject == Some(Subject::Scale) || (wish.containers.is_none() && wish.kernel.is_none()),
        "only `cargo xtask bench scale` takes numbers of containers and a kernel"
    );
    let wanted = |it| wish.subject.is_none_or(|subject| subject == it);
    if let Some((series, cpus)) = wish.kernel.as_ref().zip(wish.possible_cpus) {
        return on_machines(series, cpus, wish);
    }
    setup::run(Purpose::Bench)?;
    // All benchmarks run, even if the first one fails.
    let mut outcomes = Vec::new();
    if wanted(Subject::Costs) {
        let arguments = ["--package", "netmon", "--features", "bench", "--bench", "costs"];
        let mut cargo = sh::cargo(["bench"]);
        outcomes.push(sh::run(
            "measure netmon (a minute; results also in target/bench.jsonl)",
            cargo.args(arguments),
        ));
    }
    for (subject, name, what) in [
        (
            Subject::Node,
            "node",
            "measure a node with an engine (some minutes; results also in target/bench-node.jsonl)",
        ),
        (
            Subject::Scale,
            "scale",
            "measure up to a thousand containers (a quarter of an hour; results also in target/bench-scale.jsonl, scale.md, scale.svg)",
        ),
        (
            Subject::Churn,
            "churn",
            "measure five thousand short-lived containers (some minutes; results also in target/bench-churn.jsonl)",
        ),
        (
            Subject::Week,
            "week",
            "measure the dashboards on a week of data (some minutes; results also in target/bench-week.jsonl)",
        ),
    ] {
        if wanted(subject) {
            let mut cargo = sh::cargo(["bench", "--package", "netmon-tests", "--bench", name]);
            // The week benchmark runs Prometheus only, not netmon.
            let netmon = if subject == Subject::Week {
                PathBuf::new()
            } else {
                build::run(true)?
            };
            cargo.envs(wish.containers.as_ref().map(|numbers| (CONTAINERS, numbers)));
            outcomes.push(sh::run(what, test::with_tools(&mut cargo, &netmon)?));
        }
    }
    outcomes.into_iter().collect()
}

/// Runs the benchmark of growth on two emulated machines, one of which may have that many processors, and compares them.
fn on_machines(series: &str, cpus: u32, wish: &Wish) -> anyhow::Result<()> {
    setup::run(Purpose::Vm)?;
    let netmon = build::run(true)?;
    let containers = wish.containers.as_ref().map(|numbers| (CONTAINERS, numbers.clone()));
    let benchmark = Benchmark {
        program: scale()?,
        into: INTO,
        variables: containers.into_iter().collect(),
    };
    let few = Machine {
        possible_cpus: Some(2),
        ..Machine::of(series)
    };
    let many = Machine {
        possible_cpus: Some(cpus),
        ..Machine::of(series)
    };
    // At the same time, so that other load on this machine affects both. Each emulates one processor at a time.
    let [few, many] = thread::scope(|scope| {
        [&few, &many]
            .map(|machine| scope.spawn(|| vm::measure(machine, &netmon, &benchmark)))
            .map(|it| it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut cargo = sh::cargo(["bench", "--package", "netmon-tests", "--bench", "scale"]);
    cargo.envs(benchmark.variables);
    cargo.env(COMPARE, format!("{}:{}", few?.display(), many?.display()));
    // An exceeded bound says which one.
    cargo.env("RUST_BACKTRACE", "0");
    sh::run(
        "compare the machines (results also in target/bench-scale-emulated.jsonl)",
        &mut cargo,
    )
}

/// Builds the benchmark of growth, and returns its program.
fn scale() -> anyhow::Result<PathBuf> {
    let folder = sh::workspace().join("target");
    fs::create_dir_all(&folder)?;
    let list = folder.join("bench-scale-built.jsonl");
    let mut cargo = sh::cargo(["bench", "--package", "netmon-tests", "--bench", "scale", "--no-run"]);
    sh::run_into(
        "build the benchmark of growth",
        cargo.args(["--message-format", "json"]),
        &list,
    )?;
    let text = fs::read_to_string(&list).with_context(|| format!("{}", list.display()))?;
    for line in text.lines() {
        let artifact: Value = serde_json::from_str(line).with_context(|| format!("{}", list.display()))?;
        if artifact["target"]["name"] == "scale"
            && let Some(program) = artifact["executable"].as_str()
        {
            return Ok(program.into());
        }
    }
    bail!("{}: cargo has built no benchmark `scale`", list.display())
}

/// Watches netmon for `minutes` while containers start and end. Fails if its resources grow or if it counts wrong.
pub(crate) fn soak(minutes: u64) -> anyhow::Result<()> {
    setup::run(Purpose::Test)?;
    let netmon = build::run(true)?;
    let mut cargo = sh::cargo(["bench", "--package", "netmon-tests", "--bench", "soak"]);
    cargo.env("NETMON_SOAK_MINUTES", minutes.to_string());
    sh::run(
        &format!("soak ({minutes} minutes; result also in target/soak.md)"),
        test::with_tools(&mut cargo, &netmon)?,
    )
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::{COMPARE, CONTAINERS, INTO, Wish, run};

    fn wish(line: &str) -> Result<Wish, clap::Error> {
        let command = Wish::augment_args(Command::new("bench").no_binary_name(true));
        Wish::from_arg_matches(&command.try_get_matches_from(line.split_whitespace())?)
    }

    #[test]
    fn the_benchmark_of_growth_knows_what_it_is_told_by() {
        let main = include_str!("../../tests/benches/scale/main.rs");
        let emulated = include_str!("../../tests/benches/scale/emulated.rs");
        for (program, name) in [(main, CONTAINERS), (emulated, INTO), (emulated, COMPARE)] {
            assert!(program.contains(&format!("= \"{name}\";")), "{name}");
        }
    }

    #[test]
    fn only_the_benchmark_of_growth_takes_containers_and_a_kernel() {
        for line in [
            "--containers 10",
            "costs --containers 10",
            "node --kernel 6.12 --possible-cpus 64",
        ] {
            let error = run(&wish(line).expect("a wish")).expect_err("another benchmark");
            assert!(error.to_string().contains("bench scale"), "{error}");
        }
        for half in ["scale --kernel 6.12", "scale --possible-cpus 64"] {
            assert!(wish(half).is_err(), "{half}");
        }
        // The other machine has two, too. It would be said after both were measured.
        assert!(wish("scale --kernel 6.12 --possible-cpus 2").is_err());
        assert!(wish("scale --kernel 6.12 --possible-cpus 3").is_ok());
    }
}
