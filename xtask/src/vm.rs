//! The kernel's tests on another kernel: Debian's own, in a machine that qemu emulates.
//!
//! By software: hardware acceleration is not to be had on every machine that builds, and hangs on some. It boots in a few
//! seconds and is some twenty times slower then, for which the tests have patience (`NETMON_TEST_SLOWNESS`). Nothing is
//! installed: the kernel is unpacked, and the machine's files are those of this one, copied into its memory.

mod files;

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use netmon_tests::sh as tools;

use self::files::Kernel;
use crate::sh;

/// Much longer than all tests take: then it hangs.
const LIMIT: Duration = Duration::from_mins(45);
/// The line that says how it ended.
const STATUS: &str = "NETMON-VM-STATUS ";
/// What a kernel says when a processor of the emulator's runs into the mark that another one has just put over code to
/// change it, and has taken away again (`smp_text_poke_batch_finish`). Processors that are real wait for each other.
const STUMBLE: &str = "Oops: int3";
/// Enough for all files in memory, thrice.
const MEMORY: &str = "4096";

/// Runs the kernel's tests, or those whose names contain `name`, on the kernel of that series.
pub(crate) fn run(series: &str, name: Option<&str>, netmon: &Path) -> anyhow::Result<()> {
    let kernel = kernel(series)?;
    let tests = test_binary()?;
    let directory = sh::workspace().join("target/vm").join(series);
    let memory = files::pack(&kernel, &directory, netmon, &tests, name)?;
    let begin = Instant::now();
    sh::say(format!("\n== kernel tests on Linux {}", kernel.release));
    let mut end = boot(&kernel.image, &memory)?;
    if end == End::Stumbled {
        sh::say("   the emulator stumbled over code that the kernel had just changed; once more");
        end = boot(&kernel.image, &memory)?;
    }
    let End::Status(status) = end else {
        bail!("the emulator stumbled twice");
    };
    ensure!(status == 0, "kernel tests on Linux {}: status {status}", kernel.release);
    sh::say(format!("   done in {:.0} s", begin.elapsed().as_secs_f64()));
    Ok(())
}

/// Unpacks the kernel, if that was not done before.
fn kernel(series: &str) -> anyhow::Result<Kernel> {
    let valid = |letter: char| letter.is_ascii_digit() || letter == '.';
    ensure!(
        !series.is_empty() && series.chars().all(valid),
        "{series:?} is no series of kernels: say 6.1, 6.12 or 7"
    );
    let directory = sh::tools().join("kernels").join(series);
    if Kernel::find(&directory).is_err() {
        sh::run(
            "unpack a kernel, without installing it",
            Command::new(sh::workspace().join("tests/lab/get-kernel"))
                .arg(series)
                .arg(&directory),
        )?;
    }
    Kernel::find(&directory)
}

/// Builds the tests and gives the binary.
fn test_binary() -> anyhow::Result<PathBuf> {
    let arguments = ["test", "--package", "netmon-tests", "--test", "kernel", "--no-run"];
    sh::run("build the kernel tests", &mut sh::cargo(arguments))?;
    let text = tools::output(sh::cargo(arguments).args(["--message-format", "json"]))?;
    // One JSON object a line; of a test binary it has an executable.
    let path = text.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        Some(PathBuf::from(rest.split_once('"')?.0))
    });
    path.context("cargo does not say where the tests are")
}

/// How the machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As it should: with the status of the tests.
    Status(i32),
    /// By a fault of the emulator's.
    Stumbled,
}

/// Boots the machine, shows its console, and gives how it ended.
fn boot(image: &Path, memory: &Path) -> anyhow::Result<End> {
    let mut machine = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY])
        .args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(memory)
        .args(["-append", "console=ttyS0 panic=-1 quiet loglevel=3 mitigations=off"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("qemu-system-x86_64 cannot be run: `cargo xtask setup vm`")?;
    let status = watch(&mut machine);
    // It has powered itself off, or is to be ended.
    drop(machine.kill());
    machine.wait()?;
    status
}

fn watch(machine: &mut Child) -> anyhow::Result<End> {
    let console = machine.stdout.take().context("the machine has no console")?;
    let (lines, console_lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            if lines
                .send(String::from_utf8_lossy(&line).trim_end().to_owned())
                .is_err()
            {
                break;
            }
        }
    });
    let deadline = Instant::now() + LIMIT;
    let mut stumbled = false;
    loop {
        match console_lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some((_, status)) = line.split_once(STATUS) {
                    let number = status
                        .trim()
                        .parse()
                        .with_context(|| format!("a status of {status:?}"))?;
                    return Ok(End::Status(number));
                }
                stumbled |= line.contains(STUMBLE);
                sh::say(format!("   | {line}"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("the machine did not end within {LIMIT:?}"),
            Err(mpsc::RecvTimeoutError::Disconnected) if stumbled => return Ok(End::Stumbled),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the machine ended before the tests did"),
        }
    }
}
