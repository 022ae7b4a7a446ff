//! The metrics library's text of the same rows. The page must not differ from it in a byte.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Mutex,
};

use prometheus_client::{
    collector::Collector as PageCollector,
    encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, text as open_metrics},
    metrics::MetricType,
    registry::{self, Registry},
};

use crate::page::{
    family::{About, Kind, Unit},
    rows::Rows,
    value::Value,
};

/// The library's page of these rows.
pub(super) fn encode(rows: Vec<Rows>) -> String {
    let mut page = String::new();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(Mutex::new(rows))));
    open_metrics::encode(&mut page, &registry).expect("a string takes everything");
    page
}

/// A page for the library, which wants to own what it writes.
#[derive(Debug)]
struct Page(Mutex<Vec<Rows>>);

impl PageCollector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let rows = self.0.lock().map_err(|_| fmt::Error)?;
        rows.iter().try_for_each(|rows| write(&mut encoder, rows))
    }
}

fn write(encoder: &mut DescriptorEncoder<'_>, rows: &Rows) -> fmt::Result {
    for (at, family) in rows.group().families.iter().enumerate() {
        // Sorted by a map, and not as the page sorts.
        let mut series = BTreeMap::new();
        for (labels, value) in rows.sorted().of(at) {
            series.entry(labels.to_owned()).or_insert_with(|| value.clone());
        }
        series.retain(|_, value| *value != Value::Absent);
        if series.is_empty() {
            continue;
        }
        let unit = family.unit.map(unit);
        let mut encoder = encoder.encode_descriptor(family.base, family.help, unit, metric_type(family.kind))?;
        for (labels, value) in &series {
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
