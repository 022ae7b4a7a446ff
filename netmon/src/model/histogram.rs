//! Observations of times.

use std::time::Duration;

/// Observations in buckets. The bounds are upper bounds, in seconds. The last one is infinity.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bound and number of observations in the bucket (not cumulative).
    pub buckets: Vec<(f64, u64)>,
    /// Sum of the observations, in microseconds.
    pub sum_microseconds: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Histogram {
    /// An empty histogram with these upper bounds, and infinity as the last one.
    #[must_use]
    pub fn new(bounds: &[f64]) -> Self {
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        Self {
            buckets: bounds.map(|bound| (bound, 0)).collect(),
            sum_microseconds: 0,
        }
    }

    /// What programs counted in buckets with these upper bounds, in microseconds, and in one for all longer times.
    #[must_use]
    pub fn of_counts(bounds: &[u32], counts: impl IntoIterator<Item = u64>, sum_microseconds: u64) -> Self {
        let bounds = bounds.iter().map(|bound| f64::from(*bound) / 1e6);
        Self {
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
            sum_microseconds,
        }
    }

    /// Adds an observation.
    pub fn observe(&mut self, value: Duration) {
        let seconds = value.as_secs_f64();
        if let Some((_, count)) = self.buckets.iter_mut().find(|(bound, _)| seconds <= *bound) {
            *count += 1;
        }
        self.sum_microseconds += u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    }

    /// The number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Combines each figure with the other's by `f`. Both have the same bounds.
    pub fn combine(&mut self, other: &Self, f: impl Fn(u64, u64) -> u64) {
        for ((_, one), (_, other)) in self.buckets.iter_mut().zip(&other.buckets) {
            *one = f(*one, *other);
        }
        self.sum_microseconds = f(self.sum_microseconds, other.sum_microseconds);
    }

    /// Whether no figure is smaller than in `earlier`.
    #[must_use]
    pub fn follows(&self, earlier: &Self) -> bool {
        let mut buckets = self.buckets.iter().zip(&earlier.buckets);
        buckets.all(|((_, now), (_, before))| now >= before) && self.sum_microseconds >= earlier.sum_microseconds
    }
}
