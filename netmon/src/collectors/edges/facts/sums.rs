//! The sums of edges between services, as many as are allowed. Must not know what is added to them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use slab::Slab;

use super::{EdgeKey, EdgeSum, OTHER, Party, Terms};
use crate::model::edges::EdgeCounts;

/// One end on this node may have one in this many of all edges. So none takes the room of all others.
const SHARE: usize = 8;
/// How long an edge has to be without a change before others get its room.
const REST: Duration = Duration::from_hours(1);

/// The sums.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// Where each is found at once: many edges of the kernel have theirs here.
    entries: Slab<Entry>,
    /// The places of all, in the order of a page.
    by_key: BTreeMap<Arc<EdgeKey>, usize>,
    /// How many each end on this node has, without those over the limit.
    of_near: HashMap<Party, usize>,
    /// The scrape in which those at rest made room last.
    made_room: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    key: Arc<EdgeKey>,
    sum: EdgeSum,
}

/// A sum, whether it is still there or not.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) key: Arc<EdgeKey>,
    place: usize,
}

impl Sums {
    /// Nothing is open until it is read.
    pub(super) fn begin(&mut self) {
        for (_, entry) in &mut self.entries {
            entry.sum.live = 0;
        }
    }

    /// Each key and sum in the order of a page, with a number that no other has meanwhile.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Arc<EdgeKey>, &EdgeSum)> {
        let all = self.by_key.values();
        all.filter_map(|place| self.entries.get(*place).map(|entry| (*place, &entry.key, &entry.sum)))
    }

    /// Where the sum is. It may have been removed, and added again elsewhere.
    fn place(&self, handle: &Handle) -> Option<usize> {
        let entry = self.entries.get(handle.place);
        if entry.is_some_and(|entry| Arc::ptr_eq(&entry.key, &handle.key)) {
            return Some(handle.place);
        }
        self.by_key.get(&handle.key).copied()
    }

    pub(super) fn get_mut(&mut self, handle: &Handle) -> Option<&mut EdgeSum> {
        let place = self.place(handle)?;
        self.entries.get_mut(place).map(|entry| &mut entry.sum)
    }

    pub(super) fn has(&self, handle: &Handle) -> bool {
        self.place(handle).is_some()
    }

    /// Finds room for an edge between services. Over the limit it is one of those that are summed up: by this node's end, and
    /// of everybody once there are as many of these as others.
    pub(super) fn admit(&mut self, wanted: &EdgeKey, terms: &Terms) -> Handle {
        if let Some(known) = self.find(wanted) {
            return known;
        }
        if self.has_room(&wanted.near, terms) {
            return self.insert(wanted);
        }
        let by_near = EdgeKey {
            far: Party::word(OTHER),
            network: Arc::default(),
            port: 0,
            ..wanted.clone()
        };
        if self.entries.len() < terms.limit.saturating_mul(2) || self.by_key.contains_key(&by_near) {
            return self.insert(&by_near);
        }
        self.insert(&EdgeKey {
            near: Party::word(OTHER),
            ..by_near
        })
    }

    /// Whether this end may have another edge. If not, edges that have long been at rest make room.
    fn has_room(&mut self, near: &Party, terms: &Terms) -> bool {
        if terms.limit == 0 {
            return true;
        }
        let most = (terms.limit / SHARE).max(1);
        let fits = |sums: &Self| {
            let its = sums.of_near.get(near).copied().unwrap_or(0);
            its < most && sums.of_near.values().sum::<usize>() < terms.limit
        };
        if fits(self) {
            return true;
        }
        // Once a scrape is enough: nothing comes to rest in between.
        if self.made_room == Some(terms.now) {
            return false;
        }
        self.made_room = Some(terms.now);
        let rests = |sum: &EdgeSum| {
            let changed = sum.changed.map(|at| terms.now.saturating_duration_since(at));
            sum.live == 0 && changed.is_none_or(|time| time >= REST)
        };
        self.retain(|_, sum| !rests(sum));
        fits(self)
    }

    fn find(&self, key: &EdgeKey) -> Option<Handle> {
        let (key, place) = self.by_key.get_key_value(key)?;
        Some(Handle {
            key: Arc::clone(key),
            place: *place,
        })
    }

    fn insert(&mut self, key: &EdgeKey) -> Handle {
        if let Some(known) = self.find(key) {
            return known;
        }
        if !key.far.is(OTHER) {
            *self.of_near.entry(key.near.clone()).or_default() += 1;
        }
        let key = Arc::new(key.clone());
        let place = self.entries.insert(Entry {
            key: Arc::clone(&key),
            sum: EdgeSum::default(),
        });
        self.by_key.insert(Arc::clone(&key), place);
        Handle { key, place }
    }

    /// Removes the others.
    pub(super) fn retain(&mut self, keep: impl Fn(&EdgeKey, &EdgeSum) -> bool) {
        let (by_key, of_near) = (&mut self.by_key, &mut self.of_near);
        self.entries.retain(|_, Entry { key, sum }| {
            let is_kept = keep(key, sum);
            if !is_kept {
                by_key.remove(key);
                if !key.far.is(OTHER)
                    && let Some(count) = of_near.get_mut(&key.near)
                {
                    *count = count.saturating_sub(1);
                }
            }
            is_kept
        });
        self.of_near.retain(|_, count| *count > 0);
    }

    /// Adds to a sum. If it was at rest and made room for others, it begins again.
    pub(super) fn add(&mut self, handle: &Handle, counts: &EdgeCounts, now: Instant) {
        let place = self.place(handle).unwrap_or_else(|| self.insert(&handle.key).place);
        if let Some(Entry { sum, .. }) = self.entries.get_mut(place) {
            sum.counts.accumulate(counts);
            sum.round_trips.add(counts.round_trips);
            sum.changed = Some(now);
        }
    }
}
