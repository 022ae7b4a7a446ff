//! The sockets of a namespace by state, and when to count them anew.
//!
//! The kernel programs count changes of state. A namespace that is older than netmon needs a starting value, and a
//! change that was lost has to be made good. Both take a count of the sockets that the kernel lists now.
//!
//! Pure. Must not know how sockets are listed.

use super::{Before, CONNECTION_STATES, Events};

/// How many comparisons running have to differ in the same direction. The two sides of a comparison are not read at the
/// same moment, so a busy namespace differs often, and in both directions.
const LASTING: u32 = 2;
/// The most that it ever waits for. It waits for twice as many comparisons after each count, and for half as many after
/// so many that agreed. In a busy namespace some agree by chance, but not so many running. A namespace that is still does
/// not wait longer, unless it was counted and has been still since.
const MOST_LASTING: u32 = 64;

/// A count of the sockets that the kernel lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The numbers from before the programs counted.
    pub before: Before,
    /// How many sockets changed their state meanwhile. In no state are there more than so many more or fewer. With 0 it
    /// is exact.
    pub doubt: u64,
}

impl Counted {
    /// Whether these numbers may be right by this count.
    fn agrees(&self, Before(others): &Before) -> bool {
        let Before(its) = &self.before;
        its.iter()
            .zip(others)
            .all(|(one, other)| one.abs_diff(*other) <= self.doubt)
    }
}

