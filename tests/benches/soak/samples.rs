//! netmon's resources over time, and whether they grow.

use std::{fmt, time::Duration};

use anyhow::ensure;
use netmon_tests::page::Page;

/// How much more memory the last quarter may use than the second, as a share of it. (In the first quarter buffers are
/// filled.)
const GROWTH: f64 = 0.05;
/// The number of rows of the table.
const ROWS: usize = 13;

/// netmon's resources at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Resident memory in bytes.
    pub(crate) memory: f64,
    /// Its own CPU time so far, in seconds.
    pub(crate) cpu: f64,
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
    /// Entries in the map of interfaces: one for each watched interface.
    pub(crate) entries: u64,
    /// Entries in the map of drops. Every container leaves some for a while.
    pub(crate) drops: u64,
    /// The number of interfaces on the page.
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
            drops: page.count("netmon_bpf_map_entries", &[("map", "DROPS")])?,
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
            drops,
            programs,
            series,
        } = self;
        write!(
            f,
            "{:.1} MB, {descriptors} descriptors, {threads} threads, {entries} map entries ({drops} of drops), {programs} \
             interfaces, {series} series",
            memory / 1e6
        )
    }
}

/// All samples, with the time since the start.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<(Duration, Sample)>);

impl Samples {
    pub(crate) fn add(&mut self, at: Duration, sample: Sample) {
        self.0.push((at, sample));
    }

    /// Some of them, evenly spaced, as a table.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![
            "| after | memory | descriptors | threads | map entries | of those, drops | interfaces | series | CPU since the row before |"
                .to_owned(),
            "|---:|---:|---:|---:|---:|---:|---:|---:|---:|".to_owned(),
        ];
        let Self(samples) = self;
        let every = samples.len().div_ceil(ROWS).max(1);
        let mut before = (Duration::ZERO, 0.0);
        for (at, sample) in samples.iter().step_by(every).chain(samples.last()) {
            let passed = at.saturating_sub(before.0).as_secs_f64();
            // The table may already contain the last row.
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
                drops,
                programs,
                series,
            } = sample;
            rows.push(format!(
                "| {:.1} min | {:.1} MB | {descriptors} | {threads} | {entries} | {drops} | {programs} | {series} | {:.2} % |",
                at.as_secs_f64() / 60.0,
                memory / 1e6,
                spent * 100.0
            ));
        }
        rows.push(String::new());
        rows.join("\n")
    }

    /// Fails if memory or the map of drops has grown.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let Self(samples) = self;
        ensure!(samples.len() >= 8, "{} samples say nothing", samples.len());
        let quarter = samples.len() / 4;
        let medians = |of: fn(&Sample) -> f64| {
            let median = |part: &[(Duration, Sample)]| {
                let mut figures: Vec<_> = part.iter().map(|(_, sample)| of(sample)).collect();
                figures.sort_by(f64::total_cmp);
                figures[figures.len() / 2]
            };
            (
                median(&samples[quarter..2 * quarter]),
                median(&samples[samples.len() - quarter..]),
            )
        };
        let (early, late) = medians(|sample| sample.drops as f64);
        ensure!(
            late <= 2.0 * early,
            "the map of drops grows: a median of {early} entries in the second quarter, {late} in the last"
        );
        let (early, late) = medians(|sample| sample.memory);
        ensure!(
            late <= early * (1.0 + GROWTH),
            "memory grows: a median of {:.1} MB in the second quarter, {:.1} MB in the last",
            early / 1e6,
            late / 1e6
        );
        Ok(())
    }
}
