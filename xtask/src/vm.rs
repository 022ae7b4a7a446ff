//! The kernel tier, or a benchmark, on another kernel: Debian's own, in a machine that qemu emulates.
//!
//! The emulation is in software: not every build machine has hardware acceleration, and on some it hangs. The machine
//! boots in a few seconds, and is then some twenty times slower. The tests wait longer for that
//! (`NETMON_TEST_SLOWNESS`).
//!
//! Nothing is installed. The kernel is unpacked, and files of this machine are copied into the other one's memory.
//! cargo-nextest runs the tests there as it does here, and its report comes out by a serial line of its own.

mod benchmark;
mod confinement;
mod console;
mod files;
mod machine;
mod tier;

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use netmon_tests::sh as tools;

pub(crate) use self::{
    benchmark::{Benchmark, measure},
    machine::{Machine, Share},
    tier::run,
};
use self::{
    console::{End, Heard, watch},
    files::Kernel,
};
use crate::{setup, sh};

/// How often the machine is booted at most if the emulator fails. With one thread for each processor, both processors
/// were seen to hang on one jump that the kernel had just changed. Now they take turns, which is a sixth slower.
const BOOTS: u32 = 2;
/// In MiB: enough for three copies of all files.
const MEMORY: &str = "4096";

/// The series of kernels in Debian's archive, the oldest first.
pub(crate) fn all_series() -> anyhow::Result<Vec<String>> {
    let list = tools::output(Command::new(sh::workspace().join("tests/lab/get-kernel")).arg("--list"))?;
    ensure!(!list.is_empty(), "the archive has no kernels");
    Ok(list.lines().map(str::to_owned).collect())
}

/// Unpacks the kernel, unless that was done before.
fn kernel(series: &str) -> anyhow::Result<Kernel> {
    let valid = |letter: char| letter.is_ascii_digit() || letter == '.';
    ensure!(
        !series.is_empty() && series.chars().all(valid),
        "{series:?} is not a series of kernels: say 6.1, 6.12 or 7"
    );
    let directory = sh::tools().join("kernels").join(series);
    // Other clones may unpack it at the same time.
    let _lock = setup::lock(&sh::tools())?;
    if Kernel::find(&directory).is_err() {
        setup::whole(&directory, |folder| {
            sh::run(
                "unpack a kernel, without installing it",
                Command::new(sh::workspace().join("tests/lab/get-kernel"))
                    .arg(series)
                    .arg(folder),
            )?;
            Kernel::index(folder)
        })?;
    }
    Kernel::find(&directory)
}

/// Boots the machine, shows its console, and returns how it ended. What comes out by the second serial line is in the
/// file `report`.
fn boot(machine: &Machine, image: &Path, memory: &Path, report: &Path, heard: &mut Heard) -> anyhow::Result<End> {
    let mut words = "console=ttyS0 panic=-1 quiet loglevel=3 mitigations=off".to_owned();
    if let Some(count) = machine.possible_cpus {
        write!(words, " possible_cpus={count}")?;
    }
    let mut process = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg,thread=single", "-smp", "2", "-m", MEMORY])
        // The emulator walks page tables in software, and five levels are only needed for more memory than the
        // machine has.
        .args(["-cpu", "max,la57=off"])
        .args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
        .arg("-serial")
        .arg(format!("file:{}", report.display()))
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(memory)
        .arg("-append")
        .arg(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("qemu-system-x86_64 cannot be run: `cargo xtask setup vm`")?;
    let end = watch(&machine.name(), &mut process, heard);
    // The machine has powered itself off, or has to be ended.
    drop(process.kill());
    process.wait()?;
    end
}
