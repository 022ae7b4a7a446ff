//! A week that never was: the golden page's series on several nodes, for promtool to write into Prometheus' storage.

use std::{
    fmt::Write as _,
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{BufWriter, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use netmon_tests::prometheus::promtool;

const NODES: u32 = 3;
/// Copies of each container on the page.
const COPIES: u32 = 8;
/// Seconds between two scrapes.
pub(crate) const INTERVAL: u64 = 15;
/// What promtool writes at once, and Prometheus keeps in one block to begin with.
const BLOCK: u64 = 2 * 3600;

/// A family, and its series with how fast they rise.
#[derive(Debug)]
struct Family {
    /// The comment that says what type it has.
    kind: String,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    /// Name and labels.
    name: String,
    /// What it begins with.
    value: f64,
    /// What it rises by at each scrape, about.
    slope: u64,
}

/// What is to be written.
pub(crate) struct History(Vec<Family>);

impl History {
    /// Takes the page to pieces.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../netmon/testdata/metrics/golden.om");
        let page = fs::read_to_string(path).with_context(|| path.to_owned())?;
        let mut families = vec![Family {
            kind: "# TYPE up gauge".to_owned(),
            series: (1..=NODES)
                .map(|node| constant(format!("up{{{}}}", target(node)), 1.0))
                .collect(),
        }];
        for line in page.lines() {
            if line.starts_with("# TYPE ") {
                families.push(Family {
                    kind: line.to_owned(),
                    series: Vec::new(),
                });
            } else if !line.starts_with('#')
                && let Some(family) = families.last_mut()
            {
                family.add(line)?;
            }
        }
        Ok(Self(families))
    }

    pub(crate) fn series(&self) -> usize {
        self.0.iter().map(|family| family.series.len()).sum()
    }

    /// Writes what ended before `now` into the `data` of that folder, and gives its end; or leaves what was written there
    /// for an earlier run, if it would be the same but for the time: to write takes longer than all queries.
    pub(crate) fn write(&self, folder: &Path, now: u64, length: Duration) -> anyhow::Result<u64> {
        let written = folder.join("written");
        let mut what = DefaultHasher::new();
        format!("{:?} {length:?} {BLOCK} {INTERVAL}", self.0).hash(&mut what);
        let what = what.finish().to_string();
        if let Ok(earlier) = fs::read_to_string(&written)
            && let Some((end, earlier)) = earlier.split_once('\n')
            && earlier == what
        {
            return Ok(end.parse()?);
        }
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let end = now / BLOCK * BLOCK;
        let begin = end - length.as_secs();
        let file = folder.join("history.om");
        for block in (begin..end).step_by(usize::try_from(BLOCK)?) {
            self.write_block(&file, block - begin, block)?;
            let output = [file.as_os_str(), "data".as_ref()];
            promtool(folder, &["tsdb", "create-blocks-from", "openmetrics", "-q"], output)?;
        }
        fs::remove_file(file)?;
        let last = end - INTERVAL;
        fs::write(written, format!("{last}\n{what}"))?;
        Ok(last)
    }

    /// A block in promtool's language: families one after the other, of each series every scrape.
    fn write_block(&self, file: &Path, offset: u64, block: u64) -> anyhow::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
        let mut line = String::new();
        for Family { kind, series } in &self.0 {
            writeln!(out, "{kind}")?;
            for Series { name, value, slope } in series {
                for second in (0..BLOCK).step_by(usize::try_from(INTERVAL)?) {
                    let scrape = (offset + second) / INTERVAL;
                    // Now more, now less, as traffic is, and always more than before.
                    let risen = (scrape * slope + scrape * 7919 % (slope + 1)) as f64;
                    line.clear();
                    writeln!(line, "{name} {} {}", value + risen, block + second)?;
                    out.write_all(line.as_bytes())?;
                }
            }
        }
        writeln!(out, "# EOF")?;
        Ok(out.flush()?)
    }
}

impl Family {
    /// Adds a line of the page: on each node, and if it is a container's, for each of its copies.
    fn add(&mut self, line: &str) -> anyhow::Result<()> {
        let (series, value) = line.rsplit_once(' ').context("a line without a value")?;
        let value: f64 = value.parse().with_context(|| line.to_owned())?;
        let rises = self.kind.ends_with(" counter") || self.kind.ends_with(" histogram");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.trim_end_matches('}')),
            None => (series, ""),
        };
        let is_container = labels.starts_with("container=\"");
        for node in 1..=NODES {
            for copy in 0..if is_container { COPIES } else { 1 } {
                let mut full = format!("{name}{{{}", target(node));
                if !labels.is_empty() {
                    full.push(',');
                    if is_container {
                        // Before the closing quote of the container's name there is nothing that it ends in.
                        full += &labels.replacen("container=\"", &format!("container=\"c{node}-{copy}-"), 1);
                    } else {
                        full += labels;
                    }
                }
                full.push('}');
                self.series.push(if rises {
                    Series {
                        name: full,
                        value,
                        slope: 1 + u64::from(node * 31 + copy * 17) % 97,
                    }
                } else {
                    constant(full, value)
                });
            }
        }
        Ok(())
    }
}

fn constant(name: String, value: f64) -> Series {
    Series { name, value, slope: 0 }
}

fn target(node: u32) -> String {
    format!("job=\"netmon\",instance=\"n{node}\"")
}
