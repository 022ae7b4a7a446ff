//! Queries that are checked at compile time. A query cannot name a family that is not in the catalog, or a label that
//! its series do not have. A counter has only rates and increases, and a gauge only values.
//!
//! ```
//! use netmon::collectors::catalog::CONTAINER_PACKET_DROPS;
//! use netmon_dashboards::{label::{Network, Reason}, query::{of, Place}};
//!
//! let drops = of(CONTAINER_PACKET_DROPS).rate().sum((Network, Reason));
//! assert_eq!(drops.text(Place::Rule), "sum by (network, reason) (rate(netmon_container_packet_drops_total[5m]))");
//! ```
//!
//! ```compile_fail
//! use netmon::collectors::catalog::CONTAINER_PACKET_DROPS;
//! use netmon_dashboards::{label::{Network, Peer}, query::of};
//!
//! let drops = of(CONTAINER_PACKET_DROPS).rate().sum((Network, Peer)); // drops have no peer
//! ```
//!
//! ```compile_fail
//! use netmon::collectors::catalog::CONTAINER_PACKET_DROPS;
//! use netmon_dashboards::{label::{Network, Reason}, query::of};
//!
//! let target = of(CONTAINER_PACKET_DROPS).rate().sum(Network).legend(Reason); // the reason was summed away
//! ```
//!
//! ```compile_fail
//! use netmon::collectors::catalog::CONTAINER_PACKET_DROPS;
//! use netmon_dashboards::query::of;
//!
//! let drops = of(CONTAINER_PACKET_DROPS).now(); // the bare value of a counter says nothing
//! ```
//!
//! ```compile_fail
//! use netmon::collectors::catalog::{CONTAINER_TCP_CONNECT_FAILURES, CONTAINER_TCP_CONNECTS};
//! use netmon_dashboards::{label::{Container, Reason, Service}, query::of};
//!
//! let made = of(CONTAINER_TCP_CONNECTS).rate().sum((Container, Service));
//! let failed = of(CONTAINER_TCP_CONNECT_FAILURES).rate().sum((Container, Service, Reason));
//! let share = failed.per_one(Container, made); // several services may have a container of one name
//! ```
//!
//! Must not know what queries are for. Boards and rules define that.

mod expression;
mod vector;

use std::marker::PhantomData;

use netmon::{
    collectors::catalog,
    page::{
        family::{Counter, Family, Gauge, Histogram, Info, Shape},
        labels::{LabelSet, Unlabelled},
    },
};

use self::expression::{Expression, Matcher};
pub use self::{
    expression::{JOB, Place, Window},
    vector::{Query, Vector},
};
use crate::label::{Instance, Job, Label, Labels, Names, Scraped};

/// The series of a family.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "families are constants: each use is a value of its own"
)]
pub fn of<K: Shape, L: LabelSet>(family: Family<K, L>) -> Selection<K, L> {
    let family = family.about();
    Selection {
        name: family.name(),
        matchers: Vec::new(),
        types: PhantomData,
    }
}

/// Whether Prometheus could scrape the target. Prometheus itself writes this series for every target.
#[must_use]
pub fn up() -> Vector<Scraped<Unlabelled>> {
    Vector::of_series("up".to_owned(), Vec::new(), None, None)
}

/// The series of a family, or some of them.
#[derive(Debug)]
pub struct Selection<K, L> {
    name: String,
    matchers: Vec<Matcher>,
    types: PhantomData<fn() -> (K, L)>,
}

/// Not derived, because a derived `Clone` would require `K: Clone` and `L: Clone`.
impl<K, L> Clone for Selection<K, L> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            matchers: self.matchers.clone(),
            types: PhantomData,
        }
    }
}

impl<K, L: LabelSet> Selection<K, L> {
    /// Only series with this value.
    #[must_use]
    pub fn is<A: Label>(self, label: A, value: &str) -> Self {
        self.compared(label, "=", value)
    }

    /// Only series with another value.
    #[must_use]
    pub fn is_not<A: Label>(self, label: A, value: &str) -> Self {
        self.compared(label, "!=", value)
    }

    /// Only series with one of these values.
    #[must_use]
    pub fn is_one_of<A: Label>(self, label: A, values: &[&str]) -> Self {
        self.compared(label, "=~", &values.join("|"))
    }

    /// Only series with none of these values, which are regular expressions.
    #[must_use]
    pub fn is_none_of<A: Label>(self, label: A, values: &[&str]) -> Self {
        self.compared(label, "!~", &values.join("|"))
    }

    /// Only series that the user chose in the variable with the label's name.
    #[must_use]
    pub fn chosen<A: Label>(self, label: A) -> Self {
        self.compared(label, "=~", &format!("${}", A::NAME))
    }

    /// Only series whose label has a value that the user chose in another label's variable.
    #[must_use]
    pub fn chosen_as<A: Label, V: Label>(self, label: A, _: V) -> Self {
        self.compared(label, "=~", &format!("${}", V::NAME))
    }

    fn compared<A: Label>(mut self, _: A, operator: &'static str, value: &str) -> Self {
        const {
            assert!(
                Names::new(L::NAMES).has(A::NAME),
                "the family's series do not have that label"
            );
        }
        self.matchers.push(Matcher {
            label: A::NAME,
            operator,
            value: value.to_owned(),
        });
        self
    }

