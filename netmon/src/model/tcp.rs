//! TCP events, as the kernel programs count them.

pub mod sockets;

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use netmon_common::tcp::{
    FAILURE_ABORTED, FAILURE_LOCAL, FAILURE_OTHER, FAILURE_REFUSED, FAILURE_RESET, FAILURE_TIMEOUT, FAILURE_UNANSWERED,
    FAILURE_UNREACHABLE, FAILURES, ROUND_TRIP_BOUNDS, STATES, Tcp,
};

use super::histogram::Histogram;

/// Why a connection to another host failed: the label value, and the programs' index of the count. In the order of a page.
pub const FAILURE_REASONS: [(&str, usize); FAILURES] = [
    ("aborted", FAILURE_ABORTED),
    ("local", FAILURE_LOCAL),
    ("other", FAILURE_OTHER),
    ("refused", FAILURE_REFUSED),
    ("reset", FAILURE_RESET),
    ("timeout", FAILURE_TIMEOUT),
    ("unanswered", FAILURE_UNANSWERED),
    ("unreachable", FAILURE_UNREACHABLE),
];

/// The connection states that the programs count: the label value, and the kernel's number
/// (`include/net/tcp_states.h`). A closed socket is not a connection. The kernel itself counts `TIME_WAIT`, which has
/// no full socket any more. In the order of a page.
pub const CONNECTION_STATES: [(&str, usize); 9] = [
    ("close_wait", 8),
    ("closing", 11),
    ("established", 1),
    ("fin_wait1", 4),
    ("fin_wait2", 5),
    ("last_ack", 9),
    ("listen", 10),
    ("syn_received", 3),
    ("syn_sent", 2),
];

/// The counts of one or several interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(Tcp);

impl From<Tcp> for Events {
    fn from(counts: Tcp) -> Self {
        Self(counts)
    }
}

impl Events {
    /// Adds the counts of another interface.
    pub fn accumulate(&mut self, other: &Self) {
        self.0.accumulate(&other.0);
    }

    /// The counts.
    #[must_use]
    pub const fn counts(&self) -> &Tcp {
        &self.0
    }

    /// Retransmitted segments, as `TcpRetransSegs` counts them.
    #[must_use]
    pub const fn retransmitted_segments(&self) -> u64 {
        self.0
            .retransmitted_segments
            .saturating_add(self.0.retransmitted_syn_acks)
    }

    /// Resets received. Never negative: one may be received and taken back while the kernel copies the counts.
    #[must_use]
    pub const fn resets_received(&self) -> u64 {
        self.0.resets_received.saturating_sub(self.0.resets_taken_back)
    }

    /// Connections that were made, and those that were not.
    #[must_use]
    pub const fn connections_made(&self) -> Made {
        Made {
            connects: self.0.connects,
            accepts: self.0.accepts,
            failures: self.0.failures,
        }
    }

    /// A network's share of the kernel's counts, if so many segments `passed` its devices.
    ///
    /// The kernel counts a SYN-ACK each time it is sent (`tcp_make_synack`), also as a retransmit.
    #[must_use]
    pub const fn segments(&self, passed: u64) -> Segments {
        Segments {
            sent: passed.saturating_sub(self.0.retransmitted_segments),
            retransmitted: self.retransmitted_segments(),
            resets_sent: self.0.resets_sent,
            resets_received: self.resets_received(),
        }
    }

    /// Connections in a state, given the numbers from `before` the programs counted. Never negative: the sum may be
    /// below 0 for a moment while a socket moves from one interface to another.
    #[must_use]
    pub fn connections(&self, state: usize, before: &Before) -> u64 {
        u64::try_from(self.sockets(state, before)).unwrap_or(0)
    }

    /// The same number, which is below 0 if changes of state were lost.
    fn sockets(&self, state: usize, before: &Before) -> i64 {
        self.changes(state)
            .wrapping_add(before.0.get(state).copied().unwrap_or(0))
    }

    fn changes(&self, state: usize) -> i64 {
        self.0.states.get(state).copied().unwrap_or(0).cast_signed()
    }

