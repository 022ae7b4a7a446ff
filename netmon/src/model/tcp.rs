//! What happens to TCP connections, as the kernel programs count it.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use netmon_common::tcp::{
    FAILURE_ABORTED, FAILURE_OTHER, FAILURE_REFUSED, FAILURE_RESET, FAILURE_TIMEOUT, FAILURE_UNREACHABLE, FAILURES,
    ROUND_TRIP_BOUNDS, STATES, Tcp,
};

use super::snapshot::Histogram;

/// Why a connection to somebody else was not made: the label's value, and where the programs count it.
pub const FAILURE_REASONS: [(&str, usize); FAILURES] = [
    ("refused", FAILURE_REFUSED),
    ("timeout", FAILURE_TIMEOUT),
    ("unreachable", FAILURE_UNREACHABLE),
    ("reset", FAILURE_RESET),
    ("aborted", FAILURE_ABORTED),
    ("other", FAILURE_OTHER),
];

/// The states of a connection that the programs count: the label's value, and the kernel's number
/// (`include/net/tcp_states.h`). A closed socket is no connection; one in `TIME_WAIT` is no socket any more, and the
/// kernel counts it itself.
pub const CONNECTION_STATES: [(&str, usize); 9] = [
    ("established", 1),
    ("syn_sent", 2),
    ("syn_received", 3),
    ("fin_wait1", 4),
    ("fin_wait2", 5),
    ("close_wait", 8),
    ("last_ack", 9),
    ("listen", 10),
    ("closing", 11),
];

/// The counts of an interface, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(Tcp);

impl From<Tcp> for Events {
    fn from(counts: Tcp) -> Self {
        Self(counts)
    }
}

impl Events {
    /// Adds another interface's.
    pub fn accumulate(&mut self, other: &Self) {
        self.0.accumulate(&other.0);
    }

    /// Makes one out of what `f` gives for each count of two. Without sockets by state, which are no counts.
    pub(super) fn combine(&self, other: &Self, mut f: impl FnMut(u64, u64) -> u64) -> Self {
        let (one, other) = (&self.0, &other.0);
        Self(Tcp {
            retransmitted_segments: f(one.retransmitted_segments, other.retransmitted_segments),
            resets_sent: f(one.resets_sent, other.resets_sent),
            // What is shown of these is the highest so far: see [`Shares`].
            resets_received: 0,
            connects: f(one.connects, other.connects),
            accepts: f(one.accepts, other.accepts),
            failures: std::array::from_fn(|at| f(one.failures[at], other.failures[at])),
            states: [0; STATES],
            round_trips: std::array::from_fn(|at| f(one.round_trips[at], other.round_trips[at])),
            round_trip_microseconds: f(one.round_trip_microseconds, other.round_trip_microseconds),
        })
    }

    /// The counts.
    #[must_use]
    pub const fn counts(&self) -> &Tcp {
        &self.0
    }

    /// Resets received. Never below nothing, as it might seem while one is found on another CPU to be none.
    #[must_use]
    pub fn resets_received(&self) -> u64 {
        u64::try_from(self.0.resets_received.cast_signed()).unwrap_or(0)
    }

    /// Connections in a state, of which there were so many `before` the programs counted. Never below nothing, as it
    /// might seem while one is on its way from CPU to CPU.
    #[must_use]
    pub fn connections(&self, state: usize, before: &Before) -> u64 {
        let count = self
            .changes(state)
            .wrapping_add(before.0.get(state).copied().unwrap_or(0));
        u64::try_from(count).unwrap_or(0)
    }

    fn changes(&self, state: usize) -> i64 {
        self.0.states.get(state).copied().unwrap_or(0).cast_signed()
    }

    /// What there must have been before the programs counted, if there are so many sockets in each state now.
    #[must_use]
    pub fn before(&self, now: &[u64; STATES]) -> Before {
        Before(std::array::from_fn(|state| {
            now[state].cast_signed().wrapping_sub(self.changes(state))
        }))
    }

    /// Smoothed round-trip times, in seconds.
    #[must_use]
    pub fn round_trips(&self) -> Histogram {
        let bounds = ROUND_TRIP_BOUNDS.iter().map(|bound| f64::from(*bound) / 1e6);
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(self.0.round_trips).collect();
        Histogram {
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum: self.0.round_trip_microseconds as f64 / 1e6,
            buckets,
        }
    }
}

