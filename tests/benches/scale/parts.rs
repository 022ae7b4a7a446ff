//! What a page's time goes to, by what netmon says of its collectors. Must not know how pages are asked for.

use std::{collections::BTreeMap, io::Write as _, time::Instant};

use flate2::{Compression, write::GzEncoder};
use netmon_tests::page::Page;

use crate::median;

/// Where netmon says how long a collector took.
const DURATION: &str = "netmon_scrape_collector_duration_seconds";

/// What compressing a page is called. netmon does not say how long it takes, so the page is compressed here once more, by
/// the same library at the same level.
const COMPRESSING: &str = "compressing it, measured beside netmon";

/// The durations of each part, one for each page, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts(BTreeMap<String, Vec<f64>>);

/// A part of a page's time.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) milliseconds: f64,
    /// Of the whole, in percent.
    pub(crate) share: f64,
}

impl Parts {
    /// Notes what a page says. Reads no other lines of it: there are tens of thousands.
    pub(crate) fn note(&mut self, page: &str) -> anyhow::Result<()> {
        let lines: Vec<_> = page.lines().filter(|line| line.starts_with(DURATION)).collect();
        for sample in Page::parse(&lines.join("\n"))?.samples {
            if let Some(collector) = sample.labels.get("collector") {
                self.add(format!("collector `{collector}`"), sample.value);
            }
        }
        let begin = Instant::now();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(page.as_bytes())?;
        encoder.finish()?;
        self.add(COMPRESSING.to_owned(), begin.elapsed().as_secs_f64());
        Ok(())
    }

    fn add(&mut self, part: String, seconds: f64) {
        self.0.entry(part).or_default().push(seconds * 1e3);
    }

    /// The median of each part, the largest first. A page takes `whole` milliseconds.
    pub(crate) fn of(&self, whole: f64) -> Vec<Part> {
        let medians = self.0.iter().map(|(name, times)| (name.clone(), median(times)));
        let mut parts: Vec<_> = medians.collect();
        let said: f64 = parts.iter().map(|(_, time)| time).sum();
        parts.push(("the rest: limits, rows to text, sending".to_owned(), whole - said));
        parts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        parts
            .into_iter()
            .map(|(name, milliseconds)| Part {
                name,
                milliseconds,
                share: milliseconds / whole * 100.0,
            })
            .collect()
    }
}

/// The parts as a table in Markdown.
pub(crate) fn table(containers: usize, parts: &[Part]) -> String {
    let mut lines = vec![
        format!("| part of a page, {containers} containers | time | share |"),
        "|---|---:|---:|".to_owned(),
    ];
    for Part {
        name,
        milliseconds,
        share,
    } in parts
    {
        lines.push(format!("| {name} | {milliseconds:.2} ms | {share:.0} % |"));
    }
    lines.push(String::new());
    lines.join("\n")
}
