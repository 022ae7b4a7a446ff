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
//! Must not know what queries are for. Boards and rules define that.

mod expression;

use std::marker::PhantomData;

use netmon::{
    collectors::catalog,
    page::{
        family::{Counter, Family, Gauge, Histogram, Info, Shape},
        labels::{LabelSet, Unlabelled},
    },
};

use self::expression::{Expression, Matcher};
pub use self::expression::{JOB, Place, Window};
use crate::label::{Instance, Job, Joined, Label, Labels, Names, Scraped};

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

    /// Only series that the user chose in the variable with the label's name.
    #[must_use]
    pub fn chosen<A: Label>(self, label: A) -> Self {
        self.compared(label, "=~", &format!("${}", A::NAME))
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
}

/// An expression whose series have the labels `L`.
#[derive(Debug)]
pub struct Vector<L> {
    expression: Expression,
    labels: PhantomData<fn() -> L>,
}

impl<L> Clone for Vector<L> {
    fn clone(&self) -> Self {
        Self {
            expression: self.expression.clone(),
            labels: PhantomData,
        }
    }
}

impl<L: Labels> Vector<L> {
    fn new(expression: Expression) -> Self {
        Self {
            expression,
            labels: PhantomData,
        }
    }

    fn of_series(name: String, matchers: Vec<Matcher>, window: Option<Window>, offset: Option<Window>) -> Self {
        Self::new(Expression::Series {
            name,
            matchers,
            window,
            offset,
            at_end: false,
        })
    }

    /// The query's text.
    #[must_use]
    pub fn text(&self, place: Place) -> String {
        self.expression.text(place)
    }

    fn call(self, function: &'static str) -> Self {
        Self::new(Expression::Call {
            function,
            parameter: None,
            of: Box::new(self.expression),
        })
    }

    fn aggregate<P: Labels>(self, operator: &'static str, parameter: Option<u32>, _: P) -> Vector<P> {
        const { assert!(L::NAMES.has_all(&P::NAMES), "the series do not have those labels") }
        Vector::new(Expression::Aggregate {
            operator,
            parameter,
            by: Some(P::NAMES.as_slice().to_vec()),
            of: Box::new(self.expression),
        })
    }

    fn binary<M, R>(
        self,
        operator: &'static str,
        on: Option<&Names>,
        take: Option<&Names>,
        right: Vector<M>,
    ) -> Vector<R>
    where
        R: Labels,
    {
        let list = |names: &Names| names.as_slice().to_vec();
        Vector::new(Expression::Binary {
            left: Box::new(self.expression),
            operator,
            on: on.map(list),
            take: take.map(list),
            right: Box::new(right.expression),
        })
    }

    fn with_number(self, operator: &'static str, number: f64) -> Self {
        let number: Self = Self::new(Expression::Number(number));
        self.binary(operator, None, None, number)
    }

    /// The sum for each set of labels `by`.
    #[must_use]
    pub fn sum<P: Labels>(self, by: P) -> Vector<P> {
        self.aggregate("sum", None, by)
    }

    /// The highest value for each set of labels `by`.
    #[must_use]
    pub fn max<P: Labels>(self, by: P) -> Vector<P> {
        self.aggregate("max", None, by)
    }

    /// The lowest value for each set of labels `by`.
    #[must_use]
    pub fn min<P: Labels>(self, by: P) -> Vector<P> {
        self.aggregate("min", None, by)
    }

    /// The number of series for each set of labels `by`.
    #[must_use]
    pub fn count<P: Labels>(self, by: P) -> Vector<P> {
        self.aggregate("count", None, by)
    }

    /// The `count` highest series at each moment. Use this for tables. In a graph each moment would have its own
    /// series.
    #[must_use]
    pub fn highest(self, count: u32) -> Self {
        Self::new(Expression::Aggregate {
            operator: "topk",
            parameter: Some(count),
            by: None,
            of: Box::new(self.expression),
        })
    }

    /// The `count` series that are highest over the whole time range. A graph shows the same series all along.
    #[must_use]
    pub fn top(self, count: u32) -> Self {
        let all = Self::new(self.expression.over_all()).highest(count);
        self.only_with(all)
    }

    /// Divides each series by the one with the same labels.
    #[must_use]
    pub fn per(self, other: Self) -> Self {
        self.binary("/", None, None, other)
    }

