//! What has happened on each edge between services since netmon started.
//!
//! The kernel's counts rise for as long as the kernel has the edge. What each has grown by is added to the sum of the edge
//! between services that it belongs to at that moment. So sums never fall, also when the kernel's edges are taken out of
//! its map to make room.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    EdgeKey, EdgeSum, Party, UNKNOWN,
    names::Naming,
    sums::{Handle, Sums},
};
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
    /// When the kernel's edges were read, and when the time before.
    begun: Option<Instant>,
    before: Option<Instant>,
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
    /// When everything was in a sum last. At first, when the kernel did not have the edge last.
    settled: Option<Instant>,
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
    /// The sum.
    handle: Handle,
}

/// How many edges between services are shown, and how long an end that nobody is known to be is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The number; 0 means no limit.
    pub limit: usize,
    /// The time.
    pub patience: Duration,
    /// When the scrape is made.
    pub now: Instant,
    /// When the kernel's edges were read, or just before.
    pub read: Instant,
}

impl EdgeLedger {
    /// Begins a scrape: nothing is open until it is read. Returns when the kernel's edges were read for the last one.
    pub fn begin(&mut self, read: Instant) -> Option<Instant> {
        self.round += 1;
        self.before = self.begun.replace(read);
        self.sums.begin();
        self.before
    }

    /// Takes in what the kernel has of an edge. `who` is asked if it has grown.
    pub fn observe(&mut self, reading: &EdgeReading, terms: &Terms, who: impl FnOnce() -> Who) {
        let account = self
            .accounts
            .entry(reading.id)
            .or_insert_with(|| Account::new(self.before, terms.now));
        account.round = self.round;
        account.grow(&reading.counts);
        account.last = account.last.or_higher(&reading.counts);
        let is_new = account.sum.is_none() && reading.live > 0;
        if is_new || account.held != EdgeCounts::default() {
            account.settle(reading.id, &mut self.sums, terms, who());
        }
        if account.held == EdgeCounts::default() {
            account.settled = Some(terms.read);
        }
        let handle = account.sum.as_ref().map(|sum| &sum.handle);
        if let Some(sum) = handle.and_then(|handle| self.sums.get_mut(handle)) {
            if reading.live > 0 {
                sum.changed = Some(terms.now);
            }
            sum.live += reading.live;
            sum.round_trips.add(reading.round_trips);
        }
    }

    /// Takes in counts that were taken out of the kernel's map. From now on the kernel counts from 0. `who` is asked if no
    /// scrape could tell.
    pub fn taken(&mut self, id: EdgeId, counts: &EdgeCounts, terms: &Terms, who: impl FnOnce() -> Who) {
        let account = self
            .accounts
            .entry(id)
            .or_insert_with(|| Account::new(self.before, terms.now));
        account.grow(counts);
        account.last = account.last.since(counts);
        let held = mem::take(&mut account.held);
        if let Some(Belongs { handle, .. }) = &account.sum {
            self.sums.add(handle, &held, terms.now);
            return;
        }
        account.held = held;
        let patience = Duration::ZERO;
        account.settle(id, &mut self.sums, &Terms { patience, ..*terms }, who());
    }

    /// Ends a scrape: forgets the kernel's edges that it did not have, and the sums of those who are no longer here.
    pub fn end(&mut self, is_here: impl Fn(&Party) -> bool) {
        let round = self.round;
        // What ended between the two readings of one scrape is in neither, and in the next one again.
        self.accounts.retain(|_, account| account.round + 1 >= round);
        self.sums.retain(|key, sum| sum.live > 0 || is_here(&key.near));
        let sums = &self.sums;
        for account in self.accounts.values_mut() {
            // It is found again if it comes back.
            account.sum.take_if(|sum| !sums.has(&sum.handle));
        }
    }

    /// How many of the kernel's edges are in sums of those over the limit.
    #[must_use]
    pub fn over(&self) -> usize {
        let sums = self.accounts.values().filter_map(|account| account.sum.as_ref());
        sums.filter(|sum| sum.is_over()).count()
    }

    /// Every edge between services with its sum, in the order of their labels. Also a number for each, which no other has
    /// meanwhile.
    pub fn sums(&self) -> impl Iterator<Item = (usize, &Arc<EdgeKey>, &EdgeSum)> {
        self.sums.iter()
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
        let is_settled = |id: &EdgeId| {
            let account = self.accounts.get(id);
            account.is_some_and(|account| account.held == EdgeCounts::default())
        };
        let idle = readings.iter().filter(|reading| reading.live == 0);
        idle.map(|reading| reading.id)
            .filter(|id| (is_full || has_much(id)) && is_settled(id))
            .collect()
    }
}

impl Account {
    fn new(before: Option<Instant>, now: Instant) -> Self {
        Self {
            settled: before,
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
        let naming = naming.since(self.settled);
        let has_changed = matches!(naming, Naming::Changed(..));
        let (far, is_certain) = match (naming, &self.sum) {
            (Naming::Certain(far) | Naming::Changed(far, _) | Naming::Former { party: far, .. }, _) => (far, true),
            // Whoever had the address has ended, and nobody has it now.
            (Naming::Late(_), Some(before)) if before.is_certain => (before.wanted.far.clone(), true),
            (Naming::Late(far), _) if is_late => (far, false),
            (Naming::Late(_), _) => return,
        };
        // A stack is told by a name that is not always known here.
        let far = match &self.sum {
            Some(before) if before.wanted.far.name == far.name && far.stack.is_empty() => before.wanted.far.clone(),
            Some(_) | None => far,
        };
        let wanted = EdgeKey {
            near: near.party,
            far,
            network: near.network,
            port: if id.far == Far::Over { 0 } else { id.port },
            side: id.side,
        };
        let held = mem::take(&mut self.held);
        let was_anothers = |before: &Belongs| before.is_certain && before.wanted.far.name != wanted.far.name;
        let handle = match &self.sum {
            // Two had the address since the last scrape, and whose these counts are cannot be told.
            before if has_changed || (is_certain && before.as_ref().is_some_and(was_anothers)) => {
                let far = Party::word(UNKNOWN);
                let unknown = sums.admit(&EdgeKey { far, ..wanted.clone() }, terms);
                sums.add(&unknown, &held, terms.now);
                sums.admit(&wanted, terms)
            }
            Some(before) if before.wanted == wanted => {
                sums.add(&before.handle, &held, terms.now);
                return;
            }
            Some(_) | None => {
                let handle = sums.admit(&wanted, terms);
                sums.add(&handle, &held, terms.now);
                handle
            }
        };
        self.sum = Some(Belongs {
            wanted,
            is_certain,
            handle,
        });
    }
}

impl Belongs {
    /// Whether it is over the limit.
    fn is_over(&self) -> bool {
        self.wanted != *self.handle.key
    }
}
