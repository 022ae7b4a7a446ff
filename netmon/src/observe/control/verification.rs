//! Whose sockets are verified now, though nothing is known to be wrong.
//!
//! Each namespace has its turn once in a cycle. A cycle takes as many rounds as the time for it allows. So a node with many
//! busy containers verifies each of them more rarely, and not at more cost.
//!
//! Must not know how sockets are counted.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tracing::debug;

use super::Loop;
use crate::{datapath::tcp::TcpMap, model::interface::NetnsId};

/// How long verifying may take in one round, which is a minute, if the programs are known to have lost events. A list takes
/// some milliseconds, for the kernel walks the connections of all namespaces. A busy namespace takes five lists. The last
/// namespace begun may take longer.
const MOST: Duration = Duration::from_millis(300);
/// The same if no event is known to be lost. A kernel may skip a program without counting that.
const MOST_WITHOUT_LOSS: Duration = Duration::from_millis(60);

/// The cycle.
#[derive(Debug)]
pub(super) struct Verification {
    /// These have not had their turn in this cycle.
    waiting: BTreeSet<NetnsId>,
    /// The time left in this round.
    left: Duration,
    next_round: Instant,
    /// How many events the programs are known to have lost.
    lost: u64,
    /// They lost some since this cycle began. Then one more begins.
    has_lost_more: bool,
    /// They lost some before this cycle began. Whose they were is not known.
    has_lost: bool,
}

impl Verification {
    /// The first cycle begins with the first round.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            waiting: BTreeSet::new(),
            left: Duration::ZERO,
            next_round: now,
            lost: 0,
            has_lost_more: false,
            has_lost: false,
        }
    }

    /// Begins a round with these namespaces, if the last one began long enough ago. `lost` says how many events the
    /// programs have lost by now, as far as that is known. Returns whether a cycle begins because of a loss.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        round: Duration,
        namespaces: impl IntoIterator<Item = NetnsId>,
        lost: u64,
    ) -> bool {
        if now < self.next_round {
            return false;
        }
        self.next_round = now + round;
        let namespaces: BTreeSet<_> = namespaces.into_iter().collect();
        self.waiting.retain(|netns| namespaces.contains(netns));
        let before = std::mem::replace(&mut self.lost, lost);
        self.has_lost_more |= lost != before;
        // If there was time left, those that still wait could not be read.
        let is_over = !self.left.is_zero() || self.waiting.is_empty();
        let begins = is_over || self.has_lost_more && !self.has_lost;
        if begins {
            self.waiting = namespaces;
            self.has_lost = std::mem::take(&mut self.has_lost_more);
        }
        self.left = if self.has_lost { MOST } else { MOST_WITHOUT_LOSS };
        begins && self.has_lost
    }

    /// Whether it is a namespace's turn. It has none again in this cycle.
    pub(super) fn takes(&mut self, netns: NetnsId) -> bool {
        !self.left.is_zero() && self.waiting.remove(&netns)
    }

    /// Whether a namespace of which the programs have heard nothing may have lost something.
    pub(super) const fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// Verifying took so long.
    pub(super) const fn spent(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }
}

impl Loop {
    /// Begins a round with the containers' namespaces.
    pub(super) fn begin_verification(&mut self, now: Instant) {
        let containers: Vec<NetnsId> = {
            let state = self.shared.lock();
            let all = state.namespaces().iter();
            let containers = all.filter(|(_, namespace)| namespace.sandbox().is_some());
            containers.map(|(netns, _)| *netns).collect()
        };
        let lost = self.tracepoints.lock().tcp.as_ref().map_or(0, TcpMap::unheard);
        if self.verification.begin(now, self.times.round, containers, lost) {
            debug!(lost, "the programs lost events; all containers' sockets are verified");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{MOST, MOST_WITHOUT_LOSS, NetnsId, Verification};

    const ROUND: Duration = Duration::from_mins(1);

    /// Begins a round, and returns which of ten namespaces have their turn, if each takes so long.
    fn round(verification: &mut Verification, now: Instant, lost: u64, each: Duration) -> Vec<u64> {
        verification.begin(now, ROUND, (0..10).map(NetnsId), lost);
        let mut took = Vec::new();
        for netns in 0..10 {
            if verification.takes(NetnsId(netns)) {
                verification.spent(each);
                took.push(netns);
            }
        }
        took
    }

    #[test]
    fn every_namespace_has_one_turn_a_round() {
        let now = Instant::now();
        let mut verification = Verification::new(now);
        let all: Vec<_> = (0..10).collect();
        let (short, soon) = (MOST_WITHOUT_LOSS / 100, now + ROUND / 2);
        assert_eq!(round(&mut verification, now, 0, short), all);
        assert!(round(&mut verification, now, 0, short).is_empty());
        assert!(
            round(&mut verification, soon, 0, short).is_empty(),
            "rounds may be shorter"
        );
        assert_eq!(round(&mut verification, now + ROUND, 0, short), all);
    }

    #[test]
    fn what_takes_long_takes_more_rounds_and_leaves_nobody_out() {
        let mut now = Instant::now();
        let mut verification = Verification::new(now);
        let mut rounds = Vec::new();
        for _ in 0..4 {
            rounds.push(round(&mut verification, now, 0, MOST_WITHOUT_LOSS / 10 * 3));
            now += ROUND;
        }
        // The last one begun may take longer.
        assert_eq!(
            rounds,
            [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9], vec![0, 1, 2, 3]]
        );
    }

    #[test]
    fn a_namespace_that_is_gone_does_not_keep_a_cycle_from_ending() {
        let now = Instant::now();
        let mut verification = Verification::new(now);
        verification.begin(now, ROUND, [NetnsId(1), NetnsId(2)], 0);
        assert!(verification.takes(NetnsId(1)));
        verification.begin(now + ROUND, ROUND, [NetnsId(1)], 0);
        assert!(verification.takes(NetnsId(1)));
    }

    #[test]
    fn a_namespace_that_cannot_be_read_keeps_nobody_waiting() {
        let mut now = Instant::now();
        let mut verification = Verification::new(now);
        for _ in 0..3 {
            verification.begin(now, ROUND, [NetnsId(1), NetnsId(2)], 0);
            assert!(verification.takes(NetnsId(1)), "the other one is not read");
            now += ROUND;
        }
    }

    #[test]
    fn a_loss_may_be_anybodys_and_begins_a_cycle_that_takes_more_of_each_round() {
        let mut now = Instant::now();
        let mut verification = Verification::new(now);
        let mut rounds = Vec::new();
        for lost in [0, 0, 3, 3, 4, 5, 5, 5, 5] {
            let took = round(&mut verification, now, lost, MOST / 10 * 2).len();
            rounds.push((verification.has_lost(), took));
            now += ROUND;
        }
        let (with, without) = (|took| (true, took), |took| (false, took));
        // A cycle without loss is given up. One with a loss is not, and another one follows.
        let cycles = [
            [without(1), without(1)],
            [with(5), with(5)],
            [with(5), with(5)],
            [with(5), with(5)],
        ];
        assert_eq!(rounds[..8], cycles.concat()[..]);
        assert_eq!(rounds[8], without(1));
    }
}