    /// Adds the series with the same labels.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.binary("+", None, None, other)
    }

    /// Subtracts the series with the same labels.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.binary("-", None, None, other)
    }

    /// Multiplies by a number.
    #[must_use]
    pub fn times(self, number: f64) -> Self {
        self.with_number("*", number)
    }

    /// The seconds from these times until now.
    #[must_use]
    pub fn age(self) -> Self {
        let now: Self = Self::new(Expression::Time);
        now.binary("-", None, None, self)
    }

    /// Only values above this number. A value that is not a number (0 divided by 0) is never above.
    #[must_use]
    pub fn above(self, number: f64) -> Self {
        self.with_number(">", number)
    }

    /// Only values below this number.
    #[must_use]
    pub fn below(self, number: f64) -> Self {
        self.with_number("<", number)
    }

    /// Only values equal to this number.
    #[must_use]
    pub fn exactly(self, number: f64) -> Self {
        self.with_number("==", number)
    }

    /// Only values above those of the other series with the same labels.
    #[must_use]
    pub fn above_that(self, other: Self) -> Self {
        self.binary(">", None, None, other)
    }

    /// Only series for which `other` has a series with all the same labels.
    #[must_use]
    pub fn only_with(self, other: Self) -> Self {
        self.binary("and", None, None, other)
    }

    /// Only series for which `other` has no series with the same labels.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        self.binary("unless", None, None, other)
    }

    /// These series, and those of `other` whose labels do not occur here.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.binary("or", None, None, other)
    }

    /// Only series for which `other` has a series with the same `on` labels.
    #[must_use]
    pub fn and<P: Labels, M: Labels>(self, _: P, other: Vector<M>) -> Self {
        const {
            assert!(L::NAMES.has_all(&P::NAMES), "the left series do not have those labels");
            assert!(M::NAMES.has_all(&P::NAMES), "the right series do not have those labels");
        }
        self.binary("and", Some(&P::NAMES), None, other)
    }

    /// Only series for which `other` has no series with the same `on` labels.
    #[must_use]
    pub fn unless<P: Labels, M: Labels>(self, _: P, other: Vector<M>) -> Self {
        const {
            assert!(L::NAMES.has_all(&P::NAMES), "the left series do not have those labels");
            assert!(M::NAMES.has_all(&P::NAMES), "the right series do not have those labels");
        }
        self.binary("unless", Some(&P::NAMES), None, other)
    }

    /// Divides each series by the one of `other` with the same `on` labels.
    #[must_use]
    pub fn per_one<P: Labels, M: Labels>(self, _: P, other: Vector<M>) -> Self {
        const {
            assert!(L::NAMES.has_all(&P::NAMES), "the left series do not have those labels");
            assert!(M::NAMES.has_all(&P::NAMES), "the right series do not have those labels");
        }
        let (on, none) = (P::NAMES, Names::new(&[]));
        self.binary("/", Some(&on), Some(&none), other)
    }

    /// Subtracts from each series the one of `other` with the same `on` labels.
    #[must_use]
    pub fn less_one<P: Labels, M: Labels>(self, _: P, other: Vector<M>) -> Self {
        const {
            assert!(L::NAMES.has_all(&P::NAMES), "the left series do not have those labels");
            assert!(M::NAMES.has_all(&P::NAMES), "the right series do not have those labels");
        }
        let (on, none) = (P::NAMES, Names::new(&[]));
        self.binary("-", Some(&on), Some(&none), other)
    }

    /// Adds labels from the one info with the same `on` labels.
    #[must_use]
    pub fn told<P: Labels, M: Labels, Q: Labels>(self, _: P, info: Vector<M>, _: Q) -> Vector<Joined<L, Q>> {
        const {
            assert!(L::NAMES.has_all(&P::NAMES), "the left series do not have those labels");
            assert!(M::NAMES.has_all(&P::NAMES), "the info does not have those labels");
            assert!(M::NAMES.has_all(&Q::NAMES), "the info does not have the labels to take");
        }
        self.binary("*", Some(&P::NAMES), Some(&Q::NAMES), info)
    }

    /// 1 if there is no series, and no result if there is one.
    #[must_use]
    pub fn absent(self) -> Vector<()> {
        Vector::new(Expression::Call {
            function: "absent",
            parameter: None,
            of: Box::new(self.expression),
        })
    }

    /// For a panel: names each series by these labels.
    #[must_use]
    pub fn legend<P: Labels>(self, _: P) -> Query {
        const { assert!(L::NAMES.has_all(&P::NAMES), "the series do not have those labels") }
        let labels: Vec<String> = P::NAMES.as_slice().iter().map(|it| format!("{{{{{it}}}}}")).collect();
        self.named(&labels.join(" / "))
    }

    /// For a panel: names each series by this word and these labels. The word comes first, because container names
    /// are long.
    #[must_use]
    pub fn legend_and<P: Labels>(self, labels: P, word: &str) -> Query {
        let mut query = self.legend(labels);
        query.legend = format!("{word}: {}", query.legend);
        query
    }

    /// For a panel: gives the series this name.
    #[must_use]
    pub fn named(self, name: &str) -> Query {
        Query {
            text: self.text(Place::Board),
            legend: name.to_owned(),
        }
    }
}

/// A query of a panel.
#[derive(Clone, Debug)]
pub struct Query {
    /// The query.
    pub text: String,
    /// The name of each series in Grafana.
    pub legend: String,
}
