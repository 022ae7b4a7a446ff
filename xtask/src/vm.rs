//! The kernel tier on another kernel: Debian's own, in a machine that qemu emulates.
//!
//! The emulation is in software: not every build machine has hardware acceleration, and on some it hangs. The machine
//! boots in a few seconds, and is then some twenty times slower. The tests wait longer for that
//! (`NETMON_TEST_SLOWNESS`).
//!
//! Nothing is installed. The kernel is unpacked, and files of this machine are copied into the other one's memory.
//! cargo-nextest runs the tests there as it does here, and its report comes out by a serial line of its own.

mod confinement;
mod console;
mod files;
mod machine;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use netmon_tests::sh as tools;
use serde_json::Value;

pub(crate) use self::machine::{Machine, Share};
use self::{
    console::{End, Heard, watch},
    files::Kernel,
};
use crate::{
    setup, sh,
    test::{Built, report},
};

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Machine, Share, command};

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
}
