//! The kernel tier on another kernel: Debian's own, in a machine that qemu emulates.
//!
//! The emulation is in software: not every build machine has hardware acceleration, and on some it hangs. The machine
//! boots in a few seconds, and is then some twenty times slower. The tests wait longer for that
//! (`NETMON_TEST_SLOWNESS`).
//!
//! Nothing is installed. The kernel is unpacked, and files of this machine are copied into the other one's memory.
//! cargo-nextest runs the tests there as it does here, and its report comes out by a serial line of its own.

mod confinement;
mod files;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    str::FromStr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use netmon_tests::sh as tools;
use serde_json::Value;

use self::files::Kernel;
use crate::{
    setup, sh,
    test::{self, Built, report},
};

/// Much longer than all tests take. After this time the machine will not end by itself.
const LIMIT: Duration = Duration::from_mins(90);
/// Much longer than any one test takes until its result is printed. After this time without a line, the machine
/// hangs.
const SILENCE: Duration = Duration::from_mins(6);
/// The beginning of the line with the tests' exit status.
const STATUS: &str = "NETMON-VM-STATUS ";
/// Printed by a kernel when an emulated processor runs into a breakpoint that another one put over code to change it,
/// and has already removed (`smp_text_poke_batch_finish`). Real processors wait for each other.
const STUMBLE: &str = "Oops: int3";
/// How often the machine is booted at most if the emulator fails. With one thread for each processor, both processors
/// were seen to hang on one jump that the kernel had just changed. Now they take turns, which is a sixth slower.
const BOOTS: u32 = 2;
/// In MiB: enough for three copies of all files.
const MEMORY: &str = "4096";

/// An emulated machine to run tests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The kernel's series.
    pub(crate) series: String,
    /// How many possible processors the kernel has; `None` for as many as the machine has.
    pub(crate) possible_cpus: Option<u32>,
    /// Which share of the tests it runs, if others run the rest at the same time.
    pub(crate) share: Option<Share>,
    /// Whether netmon runs there under the AppArmor profile that Docker gives its containers.
    pub(crate) confined: bool,
}

/// A share of the tests, such as the first of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    number: u32,
    of: u32,
}

impl FromStr for Share {
    type Err = String;

    /// Reads `1/2`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text
            .split_once('/')
            .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err(format!("{text:?} is not a share: write 1/2 for the first of two")),
        }
    }
}

impl Machine {
    /// The default machine, with a kernel of that series.
    pub(crate) fn of(series: &str) -> Self {
        Self {
            series: series.to_owned(),
            possible_cpus: None,
            share: None,
            confined: false,
        }
    }

    /// The name of its results and files.
    fn name(&self) -> String {
        let cpus = self.possible_cpus.map(|count| format!("-{count}-cpus"));
        let share = self.share.map(|Share { number, of }| format!("-{number}-of-{of}"));
        format!(
            "linux-{}{}{}{}",
            self.series,
            cpus.unwrap_or_default(),
            if self.confined { "-apparmor" } else { "" },
            share.unwrap_or_default()
        )
    }

    /// The file of its tests' report.
    pub(crate) fn junit(&self) -> PathBuf {
        test::junit(&self.name())
    }
}

/// The series of kernels in Debian's archive, the oldest first.
pub(crate) fn all_series() -> anyhow::Result<Vec<String>> {
    let list = tools::output(Command::new(sh::workspace().join("tests/lab/get-kernel")).arg("--list"))?;
    ensure!(!list.is_empty(), "the archive has no kernels");
    Ok(list.lines().map(str::to_owned).collect())
}