/// Sockets by the number of their state, before the programs counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before([i64; STATES]);

/// What the kernel counts for a namespace as a whole, and the programs for each of its networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// Segments sent for the first time (`TcpOutSegs`).
    pub sent: u64,
    /// Segments sent again (`TcpRetransSegs`).
    pub retransmitted: u64,
    /// Resets sent (`TcpOutRsts`).
    pub resets_sent: u64,
    /// Resets received, which the kernel does not count: all are the programs'.
    pub resets_received: u64,
}

impl Segments {
    /// Makes one out of what `f` gives for each figure of two.
    pub(super) fn zip(self, other: Self, mut f: impl FnMut(u64, u64) -> u64) -> Self {
        Self {
            sent: f(self.sent, other.sent),
            retransmitted: f(self.retransmitted, other.retransmitted),
            resets_sent: f(self.resets_sent, other.resets_sent),
            resets_received: f(self.resets_received, other.resets_received),
        }
    }
}

/// The network of what goes over loopback, and of what no network is known of.
pub const NO_NETWORK: &str = "";

/// A namespace's counts, shared out among its networks so that the sum is the kernel's own.
///
/// The programs tell the networks' shares; the rest, which went over loopback or through no device that has programs,
/// is [`NO_NETWORK`]'s. They are not read at one moment: first the kernel's counts, then what passed the devices, then
/// what was sent again. So what is sent meanwhile makes the rest seem smaller, never greater, and a share that seems to
/// fall stays where it was until it has risen again, for a counter that falls is taken for one that was reset. So does
/// the programs' own count of resets received, which falls by those that turn out to be none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// What the kernel had counted, and the programs had not, before netmon looked.
    before: Option<Segments>,
    shown: BTreeMap<Arc<str>, Segments>,
    /// What passed each network's devices, whether for the first time or again.
    passed: BTreeMap<Arc<str>, u64>,
}

impl Shares {
    /// Takes in a reading: the kernel's count of the whole, if it could be read, and the networks' shares. What was
    /// counted before netmon came is in nobody's share if the namespace `is_older`: it is not known whose it was, and
    /// would come back as a jump with every restart.
    pub fn observe(&mut self, whole: Option<Segments>, shares: &BTreeMap<Arc<str>, Segments>, is_older: bool) {
        let mut excess = whole.map_or(0, |whole| self.excess(whole, shares));
        // Most likely it was sent where most was sent again.
        let mut shares: Vec<_> = shares.iter().collect();
        shares.sort_by_key(|(_, share)| Reverse(share.retransmitted));
        for (network, share) in shares {
            let growth = share.sent.saturating_sub(self.sent(network));
            let cut = growth.min(excess);
            excess -= cut;
            let sent = share.sent - cut;
            self.raise(network, Segments { sent, ..*share });
            let passed = self.passed.entry(Arc::clone(network)).or_default();
            *passed = (*passed).max(share.sent.saturating_add(share.retransmitted));
        }
        let Some(whole) = whole else { return };
        let rest = self.rest(whole);
        let before = *self
            .before
            .get_or_insert(if is_older { rest } else { Segments::default() });
        self.raise(&Arc::from(NO_NETWORK), rest.zip(before, u64::saturating_sub));
    }

    /// How many segments the networks' devices would seem to have sent for the first time that were sent again: of some
    /// of those no program hears. Beyond the kernel's count, and no more than it counts of that kind without a network:
    /// what was only sent since the kernel was asked is not among them.
    fn excess(&self, whole: Segments, shares: &BTreeMap<Arc<str>, Segments>) -> u64 {
        let before = self.before.unwrap_or_default();
        let named = shares.iter().filter(|(network, _)| &***network != NO_NETWORK);
        let named = named.fold(Segments::default(), |sum, (network, share)| {
            let shown = self.shown.get(network).copied().unwrap_or_default();
            sum.zip(shown.zip(*share, u64::max), u64::saturating_add)
        });
        let whole = whole.zip(before, u64::saturating_sub);
        let unheard = whole.retransmitted.saturating_sub(named.retransmitted);
        named.sent.saturating_sub(whole.sent).min(unheard)
    }