    /// How many sockets changed their state between these counts and the `other` ones, so that in no state there were
    /// more than so many more or fewer meanwhile. A connection that came and went leaves the numbers by state as they
    /// were.
    #[must_use]
    pub fn changed_sockets(&self, other: &Self) -> u64 {
        let of = |Self(counts): &Self| {
            let ends = [counts.connects, counts.accepts].into_iter().chain(counts.failures);
            ends.chain(counts.states).collect::<Vec<_>>()
        };
        let pairs = of(self).into_iter().zip(of(other));
        let changes = pairs.map(|(one, other)| one.wrapping_sub(other).cast_signed().unsigned_abs());
        changes.fold(0, u64::saturating_add)
    }

    /// The numbers from before the programs counted, if these are the sockets in each state `now`.
    #[must_use]
    pub fn before(&self, now: &[u64; STATES]) -> Before {
        Before(std::array::from_fn(|state| {
            now[state].cast_signed().wrapping_sub(self.changes(state))
        }))
    }

    /// Whether a round-trip time was observed.
    #[must_use]
    pub fn has_round_trips(&self) -> bool {
        self.0.round_trips.iter().any(|count| *count > 0)
    }

    /// Smoothed round-trip times.
    #[must_use]
    pub fn round_trips(&self) -> Histogram {
        Histogram::of_counts(&ROUND_TRIP_BOUNDS, self.0.round_trips, self.0.round_trip_microseconds)
    }
}

/// Connections that were made, and those that were not. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Connections opened to others.
    pub connects: u64,
    /// Connections taken from others.
    pub accepts: u64,
    /// Connections to others that failed, by the index of [`FAILURE_REASONS`].
    pub failures: [u64; FAILURES],
}

impl Made {
    /// Adds what was counted since `earlier`.
    pub fn add_since(&mut self, now: &Self, earlier: &Self) {
        let add = |sum: &mut u64, now: u64, earlier: u64| *sum = sum.saturating_add(now.saturating_sub(earlier));
        add(&mut self.connects, now.connects, earlier.connects);
        add(&mut self.accepts, now.accepts, earlier.accepts);
        for ((sum, now), earlier) in self.failures.iter_mut().zip(now.failures).zip(earlier.failures) {
            add(sum, now, earlier);
        }
    }
}

/// Sockets by the number of their state, from before the programs counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before([i64; STATES]);

/// The figures that the kernel counts for a whole namespace, and the programs for each of its networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// Segments sent for the first time, and SYN-ACKs each time (`TcpOutSegs`).
    pub sent: u64,
    /// Retransmitted segments (`TcpRetransSegs`).
    pub retransmitted: u64,
    /// Resets sent (`TcpOutRsts`).
    pub resets_sent: u64,
    /// Resets received. The kernel does not count them, so only the programs do.
    pub resets_received: u64,
}

impl Segments {
    /// Adds what was counted since `earlier`.
    pub fn add_since(&mut self, now: Self, earlier: Self) {
        let grown = now.zip(earlier, u64::saturating_sub);
        *self = self.zip(grown, u64::saturating_add);
    }

    /// Combines each figure with the other's by `f`.
    pub(super) fn zip(self, other: Self, mut f: impl FnMut(u64, u64) -> u64) -> Self {
        Self {
            sent: f(self.sent, other.sent),
            retransmitted: f(self.retransmitted, other.retransmitted),
            resets_sent: f(self.resets_sent, other.resets_sent),
            resets_received: f(self.resets_received, other.resets_received),
        }
    }
}

/// The network of loopback traffic, and of traffic whose network is unknown.
pub const NO_NETWORK: &str = "";

/// The same, to share.
static NOWHERE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(NO_NETWORK));

