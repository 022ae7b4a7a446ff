//! The text of a page: rows in, text out.
//!
//! Writes the page itself, because it is most of a scrape's work in user space: a line is three copies and a number.
//! The metrics library calls its writer a dozen times for a line. It is the yardstick of the tests instead, which
//! compare byte by byte. Only this module names it, and what writes numbers. The kernel's counters are exposed as they
//! were read. They are not copied into counters of a library, so no series can drift or outlive its subject. Does no
//! I/O. Does not know which families there are, or how a page is requested.

#[cfg(test)]
mod library;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range};

use crate::{
    model::{collector::Collector, histogram::Histogram},
    page::{
        family::{About, Kind},
        rows::{Lines, Rows},
        value::Value,
    },
};

/// A page in the two formats that scrapers ask for.
///
/// They differ in the lines that start with `#`. In the older format, families have the names of their series, and there
/// are no units, no infos and no end mark. All samples are the same, because netmon writes neither timestamps nor
/// exemplars.
#[derive(Debug, Default)]
pub struct Text {
    /// The page as `OpenMetrics` 1.0 text.
    pub open_metrics: String,
    /// What Prometheus' text format 0.0.4 has in place of these parts, in their order.
    pub older: Vec<(Range<usize>, String)>,
}

/// Writes these rows, and then the rows that `last` makes of the number of series of each collector.
pub fn write(rows: Vec<Rows>, last: impl FnOnce(&BTreeMap<Collector, usize>) -> Rows) -> Text {
    const END: &str = "# EOF\n";

    let mut text = Text {
        open_metrics: String::with_capacity(size_hint(&rows)),
        older: Vec::new(),
    };
    let mut series = BTreeMap::new();
    // Each is dropped when it is written: a page's rows take as much memory as its text.
    for rows in rows {
        text.rows(&rows, &mut series);
    }
    let last = last(&series);
    text.rows(&last, &mut series);
    text.different(END, String::new());
    text
}

/// The approximate size of the page in bytes. Growing a string of megabytes step by step copies it again and again.
fn size_hint(rows: &[Rows]) -> usize {
    const LINE: usize = 200;
    const OVERHEAD: usize = 64 * 1024;
    OVERHEAD + LINE * rows.iter().map(Rows::lines).sum::<usize>()
}

impl Text {
    /// The page in the older format, in pieces.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn older_format(&self) -> Vec<&str> {
        let mut pieces = Vec::new();
        let mut begin = 0;
        for (part, older) in &self.older {
            pieces.extend([&self.open_metrics[begin..part.start], older]);
            begin = part.end;
        }
        pieces.push(&self.open_metrics[begin..]);
        pieces
    }

    /// Writes the families of these rows, and adds their numbers of series. A family without series is left out.
    fn rows(&mut self, rows: &Rows, counts: &mut BTreeMap<Collector, usize>) {
        let lines = rows.sorted();
        for (at, family) in rows.group().families.iter().enumerate() {
            let series: usize = lines.of(at).map(|(_, value)| value.lines()).sum();
            if series > 0 {
                *counts.entry(family.collector).or_default() += series;
                self.head(family);
                self.samples(family, at, &lines);
            }
        }
    }

    fn head(&mut self, family: &About) {
        let (name, base) = (family.name(), base(family));
        let About { kind, help, .. } = family;
        let unit = family.unit.map(|unit| format!("# UNIT {base} {}\n", unit.as_str()));
        let kind_before = match kind {
            // The older format has no infos.
            Kind::Info => Kind::Gauge,
            Kind::Counter | Kind::Gauge | Kind::Histogram => *kind,
        };
        self.different(
            &format!(
                "# HELP {base} {help}\n# TYPE {base} {}\n{}",
                kind.as_str(),
                unit.unwrap_or_default()
            ),
            format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind_before.as_str()),
        );
    }

    /// Writes a part that the older format has in another form.
    fn different(&mut self, part: &str, older: String) {
        let begin = self.open_metrics.len();
        self.open_metrics.push_str(part);
        self.older.push((begin..self.open_metrics.len(), older));
    }

    fn samples(&mut self, family: &About, at: usize, lines: &Lines<'_>) {
        let (page, name) = (&mut self.open_metrics, family.name());
        let (mut whole, mut real) = (itoa::Buffer::new(), dtoa::Buffer::new());
        let labelled = format!("{name}{{");
        for (labels, value) in lines.of(at) {
            let value = match value {
                Value::Absent => continue,
                Value::Whole(value) => whole.format(*value),
                Value::Real(value) => real.format(*value),
                Value::Observed(histogram) => {
                    observed(page, &name, labels, histogram);
                    continue;
                }
            };
            // An info without labels is one with an empty set of them.
            if labels.is_empty() && family.kind != Kind::Info {
                page.push_str(&name);
                page.push(' ');
            } else {
                page.push_str(&labelled);
                page.push_str(labels);
                page.push_str("} ");
            }
            page.push_str(value);
            page.push('\n');
        }
    }
}

/// The name of a family, with its unit. Those of its series may be longer.
fn base(family: &About) -> String {
    let unit = family.unit.map(|unit| format!("_{}", unit.as_str()));
    format!("{}{}", family.base, unit.unwrap_or_default())
}

/// Writes the series of a histogram: the sum, the count, and how many observations are within each bound.
fn observed(page: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    let (mut whole, mut real) = (itoa::Buffer::new(), dtoa::Buffer::new());
    let mut sample = |suffix: &str, bound: Option<&str>, value: &str| {
        page.extend([name, suffix]);
        let bound = bound.map(|bound| ["le=\"", bound, "\"", if labels.is_empty() { "" } else { "," }]);
        if bound.is_some() || !labels.is_empty() {
            page.push('{');
            page.extend(bound.into_iter().flatten());
            page.extend([labels, "}"]);
        }
        page.extend([" ", value, "\n"]);
    };
    sample("_sum", None, real.format(histogram.sum_microseconds as f64 / 1e6));
    sample("_count", None, whole.format(histogram.count()));
    let mut within = 0;
    for (bound, count) in &histogram.buckets {
        within += count;
        let bound = if *bound == f64::INFINITY {
            "+Inf"
        } else {
            real.format(*bound)
        };
        sample("_bucket", Some(bound), whole.format(within));
    }
}