/// The sockets of a namespace that the programs' counts lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    before: Before,
    /// These numbers are not known to be wrong.
    is_exact: bool,
    is_due: bool,
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

    /// Whether the sockets have to be counted anew.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.is_due
    }

    /// Takes in a count; `None` if the sockets could not be counted. One that is not exact is better than none, and has
    /// to be repeated. It is no better than numbers that were exact, unless it refutes them.
    pub fn counted(&mut self, counted: Option<Counted>) {
        // Nobody asked for the first count: the namespace is older than netmon.
        self.is_exact &= self.is_due;
        self.is_due = true;
        let Some(counted) = counted else { return };
        if counted.doubt == 0 || !(self.is_exact && counted.agrees(&self.before)) {
            self.before = counted.before;
            self.is_exact = counted.doubt == 0;
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
mod tests {
    use netmon_common::tcp::{STATES, Tcp};

    use super::{Before, Counted, Events, MOST_LASTING, Sockets};

    const ESTABLISHED: usize = 1;
    const LISTEN: usize = 10;

    fn events(established: i64, listening: i64) -> Events {
        let mut counts = Tcp::ZERO;
        counts.states[ESTABLISHED] = established.cast_unsigned();
        counts.states[LISTEN] = listening.cast_unsigned();
        Events::from(counts)
    }

    /// A count that finds so many established sockets, while so many changed their state.
    fn count(events: &Events, established: u64, doubt: u64) -> Counted {
        let mut now = [0; STATES];
        now[ESTABLISHED] = established;
        let before = events.before(&now);
        Counted { before, doubt }
    }

    /// After how many comparisons with the same figure the sockets have to be counted; at most 1,000.
    fn due_after(sockets: &mut Sockets, events: &Events, in_use: u64) -> Option<u32> {
        (1..=1000).find(|_| {
            sockets.compare(events, in_use);
            sockets.is_due()
        })
    }

    #[test]
    fn an_inexact_count_is_used_and_repeated_until_one_is_exact() {
        let mut sockets = Sockets::default();
        assert!(!sockets.is_due(), "a new namespace has no sockets from before");
        sockets.counted(None);
        assert!(sockets.is_due());
        let seen = events(2, 0);
        sockets.counted(Some(count(&seen, 5, 1)));
        assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 5);
        assert!(sockets.is_due());
        sockets.counted(None);
        assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 5, "none is no better");
        sockets.counted(Some(count(&seen, 4, 0)));
        assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 4);
        assert!(!sockets.is_due());
        sockets.recount();
        assert!(sockets.is_due());
    }

    #[test]
    fn a_socket_that_came_and_went_is_a_change() {
        let seen = events(3, 1);
        let mut counts = *seen.counts();
        counts.round_trips[0] += 1;
        assert_eq!(seen.changed_sockets(&Events::from(counts)), 0);
        counts.accepts += 1;
        assert_eq!(seen.changed_sockets(&Events::from(counts)), 1);
        assert_eq!(seen.changed_sockets(&events(1, 2)), 3);
    }

    #[test]
    fn as_many_as_the_kernel_says_are_not_counted_anew() {
        let mut sockets = Sockets::default();
        assert_eq!(due_after(&mut sockets, &events(3, 1), 4), None);
    }

    #[test]
    fn a_difference_that_lasts_is_made_good_by_one_count() {
        for in_use in [3, 5] {
            let mut sockets = Sockets::default();
            let seen = events(3, 1);
            assert_eq!(due_after(&mut sockets, &seen, in_use), Some(2));
            sockets.counted(Some(count(&seen, in_use, 0)));
            assert_eq!(due_after(&mut sockets, &seen, in_use), None);
        }
    }

    #[test]
    fn what_differs_this_way_and_that_way_is_busy_and_not_wrong() {
        let mut sockets = Sockets::default();
        for _ in 0..1000 {
            for in_use in [5, 3, 4, 5, 4, 3] {
                sockets.compare(&events(3, 1), in_use);
                assert!(!sockets.is_due());
            }
        }
    }

    #[test]
    fn a_difference_that_a_count_does_not_mend_is_counted_ever_more_rarely() {
        let mut sockets = Sockets::default();
        let seen = events(3, 1);
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.extend(due_after(&mut sockets, &seen, 9));
            sockets.counted(Some(count(&seen, 4, 0)));
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, MOST_LASTING, MOST_LASTING, MOST_LASTING]);
        // Once they agree for long, the next difference is as good as the first.
        sockets.compare(&seen, 4);
        assert_eq!(due_after(&mut sockets, &seen, 9), Some(MOST_LASTING));
        sockets.counted(Some(count(&seen, 4, 0)));
        for _ in 0..2 * MOST_LASTING {
            sockets.compare(&seen, 4);
        }
        assert_eq!(due_after(&mut sockets, &seen, 9), Some(2));
    }

    #[test]
    fn what_differs_by_chance_is_soon_counted_no_more() {
        let mut sockets = Sockets::default();
        let counts = busy(&mut sockets);
        assert!((1..10).contains(&counts), "{counts} counts");
    }

    /// Compares the sockets of a namespace that is never still for long, and counts them when they are due. Returns how
    /// often that was.
    fn busy(sockets: &mut Sockets) -> u32 {
        let (mut random, mut counts) = (1_u32, 0);
        for accepts in 0..10_000 {
            let mut seen = *events(3, 1).counts();
            seen.accepts = accepts;
            let seen = Events::from(seen);
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            sockets.compare(&seen, 3 + u64::from(random >> 16) % 3);
            if sockets.is_due() {
                counts += 1;
                sockets.counted(Some(count(&seen, 4, 0)));
            }
        }
        counts
    }

    #[test]
    fn a_difference_in_a_namespace_that_is_still_again_is_no_chance() {
        let mut sockets = Sockets::default();
        busy(&mut sockets);
        let seen = events(3, 1);
        sockets.compare(&seen, 4);
        assert_eq!(due_after(&mut sockets, &seen, 5), Some(2));
        sockets.counted(Some(count(&seen, 4, 0)));
        assert!(due_after(&mut sockets, &seen, 5) > Some(8), "the count changed nothing");
    }

    #[test]
    fn what_was_exact_stays_unless_a_count_of_a_busy_namespace_refutes_it() {
        let seen = events(2, 0);
        let counted = |established, doubt| {
            let mut sockets = Sockets::default();
            sockets.counted(Some(count(&seen, 100, 0)));
            assert_eq!(due_after(&mut sockets, &seen, 101), Some(2));
            sockets.counted(Some(count(&seen, established, doubt)));
            (seen.connections(ESTABLISHED, sockets.before()), sockets.is_due())
        };
        for established in [95, 100, 105] {
            assert_eq!(counted(established, 5), (100, false));
        }
        assert_eq!(counted(106, 5), (106, true));
        assert_eq!(counted(94, 5), (94, true));
        assert_eq!(counted(101, 0), (101, false));
    }

    #[test]
    fn what_was_never_counted_exactly_is_no_reason_to_doubt_a_count() {
        let seen = events(2, 0);
        let mut sockets = Sockets::default();
        // The first count of a namespace from before netmon. It is near what the programs say.
        sockets.counted(Some(count(&seen, 3, 5)));
        assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 3);
        assert!(sockets.is_due());
        sockets.counted(Some(count(&seen, 4, 5)));
        assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 4);
        assert!(sockets.is_due());
        // A count that turned out to have missed something.
        sockets.counted(Some(count(&seen, 4, 0)));
        sockets.recount();
        sockets.counted(Some(count(&seen, 5, 5)));
        assert_eq!(seen.connections(ESTABLISHED, sockets.before()), 5);
    }

    #[test]
    fn a_state_with_less_than_no_socket_is_a_difference_whatever_the_sum() {
        let mut sockets = Sockets::default();
        // The change to the established state was lost, so that the closing socket leaves a state in which none was.
        assert_eq!(due_after(&mut sockets, &events(-1, 2), 1), Some(2));
        assert_eq!(sockets.before(), &Before::default());
    }
}