    fn values(self, suffix: &str, window: Option<Window>, offset: Option<Window>) -> Vector<Scraped<L>> {
        Vector::of_series(format!("{}{suffix}", self.name), self.matchers, window, offset)
    }
}

impl<L: LabelSet> Selection<Counter, L> {
    /// Their increase per second.
    #[must_use]
    pub fn rate(self) -> Vector<Scraped<L>> {
        self.rate_over(Window::Rate)
    }

    /// Their increase per second over this time.
    #[must_use]
    pub fn rate_over(self, window: Window) -> Vector<Scraped<L>> {
        self.values("", Some(window), None).call("rate")
    }

    /// Their increase over this time. A series that appears with a value has no increase: see [`Selection::seen`] for
    /// that.
    #[must_use]
    pub fn increase(self, window: Window) -> Vector<Scraped<L>> {
        self.values("", Some(window), None).call("increase")
    }

    /// Their increase over this time, of series that exist now and did at its beginning.
    #[must_use]
    pub fn throughout(self, window: Window) -> Vector<Scraped<L>> {
        let now = self.clone().values("", None, None);
        let then = self.clone().values("", None, Some(window));
        self.increase(window).only_with(now.only_with(then))
    }

    /// Their increase over this time, including series that appeared meanwhile.
    ///
    /// Most counters of netmon exist from the start, at 0. Drop counters by reason do not: each appears with its
    /// first packet, or with its first ten thousand. For Prometheus, a series that appears has no increase. So the
    /// whole value of a new series is taken, if netmon was already scraped before. Otherwise the count may be older
    /// than the first scrape.
    #[must_use]
    pub fn seen(self, window: Window) -> Vector<Scraped<L>> {
        let then = self.clone().values("", None, Some(window));
        let before = of(catalog::EXPOSED_SERIES).values("", None, Some(window));
        let appeared = self
            .clone()
            .values("", None, None)
            .without(then)
            .and((Job, Instance), before);
        appeared.or(self.increase(window))
    }
}

impl<L: LabelSet> Selection<Gauge, L> {
    /// Their values.
    #[must_use]
    pub fn now(self) -> Vector<Scraped<L>> {
        self.values("", None, None)
    }

    /// The highest value within this time.
    #[must_use]
    pub fn highest(self, window: Window) -> Vector<Scraped<L>> {
        self.values("", Some(window), None).call("max_over_time")
    }

    /// The lowest value within this time.
    #[must_use]
    pub fn lowest(self, window: Window) -> Vector<Scraped<L>> {
        self.values("", Some(window), None).call("min_over_time")
    }
}

impl<L: LabelSet> Selection<Info, L> {
    /// Their values, which are always 1. The facts are in the labels.
    #[must_use]
    pub fn now(self) -> Vector<Scraped<L>> {
        self.values("", None, None)
    }
}

impl<L: LabelSet> Selection<Histogram, L> {
    /// The value that this share of all observations is below, for each set of labels `by`.
    #[must_use]
    pub fn quantile<P: Labels>(self, quantile: f64, by: P) -> Vector<P> {
        let buckets = self.values("_bucket", Some(Window::Rate), None).call("rate");
        let mut summed = buckets.aggregate("sum", None, by);
        if let Expression::Aggregate { by: Some(by), .. } = &mut summed.expression {
            by.insert(0, "le");
        }
        Vector::new(Expression::Call {
            function: "histogram_quantile",
            parameter: Some(quantile),
            of: Box::new(summed.expression),
        })
    }

    /// The number of observations per second.
    #[must_use]
    pub fn observations(self, window: Window) -> Vector<Scraped<L>> {
        self.values("_count", Some(window), None).call("rate")
    }

    /// The sum of the observed values per second.
    #[must_use]
    pub fn observed(self, window: Window) -> Vector<Scraped<L>> {
        self.values("_sum", Some(window), None).call("rate")
    }
}

/// A series written by a recording rule, with the labels `P`.
#[derive(Debug)]
pub struct Recorded<P> {
    name: &'static str,
    labels: PhantomData<fn() -> P>,
}

impl<P: Labels> Recorded<P> {
    /// The recorded series with this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            labels: PhantomData,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its values.
    #[must_use]
    pub fn now(&self) -> Vector<P> {
        Vector::of_series(self.name.to_owned(), Vec::new(), None, None)
    }

    /// Its values, except where the label has one of these values.
    #[must_use]
    pub fn is_none_of<A: Label>(&self, _: A, values: &[&str]) -> Vector<P> {
        const { assert!(P::NAMES.has(A::NAME), "the series do not have that label") }
        let matcher = Matcher {
            label: A::NAME,
            operator: "!~",
            value: values.join("|"),
        };
        Vector::of_series(self.name.to_owned(), vec![matcher], None, None)
    }

    /// A function of its values over a `window` that ended `offset` ago.
    #[must_use]
    pub fn over(&self, function: &'static str, window: &'static str, offset: &'static str) -> Vector<P> {
        let (window, offset) = (Some(Window::Of(window)), Some(Window::Of(offset)));
        Vector::of_series(self.name.to_owned(), Vec::new(), window, offset).call(function)
    }

    /// In how many minutes of the day that ended `offset` ago it had a value. The number of its samples would depend on
    /// how often Prometheus evaluates rules.
    #[must_use]
    pub fn minutes_of_a_day(&self, offset: &'static str) -> Vector<P> {
        self.over("count_over_time", "1d:1m", offset)
    }
}
