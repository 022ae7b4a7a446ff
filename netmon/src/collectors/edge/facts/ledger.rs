//! What has happened on each edge between services since netmon started.
//!
//! The kernel's counts rise for as long as the kernel has the edge. What each has grown by is added to the sum of the edge
//! between services that it belongs to at that moment. So sums never fall, also when the kernel's edges are taken out of
//! its map to make room.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{EdgeKey, EdgeSum, OTHER, Party, UNKNOWN, names::Naming};
use crate::model::{
    edges::{EdgeCounts, EdgeId, EdgeReading, Far},
    interface::NetnsId,
};

/// This node's end of an edge, and its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// Who it is.
    pub party: Party,
    /// The network.
    pub network: Arc<str>,
}

/// Between whom one of the kernel's edges is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// It is of no interest, and is not counted.
    Nobody,
    /// Who this end is will be known soon.
    Open,
    /// These two.
    Both(Near, Naming),
}

/// The sums, and how much of each of the kernel's edges is in them.
#[derive(Debug, Default)]
pub struct EdgeLedger {
    round: u64,
    accounts: HashMap<EdgeId, Account>,
    sums: Sums,
}

#[derive(Debug)]
struct Account {
    /// The last scrape that had it.
    round: u64,
    since: Instant,
    /// The highest counts so far.
    last: EdgeCounts,
    /// What is in no sum yet.
    held: EdgeCounts,
    /// The sum that it belongs to.
    sum: Option<Belongs>,
}

/// Which sum an edge of the kernel belongs to.
#[derive(Clone, Debug)]
struct Belongs {
    /// Between whom it is.
    wanted: EdgeKey,
    /// Somebody had the address of the other end.
    is_certain: bool,
    /// The sum's key.
    key: Arc<EdgeKey>,
}

#[derive(Debug, Default)]
struct Sums(BTreeMap<Arc<EdgeKey>, EdgeSum>);

/// How many edges between services are shown, and how long an end that nobody is known to be is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The number; 0 means no limit.
    pub limit: usize,
    /// The time.
    pub patience: Duration,
    /// When the scrape is made.
    pub now: Instant,
}

impl EdgeLedger {
    /// Begins a scrape: nothing is open until it is read.
    pub fn begin(&mut self) {
        self.round += 1;
        for sum in self.sums.0.values_mut() {
            sum.live = 0;
        }
    }

    /// Takes in what the kernel has of an edge. `who` is asked if it has grown.
    pub fn observe(&mut self, reading: &EdgeReading, terms: &Terms, who: impl FnOnce() -> Who) {
        let account = self
            .accounts
            .entry(reading.id)
            .or_insert_with(|| Account::new(terms.now));
        account.round = self.round;
        account.grow(&reading.counts);
        account.last = account.last.or_higher(&reading.counts);
        if account.sum.is_none() || account.held != EdgeCounts::default() {
            account.settle(reading.id, &mut self.sums, terms, who());
        }
        let key = account.sum.as_ref().map(|sum| &sum.key);
        if let Some(sum) = key.and_then(|key| self.sums.0.get_mut(key)) {
            sum.live += reading.live;
            sum.round_trips.add(reading.round_trips);
        }
    }

    /// Takes in counts that were taken out of the kernel's map. From now on the kernel counts from 0. `who` is asked if no
    /// scrape could tell.
    pub fn taken(&mut self, id: EdgeId, counts: &EdgeCounts, terms: &Terms, who: impl FnOnce() -> Who) {
        let account = self.accounts.entry(id).or_insert_with(|| Account::new(terms.now));
        account.grow(counts);
        account.last = account.last.since(counts);
        let held = mem::take(&mut account.held);
        if let Some(Belongs { key, .. }) = &account.sum {
            self.sums.add(key, &held);
            return;
        }
        account.held = held;
        let patience = Duration::ZERO;
        account.settle(id, &mut self.sums, &Terms { patience, ..*terms }, who());
    }

    /// Ends a scrape: forgets the kernel's edges that it did not have, and the sums of those who are no longer here.
    pub fn end(&mut self, is_here: impl Fn(&Party) -> bool) {
        let round = self.round;
        self.accounts.retain(|_, account| account.round == round);
        self.sums.0.retain(|key, sum| sum.live > 0 || is_here(&key.near));
        let sums = &self.sums.0;
        for account in self.accounts.values_mut() {
            // It is found again if it comes back.
            account.sum.take_if(|sum| !sums.contains_key(&sum.key));
        }
    }

    /// How many of the kernel's edges are in sums of those over the limit.
    #[must_use]
    pub fn over(&self) -> usize {
        let sums = self.accounts.values().filter_map(|account| account.sum.as_ref());
        sums.filter(|sum| sum.is_over()).count()
    }

    /// Every edge between services, with its sum.
    pub fn sums(&self) -> impl Iterator<Item = (&EdgeKey, &EdgeSum)> + Clone {
        self.sums.0.iter().map(|(key, sum)| (&**key, sum))
    }

