//! How evenly the tasks of a service share its load, for dashboards and rules.

use crate::{label::Labels, query::Vector};

/// Of less than this mean (one in a hundred seconds), a single one is much.
const LEAST: f64 = 0.01;

/// The mean of all series, for each set of labels `by`. A single series has nobody to share with, and no mean.
pub(crate) fn mean<L: Labels, P: Labels + Copy>(series: Vector<L>, by: P) -> Vector<P> {
    let count = series.clone().count(by).above(1.0);
    series.sum(by).per(count)
}

/// How many times more the busiest series has than the mean.
pub(crate) fn skew<L: Labels, P: Labels + Copy>(series: Vector<L>, by: P) -> Vector<P> {
    let mean = mean(series.clone(), by).above(LEAST);
    series.max(by).per(mean)
}
