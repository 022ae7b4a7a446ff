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

use std::{collections::BTreeMap, convert::Infallible, fmt};

use crate::{
    model::{collector::Collector, format::Format, histogram::Histogram},
    page::{
        family::{About, Kind},
        rows::{Lines, Rows},
        value::Value,
    },
};

/// How many bytes of text are written before they are handed on: little enough to be in a processor's cache when they
/// are compressed.
const PIECE: usize = 64 * 1024;
/// Room for the line that makes a piece longer than that.
const LINE: usize = 8 * 1024;

/// The last rows, by the number of series of each collector before them.
type Last = Box<dyn Fn(&BTreeMap<Collector, usize>) -> Rows + Send + Sync>;

/// Gets each piece of a page, and leaves the text empty.
type Take<'a, E> = dyn FnMut(&mut String) -> Result<(), E> + 'a;

/// A page that can be written in each format. Its rows take half the memory of its text.
pub struct Page {
    rows: Vec<Rows>,
    last: Last,
}

impl Page {
    /// A page of these rows, and then of the rows that `last` makes of the number of series of each collector.
    pub fn new(rows: Vec<Rows>, last: impl Fn(&BTreeMap<Collector, usize>) -> Rows + Send + Sync + 'static) -> Self {
        let last = Box::new(last);
        Self { rows, last }
    }

    /// Writes the page, piece by piece. `take` gets each piece, and leaves the text empty.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn write<E>(&self, format: Format, take: &mut Take<'_, E>) -> Result<(), E> {
        let mut writer = Writer {
            format,
            text: String::with_capacity(PIECE + LINE),
            take,
        };
        let mut series = BTreeMap::new();
        for rows in &self.rows {
            writer.rows(rows, &mut series)?;
        }
        let last = (self.last)(&series);
        writer.rows(&last, &mut series)?;
        writer.end()
    }

    /// The whole page.
    #[must_use]
    pub fn text(&self, format: Format) -> String {
        let mut whole = String::new();
        let Ok(()) = self.write::<Infallible>(format, &mut |piece| {
            whole.push_str(piece);
            piece.clear();
            Ok(())
        });
        whole
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// A page that is being written.
struct Writer<'a, E> {
    format: Format,
    text: String,
    take: &'a mut Take<'a, E>,
}

impl<E> Writer<'_, E> {
    /// Writes the families of these rows, and adds their numbers of series. A family without series is left out.
    fn rows(&mut self, rows: &Rows, counts: &mut BTreeMap<Collector, usize>) -> Result<(), E> {
        let lines = rows.sorted();
        for (at, family) in rows.group().families.iter().enumerate() {
            let series: usize = lines.of(at).map(|(_, value)| value.lines()).sum();
            if series > 0 {
                *counts.entry(family.collector).or_default() += series;
                self.head(family);
                self.samples(family, at, &lines)?;
            }
        }
        Ok(())
    }

    fn head(&mut self, family: &About) {
        let About { kind, help, .. } = family;
        let (name, kind, unit) = match self.format {
            Format::OpenMetrics => (base(family), *kind, family.unit),
            Format::Text => (
                family.name(),
                match kind {
                    // It has no infos.
                    Kind::Info => Kind::Gauge,
                    Kind::Counter | Kind::Gauge | Kind::Histogram => *kind,
                },
                None,
            ),
        };
        let text = &mut self.text;
        text.extend([
            "# HELP ",
            &name,
            " ",
            help,
            "\n# TYPE ",
            &name,
            " ",
            kind.as_str(),
            "\n",
        ]);
        if let Some(unit) = unit {
            text.extend(["# UNIT ", &name, " ", unit.as_str(), "\n"]);
        }
    }

    /// Hands on what is written if it is enough for a piece.
    fn line(&mut self) -> Result<(), E> {
        if self.text.len() < PIECE {
            return Ok(());
        }
        (self.take)(&mut self.text)
    }

    fn end(mut self) -> Result<(), E> {
        match self.format {
            Format::OpenMetrics => self.text.push_str("# EOF\n"),
            Format::Text => {}
        }
        if self.text.is_empty() {
            return Ok(());
        }
        (self.take)(&mut self.text)
    }

    fn samples(&mut self, family: &About, at: usize, lines: &Lines<'_>) -> Result<(), E> {
        let name = family.name();
        let (mut whole, mut real) = (itoa::Buffer::new(), dtoa::Buffer::new());
        let labelled = format!("{name}{{");
        for (labels, value) in lines.of(at) {
            self.line()?;
            let page = &mut self.text;
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
        Ok(())
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
