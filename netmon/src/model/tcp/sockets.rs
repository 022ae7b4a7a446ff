//! The sockets of a namespace by state, and when to count them anew.
//!
//! The kernel programs count changes of state. A namespace that is older than netmon needs a starting value, and a
//! change that was lost has to be made good. Both take a count of the sockets that the kernel lists now.
//!
//! Two things find what was lost. The sum over the states is compared with the sockets in use at every reading that has
//! both. And numbers are verified by a count from time to time, because a lost change between two states leaves the sum
//! as it is.
//!
//! Pure. Must not know how sockets are listed.

use netmon_common::tcp::STATES;

use super::{Before, CONNECTION_STATES, Events};

/// How many comparisons running have to differ in the same direction. The two sides of a comparison are not read at the
/// same moment, so a busy namespace differs often, and in both directions.
const LASTING: u32 = 2;
/// The most that it ever waits for. It waits for twice as many comparisons after each count, and for half as many after
/// so many that agreed. In a busy namespace some agree by chance, but not so many running. A namespace that is still does
/// not wait longer, unless it was counted and has been still since.
const MOST_LASTING: u32 = 64;

/// How many lists say by their difference how near they are to the truth.
const ENOUGH: usize = 4;

/// The sockets as the kernel listed them once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The numbers from before the programs counted, if no socket changed its state meanwhile.
    pub before: Before,
    /// The programs' counts right after.
    pub events: Events,
    /// How many sockets changed their state meanwhile. In no state are there more than so many more or fewer.
    pub changed: u64,
}

/// A count of the sockets that the kernel lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The numbers from before the programs counted.
    pub before: Before,
    /// The programs' counts right after.
    pub events: Events,
    /// How many more or fewer there may be in each state.
    doubt: [u64; STATES],
}

impl Counted {
    /// The numbers by these lists; `None` without a list.
    ///
    /// A list is exact if nothing changed meanwhile. Of a namespace that is never still, no list is. But the number from
    /// before the programs counted is the same for every list, and what a list missed or had too many is chance. So the
    /// median of several is near it, the nearer the less they differ. Their difference may be small by chance, too, so
    /// twice as much and one are doubted.
    #[must_use]
    pub fn of(lists: &[Listed]) -> Option<Self> {
        let best = lists.iter().min_by_key(|list| list.changed)?;
        let mut counted = Self {
            before: best.before,
            events: best.events,
            doubt: [best.changed; STATES],
        };
        if best.changed == 0 || lists.len() < ENOUGH {
            return Some(counted);
        }
        let Before(before) = &mut counted.before;
        for (state, (number, doubt)) in before.iter_mut().zip(&mut counted.doubt).enumerate() {
            let mut numbers: Vec<i64> = lists.iter().map(|list| list.before.0[state]).collect();
            numbers.sort_unstable();
            let (least, most) = (numbers[0], numbers[numbers.len() - 1]);
            *number = numbers[numbers.len() / 2];
            *doubt = least.abs_diff(most).saturating_mul(2).saturating_add(1).min(*doubt);
        }
        Some(counted)
    }

    /// Nothing changed while the sockets were listed.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.doubt == [0; STATES]
    }

    /// Whether these numbers may be right by this count.
    fn agrees(&self, Before(others): &Before) -> bool {
        let Before(its) = &self.before;
        its.iter()
            .zip(others)
            .zip(&self.doubt)
            .all(|((one, other), doubt)| one.abs_diff(*other) <= *doubt)
    }
}

/// What a namespace's sockets are counted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The numbers are not known, or not right.
    Correction,
    /// Nothing is known to be wrong. These were the programs' counts when the numbers were last known to be right.
    Verification(Box<Events>),
}

/// The sockets of a namespace that the programs' counts lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Sockets {
    before: Before,
    /// These numbers are not known to be wrong.
    is_exact: bool,
    is_due: bool,
    /// The namespace is older than netmon, and its sockets were never counted.
    is_awaited: bool,
    /// The programs' counts at the last exact count. At first there are no sockets, and no counts.
    verified: Events,
    /// The direction of the last comparisons, and how many of them turned out so.
    running: (Direction, u32),
    patience: u32,
    /// The programs' counts in the last comparison.
    last: Option<Events>,
    /// Since the last count because of a difference, no socket changed its state.
    is_counted_still: bool,
}

