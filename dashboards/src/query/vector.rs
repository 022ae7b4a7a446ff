//! Expressions whose series have known labels. What can be done with one depends on its labels, and is checked at
//! compile time.
//!
//! Must not know where the series come from: [`super`] begins every expression with some.

use std::marker::PhantomData;

use super::expression::{Expression, Matcher, Place, Window};
use crate::label::{Joined, Label, Labels, Names};

/// An expression whose series have the labels `L`.
#[derive(Debug)]
pub struct Vector<L> {
    pub(super) expression: Expression,
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
    pub(super) fn new(expression: Expression) -> Self {
        Self {
            expression,
            labels: PhantomData,
        }
    }

    pub(super) fn of_series(
        name: String,
        matchers: Vec<Matcher>,
        window: Option<Window>,
        offset: Option<Window>,
    ) -> Self {
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

    pub(super) fn call(self, function: &'static str) -> Self {
        Self::new(Expression::Call {
            function,
            parameter: None,
            of: Box::new(self.expression),
        })
    }

    pub(super) fn aggregate<P: Labels>(self, operator: &'static str, parameter: Option<u32>, _: P) -> Vector<P> {
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

    /// The same series with one more label: the values of others, and what is between them.
    #[must_use]
    pub fn labelled<P: Labels, C: Label + Labels>(self, _: P, between: &'static str, _: C) -> Vector<Joined<L, C>> {
        const { assert!(L::NAMES.has_all(&P::NAMES), "the series do not have those labels") }
        Vector::new(Expression::Label {
            name: C::NAME,
            between,
            from: P::NAMES.as_slice().to_vec(),
            of: Box::new(self.expression),
        })
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

    /// Divides each series by the one of `other` with the same `on` labels. These are all that `other` has, because a second
    /// series would fail the whole query.
    #[must_use]
    pub fn per_one<P: Labels, M: Labels>(self, _: P, other: Vector<M>) -> Self {
        const {
            assert!(L::NAMES.has_all(&P::NAMES), "the left series do not have those labels");
            assert!(M::NAMES.has_all(&P::NAMES), "the right series do not have those labels");
            assert!(
                P::NAMES.has_all(&M::NAMES),
                "several of the right series may have the same labels: sum them first"
            );
        }
        let (on, none) = (P::NAMES, Names::new(&[]));
        self.binary("/", Some(&on), Some(&none), other)
    }

    /// Subtracts from each series the one of `other` with the same `on` labels. These are all that `other` has, because a second
    /// series would fail the whole query.
    #[must_use]
    pub fn less_one<P: Labels, M: Labels>(self, _: P, other: Vector<M>) -> Self {
        const {
            assert!(L::NAMES.has_all(&P::NAMES), "the left series do not have those labels");
            assert!(M::NAMES.has_all(&P::NAMES), "the right series do not have those labels");
            assert!(
                P::NAMES.has_all(&M::NAMES),
                "several of the right series may have the same labels: sum them first"
            );
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