/// Runs the kernel tier on that machine. Only tests whose names contain one of `names` run, if there are any names.
pub(crate) fn run(machine: &Machine, names: &[String], netmon: &Path, built: &Built) -> anyhow::Result<()> {
    let kernel = kernel(&machine.series)?;
    let directory = sh::workspace().join("target/vm").join(machine.name());
    fs::create_dir_all(&directory).with_context(|| format!("{}", directory.display()))?;
    let tests = Tests::find(built)?;
    let begin = Instant::now();
    let name = machine.name();
    sh::say(format!("\n== kernel tests on {name} ({})", kernel.release));
    let junit = machine.junit();
    fs::create_dir_all(junit.parent().context("no folder")?)?;
    // The reports that are read afterwards have to be of this run.
    for file in [&junit, &report::earlier(&junit)] {
        if file.exists() {
            fs::remove_file(file).with_context(|| format!("{} cannot be removed", file.display()))?;
        }
    }
    let mut heard = Heard::default();
    for _ in 0..BOOTS {
        let command = command(machine, names, &heard.passed);
        let memory = files::pack(machine, &kernel, &directory, netmon, &tests, &command)?;
        match boot(machine, &kernel.image, &memory, &mut heard)? {
            End::Status(status) => {
                ensure!(status == 0, "kernel tests on {name}: status {status}");
                // After a failed boot there may have been no test left to run.
                if heard.boots == 0 || !fs::read(&junit)?.is_empty() {
                    report::check(&junit)?;
                }
                sh::say(format!("   {name}: done in {:.0} s", begin.elapsed().as_secs_f64()));
                return Ok(());
            }
            End::Failed(how) => {
                sh::say(format!(
                    "   {name}: the emulator {how}; once more, for the tests that had not ended"
                ));
                heard.boots += 1;
                report::keep_earlier(&junit, &heard.to_report(&name, how))?;
            }
        }
    }
    bail!("kernel tests on {name}: the emulator failed {BOOTS} times")
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

/// The tests' files, which are copied into the machine.
#[derive(Debug)]
struct Tests<'a> {
    /// The test program.
    binary: PathBuf,
    /// Its path below cargo's target folder. cargo-nextest looks for it there.
    place: PathBuf,
    built: &'a Built,
}

impl<'a> Tests<'a> {
    fn find(built: &'a Built) -> anyhow::Result<Self> {
        let file = &built.binaries;
        let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        let said: Value = serde_json::from_str(&text).with_context(|| format!("{}", file.display()))?;
        let at = |pointer: &str| {
            let text = said.pointer(pointer).and_then(Value::as_str);
            text.with_context(|| format!("{}: no {pointer}", file.display()))
        };
        let binary = PathBuf::from(at("/rust-binaries/netmon-tests::kernel/binary-path")?);
        let place = binary.strip_prefix(at("/rust-build-meta/target-directory")?)?;
        Ok(Self {
            place: place.to_path_buf(),
            binary,
            built,
        })
    }
}

/// The command that runs the tests in the machine: those that match `names` and are not in `passed`.
fn command(machine: &Machine, names: &[String], passed: &BTreeSet<String>) -> String {
    let mut words = vec![
        "/tests/cargo-nextest nextest run --profile emulated --color never --show-progress none \
         --workspace-remap /tests --target-dir-remap /tests/target --cargo-metadata /tests/cargo.json \
         --binaries-metadata /tests/binaries.json"
            .to_owned(),
    ];
    words.extend(names.iter().map(|name| format!("'{name}'")));
    if let Some(Share { number, of }) = machine.share {
        // The partition depends on names only. A second boot leaves out tests that passed, and still gets the same
        // share.
        words.push(format!("--partition hash:{number}/{of}"));
    }
    // If the machine hung at its very end, no test is left to run.
    words.push(format!(
        "--no-tests {}",
        if passed.is_empty() { "fail" } else { "pass" }
    ));
    if !passed.is_empty() {
        let passed: Vec<String> = passed.iter().map(|name| format!("test(={name})")).collect();
        words.push(format!("-E 'not ({})'", passed.join(" | ")));
    }
    words.join(" ")
}

/// How the machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It ended in order, with this exit status of the tests.
    Status(i32),
    /// The emulator failed before the tests ended.
    Failed(&'static str),
}

/// The results that cargo-nextest has printed so far.
#[derive(Debug, Default)]
struct Heard {
    /// Tests that passed.
    passed: BTreeSet<String>,
    /// Tests whose first try failed.
    failed_once: BTreeSet<String>,
    /// How many boots ended before the tests did.
    boots: u32,
}

impl Heard {
    /// Reads a line, such as ` PASS [   1.481s] (  1/132) netmon-tests::kernel counting::...`.
    ///
    /// # Errors
    /// The line reports that a test failed for good. Whatever the emulator does later, the run has failed.
    fn hear(&mut self, line: &str) -> anyhow::Result<()> {
        let Some((verdict, rest)) = line.trim_start().split_once(" [") else {
            return Ok(());
        };
        let (Some(name), true) = (rest.split_whitespace().last(), rest.contains(" netmon-tests::kernel ")) else {
            return Ok(());
        };
        match verdict.trim_end() {
            "PASS" | "LEAK" | "TRY 2 PASS" | "TRY 2 LEAK" => {
                self.passed.insert(name.to_owned());
            }
            // Another line with the result follows.
            "SLOW" | "TRY 1 SLOW" | "TRY 2 SLOW" | "TERMINATING" | "TRY 1 TERMINATING" | "TRY 2 TERMINATING"
            | "FLAKY 2/2" => {}
            first if first.starts_with("TRY 1 ") => {
                self.failed_once.insert(name.to_owned());
            }
            verdict => bail!("{name} has failed ({verdict}), and the machine ended before it said why"),
        }
        Ok(())
    }

