//! The kernel's tests on another kernel: Debian's own, in a machine that qemu emulates.
//!
//! By software: hardware acceleration is not to be had on every machine that builds, and hangs on some. It boots in a few
//! seconds and is some twenty times slower then, for which the tests have patience (`NETMON_TEST_SLOWNESS`). Nothing is
//! installed: the kernel is unpacked, and the machine's files are those of this one, copied into its memory.

mod files;

use std::{
    collections::BTreeSet,
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

/// Much longer than all tests take: then it does not end.
const LIMIT: Duration = Duration::from_mins(45);
/// Much longer than any one test takes to say how it ended: then the machine hangs.
const SILENCE: Duration = Duration::from_mins(6);
/// The line that says how it ended.
const STATUS: &str = "NETMON-VM-STATUS ";
/// What a kernel says when a processor of the emulator's runs into the mark that another one has just put over code to
/// change it, and has taken away again (`smp_text_poke_batch_finish`). Processors that are real wait for each other.
const STUMBLE: &str = "Oops: int3";
/// How often the machine is booted, at most, if the emulator fails. It has been seen to hang with both processors on one
/// jump that the kernel had just changed, for good.
const BOOTS: u32 = 2;
/// Enough for all files in memory, thrice.
const MEMORY: &str = "4096";

/// Runs the kernel's tests, or those whose names contain `name`, on the kernel of that series.
pub(crate) fn run(series: &str, name: Option<&str>, netmon: &Path) -> anyhow::Result<()> {
    let kernel = kernel(series)?;
    let tests = test_binary()?;
    let directory = sh::workspace().join("target/vm").join(series);
    let begin = Instant::now();
    sh::say(format!("\n== kernel tests on Linux {}", kernel.release));
    let mut passed = Passed::of(&tests)?;
    for _ in 0..BOOTS {
        let words = name
            .map(str::to_owned)
            .into_iter()
            .chain(passed.skip())
            .collect::<Vec<_>>();
        let memory = files::pack(&kernel, &directory, netmon, &tests, &words.join(" "))?;
        match boot(&kernel.image, &memory, &mut passed)? {
            End::Status(status) => {
                ensure!(status == 0, "kernel tests on Linux {}: status {status}", kernel.release);
                sh::say(format!("   done in {:.0} s", begin.elapsed().as_secs_f64()));
                return Ok(());
            }
            End::Failed(how) => sh::say(format!(
                "   the emulator {how}; once more, for the tests that had not ended"
            )),
        }
    }
    bail!("the emulator failed {BOOTS} times")
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
    /// By a fault of the emulator's, before the tests did.
    Failed(&'static str),
}

/// Which tests have passed, of all that there are.
#[derive(Debug)]
struct Passed {
    all: BTreeSet<String>,
    passed: BTreeSet<String>,
}

impl Passed {
    /// None, of those in that binary.
    fn of(tests: &Path) -> anyhow::Result<Self> {
        let text = tools::output(Command::new(tests).args(["--list", "--format", "terse"]))?;
        let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
        Ok(Self {
            all: names.map(str::to_owned).collect(),
            passed: BTreeSet::new(),
        })
    }

    /// Takes in a line of the tests'.
    ///
    /// # Errors
    /// It says that one has failed. Whatever else happens then, they have.
    fn hear(&mut self, line: &str) -> anyhow::Result<()> {
        let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) else {
            return Ok(());
        };
        ensure!(
            result != "FAILED",
            "the machine ended after {name} had failed, and before it said why"
        );
        if result == "ok" && self.all.contains(name) {
            self.passed.insert(name.to_owned());
        }
        Ok(())
    }

    /// What tells the tests not to run those again. It skips all that contain a name: one that is part of another's, which
    /// has not passed, is run again with it.
    fn skip(&self) -> impl Iterator<Item = String> {
        let open = self.all.difference(&self.passed).collect::<Vec<_>>();
        let done = self
            .passed
            .iter()
            .filter(move |name| !open.iter().any(|it| it.contains(*name)));
        done.map(|name| format!("--skip {name}"))
    }
}

/// Boots the machine, shows its console, and gives how it ended.
fn boot(image: &Path, memory: &Path, passed: &mut Passed) -> anyhow::Result<End> {
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
    let end = watch(&mut machine, passed);
    // It has powered itself off, or is to be ended.
    drop(machine.kill());
    machine.wait()?;
    end
}

fn watch(machine: &mut Child, passed: &mut Passed) -> anyhow::Result<End> {
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
    let mut failed = Ok(());
    let how = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match console_lines.recv_timeout(SILENCE.min(left)) {
            Ok(line) => {
                if let Some((_, status)) = line.split_once(STATUS) {
                    let number = status
                        .trim()
                        .parse()
                        .with_context(|| format!("a status of {status:?}"))?;
                    return Ok(End::Status(number));
                }
                sh::say(format!("   | {line}"));
                stumbled |= line.contains(STUMBLE);
                failed = failed.and_then(|()| passed.hear(&line));
            }
            Err(mpsc::RecvTimeoutError::Timeout) if left <= SILENCE => {
                bail!("the machine did not end within {LIMIT:?}");
            }
            Err(mpsc::RecvTimeoutError::Timeout) => break "hangs",
            Err(mpsc::RecvTimeoutError::Disconnected) if stumbled => {
                break "stumbled over code that the kernel had just changed";
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the machine ended before the tests did"),
        }
    };
    failed.map(|()| End::Failed(how))
}

#[cfg(test)]
mod tests {
    use super::Passed;

    fn passed(lines: &[&str]) -> anyhow::Result<String> {
        let names = ["drops::filter", "drops::filter_of_bridge", "tcp::rtt"].map(str::to_owned);
        let mut passed = Passed {
            all: names.into(),
            passed: [].into(),
        };
        lines.iter().try_for_each(|line| passed.hear(line))?;
        Ok(passed.skip().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_has_passed_is_not_run_again_unless_it_takes_another_with_it() {
        let skip = |lines: &[&str]| passed(lines).expect("nothing failed");
        assert_eq!(skip(&["running 3 tests", "test tcp::rtt ... "]), "");
        assert_eq!(
            skip(&["test tcp::rtt ... ok", "test drops::filter ... ok"]),
            "--skip tcp::rtt"
        );
        let both = ["test drops::filter ... ok", "test drops::filter_of_bridge ... ok"];
        assert_eq!(skip(&both), "--skip drops::filter --skip drops::filter_of_bridge");
    }

    #[test]
    fn what_has_failed_has_failed() {
        assert!(passed(&["test tcp::rtt ... FAILED"]).is_err());
    }
}
