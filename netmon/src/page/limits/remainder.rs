//! Sums of the rows that are not shown. They never fall: the counts of a row that leaves a sum remain in it.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use crate::page::{key::Key, value::Value};

/// The summed-up rows of one schema, and those that were summed up earlier.
#[derive(Debug)]
pub(super) struct Remainder {
    round: u64,
    /// New rows may be older than netmon.
    is_beginning: bool,
    // Boxed, because the table has spare room for half as many entries again, and exists twice while it grows.
    parts: HashMap<Key, Box<Part>>,
    sums: BTreeMap<Key, Sum>,
    /// For rows that left a sum and are shown now: the counts that remain in the sum.
    bases: HashMap<Key, Base>,
}

#[derive(Debug)]
struct Part {
    sum: Key,
    /// Counts that are not in this sum: from before netmon, or from when it was part of another sum.
    first: Option<Vec<Value>>,
    last: Vec<Value>,
    round: u64,
}

#[derive(Debug)]
struct Sum {
    /// The counts of rows that are no longer part of it.
    gone: Vec<Value>,
    here: Vec<Value>,
    used: Instant,
}

#[derive(Debug)]
struct Base {
    values: Vec<Value>,
    round: u64,
}

impl Default for Remainder {
    fn default() -> Self {
        Self {
            round: 0,
            is_beginning: true,
            parts: HashMap::new(),
            sums: BTreeMap::new(),
            bases: HashMap::new(),
        }
    }
}

impl Remainder {
    /// Begins a reading. `is_beginning` means that new rows may be older than netmon.
    pub(super) fn begin(&mut self, is_beginning: bool) {
        self.round += 1;
        self.is_beginning = is_beginning;
    }

    /// Takes a row that is shown, and subtracts the counts that are in a sum.
    pub(super) fn shown(&mut self, key: &Key, values: &mut [Value]) {
        if let Some(part) = self.parts.remove(key) {
            self.retire(&part);
            let base = Base {
                values: part.last,
                round: self.round,
            };
            self.bases.insert(key.clone(), base);
        }
        let Some(base) = self.bases.get_mut(key) else { return };
        if follow(values, &base.values) {
            base.round = self.round;
            subtract(values, &base.values);
        } else {
            // Something new has these labels.
            self.bases.remove(key);
        }
    }

    /// Takes a row that is part of a sum.
    pub(super) fn summed(&mut self, key: Key, sum: Key, mut values: Vec<Value>) {
        let round = self.round;
        // Counts from before netmon started would look new after a restart, because the sum then starts at 0.
        let mut first = self.is_beginning.then(|| values.clone());
        if let Some(part) = self.parts.get_mut(&key) {
            if part.round == round {
                // Of several rows with the same labels the first one counts, as on a page.
                return;
            }
            let follows = follow(&values, &part.last);
            if follows {
                keep_absent(&mut values, &part.last);
            }
            if follows && part.sum == sum {
                part.last = values;
                part.round = round;
                return;
            }
            if let Some(part) = self.parts.remove(&key) {
                self.retire(&part);
                if follows {
                    // The other sum keeps what it has of this row.
                    first = Some(part.last);
                }
            }
        }
        let part = Part {
            sum,
            first,
            last: values,
            round,
        };
        self.parts.insert(key, Box::new(part));
    }

    /// Ends the reading and returns all sums.
    pub(super) fn finish(&mut self, linger: Duration, now: Instant) -> Vec<(Key, Vec<Value>)> {
        let round = self.round;
        self.bases.retain(|_, base| base.round == round);
        let gone: Vec<Key> = self
            .parts
            .iter()
            .filter(|(_, part)| part.round != round)
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(part) = self.parts.remove(&key) {
                self.retire(&part);
            }
        }
        for sum in self.sums.values_mut() {
            sum.here.clear();
        }
        for part in self.parts.values() {
            let sum = self.sums.entry(part.sum.clone()).or_insert_with(|| Sum::new(now));
            add(&mut sum.here, &part.counted());
            sum.used = now;
        }
        self.sums
            .retain(|_, sum| now.saturating_duration_since(sum.used) < linger);
        let total = |(key, sum): (&Key, &Sum)| {
            let mut total = sum.gone.clone();
            add(&mut total, &sum.here);
            (key.clone(), total)
        };
        self.sums.iter().map(total).collect()
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.sums.is_empty() && self.bases.is_empty()
    }

    fn retire(&mut self, part: &Part) {
        if let Some(sum) = self.sums.get_mut(&part.sum) {
            add(&mut sum.gone, &part.counted());
        }
    }
}

impl Part {
    /// Its counts since it became part of the sum.
    fn counted(&self) -> Vec<Value> {
        let mut counted = self.last.clone();
        if let Some(first) = &self.first {
            subtract(&mut counted, first);
        }
        counted
    }
}

impl Sum {
    const fn new(now: Instant) -> Self {
        Self {
            gone: Vec::new(),
            here: Vec::new(),
            used: now,
        }
    }
}

/// Adds a row's values to those of a sum, which has none at first.
pub(super) fn add(sum: &mut Vec<Value>, values: &[Value]) {
    if sum.len() < values.len() {
        sum.resize(values.len(), Value::Absent);
    }
    for (sum, value) in sum.iter_mut().zip(values) {
        sum.add(value);
    }
}

/// Keeps the last value of what was not read this time.
fn keep_absent(values: &mut [Value], last: &[Value]) {
    for (value, last) in values.iter_mut().zip(last) {
        if *value == Value::Absent {
            value.clone_from(last);
        }
    }
}

fn subtract(values: &mut [Value], earlier: &[Value]) {
    for (value, earlier) in values.iter_mut().zip(earlier) {
        value.subtract(earlier);
    }
}

fn follow(values: &[Value], earlier: &[Value]) -> bool {
    values
        .iter()
        .zip(earlier)
        .all(|(value, earlier)| value.follows(earlier))
}
