//! The values of families: one type for each kind of family.

use std::fmt;

use prometheus_client::encoding::{
    CounterValueEncoder, EncodeCounterValue, EncodeGaugeValue, GaugeValueEncoder, MetricEncoder, NoLabelSet,
};

use super::{family::Kind, labels::Block};
use crate::model::snapshot;

/// Writes the series of one kind of family.
pub trait Shape {
    /// The kind.
    const KIND: Kind;
    /// The value of a series of this kind.
    type Value<'v>;
    /// Writes a series. Returns the number of lines.
    #[doc(hidden)]
    fn encode<L>(
        encoder: &mut MetricEncoder<'_>,
        labels: Option<&Block<L>>,
        value: Self::Value<'_>,
    ) -> Result<usize, fmt::Error>;
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
    type Value<'v> = Number;

    fn encode<L>(
        encoder: &mut MetricEncoder<'_>,
        labels: Option<&Block<L>>,
        value: Number,
    ) -> Result<usize, fmt::Error> {
        match labels {
            Some(labels) => encoder
                .encode_family(labels)?
                .encode_counter::<NoLabelSet, _, f64>(&value, None)?,
            None => encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)?,
        }
        Ok(1)
    }
}

impl Shape for Gauge {
    const KIND: Kind = Kind::Gauge;
    type Value<'v> = Number;

    fn encode<L>(
        encoder: &mut MetricEncoder<'_>,
        labels: Option<&Block<L>>,
        value: Number,
    ) -> Result<usize, fmt::Error> {
        match labels {
            Some(labels) => encoder.encode_family(labels)?.encode_gauge(&value)?,
            None => encoder.encode_gauge(&value)?,
        }
        Ok(1)
    }
}

impl Shape for Histogram {
    const KIND: Kind = Kind::Histogram;
    type Value<'v> = &'v snapshot::Histogram;

    fn encode<L>(
        encoder: &mut MetricEncoder<'_>,
        labels: Option<&Block<L>>,
        value: &snapshot::Histogram,
    ) -> Result<usize, fmt::Error> {
        let snapshot::Histogram { buckets, sum, count } = value;
        // Prometheus rejects a histogram without the bucket for infinity.
        let everything = [(f64::INFINITY, *count)];
        let buckets = match buckets.last() {
            Some((bound, _)) if *bound == f64::INFINITY => buckets.as_slice(),
            _ => everything.as_slice(),
        };
        match labels {
            Some(labels) => {
                encoder
                    .encode_family(labels)?
                    .encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
            }
            None => encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?,
        }
        // The buckets, the sum and the count.
        Ok(buckets.len() + 2)
    }
}

impl Shape for Info {
    const KIND: Kind = Kind::Info;
    type Value<'v> = ();

    fn encode<L>(encoder: &mut MetricEncoder<'_>, labels: Option<&Block<L>>, (): ()) -> Result<usize, fmt::Error> {
        match labels {
            Some(labels) => encoder.encode_info(labels)?,
            None => encoder.encode_info(&[("", ""); 0])?,
        }
        Ok(1)
    }
}

/// A value. Counts are exact, and measured values are not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count of things.
    Whole(u64),
    /// A measured value.
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl EncodeCounterValue for Number {
    fn encode(&self, encoder: &mut CounterValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => EncodeCounterValue::encode(value, encoder),
            Self::Real(value) => EncodeCounterValue::encode(value, encoder),
        }
    }
}

impl EncodeGaugeValue for Number {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => EncodeGaugeValue::encode(value, encoder),
            Self::Real(value) => EncodeGaugeValue::encode(value, encoder),
        }
    }
}