    /// The kernel's edges that can be taken out of its map to make room: nothing is open there, and their namespace has
    /// used up half of its `share`, or all together half of the map's `room`.
    #[must_use]
    pub fn idle(&self, readings: &[EdgeReading], share: usize, room: usize) -> BTreeSet<EdgeId> {
        let mut used: HashMap<NetnsId, usize> = HashMap::new();
        for reading in readings {
            *used.entry(reading.id.interface.netns).or_default() += 1;
        }
        let is_full = readings.len() > room / 2;
        let has_much = |id: &EdgeId| used.get(&id.interface.netns).is_some_and(|used| *used > share / 2);
        let is_settled = |id: &EdgeId| self.accounts.get(id).is_some_and(|account| account.sum.is_some());
        let idle = readings.iter().filter(|reading| reading.live == 0);
        idle.map(|reading| reading.id)
            .filter(|id| (is_full || has_much(id)) && is_settled(id))
            .collect()
    }
}

impl Account {
    fn new(now: Instant) -> Self {
        Self {
            round: 0,
            since: now,
            last: EdgeCounts::default(),
            held: EdgeCounts::default(),
            sum: None,
        }
    }

    /// Holds what is new in these counts.
    fn grow(&mut self, counts: &EdgeCounts) {
        let grown = counts.since(&self.last);
        self.held.accumulate(&grown);
    }

    /// Adds what it holds to the sum that it belongs to, if that is known.
    fn settle(&mut self, id: EdgeId, sums: &mut Sums, terms: &Terms, who: Who) {
        let (near, naming) = match who {
            Who::Nobody => {
                self.held = EdgeCounts::default();
                return;
            }
            Who::Open => return,
            Who::Both(near, naming) => (near, naming),
        };
        let is_late = terms.now.saturating_duration_since(self.since) >= terms.patience;
        let (far, is_certain) = match (naming, &self.sum) {
            (Naming::Certain(far), _) => (far, true),
            // Whoever had the address has ended, and nobody has it now.
            (Naming::Late(_), Some(before)) if before.is_certain => (before.wanted.far.clone(), true),
            (Naming::Late(far), _) if is_late => (far, false),
            (Naming::Late(_), _) => return,
        };
        let wanted = EdgeKey {
            near: near.party,
            far,
            network: near.network,
            port: if id.far == Far::Over { 0 } else { id.port },
            side: id.side,
        };
        let held = mem::take(&mut self.held);
        match &self.sum {
            Some(before) if before.wanted == wanted => {
                sums.add(&before.key, &held);
                return;
            }
            // Two had the address since the last scrape, and whose these counts are cannot be told.
            Some(before) if before.is_certain && is_certain && before.wanted.far != wanted.far => {
                let far = Party::word(UNKNOWN);
                let unknown = sums.admit(&EdgeKey { far, ..wanted.clone() }, terms.limit);
                sums.add(&unknown, &held);
                self.sum = Some(Belongs {
                    key: sums.admit(&wanted, terms.limit),
                    wanted,
                    is_certain,
                });
                return;
            }
            Some(_) | None => {}
        }
        let key = sums.admit(&wanted, terms.limit);
        sums.add(&key, &held);
        self.sum = Some(Belongs {
            wanted,
            is_certain,
            key,
        });
    }
}

impl Belongs {
    /// Whether it is over the limit.
    fn is_over(&self) -> bool {
        self.wanted != *self.key
    }
}

impl Sums {
    /// Finds room for an edge between services. Over the limit it is one of those that are summed up: by this node's end, and
    /// of everybody once there are as many of these as others.
    fn admit(&mut self, wanted: &EdgeKey, limit: usize) -> Arc<EdgeKey> {
        if let Some((known, _)) = self.0.get_key_value(wanted) {
            return Arc::clone(known);
        }
        let is_full = limit != 0 && self.0.len() >= limit;
        let by_near = EdgeKey {
            far: Party::word(OTHER),
            network: Arc::default(),
            port: 0,
            ..wanted.clone()
        };
        let key = if !is_full {
            wanted.clone()
        } else if self.0.len() < limit.saturating_mul(2) || self.0.contains_key(&by_near) {
            by_near
        } else {
            EdgeKey {
                near: Party::word(OTHER),
                ..by_near
            }
        };
        if let Some((known, _)) = self.0.get_key_value(&key) {
            return Arc::clone(known);
        }
        let key = Arc::new(key);
        self.0.insert(Arc::clone(&key), EdgeSum::default());
        key
    }

    fn add(&mut self, key: &Arc<EdgeKey>, counts: &EdgeCounts) {
        let sum = self.0.entry(Arc::clone(key)).or_default();
        sum.counts.accumulate(counts);
        sum.round_trips.add(counts.round_trips);
    }
}
