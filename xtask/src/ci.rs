//! `cargo xtask ci`: everything that has to pass before a change lands. Owns the schedule: what runs in which order,
//! and what runs side by side on two processors. Must not know what a part does: that is in the chore of the same
//! name.
//!
//! Compiling runs niced, beside tests that mostly wait (namespaces, engines). The emulated kernel takes longest and
//! uses one processor at most. Its tests are split in two halves. Both begin as soon as they can, and share the
//! processors with the other parts.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::{Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{deny::NotChecked, sh, test};

/// The kernel to emulate: Debian 12's own. Its offsets, drop reasons and hooks differ from those of this machine's
/// kernel.
pub(crate) const KERNEL: &str = "6.1";
/// The tests that depend on offsets, drop reasons and hooks. They also run on the emulated kernel.
pub(crate) const DEPENDS_ON_THE_KERNEL: [&str; 14] = [
    "clock::",
    "counting::",
    "dns::queries_to",
    "dns::what_goes",
    "drops::",
    "edges::a_connection",
    "edges::both_ends",
    "edges::gateways::",
    "edges::virtual_address::",
    "findings::",
    "overlay::",
    "protocols::",
    "retransmits::",
    "tcp::",
];

/// The parts that build what the tests of netmon need.
const BUILT: &[&str] = &["image", "build, kernel tests"];

/// One xtask command, as a part of the run.
#[derive(Clone, Debug)]
struct Part {
    name: &'static str,
    chore: Vec<&'static str>,
    /// The parts that have to pass before this one begins.
    needs: &'static [&'static str],
}

fn part(name: &'static str, needs: &'static [&'static str], chore: &[&'static str]) -> Part {
    Part {
        name,
        chore: chore.to_vec(),
        needs,
    }
}

/// Where a part's output goes, and its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// To the terminal, as it is written.
    Front,
    /// To a file, and to the terminal when the part ends. `nice` lowers its priority below the front lane's.
    Behind { nice: u8 },
}

/// The parts that run first, one after the other. They fail within seconds, before anything is compiled.
fn first() -> Vec<Part> {
    vec![
        part("tools", &[], &["setup", "lint"]),
        part("tools of the tests", &["tools"], &["setup", "vm"]),
        part("rules", &["tools"], &["lint", "rules"]),
    ]
}

/// The parts that run next: lanes side by side, and the parts of each lane one after the other.
fn then() -> Vec<(Lane, Vec<Part>)> {
    let emulated = |name, share| {
        let mut chore = vec!["test", "--as-built", "--kernel", KERNEL, "--share", share];
        chore.extend(DEPENDS_ON_THE_KERNEL.iter().flat_map(|name| ["--name", name]));
        (Lane::Behind { nice: 0 }, vec![part(name, BUILT, &chore)])
    };
    let front = vec![
        part("image", &["rules"], &["image"]),
        part("kernel", BUILT, &["test", "--as-built", "kernel"]),
        part(
            "engine",
            &["image", "build, engine tests"],
            &["test", "--as-built", "engine"],
        ),
    ];
    let compiled = vec![
        part("build, kernel tests", &["rules"], &["test", "--no-run", "kernel"]),
        part("build, engine tests", &["image"], &["test", "--no-run", "engine"]),
        part("lint", &["rules"], &["lint", "code"]),
        part("quick", &["rules"], &["test", "quick"]),
        // Last: it may have to compile cargo-deny first. Most changes cannot make it fail; the list changes by itself.
        part("known vulnerabilities", &["rules"], &["advisories"]),
    ];
    vec![
        (Lane::Front, front),
        (Lane::Behind { nice: 19 }, compiled),
        emulated("emulated kernel, one half", "1/2"),
        emulated("emulated kernel, other half", "2/2"),
    ]
}

/// How a part ended.
#[derive(Debug)]
struct Ended {
    name: &'static str,
    begin: Duration,
    took: Duration,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// A part that it needs did not pass.
    NotRun,
    /// What it compares with cannot be had from here.
    NotChecked,
}

impl Verdict {
    fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(0) => Self::Passed,
            Some(code) if code == i32::from(NotChecked::STATUS) => Self::NotChecked,
            Some(_) | None => Self::Failed,
        }
    }

    /// Whether the run has to fail for it.
    fn is_bad(self) -> bool {
        match self {
            Self::Passed | Self::NotChecked => false,
            Self::Failed | Self::NotRun => true,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotRun => "NOT RUN",
            Self::NotChecked => "NOT CHECKED",
        }
    }
}

/// Runs everything. Prints how long each part took and which tests needed a second try.
pub(crate) fn run() -> anyhow::Result<()> {
    let run = Run {
        begin: Instant::now(),
        folder: sh::workspace().join("target/ci"),
        ended: Mutex::default(),
        another: Condvar::new(),
    };
    fs::create_dir_all(&run.folder).with_context(|| format!("{}", run.folder.display()))?;
    // The report at the end covers this run only.
    if test::results().exists() {
        fs::remove_dir_all(test::results())?;
    }
    run.all();
    run.report();
    let bad: Vec<&str> = run
        .lock()
        .iter()
        .filter(|it| it.verdict.is_bad())
        .map(|it| it.name)
        .collect();
    ensure!(bad.is_empty(), "not passed: {}", bad.join(", "));
    Ok(())
}

