//! The same benchmark in an emulated machine, where there may be many processors: first what each machine writes, then
//! the comparison of two of them. Must not know how a machine is made.
//!
//! Its clock says little of real machines, so only ratios between two machines are judged.

use std::{env, fs, path::Path};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{RUNS, median, report::Report, site::Site, sizes};

/// Where a machine writes its figures.
const INTO: &str = "NETMON_SCALE_INTO";
/// The files of two machines, with few and with many possible processors, separated by a colon.
const COMPARE: &str = "NETMON_SCALE_COMPARE";
/// The number of containers, if no other is asked for.
const CONTAINERS: [usize; 1] = [100];

/// How many times the CPU of a page may be, where there may be many processors.
const RATIO_BOUND: f64 = 2.0;
/// The kernel memory that all maps may take there, in megabytes.
const MAPS_BOUND: f64 = 40.0;
/// The first kernel that says how much memory a map takes. Older ones say how much it takes once it is full.
const SAYS_MEMORY: (u32, u32) = (6, 4);

const CPU: &str = "CPU of a page";
const MAPS: &str = "kernel memory of the maps";
const CPUS: &str = "possible processors";
const FULL: &str = "maps are counted as if they were full";

/// Does what xtask asks for instead of the whole benchmark. `None` if it asks for nothing else.
pub(crate) fn run_as_asked() -> Option<anyhow::Result<()>> {
    if let Ok(file) = env::var(INTO) {
        return Some(measure(file.as_ref()));
    }
    env::var(COMPARE).ok().map(|files| compare(&files))
}

/// Measures netmon alone.
fn measure(file: &Path) -> anyhow::Result<()> {
    let mut report = Report::default();
    let full = kernel()? < SAYS_MEMORY;
    report.add(CPUS, possible_cpus()?, "", None);
    report.add(FULL, f64::from(u8::from(full)), "", None);
    for containers in sizes(&CONTAINERS)? {
        // Whoever watches the machine's console takes it for hung if it says nothing.
        println!("{containers} containers are made, and netmon starts");
        let site = Site::start(containers)?;
        println!("{containers} containers, {:.0?}", site.started);
        let mut client = site.client(true)?;
        client.ask()?;
        let mut runs = [0.0; RUNS];
        for run in &mut runs {
            *run = site.run(site.process(), &mut client, |_| Ok(()))?.cpu;
        }
        println!("{containers} containers, CPU of a page in three runs: {runs:.1?} ms");
        report.add(&at(CPU, containers), median(&runs), "ms", None);
        report.add(&at(MAPS, containers), site.maps()?, "MB", None);
        let (status, _) = site.end()?;
        ensure!(status.success(), "netmon ended with {status}");
    }
    print!("{report}");
    report.write(file).with_context(|| format!("{}", file.display()))
}

/// Compares the figures of two machines.
fn compare(files: &str) -> anyhow::Result<()> {
    let (few, many) = files.split_once(':').with_context(|| format!("{COMPARE}: {files:?}"))?;
    let (few, many) = (Figures::read(few)?, Figures::read(many)?);
    let mut report = Report::default();
    let (from, to) = (few.of(CPUS)?, many.of(CPUS)?);
    ensure!(from < to, "{from} possible processors are not fewer than {to}");
    let is_full = many.of(FULL)? > 0.0;
    for containers in sizes(&CONTAINERS)? {
        let cpu = at(CPU, containers);
        report.add(
            &format!("{cpu}: with {to} possible processors, times that with {from}"),
            many.of(&cpu)? / few.of(&cpu)?,
            "",
            Some(RATIO_BOUND),
        );
        let maps = at(MAPS, containers);
        for (figures, cpus, bound) in [(&few, from, None), (&many, to, Some(MAPS_BOUND))] {
            report.add(
                &format!(
                    "{maps}, {cpus} possible processors{}",
                    if is_full { ", if they were full" } else { "" }
                ),
                figures.of(&maps)?,
                "MB",
                bound.filter(|_| !is_full),
            );
        }
    }
    print!("{report}");
    report.write("../target/bench-scale-emulated.jsonl".as_ref())?;
    report.verdict()
}

/// The figures of a machine.
struct Figures(Vec<Value>);

impl Figures {
    fn read(file: &str) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let figures = lines.map(serde_json::from_str).collect::<Result<_, _>>();
        Ok(Self(figures.with_context(|| file.to_owned())?))
    }

    fn of(&self, what: &str) -> anyhow::Result<f64> {
        let figure = self.0.iter().find(|figure| figure["what"] == what);
        figure
            .and_then(|figure| figure["value"].as_f64())
            .with_context(|| format!("no figure for {what}"))
    }
}

fn at(what: &str, containers: usize) -> String {
    format!("{what}, {containers} containers")
}

/// How many processors there may be: the kernel lists them from zero.
fn possible_cpus() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit(['-', ',']).next().unwrap_or_default();
    Ok(last.parse::<f64>().context("the kernel lists no processors")? + 1.0)
}

/// The first two numbers of the kernel's release.
fn kernel() -> anyhow::Result<(u32, u32)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']);
    let mut number = || -> anyhow::Result<u32> { Ok(numbers.next().context("no release")?.parse()?) };
    Ok((number()?, number()?))
}
