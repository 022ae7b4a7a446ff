//! netmon's chores. Owns the command line of `cargo xtask`. What a chore does is in the module of the same name.

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
    /// List what is installed, what is missing, and how to install it. Changes nothing.
    Doctor,
    /// Build netmon.
    Build {
        /// Optimised, as on nodes.
        #[arg(long)]
        release: bool,
    },
    /// Make netmon's container image: a static binary in an archive for `docker load`; needs no engine.
    Image,
    /// Build and run netmon; on a demo topology if no Docker engine answers.
    Run {
        /// Use the demo topology even if there is an engine.
        #[arg(long)]
        demo: bool,
        /// End after this many seconds.
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<u64>,
        /// Flags for netmon.
        #[arg(last = true)]
        flags: Vec<String>,
    },
    /// Run the tests: all of them, or one tier. `quick` needs no root and takes a minute.
    Test {
        /// Which tier; without it all of them.
        #[arg(value_enum)]
        tier: Option<Tier>,
        /// Only tests whose names contain this; may be repeated.
        #[arg(long)]
        name: Vec<String>,
        /// Run the kernel tier on Debian's kernel of this series (6.1, 6.12, 7) in an emulated machine.
        #[arg(long, value_name = "SERIES", conflicts_with = "no_run")]
        kernel: Option<String>,
        /// Run only this share of the tests, so that several runs can divide them: 1/2 is the first of two.
        #[arg(long, value_name = "SHARE", requires = "kernel")]
        share: Option<vm::Share>,
        /// Boot the emulated machine's kernel for this many possible processors.
        #[arg(long, value_name = "COUNT", requires = "kernel")]
        possible_cpus: Option<u32>,
        /// Run netmon in the emulated machine under the AppArmor profile that Docker gives its containers.
        #[arg(long, requires = "kernel")]
        apparmor: bool,
        /// Run the kernel tier on every kernel from 5.15 on in Debian's archive, in emulated machines: for releases.
        #[arg(long, conflicts_with_all = ["kernel", "no_run", "as_built"])]
        all_kernels: bool,
        /// Build what the tests need, and run none.
        #[arg(long)]
        no_run: bool,
        /// Run what --no-run has built, whatever has changed since.
        #[arg(long, conflicts_with = "no_run")]
        as_built: bool,
    },
    /// Everything that has to pass before a change lands: lint and all tests, with the time of each part.
    Ci,
    /// Check formatting, clippy on both targets, and the project's own rules.
    Lint {
        /// One part of the checks; without it all of them.
        #[arg(value_enum)]
        part: Option<lint::Part>,
    },
    /// Generate the dashboards and rules from their code.
    Dashboards {
        /// Only check whether the files are up to date.
        #[arg(long, conflicts_with = "preview")]
        check: bool,
        /// Also draw the dashboards with the demo's figures: takes some minutes, a browser and Grafana's libraries.
        #[arg(long)]
        preview: bool,
    },
    /// Make everything that a release has: package, archive, image, checksums, SBOM.
    Dist,
    /// Check whether every library may be used, by deny.toml: its licence, its origin, one version of each.
    Deny {
        /// Also check for known vulnerabilities: needs the network.
        #[arg(long)]
        advisories: bool,
    },
    /// Check for known vulnerabilities only. Where their list cannot be had, says so, with exit status 75.
    Advisories,
    /// Generate inputs for all code that reads input from outside, until something breaks or the time is over.
    Fuzz(fuzz::Wish),
    /// Measure what netmon costs, and compare it with the bounds; needs root.
    Bench(bench::Wish),
    /// Run short-lived containers and traffic on a real engine for a long time. netmon's resources must not grow;
    /// needs root.
    Soak {
        /// For how many minutes.
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
        Chore::Advisories => deny::advisories(),
        Chore::Fuzz(wish) => fuzz::run(&wish),
        Chore::Bench(wish) => bench::run(&wish),
        Chore::Soak { minutes } => bench::soak(minutes),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sh::complain(&error);
            if error.is::<deny::NotChecked>() {
                ExitCode::from(deny::NotChecked::STATUS)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
