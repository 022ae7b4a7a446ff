//! Rows: the series of one scrape, before they are written.
//!
//! A [`Schema`] declares families that share their labels, and how each one's value is taken from a fact. [`Rows`] are
//! facts turned into values. From here on nothing knows what a row says.

use std::{borrow::Borrow, marker::PhantomData, ops::Range};

use super::{
    family::{About, Kind},
    key::Key,
    labels::{Block, LabelSet, Renderer, Text, Unlabelled, Values as LabelValues},
    limits::Limit,
    value::Value,
};

/// Families that share their labels, without the types of labels and facts.
#[derive(Debug)]
pub struct Group {
    /// The families.
    pub families: &'static [&'static About],
    /// Which limit its rows have.
    pub(super) limit: Limit,
    of_key: Option<LabelValues>,
}

impl Group {
    /// Whether its rows have a limit.
    #[must_use]
    pub fn has_limit(&self) -> bool {
        self.limit != Limit::None
    }

    /// What identifies it: the name of its first family.
    pub(super) fn name(&self) -> &'static str {
        self.families.first().map_or("", |family| family.base)
    }
}

/// Families that share their labels `L`, with values from facts of the type `S`.
#[derive(Debug)]
pub struct Schema<S: 'static, L> {
    group: Group,
    values: &'static [fn(&S) -> Value],
    labels: PhantomData<fn() -> L>,
}

impl<S: 'static, L: LabelSet> Schema<S, L> {
    /// A schema with a value for each family. Only [`schemas!`] creates them.
    #[must_use]
    pub(crate) const fn new(
        families: &'static [&'static About],
        values: &'static [fn(&S) -> Value],
        limit: Limit,
    ) -> Self {
        assert!(families.len() == values.len(), "each family has a value");
        Self {
            group: Group {
                families,
                limit,
                of_key: L::OF_KEY,
            },
            values,
            labels: PhantomData,
        }
    }

    /// Its families.
    #[must_use]
    pub const fn group(&'static self) -> &'static Group {
        &self.group
    }

    /// A row for each fact. The key has all labels.
    pub fn rows<F: Borrow<S>>(&'static self, facts: impl IntoIterator<Item = (Key, F)>) -> Rows {
        debug_assert!(
            self.group.of_key.is_some(),
            "a key has not all labels of {}",
            self.group.name()
        );
        let mut rows = Rows::new(&self.group);
        for (key, fact) in facts {
            self.push(&mut rows, Row::new(key, None), fact.borrow());
        }
        rows
    }

    /// A row for each fact, with these labels.
    pub fn labelled<F: Borrow<S>>(&'static self, facts: impl IntoIterator<Item = (Block<L>, F)>) -> Rows {
        self.labelled_of(facts.into_iter().map(|(labels, fact)| (Key::default(), labels, fact)))
    }

    /// A row for each fact, with these labels. The key is for the limits.
    pub fn labelled_of<F: Borrow<S>>(&'static self, facts: impl IntoIterator<Item = (Key, Block<L>, F)>) -> Rows {
        let mut rows = Rows::new(&self.group);
        for (key, labels, fact) in facts {
            self.push(&mut rows, Row::new(key, Some(labels.text)), fact.borrow());
        }
        rows
    }

    fn push(&self, rows: &mut Rows, row: Row, fact: &S) {
        rows.entries.push(row);
        rows.values.extend(self.values.iter().map(|value| value(fact)));
    }
}

impl<S: 'static> Schema<S, Unlabelled> {
    /// The only row.
    pub fn row(&'static self, fact: &S) -> Rows {
        let mut rows = Rows::new(&self.group);
        self.push(&mut rows, Row::new(Key::default(), None), fact);
        rows
    }
}

/// The series of a schema's families in one scrape.
#[derive(Clone, Debug)]
pub struct Rows {
    pub(super) group: &'static Group,
    pub(super) entries: Vec<Row>,
    /// A value for each row and family.
    pub(super) values: Vec<Value>,
    /// Some rows were left out before.
    pub(super) is_cut: bool,
}

/// What a row is about.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    /// The rendered labels; `None` if they are those of the key.
    labels: Option<Text>,
    /// It is shown whatever the limits say.
    pub(super) is_exempt: bool,
}