    /// Lines about a failed boot, for the list of tests that needed a second try.
    fn to_report(&self, machine: &str, how: &str) -> Vec<String> {
        let tests = self.failed_once.iter().map(|test| {
            format!("{test} on {machine}: its first try failed, and the machine ended later; its log has the reason")
        });
        let boot = format!("{machine}: the emulator {how}; it was booted again for the tests that had not ended");
        tests.chain([boot]).collect()
    }
}

/// Boots the machine, shows its console, and returns how it ended.
fn boot(machine: &Machine, image: &Path, memory: &Path, heard: &mut Heard) -> anyhow::Result<End> {
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
        .arg(format!("file:{}", machine.junit().display()))
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

fn watch(name: &str, machine: &mut Child, heard: &mut Heard) -> anyhow::Result<End> {
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
                sh::say(format!("{name} | {line}"));
                stumbled |= line.contains(STUMBLE);
                failed = failed.and_then(|()| heard.hear(&line));
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
    use std::collections::BTreeSet;

    use super::{Heard, Machine, Share, command};

    const PASS: &str = "        PASS [   1.481s] (  1/132) netmon-tests::kernel drops::filter";
    const LATE: &str = "  TRY 2 PASS [  10.481s] ( 12/132) netmon-tests::kernel tcp::rtt";

    fn heard(lines: &[&str]) -> anyhow::Result<Heard> {
        let mut heard = Heard::default();
        lines.iter().try_for_each(|line| heard.hear(line))?;
        Ok(heard)
    }

    #[test]
    fn what_has_passed_is_not_run_again() {
        let lines = [
            "    Starting 2 tests across 1 binary [x]",
            PASS,
            "        SLOW [>120.000s] netmon-tests::kernel tcp::rtt",
            "  TRY 1 FAIL [   1.000s] netmon-tests::kernel tcp::rtt",
            LATE,
        ];
        let heard = heard(&lines).expect("nothing failed for good");
        assert_eq!(heard.failed_once, BTreeSet::from(["tcp::rtt".to_owned()]));
        let line = command(
            &Machine::of("6.1"),
            &["drops::".to_owned(), "tcp::".to_owned()],
            &heard.passed,
        );
        assert!(
            line.ends_with(" 'drops::' 'tcp::' --no-tests pass -E 'not (test(=drops::filter) | test(=tcp::rtt))'"),
            "{line}"
        );
        assert!(command(&Machine::of("6.1"), &[], &BTreeSet::new()).ends_with("--no-tests fail"));
    }

    #[test]
    fn a_boot_that_failed_is_reported_with_the_tests_that_failed_in_it() {
        let lines = [
            "    TRY 1 SLOW [>120.000s] netmon-tests::kernel drops::slow",
            PASS,
            "  TRY 1 SIGSEGV [   1.000s] netmon-tests::kernel tcp::rtt",
        ];
        let heard = heard(&lines).expect("nothing failed for good");
        let report = heard.to_report("linux-6.1", "hangs");
        assert_eq!(report.len(), 2, "{report:?}");
        assert!(report[0].starts_with("tcp::rtt on linux-6.1: "), "{report:?}");
        assert!(report[1].starts_with("linux-6.1: the emulator hangs; "), "{report:?}");
        assert!(!heard.passed.contains("tcp::rtt"), "it has to be run again");
    }

    #[test]
    fn a_share_is_one_of_several() {
        let machine = Machine {
            share: Some("2/3".parse().expect("a share")),
            ..Machine::of("6.1")
        };
        assert_eq!(machine.name(), "linux-6.1-2-of-3");
        assert!(command(&machine, &[], &BTreeSet::new()).contains(" --partition hash:2/3 "));
        for wrong in ["", "1", "0/2", "3/2", "a/b"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_has_failed_for_good_has_failed_however_it_ended() {
        for verdict in [
            "TRY 2 FAIL",
            "FAIL",
            "TRY 2 TMT",
            "TIMEOUT",
            "TRY 2 SIGSEGV",
            "FAIL + LEAK",
        ] {
            let line = format!("  {verdict} [   0.500s] ( 3/132) netmon-tests::kernel tcp::rtt");
            assert!(heard(&[&line]).is_err(), "{verdict}");
        }
    }
}
