//! Metric families, and how their series get onto the page.
//!
//! A family's kind and labels are part of its type. So a gauge's value in a counter does not compile, and neither do
//! an interface's labels on a service's family.

use std::{fmt, marker::PhantomData};

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::MetricType,
    registry,
};

use super::{
    labels::{Block, LabelSet, Unlabelled},
    value::Shape,
};
use crate::model::collector::Collector;

/// The description of a family. Everything that lists families reads this.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The subject of its series. The documentation groups families by it.
    pub noun: &'static str,
    /// Its name without unit and suffix.
    base: &'static str,
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

    const fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
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

    const fn of_registry(self) -> &'static registry::Unit {
        match self {
            Self::Bytes => &registry::Unit::Bytes,
            Self::Seconds => &registry::Unit::Seconds,
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
    /// A family. Only the catalog creates them.
    #[must_use]
    pub(super) const fn new(
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

    /// Writes its series. A family without series is left out.
    pub(super) fn encode<'b, 'v, V: Into<K::Value<'v>>>(
        &self,
        page: &mut Page<'_>,
        series: impl IntoIterator<Item = (&'b Block<L>, V)>,
    ) -> fmt::Result
    where
        L: 'b,
    {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut lines = 0;
        let mut encoder = page.open(&self.about)?;
        for (labels, value) in series {
            lines += K::encode(&mut encoder, Some(labels), value.into())?;
        }
        page.count(self.about.collector, lines);
        Ok(())
    }
}

impl<K: Shape> Family<K, Unlabelled> {
    /// Writes its only series.
    pub(super) fn encode_value<'v>(&self, page: &mut Page<'_>, value: impl Into<K::Value<'v>>) -> fmt::Result {
        let mut encoder = page.open(&self.about)?;
        let lines = K::encode::<Unlabelled>(&mut encoder, None, value.into())?;
        page.count(self.about.collector, lines);
        Ok(())
    }
}

/// A page being written, with the number of lines of each collector so far.
pub(super) struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
    lines: [usize; Collector::ALL.len()],
}

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self {
            encoder,
            lines: [0; Collector::ALL.len()],
        }
    }

    /// The number of series (lines with a value) of a collector so far.
    pub(super) fn series_of(&self, collector: Collector) -> usize {
        self.lines[collector as usize]
    }

    /// The number of series so far.
    pub(super) fn series(&self) -> usize {
        self.lines.iter().sum()
    }

    fn open(&mut self, about: &About) -> Result<MetricEncoder<'_>, fmt::Error> {
        let unit = about.unit.map(Unit::of_registry);
        self.encoder
            .encode_descriptor(about.base, about.help, unit, about.kind.metric_type())
    }

    fn count(&mut self, collector: Collector, lines: usize) {
        self.lines[collector as usize] += lines;
    }
}
