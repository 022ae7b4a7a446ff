//! What namespaces ask their resolvers: arrays in the kernel that are mapped into netmon's memory, with one slot for each
//! namespace.
//!
//! All copies of the programs in a namespace share its slot: a query may leave through one device, and its response may
//! arrive through another. Queries that nobody answers are counted here, since no program runs for them.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    os::fd::AsFd,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use netmon_common::dns::{
    Asked, DOCKER, Dns, MAP, OUTSIDE, PATIENCE, Query, RESOLVERS, SETS, WAYS, WORDS, Waiting, index, set,
};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::{
    DatapathError,
    mapped::Mapped,
    slots::{self, SLOTS, Slots},
};
use crate::model::{
    dns::{DnsCounts, DnsReading, has_waiting},
    health::MapRow,
    interface::NetnsId,
};

/// The entries of an array of counts, and of one of queries that wait.
pub(super) const ENTRIES: u32 = SLOTS * RESOLVERS;
pub(super) const WAITING_ENTRIES: u32 = SLOTS * SETS;
/// Something to compare times with.
const NOBODYS: Asked = Asked {
    port: 0,
    id: 0,
    resolver: DOCKER,
    server: 0,
};
/// The words of a slot's queries that wait.
const SLOT_WAYS: usize = SETS as usize * WAYS;

/// The slots of a netmon with room for so many interfaces. Containers on Docker's networks mostly have two, so on a large node
/// half as many are enough.
pub(super) const fn slots_for(interfaces: u32) -> u32 {
    const ALL: u32 = 2_048;
    if interfaces <= ALL {
        interfaces
    } else if interfaces / 2 < ALL {
        ALL
    } else {
        interfaces / 2
    }
}

/// The two arrays of slots, in netmon's memory.
#[derive(Debug)]
struct Arrays {
    counts: Mapped,
    waiting: Mapped,
}

/// All slots, and whose each is.
#[derive(Debug)]
pub(super) struct DnsMap {
    slots: Arc<Slots<Arrays>>,
    namespaces: BTreeMap<NetnsId, Weak<DnsSlot>>,
}

/// The room in a [`DnsMap`].
#[derive(Debug)]
pub(super) struct DnsRoom(Arc<Slots<Arrays>>);

/// A namespace's slot. It is freed when this is dropped. By then no program may count into it.
#[derive(Debug)]
pub struct DnsSlot(slots::Slot<Arrays>);

impl DnsMap {
    /// No arrays yet, for this number of slots.
    pub(super) fn new(slots: u32) -> Self {
        Self {
            slots: Arc::new(Slots::new(slots)),
            namespaces: BTreeMap::new(),
        }
    }

    /// The slot of a namespace. `create` makes the arrays of this number, of counts and of queries that wait, if the slot is
    /// the first one in them. `None` if all slots are taken.
    ///
    /// # Errors
    /// There are no such arrays: what `create` returns, or the kernel does not map them.
    pub(super) fn slot_of<F: AsFd>(
        &mut self,
        netns: NetnsId,
        create: impl FnOnce(u32) -> Result<(F, F), DatapathError>,
    ) -> Result<Option<Arc<DnsSlot>>, DatapathError> {
        if let Some(slot) = self.namespaces.get(&netns).and_then(Weak::upgrade) {
            return Ok(Some(slot));
        }
        let made = self.slots.allocate(|number| {
            let (counts, waiting) = create(number)?;
            Ok(Arrays {
                counts: Mapped::writable(counts, ENTRIES as usize * WORDS)?,
                waiting: Mapped::writable(waiting, WAITING_ENTRIES as usize * WAYS)?,
            })
        })?;
        let Some(slot) = made.map(DnsSlot) else {
            return Ok(None);
        };
        // The slot's last namespace left its counts there.
        let words = slot.counts(DOCKER).iter().chain(slot.counts(OUTSIDE));
        words
            .chain(slot.waiting())
            .for_each(|word| word.store(0, Ordering::Relaxed));
        let slot = Arc::new(slot);
        self.namespaces.retain(|_, slot| slot.strong_count() > 0);
        self.namespaces.insert(netns, Arc::downgrade(&slot));
        Ok(Some(slot))
    }

    /// The room in it.
    pub(super) fn room(&self) -> DnsRoom {
        DnsRoom(Arc::clone(&self.slots))
    }
}

impl DnsRoom {
    /// How full the map is.
    pub(super) fn row(&self) -> MapRow {
        self.0.row(MAP)
    }
}

impl DnsSlot {
    /// The slot's number.
    pub(super) const fn number(&self) -> u32 {
        self.0.number()
    }

    /// The words of the counts for a resolver, in the order of their fields.
    fn counts(&self, resolver: u32) -> &[AtomicU64] {
        let at = index(self.0.place(), resolver) as usize * WORDS;
        let words = self.0.array().counts.words().get(at..at + WORDS);
        debug_assert!(words.is_some(), "places are within the array");
        words.unwrap_or_default()
    }

    /// The ways of all sets.
    fn waiting(&self) -> &[AtomicU64] {
        let at = set(self.0.place(), 0) as usize * WAYS;
        let words = self.0.array().waiting.words().get(at..at + SLOT_WAYS);
        debug_assert!(words.is_some(), "places are within the array");
        words.unwrap_or_default()
    }

    /// What a resolver was asked.
    fn dns(&self, resolver: u32) -> Dns {
        let mut words = self.counts(resolver).iter().map(|word| word.load(Ordering::Relaxed));
        let mut next = || words.next().unwrap_or_default();
        // In the order of the fields, which is that of memory.
        Dns {
            queries: std::array::from_fn(|_| next()),
            retries: next(),
            untracked: next(),
            unanswered: next(),
            responses: std::array::from_fn(|_| next()),
            truncated: next(),
            unmatched: next(),
            duration: next(),
            durations: std::array::from_fn(|_| next()),
        }
    }

    /// What both were asked.
    fn both(&self) -> DnsReading {
        DnsReading {
            docker: self.dns(DOCKER),
            outside: self.dns(OUTSIDE),
        }
    }

    /// Counts the queries that have waited for too long, and lets them wait no more.
    fn sweep(&self, nanoseconds: u64) {
        let now = Query::new(NOBODYS, nanoseconds).waiting();
        for word in self.waiting() {
            let seen = word.load(Ordering::Relaxed);
            let Some(query) = Waiting::of_word(seen) else { continue };
            let is_over = query.before(now) >= PATIENCE;
            // A program may have found its response, or may have put another query there.
            if is_over
                && word
                    .compare_exchange(seen, 0, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            {
                self.add_unanswered(query.resolver());
            }
        }
    }

    fn add_unanswered(&self, resolver: u32) {
        const UNANSWERED: usize = std::mem::offset_of!(Dns, unanswered) / size_of::<u64>();
        if let Some(word) = self.counts(resolver).get(UNANSWERED) {
            word.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl DnsCounts for DnsSlot {
    fn read(&self) -> DnsReading {
        let reading = self.both();
        // While programs count, the counts may be a few off.
        if !has_waiting(&reading.docker) && !has_waiting(&reading.outside) {
            return reading;
        }
        self.sweep(monotonic());
        self.both()
    }
}

/// The time that `bpf_ktime_get_ns` gives to programs. It begins at 0 with the machine.
fn monotonic() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    tv_sec.cast_unsigned() * 1_000_000_000 + tv_nsec.cast_unsigned()
}
