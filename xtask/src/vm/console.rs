//! What the emulated machine prints: the tests' results, and how it ended. Must not know what runs in it, or why.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::Child,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::sh;

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

/// How the machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It ended in order, with this exit status of the tests.
    Status(i32),
    /// The emulator failed before the tests ended.
    Failed(&'static str),
}

/// The results that cargo-nextest has printed so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Tests that passed.
    pub(super) passed: BTreeSet<String>,
    /// Tests whose first try failed.
    failed_once: BTreeSet<String>,
    /// How many boots ended before the tests did.
    pub(super) boots: u32,
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
    pub(super) fn to_report(&self, machine: &str, how: &str) -> Vec<String> {
        let tests = self.failed_once.iter().map(|test| {
            format!("{test} on {machine}: its first try failed, and the machine ended later; its log has the reason")
        });
        let boot = format!("{machine}: the emulator {how}; it was booted again for the tests that had not ended");
        tests.chain([boot]).collect()
    }
}

pub(super) fn watch(name: &str, machine: &mut Child, heard: &mut Heard) -> anyhow::Result<End> {
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

    use super::Heard;
    use crate::vm::{Machine, tier::command};

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