impl Row {
    fn new(key: Key, labels: Option<Text>) -> Self {
        Self {
            key,
            labels,
            is_exempt: false,
        }
    }
}

impl Rows {
    pub(super) const fn new(group: &'static Group) -> Self {
        Self {
            group,
            entries: Vec::new(),
            values: Vec::new(),
            is_cut: false,
        }
    }

    /// Notes whether some rows were left out, because there were too many.
    #[must_use]
    pub fn cut(self, is_cut: bool) -> Self {
        Self { is_cut, ..self }
    }

    /// Exempts the rows from the limits for which `is_exempt` is true.
    #[must_use]
    pub fn exempt(mut self, is_exempt: impl Fn(&Key) -> bool) -> Self {
        for row in &mut self.entries {
            row.is_exempt = is_exempt(&row.key);
        }
        self
    }

    /// The families.
    #[must_use]
    pub const fn group(&self) -> &'static Group {
        self.group
    }

    /// The number of families.
    pub(super) const fn width(&self) -> usize {
        self.group.families.len()
    }

    /// The values of a row.
    pub(super) fn values(&self, row: usize) -> &[Value] {
        &self.values[row * self.width()..(row + 1) * self.width()]
    }

    /// The number of lines that a row may take on a page. A value that is absent now may come, except for a histogram:
    /// most rows never have one.
    pub(super) fn most_lines_of(&self, row: usize) -> usize {
        let families = self.group.families.iter().zip(self.values(row));
        families
            .map(|(family, value)| match family.kind {
                Kind::Histogram => value.lines(),
                Kind::Counter | Kind::Gauge | Kind::Info => 1,
            })
            .sum()
    }

    /// The number of lines that all rows take on a page.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.values.iter().map(Value::lines).sum()
    }

    /// Adds a row whose labels are those of the key.
    pub(super) fn push(&mut self, key: Key, values: impl IntoIterator<Item = Value>) {
        self.entries.push(Row::new(key, None));
        self.values.extend(values);
    }

    /// Puts a row back that [`Self::drain`] returned.
    pub(super) fn put(&mut self, row: Row, values: Vec<Value>) {
        self.entries.push(row);
        self.values.extend(values);
    }

    /// Keeps at most the first `max` rows, in the order of their labels. Returns whether those were all.
    pub(super) fn keep(&mut self, max: usize) -> bool {
        if self.entries.len() <= max {
            return true;
        }
        let sorted: Vec<usize> = self.sorted().rows.into_iter().map(|(_, at)| at).collect();
        let mut rows: Vec<_> = self.drain().map(Some).collect();
        for at in sorted.iter().take(max) {
            if let Some((row, values)) = rows.get_mut(*at).and_then(Option::take) {
                self.put(row, values);
            }
        }
        sorted.len() <= max
    }

    /// Removes all rows and returns them with their values.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Row, Vec<Value>)> + use<> {
        let (width, mut values) = (self.width(), std::mem::take(&mut self.values).into_iter());
        let rows = std::mem::take(&mut self.entries).into_iter();
        rows.map(move |row| (row, values.by_ref().take(width).collect()))
    }

    /// The rows in the order of their labels.
    ///
    /// Of several rows with the same labels the first stays. Prometheus rejects a whole page if a series occurs
    /// twice.
    #[must_use]
    pub fn sorted(&self) -> Lines<'_> {
        let names = self.group.families.first().map_or(&[][..], |family| family.labels);
        let mut renderer = Renderer::new(names, self.group.of_key);
        let rows = self.entries.iter().enumerate().map(|(at, row)| {
            let labels = match &row.labels {
                Some(labels) => renderer.rendered(labels),
                None => renderer.of_key(&row.key),
            };
            (labels, at)
        });
        let mut rows: Vec<_> = rows.collect();
        let labels = renderer.finish();
        let of = |row: &(Range<usize>, usize)| &labels[row.0.clone()];
        // Mostly they are: collectors go through containers by name.
        if !rows.is_sorted_by(|one, other| of(one) < of(other)) {
            rows.sort_by(|one, other| of(one).cmp(of(other)));
            rows.dedup_by(|later, earlier| of(later) == of(earlier));
        }
        Lines {
            labels,
            rows,
            values: &self.values,
            width: self.width(),
        }
    }
}