/// A namespace's counts, split among its networks so that the sum equals the kernel's own counts.
///
/// The programs count each network's share. The rest belongs to [`NO_NETWORK`]: it went over loopback, or through a
/// device without programs. The three sources are read one after the other: first the kernel's counts, then the
/// segments that passed the devices, then the retransmits. So traffic during a reading makes the rest seem smaller.
///
/// One thing makes it seem greater: TCP counts a segment before it reaches the device's hook, and before it counts as a
/// retransmit. A segment between the two is in the whole and in no share. So the rest rises only to what two readings
/// in a row found. It is shown one reading late.
///
/// A share that seems to fall keeps its value until it has risen again. Otherwise Prometheus would take it for a
/// counter reset. The same holds for resets received, which fall when the programs take one back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// The rest at the first reading, if the namespace is older than netmon. It is subtracted from the rest.
    before: Option<Segments>,
    /// The rest that the last reading found. [`NO_NETWORK`] shows it once another reading has found it, too.
    rest: Segments,
    shown: BTreeMap<Arc<str>, Segments>,
    /// Segments that passed each network's devices, including retransmits. A retransmitted SYN-ACK counts twice, as in
    /// the kernel's sum of both figures.
    passed: BTreeMap<Arc<str>, u64>,
}

impl Shares {
    /// Takes a reading: the kernel's count of the whole, if it could be read, and the networks' shares, one of each
    /// network. If the namespace `is_older` than netmon, earlier counts are in no share. Their network is unknown, and
    /// they would appear as a jump at every restart.
    pub fn observe(&mut self, whole: Option<Segments>, mut shares: Vec<(Arc<str>, Segments)>, is_older: bool) {
        let mut excess = whole.map_or(0, |whole| self.excess(whole, &shares));
        // The excess is most likely traffic of the network with the most retransmits.
        shares.sort_by_key(|(_, share)| Reverse(share.retransmitted));
        for (network, share) in &shares {
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
        let rest = rest.zip(before, u64::saturating_sub);
        let earlier = std::mem::replace(&mut self.rest, rest);
        self.raise(&NOWHERE, earlier.zip(rest, u64::min));
    }

    /// Shows what the last reading found: the namespace has ended, and no other reading follows.
    pub fn end(&mut self) {
        self.raise(&NOWHERE, self.rest);
    }

    /// How many retransmits are counted as first transmissions in the networks' shares, because no program saw them.
    /// This is how far the shares exceed the kernel's count. It is limited to the retransmits that no network
    /// accounts for. Otherwise segments sent since the kernel's count was read would be included.
    fn excess(&self, whole: Segments, shares: &[(Arc<str>, Segments)]) -> u64 {
        let before = self.before.unwrap_or_default();
        let named = shares.iter().filter(|(network, _)| &**network != NO_NETWORK);
        let named = named.fold(Segments::default(), |sum, (network, share)| {
            let shown = self.shown.get(network).copied().unwrap_or_default();
            sum.zip(shown.zip(*share, u64::max), u64::saturating_add)
        });
        let whole = whole.zip(before, u64::saturating_sub);
        let unheard = whole.retransmitted.saturating_sub(named.retransmitted);
        named.sent.saturating_sub(whole.sent).min(unheard)
    }

    /// The segments shown as sent over a network.
    fn sent(&self, network: &Arc<str>) -> u64 {
        self.shown.get(network).map_or(0, |shown| shown.sent)
    }

    /// The part of the whole that no network accounts for.
    fn rest(&self, whole: Segments) -> Segments {
        let is_named = |network: &str| network != NO_NETWORK;
        let named = self.shown.iter().filter(|(network, _)| is_named(network));
        let named = named.fold(Segments::default(), |sum, (_, share)| {
            sum.zip(*share, u64::saturating_add)
        });
        let rest = whole.zip(named, u64::saturating_sub);
        // The shares' `sent` is what passed the devices, less the retransmits read later. It may be too small, and
        // the rest then too great. So the rest is computed from what passed the devices.
        let passed = self.passed.iter().filter(|(network, _)| is_named(network));
        let passed = passed.fold(0, |sum: u64, (_, passed)| sum.saturating_add(*passed));
        let sent = whole.sent.saturating_add(whole.retransmitted).saturating_sub(passed);
        Segments {
            sent: sent.saturating_sub(rest.retransmitted),
            ..rest
        }
    }

    /// A network's share.
    #[must_use]
    pub fn of(&self, network: &str) -> Segments {
        self.shown.get(network).copied().unwrap_or_default()
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
mod tests;
