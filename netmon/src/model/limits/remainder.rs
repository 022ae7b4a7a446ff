//! Sums of the rows that are not shown. They never fall: the counts of a row that leaves a sum remain in it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::model::{
    counters::{Directions, Totals},
    inventory::Identity,
    overlay::OuterCounts,
    protocols::Losses,
    tcp::{Events, Segments},
};

/// How long a sum remains without any row. Longer than the range of a query about short-lived containers.
pub(super) const KEPT: Duration = Duration::from_mins(10);

/// The labels of a row or a sum.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) identity: Arc<Identity>,
    pub(super) network: Arc<str>,
    /// The interface or the reason, for example.
    pub(super) what: Arc<str>,
}

/// A group of counters that are added up one by one.
pub(super) trait Counts: Copy + Default {
    /// Combines each counter with the other's by `f`.
    fn combine(self, other: Self, f: impl FnMut(u64, u64) -> u64) -> Self;

    fn plus(self, other: Self) -> Self {
        self.combine(other, u64::saturating_add)
    }

    fn less(self, other: Self) -> Self {
        self.combine(other, u64::saturating_sub)
    }

    /// Whether no counter is smaller than before. Otherwise they belong to something new with the same labels.
    fn follows(self, earlier: Self) -> bool {
        let mut follows = true;
        self.combine(earlier, |now, before| {
            follows &= now >= before;
            now
        });
        follows
    }
}

/// The summed-up rows of one kind, and those that were summed up earlier.
#[derive(Debug)]
pub(super) struct Remainder<V> {
    round: u64,
    /// New rows may be older than netmon.
    is_beginning: bool,
    // Boxed, because the table has spare room for half as many entries again, and exists twice while it grows.
    parts: HashMap<Key, Box<Part<V>>>,
    sums: BTreeMap<Key, Sum<V>>,
    /// For rows that left a sum and are shown now: the counts that remain in the sum.
    bases: HashMap<Key, Base<V>>,
}

#[derive(Debug)]
struct Part<V> {
    sum: Key,
    /// Its counts when it was first seen, which are not in the sum. Only for rows that may be older than netmon.
    first: Option<Box<V>>,
    last: V,
    round: u64,
}

#[derive(Debug)]
struct Sum<V> {
    /// The counts of rows that are no longer part of it.
    gone: V,
    here: V,
    used: Instant,
}

#[derive(Debug)]
struct Base<V> {
    value: V,
    round: u64,
}

impl<V> Default for Remainder<V> {
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

impl<V: Counts> Remainder<V> {
    /// Begins a reading. `is_beginning` means that new rows may be older than netmon.
    pub(super) fn begin(&mut self, is_beginning: bool) {
        self.round += 1;
        self.is_beginning = is_beginning;
    }

    /// Takes a row that is shown. Returns its counts without those that are in a sum.
    pub(super) fn shown(&mut self, key: impl FnOnce() -> Key, value: V) -> V {
        if self.parts.is_empty() && self.bases.is_empty() {
            return value;
        }
        let key = key();
        if let Some(part) = self.parts.remove(&key) {
            let base = part.last;
            self.retire(&part);
            self.bases.insert(
                key.clone(),
                Base {
                    value: base,
                    round: self.round,
                },
            );
        }
        match self.bases.get_mut(&key) {
            Some(base) if value.follows(base.value) => {
                base.round = self.round;
                value.less(base.value)
            }
            Some(_) | None => value,
        }
    }

    /// Takes a row that is part of a sum.
    pub(super) fn summed(&mut self, key: Key, sum: Key, value: V) {
        let round = self.round;
        if let Some(part) = self.parts.get_mut(&key) {
            if part.sum == sum && value.follows(part.last) {
                part.last = value;
                part.round = round;
                return;
            }
            if let Some(part) = self.parts.remove(&key) {
                self.retire(&part);
            }
        }
        // Counts from before netmon started would look new after a restart, because the sum then starts at 0.
        let first = self.is_beginning.then(|| Box::new(value));
        let part = Part {
            sum,
            first,
            last: value,
            round,
        };
        self.parts.insert(key, Box::new(part));
    }