struct Run {
    begin: Instant,
    folder: PathBuf,
    ended: Mutex<Vec<Ended>>,
    /// Notified when a part ends.
    another: Condvar,
}

impl Run {
    /// Runs all parts, even if some fail: one run shows everything that is wrong.
    fn all(&self) {
        self.lane(Lane::Front, &first());
        thread::scope(|scope| {
            for (lane, parts) in then() {
                scope.spawn(move || self.lane(lane, &parts));
            }
        });
    }

    /// Runs the parts of one lane, one after the other.
    fn lane(&self, lane: Lane, parts: &[Part]) {
        for part in parts {
            let may_begin = self.has_what_it_needs(part);
            let begin = self.begin.elapsed();
            let (verdict, took) = if may_begin {
                let begin = Instant::now();
                let status = match lane {
                    Lane::Front => in_front(part),
                    Lane::Behind { nice } => self.behind(part, nice),
                };
                // An error counts as a failure too: parts that wait for this one must learn that it will not pass.
                let failed = |error| {
                    sh::complain(&error);
                    Verdict::Failed
                };
                let verdict = status.map_or_else(failed, Verdict::of);
                (verdict, begin.elapsed())
            } else {
                (Verdict::NotRun, Duration::ZERO)
            };
            let seconds = took.as_secs_f64();
            sh::say(format!("==== {}: {} after {seconds:.0} s", part.name, verdict.as_str()));
            self.lock().push(Ended {
                name: part.name,
                begin,
                took,
                verdict,
            });
            self.another.notify_all();
        }
    }

    /// Waits until the parts that `part` needs have ended. Returns whether all of them passed.
    fn has_what_it_needs(&self, part: &Part) -> bool {
        let mut ended = self.lock();
        loop {
            let verdicts: Option<Vec<Verdict>> = part
                .needs
                .iter()
                .map(|name| Some(ended.iter().find(|it| it.name == *name)?.verdict))
                .collect();
            if let Some(verdicts) = verdicts {
                return verdicts.iter().all(|it| *it == Verdict::Passed);
            }
            ended = self
                .another
                .wait(ended)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn behind(&self, part: &Part, nice: u8) -> anyhow::Result<ExitStatus> {
        let log = self
            .folder
            .join(format!("{}.log", part.name.replace(", ", "-").replace(' ', "-")));
        let file = File::create(&log).with_context(|| format!("{}", log.display()))?;
        sh::say(format!(
            "\n==== {}, meanwhile; its output comes when it ends",
            part.name
        ));
        let status = Command::new("nice")
            .args(["-n", &nice.to_string()])
            .arg(std::env::current_exe()?)
            .args(&part.chore)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .status()?;
        let output = fs::read(&log).with_context(|| format!("{}", log.display()))?;
        sh::say(format!(
            "\n==== {}, of which this is the output\n{}",
            part.name,
            String::from_utf8_lossy(&output)
        ));
        Ok(status)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Ended>> {
        self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Prints the results of the whole run.
    fn report(&self) {
        test::report_all();
        sh::say("\npart                              from       took");
        for part in self.lock().iter() {
            sh::say(format!(
                "{:<30} {:>5.1} min  {:>5.1} min  {}",
                part.name,
                minutes(part.begin),
                minutes(part.took),
                part.verdict.as_str()
            ));
        }
        sh::say(format!("{:<30} {:>18.1} min", "all", minutes(self.begin.elapsed())));
    }
}

fn in_front(part: &Part) -> anyhow::Result<ExitStatus> {
    sh::say(format!("\n==== {}", part.name));
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.args(&part.chore).stdin(Stdio::null()).status()?)
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

    use super::{Verdict, first, then};

    #[test]
    fn what_could_not_be_checked_fails_nothing_and_does_not_pass_either() {
        let of = |code: i32| Verdict::of(ExitStatus::from_raw(code << 8));
        assert_eq!(
            [of(0), of(1), of(75)],
            [Verdict::Passed, Verdict::Failed, Verdict::NotChecked]
        );
        assert_eq!([of(0), of(1), of(75)].map(Verdict::is_bad), [false, true, false]);
        // Ended by a signal.
        assert_eq!(Verdict::of(ExitStatus::from_raw(9)), Verdict::Failed);
    }

    /// A part whose needs never end would wait forever.
    #[test]
    fn every_part_can_begin_once_others_have_ended() {
        let mut ended: Vec<&str> = first().iter().map(|part| part.name).collect();
        let mut lanes: Vec<_> = then()
            .into_iter()
            .map(|(_, parts)| parts.into_iter().peekable())
            .collect();
        loop {
            let before = ended.len();
            for lane in &mut lanes {
                while let Some(part) = lane.next_if(|part| part.needs.iter().all(|need| ended.contains(need))) {
                    ended.push(part.name);
                }
            }
            if ended.len() == before {
                break;
            }
        }
        for lane in &mut lanes {
            let stuck = lane.peek();
            assert!(stuck.is_none(), "{stuck:?} never begins");
        }
    }
}
