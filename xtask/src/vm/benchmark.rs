//! A benchmark in the emulated machine. Must not know what it measures.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};

use super::{
    BOOTS, Machine, boot,
    console::{End, Heard},
    files::{self, Payload},
    kernel,
};
use crate::sh;

/// The file in the machine that the benchmark writes its figures to.
const FIGURES: &str = "figures.jsonl";

/// A benchmark's program, and how it is told what to do.
#[derive(Debug)]
pub(crate) struct Benchmark {
    /// The program.
    pub(crate) program: PathBuf,
    /// The environment variable with the file to write.
    pub(crate) into: &'static str,
    /// Other variables.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// Runs the benchmark on that machine. Returns the file of its figures.
pub(crate) fn measure(machine: &Machine, netmon: &Path, benchmark: &Benchmark) -> anyhow::Result<PathBuf> {
    let kernel = kernel(&machine.series)?;
    let name = machine.name();
    let directory = sh::workspace().join("target/vm").join(format!("{name}-bench"));
    fs::create_dir_all(&directory).with_context(|| format!("{}", directory.display()))?;
    sh::say(format!("\n== a benchmark on {name} ({})", kernel.release));
    let mut variables = benchmark.variables.clone();
    variables.push((benchmark.into, FIGURES.to_owned()));
    let payload = Payload {
        command: "/tests/benchmark".to_owned(),
        report: FIGURES,
        variables,
        program: (benchmark.program.clone(), "/tests/benchmark".into()),
        programs: Vec::new(),
        files: Vec::new(),
    };
    let memory = files::pack(machine, &kernel, &directory, netmon, &payload)?;
    let figures = directory.join(FIGURES);
    for _ in 0..BOOTS {
        match boot(machine, &kernel.image, &memory, &figures, &mut Heard::default())? {
            End::Status(status) => {
                ensure!(status == 0, "the benchmark on {name}: status {status}");
                return Ok(figures);
            }
            End::Failed(how) => sh::say(format!("   {name}: the emulator {how}; once more")),
        }
    }
    bail!("the benchmark on {name}: the emulator failed {BOOTS} times")
}
