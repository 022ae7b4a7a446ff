//! `cargo xtask lint`: formatting, clippy on the host and on BPF, documentation, generated files, and the project's
//! own rules.

use std::process::Command;

use clap::ValueEnum;

use crate::{
    dashboards::{self, Wish},
    deny,
    kernel_programs::{ebpf::Toolchain, endian, toolchain::CompilerKind},
    needs::{self, Purpose},
    setup, sh, tidy,
};

/// A part of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// What needs no compiler: seconds.
    Rules,
    /// What needs a compiler.
    Code,
}

/// Runs the checks, and stops at the first one that fails.
pub(crate) fn run(part: Option<Part>) -> anyhow::Result<()> {
    setup::run(Purpose::Lint)?;
    if part != Some(Part::Code) {
        tidy::run()?;
        deny::light()?;
        sh::run("formatting", &mut sh::cargo(["fmt", "--all", "--check"]))?;
    }
    if part != Some(Part::Rules) {
        code()?;
    }
    Ok(())
}

fn code() -> anyhow::Result<()> {
    sh::run(
        "clippy on the host",
        sh::cargo([
            "clippy",
            "--workspace",
            // A fuzz target is three lines that call netmon's own code. Building it would need libFuzzer, which is
            // C++.
            "--exclude",
            "netmon-fuzz",
            "--all-targets",
            "--features",
            "netmon/bench",
        ])
        .args(["--", "-Dwarnings"]),
    )?;
    dashboards::run(Wish::Check)?;
    let toolchain = Toolchain::find(&sh::tools(), endian(), std::env::consts::ARCH).map_err(anyhow::Error::msg)?;
    sh::run("clippy on BPF", &mut bpf_clippy(&toolchain))?;
    sh::run(
        "documentation",
        sh::cargo([
            "doc",
            "--no-deps",
            "--workspace",
            "--exclude",
            "netmon-fuzz",
            "--document-private-items",
        ])
        .env("RUSTDOCFLAGS", "-Dwarnings"),
    )
}

/// Clippy with the compiler of kernel programs.
fn bpf_clippy(toolchain: &Toolchain) -> Command {
    let target = sh::workspace().join("target/ebpf-clippy");
    match toolchain.compiler.kind {
        // rustup's clippy would look for `core` beside rustup's compiler. So the clippy driver of Debian's compiler
        // is used, and is called as `cargo clippy` calls its own.
        CompilerKind::Prebuilt { .. } => {
            let mut command = toolchain.cargo("check", &sh::workspace(), &target);
            command
                .env("RUSTC_WORKSPACE_WRAPPER", needs::CLIPPY_DRIVER)
                .env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
            command
        }
        CompilerKind::BuildStd { .. } => {
            let mut command = toolchain.cargo("clippy", &sh::workspace(), &target);
            command.args(["--", "-Dwarnings"]);
            command
        }
    }
}
