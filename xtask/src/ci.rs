//! `cargo xtask ci`: everything that has to pass before something lands, in the order and side by side as two processors
//! allow. Owns the schedule; what each part does is the chore of its name.
//!
//! What keeps processors busy (compiling, the emulated kernel) runs niced beside what mostly waits (namespaces, engines).

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};

use crate::{
    sh,
    test::{self, report::Report},
};

/// The emulated kernel whose offsets, drop reasons and hooks differ from those of the machine's: Debian 12's own.
const KERNEL: &str = "6.1";
/// What depends on these, and so is run there.
const DEPENDS_ON_THE_KERNEL: [&str; 6] = [
    "clock::",
    "counting::",
    "drops::",
    "overlay::",
    "retransmits::",
    "tcp::",
];

/// A chore of ours, as a part of the run.
#[derive(Clone, Copy, Debug)]
struct Part {
    name: &'static str,
    chore: &'static [&'static str],
}

const fn part(name: &'static str, chore: &'static [&'static str]) -> Part {
    Part { name, chore }
}

/// How a part ended.
#[derive(Debug)]
struct Ended {
    name: &'static str,
    begin: Duration,
    took: Duration,
    passed: bool,
}

/// Runs everything, and says what took how long and what needed a second try.
pub(crate) fn run() -> anyhow::Result<()> {
    let run = Run {
        begin: Instant::now(),
        folder: sh::workspace().join("target/ci"),
        ended: Mutex::default(),
    };
    fs::create_dir_all(&run.folder).with_context(|| format!("{}", run.folder.display()))?;
    // What is reported at the end is of this run.
    if test::results().exists() {
        fs::remove_dir_all(test::results())?;
    }
    let outcome = run.all();
    run.report()?;
    outcome?;
    let failed: Vec<&str> = run.lock().iter().filter(|it| !it.passed).map(|it| it.name).collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

struct Run {
    begin: Instant,
    folder: PathBuf,
    ended: Mutex<Vec<Ended>>,
}

impl Run {
    fn all(&self) -> anyhow::Result<()> {
        self.must(part("tools", &["setup", "lint"]))?;
        self.must(part("tools of the tests", &["setup", "vm"]))?;
        // What fails within seconds does so before anything is compiled.
        self.must(part("rules", &["lint", "rules"]))?;
        self.beside(
            &[part("image", &["image"])],
            &[part("build of the tests", &["test", "--no-run"])],
        )?;
        let emulated: Vec<&str> = ["test", "--kernel", KERNEL]
            .into_iter()
            .chain(DEPENDS_ON_THE_KERNEL.iter().flat_map(|name| ["--name", name]))
            .collect();
        let emulated: &'static [&'static str] = emulated.leak();
        self.beside(
            &[part("kernel", &["test", "kernel"]), part("engine", &["test", "engine"])],
            &[
                part("lint", &["lint", "code"]),
                part("quick", &["test", "quick"]),
                part("emulated kernel", emulated),
            ],
        )
    }

    /// One part alone; nothing goes on without it.
    fn must(&self, part: Part) -> anyhow::Result<()> {
        ensure!(self.in_front(part)?, "{} failed", part.name);
        Ok(())
    }

    /// Some parts in front, with their output as it comes, and others behind, niced, with theirs when they end. All are
    /// run, whatever the others say, so that one run shows all that is wrong.
    fn beside(&self, front: &[Part], behind: &[Part]) -> anyhow::Result<()> {
        thread::scope(|scope| {
            let background = scope.spawn(|| behind.iter().try_for_each(|part| self.behind(*part)));
            let foreground = front.iter().try_for_each(|part| self.in_front(*part).map(drop));
            let background = background
                .join()
                .map_err(|_| anyhow!("a thread of this run panicked"))?;
            foreground.and(background)
        })
    }

    fn in_front(&self, part: Part) -> anyhow::Result<bool> {
        sh::say(format!("\n==== {}", part.name));
        self.timed(part, &mut Command::new(std::env::current_exe()?))
    }

    fn behind(&self, part: Part) -> anyhow::Result<()> {
        let log = self.folder.join(format!("{}.log", part.name.replace(' ', "-")));
        let file = File::create(&log).with_context(|| format!("{}", log.display()))?;
        sh::say(format!(
            "\n==== {}, meanwhile; its output comes when it ends",
            part.name
        ));
        let mut command = Command::new("nice");
        command
            .args(["-n", "19"])
            .arg(std::env::current_exe()?)
            .stdout(file.try_clone()?)
            .stderr(file);
        self.timed(part, &mut command)?;
        let output = fs::read(&log).with_context(|| format!("{}", log.display()))?;
        sh::say(format!(
            "\n==== {}, of which this is the output\n{}==== end of {}",
            part.name,
            String::from_utf8_lossy(&output),
            part.name
        ));
        Ok(())
    }

    fn timed(&self, part: Part, command: &mut Command) -> anyhow::Result<bool> {
        let (begin, started) = (self.begin.elapsed(), Instant::now());
        let status = command.args(part.chore).stdin(Stdio::null()).status()?;
        let took = started.elapsed();
        let ended = Ended {
            name: part.name,
            begin,
            took,
            passed: status.success(),
        };
        sh::say(format!(
            "==== {} {} after {:.0} s",
            ended.name,
            ended.verdict(),
            took.as_secs_f64()
        ));
        self.lock().push(ended);
        Ok(status.success())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Ended>> {
        self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The whole run on one page.
    fn report(&self) -> anyhow::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(test::results()).into_iter().flatten() {
            files.push(entry?.path().join("junit.xml"));
        }
        let report = Report::of(files)?;
        report.print();
        fs::create_dir_all(test::results())?;
        report.keep_retried(&test::results().join("retried"))?;
        sh::say("\npart                      from       took");
        for part in self.lock().iter() {
            sh::say(format!(
                "{:<22} {:>5.1} min  {:>5.1} min  {}",
                part.name,
                minutes(part.begin),
                minutes(part.took),
                part.verdict()
            ));
        }
        sh::say(format!("{:<22} {:>20.1} min", "all", minutes(self.begin.elapsed())));
        Ok(())
    }
}

impl Ended {
    fn verdict(&self) -> &'static str {
        if self.passed { "passed" } else { "FAILED" }
    }
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}
