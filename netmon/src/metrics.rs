//! The text of a page: rows in, text out.
//!
//! Only this module names the metrics library. The kernel's counters are exposed as they were read. They are not
//! copied into counters of the library, so no series can drift or outlive its subject. Does no I/O. Does not know
//! which families there are, or how a page is requested.

mod text;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::{Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector as PageCollector,
    encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, text as open_metrics},
    metrics::MetricType,
    registry::{self, Registry},
};

pub use self::text::to_text;
use crate::{
    model::collector::Collector,
    page::{
        family::{About, Kind, Unit},
        rows::Rows,
        value::Value,
    },
};

/// The page could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the metrics page could not be written: the encoder refused a value, which is a fault of netmon's own")]
pub struct EncodeError(#[from] fmt::Error);

/// Writes these rows as OpenMetrics 1.0 text, and then the rows that `last` makes of the number of series of each
/// collector.
///
/// # Errors
/// The library refused a value.
pub fn encode(
    rows: Vec<Rows>,
    last: impl Fn(&BTreeMap<Collector, usize>) -> Rows + Send + Sync + 'static,
) -> Result<String, EncodeError> {
    let mut page = String::with_capacity(size_hint(&rows));
    let mut registry = Registry::default();
    let rows = Mutex::new(rows);
    registry.register_collector(Box::new(Page { rows, last }));
    open_metrics::encode(&mut page, &registry)?;
    Ok(page)
}

/// The approximate size of the page in bytes. Growing a string of megabytes step by step copies it again and again.
fn size_hint(rows: &[Rows]) -> usize {
    const LINE: usize = 200;
    const OVERHEAD: usize = 64 * 1024;
    OVERHEAD + LINE * rows.iter().map(Rows::lines).sum::<usize>()
}

/// A page for the library, which wants to own what it writes, and writes it once.
struct Page<F> {
    /// Each is dropped when it is written: a page's rows take as much memory as its text.
    rows: Mutex<Vec<Rows>>,
    last: F,
}

impl<F> fmt::Debug for Page<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<F: Fn(&BTreeMap<Collector, usize>) -> Rows + Send + Sync + 'static> PageCollector for Page<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut series = BTreeMap::new();
        let rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        for rows in rows {
            write(&mut encoder, &rows, &mut series)?;
        }
        let last = (self.last)(&series);
        write(&mut encoder, &last, &mut series)
    }
}

/// Writes the families of these rows, and adds their numbers of series. A family without series is left out.
fn write(encoder: &mut DescriptorEncoder<'_>, rows: &Rows, counts: &mut BTreeMap<Collector, usize>) -> fmt::Result {
    let sorted = rows.sorted();
    for (at, family) in rows.group().families.iter().enumerate() {
        let values = sorted.iter().map(|(labels, values)| (labels.as_ref(), &values[at]));
        let mut series = values.filter(|(_, value)| **value != Value::Absent).peekable();
        if series.peek().is_none() {
            continue;
        }
        let unit = family.unit.map(unit);
        let mut encoder = encoder.encode_descriptor(family.base, family.help, unit, metric_type(family.kind))?;
        let count = counts.entry(family.collector).or_default();
        for (labels, value) in series {
            *count += value.lines();
            write_series(&mut encoder, family, labels, value)?;
        }
    }
    Ok(())
}

fn write_series(encoder: &mut MetricEncoder<'_>, family: &About, labels: &str, value: &Value) -> fmt::Result {
    if family.kind == Kind::Info {
        return encoder.encode_info(&Labels(labels));
    }
    if labels.is_empty() {
        write_value(encoder, family.kind, value)
    } else {
        write_value(&mut encoder.encode_family(&Labels(labels))?, family.kind, value)
    }
}

fn write_value(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None),
        (Kind::Counter, Value::Real(value)) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None),
        (_, Value::Whole(value)) => encoder.encode_gauge(value),
        (_, Value::Real(value)) => encoder.encode_gauge(value),
        (_, Value::Observed(histogram)) => {
            let sum = histogram.sum_microseconds as f64 / 1e6;
            encoder.encode_histogram::<NoLabelSet>(sum, histogram.count(), &histogram.buckets, None)
        }
        (_, Value::Absent) => Ok(()),
    }
}

/// Rendered labels. The library takes labels apart and escapes values, but copies names. So the labels are written in
/// place of a name.
#[derive(Debug)]
struct Labels<'a>(&'a str);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        encoder.encode_label().encode_label_key()?.write_str(self.0)
    }
}

const fn metric_type(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    }
}

const fn unit(unit: Unit) -> &'static registry::Unit {
    match unit {
        Unit::Bytes => &registry::Unit::Bytes,
        Unit::Seconds => &registry::Unit::Seconds,
    }
}