    /// Ends the reading and returns all sums.
    pub(super) fn finish(&mut self, now: Instant) -> Vec<(Key, V)> {
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
            sum.here = V::default();
        }
        for part in self.parts.values() {
            let sum = self.sums.entry(part.sum.clone()).or_insert_with(|| Sum::new(now));
            sum.here = sum.here.plus(part.counted());
            sum.used = now;
        }
        self.sums
            .retain(|_, sum| now.saturating_duration_since(sum.used) < KEPT);
        let total = |(key, sum): (&Key, &Sum<V>)| (key.clone(), sum.gone.plus(sum.here));
        self.sums.iter().map(total).collect()
    }

    /// How many rows are summed up.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// The number of entries that it holds.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.parts.len() + self.sums.len() + self.bases.len()
    }

    /// The labels of these rows' containers.
    pub(super) fn identities(&self) -> impl Iterator<Item = &Arc<Identity>> {
        self.parts.keys().map(|key| &key.identity)
    }

    fn retire(&mut self, part: &Part<V>) {
        if let Some(sum) = self.sums.get_mut(&part.sum) {
            sum.gone = sum.gone.plus(part.counted());
        }
    }
}

impl<V: Counts> Part<V> {
    /// Its counts since it became part of the sum.
    fn counted(&self) -> V {
        self.first.as_deref().map_or(self.last, |first| self.last.less(*first))
    }
}

impl<V: Counts> Sum<V> {
    fn new(now: Instant) -> Self {
        Self {
            gone: V::default(),
            here: V::default(),
            used: now,
        }
    }
}

impl Counts for u64 {
    fn combine(self, other: Self, mut f: impl FnMut(u64, u64) -> u64) -> Self {
        f(self, other)
    }
}

impl Counts for Directions<Totals> {
    fn combine(self, other: Self, mut f: impl FnMut(u64, u64) -> u64) -> Self {
        self.zip(other, |one, other| {
            let Totals {
                packets,
                bytes,
                segments,
                tcp_segments,
                errors,
                dropped,
            } = other;
            Totals {
                packets: f(one.packets, packets),
                bytes: f(one.bytes, bytes),
                segments: f(one.segments, segments),
                tcp_segments: f(one.tcp_segments, tcp_segments),
                errors: f(one.errors, errors),
                dropped: f(one.dropped, dropped),
            }
        })
    }
}

impl Counts for Directions<OuterCounts> {
    fn combine(self, other: Self, mut f: impl FnMut(u64, u64) -> u64) -> Self {
        self.zip(other, |one, other| {
            let OuterCounts { packets, bytes } = other;
            OuterCounts {
                packets: f(one.packets, packets),
                bytes: f(one.bytes, bytes),
            }
        })
    }
}

impl Counts for Losses {
    fn combine(self, other: Self, mut f: impl FnMut(u64, u64) -> u64) -> Self {
        let Self {
            tcp_listen_overflows,
            tcp_listen_drops,
            tcp_backlog_drops,
            tcp_receive_queue_drops,
            tcp_prunes,
            udp_receive_buffer_errors,
            udp_send_buffer_errors,
            udp_checksum_errors,
            udp_no_ports,
            ip_no_routes,
            ip_reassembly_failures,
        } = other;
        Self {
            tcp_listen_overflows: f(self.tcp_listen_overflows, tcp_listen_overflows),
            tcp_listen_drops: f(self.tcp_listen_drops, tcp_listen_drops),
            tcp_backlog_drops: f(self.tcp_backlog_drops, tcp_backlog_drops),
            tcp_receive_queue_drops: f(self.tcp_receive_queue_drops, tcp_receive_queue_drops),
            tcp_prunes: f(self.tcp_prunes, tcp_prunes),
            udp_receive_buffer_errors: f(self.udp_receive_buffer_errors, udp_receive_buffer_errors),
            udp_send_buffer_errors: f(self.udp_send_buffer_errors, udp_send_buffer_errors),
            udp_checksum_errors: f(self.udp_checksum_errors, udp_checksum_errors),
            udp_no_ports: f(self.udp_no_ports, udp_no_ports),
            ip_no_routes: f(self.ip_no_routes, ip_no_routes),
            ip_reassembly_failures: f(self.ip_reassembly_failures, ip_reassembly_failures),
        }
    }
}

/// The kernel's TCP counts, and the programs' if there are programs.
impl Counts for (Segments, Option<Events>) {
    fn combine(self, other: Self, mut f: impl FnMut(u64, u64) -> u64) -> Self {
        let segments = self.0.zip(other.0, &mut f);
        let events = match (self.1, other.1) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or_default().combine(&other.unwrap_or_default(), f)),
        };
        (segments, events)
    }
}
