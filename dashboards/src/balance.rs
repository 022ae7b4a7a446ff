//! How evenly the tasks of a service share its load, for dashboards and rules.

use crate::{label::Labels, query::Vector};

/// How many times more the busiest series has than the mean of all, for each set of labels `by`. A single series has
/// nobody to share with.
pub(crate) fn skew<L: Labels, P: Labels + Copy>(series: Vector<L>, by: P) -> Vector<P> {
    let count = series.clone().count(by).above(1.0);
    let mean = series.clone().sum(by).per(count).above(LEAST);
    series.max(by).per(mean)
}

/// Of less than this mean (one in a hundred seconds), a single one is much.
const LEAST: f64 = 0.01;