/// Rows in the order of their labels.
#[derive(Debug)]
pub struct Lines<'a> {
    /// The labels of all rows.
    labels: String,
    /// The place of each row's labels, and of its values.
    rows: Vec<(Range<usize>, usize)>,
    values: &'a [Value],
    width: usize,
}

impl Lines<'_> {
    /// Whether the rows were in this order already.
    #[cfg(test)]
    pub(crate) fn were_sorted(&self) -> bool {
        self.rows.iter().map(|(_, at)| at).is_sorted()
    }

    /// Each row's labels, and its value in the family at this place.
    pub fn of(&self, family: usize) -> impl Iterator<Item = (&str, &Value)> {
        let rows = self.rows.iter();
        rows.map(move |(labels, at)| (&self.labels[labels.clone()], &self.values[at * self.width + family]))
    }
}

/// Declares schemas: for each one its families, and how a family's value is taken from a fact.
///
/// Each family is also a constant, which the dashboards refer to. `GROUPS` lists the schemas, so none can be missing in
/// the documents.
macro_rules! schemas {
    ($vis:vis families of $collector:expr; $($noun:literal {$(
        $(#[$doc:meta])*
        $schema:ident($fact:pat_param in $type:ty) by $labels:ty, $limit:path {$(
            $family:ident: $kind:ident, $base:literal $(in $unit:ident)?, $value:expr, $help:expr;
        )*}
    )*})*) => {
        $($($(
            #[doc = $help]
            #[allow(clippy::doc_markdown, reason = "the help's texts have no markup")]
            $vis const $family: $crate::page::family::Family<$crate::page::family::$kind, $labels> =
                $crate::page::family::Family::new(
                    $noun,
                    $collector,
                    $base,
                    $crate::page::rows::unit!($($unit)?),
                    $help,
                );
        )*

        $(#[$doc])*
        static $schema: $crate::page::rows::Schema<$type, $labels> = $crate::page::rows::Schema::new(
            &[$($family.about()),*],
            &[$(|$fact| $crate::page::family::$kind::value($value)),*],
            $limit,
        );)*)*

        /// The groups, in the order of the documentation.
        #[allow(dead_code, reason = "tests declare schemas that no document lists")]
        pub(super) const GROUPS: &[&$crate::page::rows::Group] = &[$($($schema.group(),)*)*];
    };
}

/// The unit of a family.
macro_rules! unit {
    () => {
        None
    };
    ($unit:ident) => {
        Some($crate::page::family::Unit::$unit)
    };
}

pub(crate) use {schemas, unit};

#[cfg(test)]
mod tests {
    use crate::{
        model::collector::Collector,
        page::{key::Key, labels::key_labels, limits::SHOWN, value::Value},
    };

    key_labels! {
        /// A device.
        Device { interface = what }
    }

    schemas! {
        families of Collector("test");
        "Tests" {
            /// Two families.
            DEVICES(it in (u64, Option<u64>)) by Device, SHOWN {
                PACKETS: Counter, "test_packets", it.0, "Packets.";
                ERRORS: Counter, "test_errors", it.1, "Errors.";
            }
        }
    }

    #[test]
    fn rows_are_in_the_order_of_their_labels_and_of_equal_ones_the_first_stays() {
        let rows = DEVICES.rows(
            [("b", (1, Some(4))), ("a", (2, None)), ("b", (3, None))]
                .map(|(name, fact)| (Key::default().what(name), fact)),
        );
        let sorted = rows.sorted();
        let (a, b) = (r#"interface="a""#, r#"interface="b""#);
        let packets: Vec<_> = sorted.of(0).collect();
        assert_eq!(packets, [(a, &Value::Whole(2)), (b, &Value::Whole(1))]);
        let errors: Vec<_> = sorted.of(1).collect();
        assert_eq!(errors, [(a, &Value::Absent), (b, &Value::Whole(4))]);
        assert_eq!(rows.lines(), 4);
    }

    #[test]
    fn a_family_is_declared_once() {
        assert_eq!(PACKETS.about().name(), "test_packets_total");
        assert_eq!(PACKETS.about().labels, ["interface"]);
        assert_eq!(DEVICES.group().families.len(), 2);
        assert_eq!(ERRORS.about().collector, Collector("test"));
    }
}
