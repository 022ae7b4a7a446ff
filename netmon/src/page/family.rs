//! Metric families.
//!
//! A family's kind and labels are part of its type. So a gauge's value in a counter does not compile, and neither do
//! an interface's labels on a service's family.

use std::marker::PhantomData;

use super::{labels::LabelSet, value::Value};
use crate::model::{collector::Collector, histogram};

/// The description of a family. Everything that lists families reads this.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The subject of its series. The documentation groups families by it.
    pub noun: &'static str,
    /// Its name without unit and suffix.
    pub base: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The unit of its values; `None` for counts.
    pub unit: Option<Unit>,
    /// Its help, in plain text: one line, without quotes and backslashes.
    pub help: &'static str,
    /// Its label names.
    pub labels: &'static [&'static str],
    /// The collector that it belongs to.
    pub collector: Collector,
}

impl About {
    /// The name of its series in queries: with unit, and with `_total` or `_info`. A histogram's series also have
    /// `_bucket`, `_sum` or `_count` at the end.
    #[must_use]
    pub fn name(&self) -> String {
        let unit = self.unit.map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{unit}{suffix}", self.base)
    }
}

/// A family's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, and starts at 0 again with its subject.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Observations in buckets.
    Histogram,
    /// Facts in labels. The value is always 1.
    Info,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// A base unit. Counts have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// Its name, as used in family names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
        }
    }
}

/// A family of kind `K` with the labels `L`.
#[derive(Debug)]
pub struct Family<K, L> {
    about: About,
    types: PhantomData<fn() -> (K, L)>,
}

impl<K: Shape, L: LabelSet> Family<K, L> {
    /// A family. Only `schemas!` creates them.
    #[must_use]
    pub(crate) const fn new(
        noun: &'static str,
        collector: Collector,
        base: &'static str,
        unit: Option<Unit>,
        help: &'static str,
    ) -> Self {
        Self {
            about: About {
                noun,
                base,
                kind: K::KIND,
                unit,
                help,
                labels: L::NAMES,
                collector,
            },
            types: PhantomData,
        }
    }

    /// Its description.
    #[must_use]
    pub const fn about(&self) -> &About {
        &self.about
    }
}

/// One kind of family.
pub trait Shape {
    /// The kind.
    const KIND: Kind;
}

/// [`Kind::Counter`].
#[derive(Debug)]
pub enum Counter {}
/// [`Kind::Gauge`].
#[derive(Debug)]
pub enum Gauge {}
/// [`Kind::Histogram`].
#[derive(Debug)]
pub enum Histogram {}
/// [`Kind::Info`].
#[derive(Debug)]
pub enum Info {}

impl Shape for Counter {
    const KIND: Kind = Kind::Counter;
}

impl Counter {
    /// The value of a series.
    pub(crate) fn value(value: impl Into<Value>) -> Value {
        value.into()
    }
}

impl Shape for Gauge {
    const KIND: Kind = Kind::Gauge;
}

impl Gauge {
    /// The value of a series.
    pub(crate) fn value(value: impl Into<Value>) -> Value {
        value.into()
    }
}

impl Shape for Histogram {
    const KIND: Kind = Kind::Histogram;
}

impl Histogram {
    /// The value of a series; none without an observation to show.
    pub(crate) fn value(value: Option<histogram::Histogram>) -> Value {
        value.into()
    }
}

impl Shape for Info {
    const KIND: Kind = Kind::Info;
}

impl Info {
    /// The value of a series.
    pub(crate) fn value((): ()) -> Value {
        Value::Whole(1)
    }
}
