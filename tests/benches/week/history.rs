//! A week of invented data: the golden page's series on several nodes, for promtool to write into Prometheus'
//! storage.

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
/// How many copies of each of the page's containers there are.
const COPIES: u32 = 8;
/// Seconds between two scrapes.
pub(crate) const INTERVAL: u64 = 15;
/// How many seconds promtool writes at once. Prometheus first keeps as much in one block.
const BLOCK: u64 = 2 * 3600;

/// A family, and its series with their slopes.
#[derive(Debug)]
struct Family {
    /// The comment with its type.
    kind: String,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    /// Its name and labels.
    name: String,
    /// Its first value.
    value: f64,
    /// About how much it rises at each scrape.
    slope: u64,
}

/// The data to write.
pub(crate) struct History(Vec<Family>);

impl History {
    /// Reads the golden page, and multiplies its series.
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

    /// Writes data that ends before `now` into the `data` folder of `folder`, and returns its end. If an earlier run
    /// wrote the same except for the time, that is kept: writing takes longer than all queries.
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

    /// Writes one block as promtool's input: family after family, with every scrape of each series.
    fn write_block(&self, file: &Path, offset: u64, block: u64) -> anyhow::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
        let mut line = String::new();
        for Family { kind, series } in &self.0 {
            writeln!(out, "{kind}")?;
            for Series { name, value, slope } in series {
                for second in (0..BLOCK).step_by(usize::try_from(INTERVAL)?) {
                    let scrape = (offset + second) / INTERVAL;
                    // The rate varies, as that of traffic does, but the value never falls.
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
    /// Adds a line of the page for each node. A container's line is also added for each copy.
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
                        // The copies' names differ at the beginning, after the opening quote.
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
