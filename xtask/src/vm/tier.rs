//! The kernel tier in the emulated machine. Must not know how the machine is made.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{
    BOOTS, Machine, Share, boot,
    console::{End, Heard},
    files::{self, Payload},
    kernel,
};
use crate::{
    needs, sh,
    test::{Built, report},
};

/// How many bytes a transfer without losses sends there.
const TRANSFER: &str = "300000000";

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
        let payload = tests.payload(command(machine, names, &heard.passed))?;
        let memory = files::pack(machine, &kernel, &directory, netmon, &payload)?;
        match boot(machine, &kernel.image, &memory, &junit, &mut heard)? {
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

    /// The tests with all their files, and the command that runs them.
    fn payload(&self, command: String) -> anyhow::Result<Payload> {
        let place = |name: &str| Path::new("/tests").join(name);
        let mut programs: Vec<_> = ["prometheus", "promtool"]
            .map(|name| (needs::prometheus().join("usr/bin").join(name), place(name)))
            .into();
        programs.push((needs::nextest().map_err(anyhow::Error::msg)?, place("cargo-nextest")));
        let mut files = vec![
            (self.built.cargo.clone(), place("cargo.json")),
            (self.built.binaries.clone(), place("binaries.json")),
        ];
        files.extend(
            ["Cargo.toml", "tests/Cargo.toml", ".config/nextest.toml"]
                .map(|name| (sh::workspace().join(name), place(name))),
        );
        Ok(Payload {
            command,
            report: "target/nextest/emulated/junit.xml",
            variables: vec![
                ("NETMON_TEST_PROMETHEUS", "/tests".to_owned()),
                ("NETMON_TEST_TRANSFER", TRANSFER.to_owned()),
                // These kernels can encrypt and balance. So a missing module is a failure, and no reason to leave tests
                // out.
                ("NETMON_TEST_ESP", "1".to_owned()),
                ("NETMON_TEST_IPVS", "1".to_owned()),
            ],
            program: (self.binary.clone(), place("target").join(&self.place)),
            programs,
            files,
        })
    }
}

/// The command that runs the tests in the machine: those that match `names` and are not in `passed`.
pub(super) fn command(machine: &Machine, names: &[String], passed: &BTreeSet<String>) -> String {
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
