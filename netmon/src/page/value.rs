//! The value of a series.

use crate::model::histogram::Histogram;

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The row has no series in this family.
    Absent,
    /// A count. Counts are exact.
    Whole(u64),
    /// A measured value.
    Real(f64),
    /// Observations in buckets.
    Observed(Box<Histogram>),
}

impl Value {
    /// The number of lines that the series takes on a page.
    #[must_use]
    pub fn lines(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Whole(_) | Self::Real(_) => 1,
            // The buckets, the sum and the count.
            Self::Observed(histogram) => histogram.buckets.len() + 2,
        }
    }

    /// Adds another value.
    pub(super) fn add(&mut self, other: &Self) {
        match (self, other) {
            (_, Self::Absent) => {}
            (value @ Self::Absent, other) => *value = other.clone(),
            (Self::Observed(one), Self::Observed(other)) => one.combine(other, u64::saturating_add),
            (value, other) => value.combine(other, u64::saturating_add, |one, other| one + other),
        }
    }

    /// Subtracts an earlier value of the same series.
    pub(super) fn subtract(&mut self, earlier: &Self) {
        match (self, earlier) {
            (Self::Observed(one), Self::Observed(other)) => one.combine(other, u64::saturating_sub),
            (value, other) => value.combine(other, u64::saturating_sub, |one, other| one - other),
        }
    }

    fn combine(&mut self, other: &Self, whole: fn(u64, u64) -> u64, real: fn(f64, f64) -> f64) {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => *one = whole(*one, *other),
            (Self::Real(one), Self::Real(other)) => *one = real(*one, *other),
            // A family's series have values of one sort.
            _ => {}
        }
    }

    /// Whether no counter is smaller than in `earlier`. Otherwise it belongs to something new with the same labels.
    /// Something absent was not read this time.
    pub(super) fn follows(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Whole(now), Self::Whole(before)) => now >= before,
            (Self::Observed(now), Self::Observed(before)) => now.follows(before),
            _ => true,
        }
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Histogram> for Value {
    fn from(value: Histogram) -> Self {
        Self::Observed(Box::new(value))
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Value;
    use crate::model::histogram::Histogram;

    fn observed(seconds: &[f64]) -> Value {
        let mut histogram = Histogram::new(&[0.1, 1.0]);
        for seconds in seconds {
            histogram.observe(Duration::from_secs_f64(*seconds));
        }
        Value::from(histogram)
    }

    #[test]
    fn what_was_added_can_be_subtracted() {
        for (one, other) in [
            (Value::from(5_u64), Value::from(3_u64)),
            (Value::from(0.5), Value::from(0.25)),
            (observed(&[0.05, 3.0]), observed(&[0.5, 0.7])),
        ] {
            let mut sum = one.clone();
            sum.add(&other);
            assert!(sum.follows(&one) && sum.follows(&other));
            assert!(sum != one);
            sum.subtract(&other);
            assert_eq!(sum, one);
        }
    }

    #[test]
    fn nothing_and_something_is_something() {
        let mut sum = Value::Absent;
        sum.add(&Value::Absent);
        assert_eq!(sum, Value::Absent);
        sum.add(&Value::from(2_u64));
        sum.add(&Value::Absent);
        assert_eq!(sum, Value::from(2_u64));
    }

    #[test]
    fn a_smaller_counter_belongs_to_something_new() {
        assert!(!Value::from(2_u64).follows(&Value::from(3_u64)));
        assert!(!observed(&[0.05]).follows(&observed(&[0.5])));
        assert!(Value::Absent.follows(&Value::from(1_u64)));
        assert!(Value::from(1_u64).follows(&Value::Absent));
    }
}
