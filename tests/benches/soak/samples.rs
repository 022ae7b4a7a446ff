//! What netmon holds over time, and whether it is flat.

use std::{fmt, time::Duration};

use anyhow::ensure;
use netmon_tests::page::Page;

/// How much more memory the last quarter may take than the second, in shares of it. (In the first it fills its buffers.)
const GROWTH: f64 = 0.05;
/// Rows of the table.
const ROWS: usize = 13;

/// What netmon holds at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Resident memory in bytes.
    pub(crate) memory: f64,
    /// Its own CPU time so far, in seconds.
    pub(crate) cpu: f64,
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
    /// Entries of the map of interfaces: one a watched interface.
    pub(crate) entries: u64,
    /// Interfaces with programs, of those that the page shows.
    pub(crate) programs: usize,
    pub(crate) series: usize,
}

impl Sample {
    pub(crate) fn of(page: &Page, descriptors: usize) -> anyhow::Result<Self> {
        Ok(Self {
            memory: page.value("process_resident_memory_bytes", &[])?,
            cpu: page.value("process_cpu_seconds_total", &[])?,
            descriptors,
            threads: page.count("process_threads", &[])?,
            entries: page.count("netmon_bpf_map_entries", &[("map", "TRAFFIC")])?,
            programs: page.all("netmon_container_network_transmit_packets_total", &[]).len(),
            series: page.samples.len(),
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            memory,
            cpu: _,
            descriptors,
            threads,
            entries,
            programs,
            series,
        } = self;
        write!(
            f,
            "{:.1} MB, {descriptors} descriptors, {threads} threads, {entries} map entries, {programs} interfaces, {series} series",
            memory / 1e6
        )
    }
}

/// All of them, with the time since the beginning.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<(Duration, Sample)>);

impl Samples {
    pub(crate) fn add(&mut self, at: Duration, sample: Sample) {
        self.0.push((at, sample));
    }

    /// Some of them, evenly chosen, as a table.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![
            "| after | memory | descriptors | threads | map entries | interfaces | series | CPU since the row before |"
                .to_owned(),
            "|---:|---:|---:|---:|---:|---:|---:|---:|".to_owned(),
        ];
        let Self(samples) = self;
        let every = samples.len().div_ceil(ROWS).max(1);
        let mut before = (Duration::ZERO, 0.0);
        for (at, sample) in samples.iter().step_by(every).chain(samples.last()) {
            let passed = at.saturating_sub(before.0).as_secs_f64();
            // The last row may be there already.
            if passed == 0.0 {
                continue;
            }
            let spent = (sample.cpu - before.1) / passed;
            before = (*at, sample.cpu);
            let Sample {
                memory,
                cpu: _,
                descriptors,
                threads,
                entries,
                programs,
                series,
            } = sample;
            rows.push(format!(
                "| {:.1} min | {:.1} MB | {descriptors} | {threads} | {entries} | {programs} | {series} | {:.2} % |",
                at.as_secs_f64() / 60.0,
                memory / 1e6,
                spent * 100.0
            ));
        }
        rows.push(String::new());
        rows.join("\n")
    }

    /// Whether memory is flat.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let Self(samples) = self;
        ensure!(samples.len() >= 8, "{} samples say nothing", samples.len());
        let quarter = samples.len() / 4;
        let median = |part: &[(Duration, Sample)]| {
            let mut memory: Vec<_> = part.iter().map(|(_, sample)| sample.memory).collect();
            memory.sort_by(f64::total_cmp);
            memory[memory.len() / 2]
        };
        let (early, late) = (
            median(&samples[quarter..2 * quarter]),
            median(&samples[samples.len() - quarter..]),
        );
        ensure!(
            late <= early * (1.0 + GROWTH),
            "memory grows: a median of {:.1} MB in the second quarter, {:.1} MB in the last",
            early / 1e6,
            late / 1e6
        );
        Ok(())
    }
}