    /// What is shown as sent over a network.
    fn sent(&self, network: &Arc<str>) -> u64 {
        self.shown.get(network).map_or(0, |shown| shown.sent)
    }

    /// What of the whole no network accounts for.
    fn rest(&self, whole: Segments) -> Segments {
        let is_named = |network: &str| network != NO_NETWORK;
        let named = self.shown.iter().filter(|(network, _)| is_named(network));
        let named = named.fold(Segments::default(), |sum, (_, share)| {
            sum.zip(*share, u64::saturating_add)
        });
        let rest = whole.zip(named, u64::saturating_sub);
        // What was sent for the first time is what passed without what was sent again, of which more is known by now:
        // taken as it is it would be too little, and the rest too much.
        let passed = self.passed.iter().filter(|(network, _)| is_named(network));
        let passed = passed.fold(0, |sum: u64, (_, passed)| sum.saturating_add(*passed));
        let sent = whole.sent.saturating_add(whole.retransmitted).saturating_sub(passed);
        Segments {
            sent: sent.saturating_sub(rest.retransmitted),
            ..rest
        }
    }

    /// Every network's share.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Segments)> {
        self.shown.iter().map(|(network, share)| (network, *share))
    }

    fn raise(&mut self, network: &Arc<str>, share: Segments) {
        let shown = self.shown.entry(Arc::clone(network)).or_default();
        *shown = shown.zip(share, u64::max);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use netmon_common::tcp::Tcp;

    use super::{Before, Events, NO_NETWORK, Segments, Shares};

    fn sent(sent: u64) -> Segments {
        Segments {
            sent,
            ..Segments::default()
        }
    }

    fn shares<const N: usize>(shares: [(&str, u64); N]) -> BTreeMap<Arc<str>, Segments> {
        shares
            .into_iter()
            .map(|(network, count)| (Arc::from(network), sent(count)))
            .collect()
    }

    fn shown(shares: &Shares, network: &str) -> u64 {
        let share = shares.iter().find(|(name, _)| &***name == network);
        share.expect("a share").1.sent
    }

    #[test]
    fn the_shares_are_the_whole_of_a_new_namespace() {
        let mut book = Shares::default();
        book.observe(Some(sent(10)), &shares([("front", 6), ("back", 1)]), false);
        assert_eq!((shown(&book, "front"), shown(&book, "back")), (6, 1));
        assert_eq!(shown(&book, NO_NETWORK), 3);
    }

    #[test]
    fn what_was_before_netmon_is_in_nobodys_share() {
        let mut book = Shares::default();
        book.observe(Some(sent(1000)), &shares([("front", 2)]), true);
        assert_eq!(shown(&book, NO_NETWORK), 0);
        book.observe(Some(sent(1010)), &shares([("front", 9)]), true);
        assert_eq!((shown(&book, "front"), shown(&book, NO_NETWORK)), (9, 3));
    }

    #[test]
    fn a_share_never_falls() {
        let mut book = Shares::default();
        book.observe(Some(sent(10)), &shares([("front", 6)]), false);
        // The programs were read later than the kernel's count.
        book.observe(Some(sent(11)), &shares([("front", 9)]), false);
        assert_eq!((shown(&book, "front"), shown(&book, NO_NETWORK)), (9, 4));
        book.observe(Some(sent(20)), &shares([("front", 8)]), false);
        assert_eq!((shown(&book, "front"), shown(&book, NO_NETWORK)), (9, 11));
    }

    /// The kernel's count is read first, then what passed, then what was sent again.
    #[test]
    fn what_is_sent_while_it_is_read_is_nobodys_for_no_moment() {
        let both = |sent, retransmitted| Segments {
            sent,
            retransmitted,
            ..Segments::default()
        };
        let share = |sent, retransmitted| BTreeMap::from([(Arc::from("front"), both(sent, retransmitted))]);
        let mut book = Shares::default();
        // 50 segments in all when the kernel was asked. Ten more passed, and two of them had been sent before.
        book.observe(Some(both(48, 2)), &share(56, 4), false);
        assert_eq!(shown(&book, NO_NETWORK), 0);
        // 100 in all, all of which had passed; one is sent again after that, and only the last to be asked knows.
        book.observe(Some(both(94, 6)), &share(93, 7), false);
        assert_eq!((shown(&book, "front"), shown(&book, NO_NETWORK)), (93, 0));
        book.observe(Some(both(94, 7)), &share(94, 7), false);
        assert_eq!((shown(&book, "front"), shown(&book, NO_NETWORK)), (94, 0));
    }

    /// Not every program runs for every event, whatever the kernel says of misses.
    #[test]
    fn segments_sent_again_of_which_no_program_hears_make_the_sum_no_greater_than_the_kernels() {
        let both = |sent, retransmitted| Segments {
            sent,
            retransmitted,
            ..Segments::default()
        };
        let shares = |front: u64, again: u64, back: u64| {
            BTreeMap::from([
                (Arc::from("front"), both(front, again)),
                (Arc::from("back"), both(back, 0)),
            ])
        };
        let mut book = Shares::default();
        // 110 passed the front's devices, ten of them for the second time, of which four were not heard of.
        book.observe(Some(both(120, 10)), &shares(104, 6, 20), false);
        let sum = |book: &Shares| {
            book.iter().fold(Segments::default(), |sum, (_, share)| {
                sum.zip(share, u64::saturating_add)
            })
        };
        assert_eq!(sum(&book), both(120, 10));
        // Thirty more, five of them while it was read: the four stay out.
        book.observe(Some(both(145, 10)), &shares(124, 6, 30), false);
        assert_eq!((shown(&book, "back"), shown(&book, NO_NETWORK)), (30, 0));
        book.observe(Some(both(150, 10)), &shares(124, 6, 30), false);
        assert_eq!(sum(&book), both(150, 10));
        // Those that no device saw are in no share.
        let mut book = Shares::default();
        book.observe(Some(both(100, 3)), &shares(80, 0, 20), false);
        assert_eq!((shown(&book, "front"), shown(&book, "back")), (80, 20));
        assert_eq!(sum(&book), both(100, 3));
    }

    #[test]
    fn without_the_kernels_count_the_shares_are_what_the_programs_say() {
        let mut book = Shares::default();
        book.observe(None, &shares([("front", 6), ("", 2)]), false);
        assert_eq!((shown(&book, "front"), shown(&book, NO_NETWORK)), (6, 2));
    }

    #[test]
    fn a_socket_that_leaves_on_another_cpu_than_it_came_on_is_gone() {
        let mut here = Tcp::ZERO;
        here.states[1] = 3;
        let mut there = Tcp::ZERO;
        there.states[1] = 0_u64.wrapping_sub(2);
        let mut events = Events::from(here);
        events.accumulate(&Events::from(there));
        assert_eq!(events.connections(1, &Before::default()), 1);
        assert_eq!(Events::from(there).connections(1, &Before::default()), 0);
    }

    #[test]
    fn a_reset_that_is_found_to_be_none_on_another_cpu_first_is_none() {
        let mut counts = Tcp::ZERO;
        counts.resets_received = 0_u64.wrapping_sub(1);
        assert_eq!(Events::from(counts).resets_received(), 0);
        counts.resets_received = 4;
        assert_eq!(Events::from(counts).resets_received(), 4);
    }

    #[test]
    fn sockets_that_were_there_before_are_counted_from_what_is_there_now() {
        let mut counts = Tcp::ZERO;
        counts.states[1] = 0_u64.wrapping_sub(2);
        let mut now = [0; 16];
        now[1] = 5;
        let before = Events::from(counts).before(&now);
        counts.states[1] = 0_u64.wrapping_sub(6);
        assert_eq!(Events::from(counts).connections(1, &before), 1);
    }

    #[test]
    fn round_trips_are_in_seconds_and_every_one_is_in_a_bucket() {
        let mut counts = Tcp::ZERO;
        counts.round_trips[0] = 2;
        counts.round_trips[12] = 1;
        counts.round_trip_microseconds = 700_150;
        let histogram = Events::from(counts).round_trips();
        assert_eq!(histogram.buckets.first(), Some(&(0.0001, 2)));
        assert_eq!(histogram.buckets.last(), Some(&(f64::INFINITY, 1)));
        assert_eq!(histogram.count, 3);
        assert!((histogram.sum - 0.700_15).abs() < 1e-9);
    }
}