/// How a comparison turned out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Direction {
    #[default]
    Equal,
    TooMany,
    TooFew,
    /// A state has less than no socket.
    Impossible,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            before: Before::default(),
            is_exact: true,
            is_due: false,
            is_awaited: false,
            verified: Events::default(),
            running: Default::default(),
            patience: LASTING,
            last: None,
            is_counted_still: false,
        }
    }
}

impl Sockets {
    /// The numbers from before the programs counted.
    #[must_use]
    pub const fn before(&self) -> &Before {
        &self.before
    }

    /// The namespace is older than netmon, and nobody has counted its sockets yet: they come later.
    pub const fn await_first(&mut self) {
        self.recount();
        self.is_awaited = true;
    }

    /// Whether the first count is still to come. Until then nothing is known of the numbers.
    #[must_use]
    pub const fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Whether the sockets have to be counted anew.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.is_due
    }

    /// What the next count of the sockets is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        if self.is_due {
            Purpose::Correction
        } else {
            Purpose::Verification(Box::new(self.verified))
        }
    }

    /// Takes in a count; `None` if the sockets could not be counted. One that is not exact is better than none, and has
    /// to be repeated. It is no better than numbers that were exact, unless it refutes them.
    pub fn counted(&mut self, counted: Option<Counted>) {
        // Nobody asked for the first count: the namespace is older than netmon.
        self.is_exact &= self.is_due;
        self.is_due = true;
        self.is_awaited = false;
        if let Some(counted) = counted {
            self.take(&counted);
        }
    }

    /// Takes in a count that was made although nothing was known to be wrong.
    pub fn verified(&mut self, counted: &Counted) {
        // Meanwhile a comparison may have found a difference, from before this count or from after it.
        if !self.is_due {
            self.take(counted);
        }
    }

    fn take(&mut self, counted: &Counted) {
        if counted.is_exact() || !(self.is_exact && counted.agrees(&self.before)) {
            self.before = counted.before;
            self.is_exact = counted.is_exact();
        }
        if counted.is_exact() {
            self.verified = counted.events;
        }
        self.is_due = !self.is_exact;
    }

    /// The last count missed something.
    pub const fn recount(&mut self) {
        self.is_exact = false;
        self.is_due = true;
    }

    /// Compares the programs' counts with how many TCP sockets the kernel says are in use. A difference that lasts comes
    /// from a lost change of state.
    ///
    /// The kernel's figure has every socket that is in its tables of listening and of connected sockets
    /// (`sock_prot_inuse_add` in `__inet_hash`, `inet_ehash_nolisten` and `inet_unhash`). These are the sockets in all
    /// states but `CLOSE`. Requests for connections and sockets in `TIME_WAIT` are in these tables, too, but are
    /// neither in the figure nor among the programs' counts.
    pub fn compare(&mut self, events: &Events, in_use: u64) {
        if self.is_due {
            return;
        }
        let is_still = self.last.is_some_and(|last| last.changed_sockets(events) == 0);
        self.last = Some(*events);
        self.is_counted_still &= is_still;
        let direction = self.direction(events, in_use);
        let (last, running) = self.running;
        let running = if last == direction { running + 1 } else { 1 };
        self.running = (direction, running);
        // Where nothing changes, no difference comes from the moments of reading.
        let is_certain = direction != Direction::Equal && is_still && !self.is_counted_still;
        if running < if is_certain { LASTING } else { self.patience } {
            return;
        }
        self.running = Default::default();
        if direction == Direction::Equal {
            self.patience = (self.patience / 2).max(LASTING);
        } else {
            self.is_due = true;
            self.is_counted_still = true;
            self.patience = (self.patience * 2).min(MOST_LASTING);
        }
    }

    fn direction(&self, events: &Events, in_use: u64) -> Direction {
        let states = CONNECTION_STATES.map(|(_, number)| events.sockets(number, &self.before));
        if states.iter().any(|sockets| *sockets < 0) {
            return Direction::Impossible;
        }
        let sum = states.iter().fold(0_i64, |sum, sockets| sum.saturating_add(*sockets));
        match u64::try_from(sum).unwrap_or(0).cmp(&in_use) {
            std::cmp::Ordering::Equal => Direction::Equal,
            std::cmp::Ordering::Greater => Direction::TooMany,
            std::cmp::Ordering::Less => Direction::TooFew,
        }
    }
}

#[cfg(test)]
mod tests;
