//! netmon's chores. Owns what a person types after `cargo xtask`; what each chore does is in the module of its name.

mod bench;
mod build;
mod ci;
mod dashboards;
mod demo;
mod deny;
mod dist;
mod doctor;
mod fuzz;
mod image;
mod kernel_programs;
mod lint;
mod needs;
mod packages;
mod run;
mod setup;
mod sh;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{dashboards::Wish, needs::Purpose, test::Tier};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "netmon's chores", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what building needs, or what the tests need too; each command is shown before it runs.
    Setup {
        #[arg(value_enum, default_value_t)]
        purpose: Purpose,
    },
    /// List what is there, what is missing, and what to do about it. Changes nothing.
    Doctor,
    /// Build netmon.
    Build {
        /// Optimised, as it is run on nodes.
        #[arg(long)]
        release: bool,
    },
    /// Make netmon's container image: a static binary in an archive for `docker load`; needs no engine.
    Image,
    /// Build and run netmon; where no Docker engine answers, on a demo topology.
    Run {
        /// On the demo topology, engine or no engine.
        #[arg(long)]
        demo: bool,
        /// End by itself after that many seconds.
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<u64>,
        /// Flags of netmon's.
        #[arg(last = true)]
        flags: Vec<String>,
    },
    /// Run the tests: all of them, or one tier. `quick` needs no root and a minute.
    Test {
        /// Which tier; all without.
        #[arg(value_enum)]
        tier: Option<Tier>,
        /// Only tests whose names contain this; may be given several times.
        #[arg(long)]
        name: Vec<String>,
        /// The kernel's tests, on Debian's kernel of this series (6.1, 6.12, 7) in an emulated machine.
        #[arg(long, value_name = "SERIES", conflicts_with = "no_run")]
        kernel: Option<String>,
        /// One share of these, where others run the rest at the same time: 1/2 for the first of two.
        #[arg(long, value_name = "SHARE", requires = "kernel")]
        share: Option<vm::Share>,
        /// That machine, with a kernel that is ready for so many processors.
        #[arg(long, value_name = "COUNT", requires = "kernel")]
        possible_cpus: Option<u32>,
        /// That machine, with netmon under the AppArmor profile that Docker gives its containers.
        #[arg(long, requires = "kernel")]
        apparmor: bool,
        /// The kernel's tests on every kernel from 5.15 on that the archive has, in emulated machines: for releases.
        #[arg(long, conflicts_with_all = ["kernel", "no_run", "as_built"])]
        all_kernels: bool,
        /// Build what they need, and run none.
        #[arg(long)]
        no_run: bool,
        /// Run what --no-run has built, whatever has changed since.
        #[arg(long, conflicts_with = "no_run")]
        as_built: bool,
    },
    /// Everything that has to pass before something lands: lint and all tests, with the time of each part.
    Ci,
    /// Formatting, clippy on both targets, and the rules of the house.
    Lint {
        /// One part of it; all without.
        #[arg(value_enum)]
        part: Option<lint::Part>,
    },
    /// Make the dashboards and rules from their code.
    Dashboards {
        /// Only say whether they are what the code makes.
        #[arg(long, conflicts_with = "preview")]
        check: bool,
        /// Draw them, too, with the demo's figures: takes some minutes, a browser and Grafana's libraries.
        #[arg(long)]
        preview: bool,
    },
    /// Make everything that a release has: package, archive, image, checksums, list of parts.
    Dist,
    /// Whether every library may be used, by deny.toml: the licence, the origin, one version of each.
    Deny {
        /// Ask about known faults, too: needs the network.
        #[arg(long)]
        advisories: bool,
    },
    /// Make inputs up for everything that reads what comes from outside, until something breaks or the time is over.
    Fuzz(fuzz::Wish),
    /// Measure what netmon costs, beside the bounds; needs root.
    Bench {
        /// What to measure; everything without.
        #[arg(value_enum)]
        subject: Option<bench::Subject>,
    },
    /// Churn and traffic on a real engine for a long time: what netmon holds stays flat; needs root.
    Soak {
        /// For how long.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
}

fn how(no_run: bool, as_built: bool) -> test::How {
    match (no_run, as_built) {
        (true, _) => test::How::Build,
        (false, true) => test::How::RunAsBuilt,
        (false, false) => test::How::BuildAndRun,
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Setup { purpose } => setup::run(purpose),
        Chore::Doctor => doctor::run(),
        Chore::Build { release } => build::run(release).map(drop),
        Chore::Image => image::run().map(drop),
        Chore::Run { demo, seconds, flags } => run::run(demo, seconds, &flags),
        Chore::Test {
            tier: None | Some(Tier::Kernel),
            name,
            kernel: Some(series),
            share,
            possible_cpus,
            apparmor: confined,
            as_built,
            ..
        } => {
            let machine = vm::Machine {
                series,
                possible_cpus,
                share,
                confined,
            };
            test::on_machines(&[machine], &name, how(false, as_built))
        }
        Chore::Test {
            tier: None | Some(Tier::Kernel),
            name,
            all_kernels: true,
            ..
        } => test::on_all_kernels(&name),
        Chore::Test { kernel: Some(_), .. } | Chore::Test { all_kernels: true, .. } => {
            Err(anyhow::anyhow!("only the kernel's tests run on another kernel"))
        }
        Chore::Test {
            tier,
            name: names,
            kernel: None,
            all_kernels: false,
            no_run,
            as_built,
            ..
        } => test::run(&test::Wish {
            tier,
            names,
            how: how(no_run, as_built),
        }),
        Chore::Ci => ci::run(),
        Chore::Lint { part } => lint::run(part),
        Chore::Dashboards { check: true, .. } => dashboards::run(Wish::Check),
        Chore::Dashboards { preview: true, .. } => dashboards::run(Wish::Preview),
        Chore::Dashboards { .. } => dashboards::run(Wish::Make),
        Chore::Dist => dist::run(),
        Chore::Deny { advisories } => deny::run(advisories),
        Chore::Fuzz(wish) => fuzz::run(&wish),
        Chore::Bench { subject } => bench::run(subject),
        Chore::Soak { minutes } => bench::soak(minutes),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sh::complain(&error);
            ExitCode::FAILURE
        }
    }
}
