//! What was counted between nodes, and when each count last changed. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::model::{
    counters::Directions,
    overlay::{OuterCounts, Tunnel, Tunnels},
};

/// The last reading of every tunnel.
#[derive(Debug, Default)]
pub struct TunnelTotals {
    tunnels: BTreeMap<Tunnel, Outer>,
}

#[derive(Debug)]
struct Outer {
    counts: Directions<OuterCounts>,
    moved: Instant,
}

impl TunnelTotals {
    /// Takes in a reading.
    pub fn counted(&mut self, tunnels: &Tunnels, now: Instant) {
        self.tunnels.retain(|tunnel, _| tunnels.contains_key(tunnel));
        for (tunnel, counts) in tunnels {
            let new = || Outer {
                counts: *counts,
                moved: now,
            };
            let outer = self.tunnels.entry(*tunnel).or_insert_with(new);
            if outer.counts != *counts {
                *outer = new();
            }
        }
    }

    /// A tunnel's counts; `None` if nothing was ever counted.
    #[must_use]
    pub fn counts(&self, tunnel: &Tunnel) -> Option<Directions<OuterCounts>> {
        self.tunnels.get(tunnel).map(|outer| outer.counts)
    }

    /// The tunnels that passed traffic within the last `linger`.
    pub fn active(&self, linger: Duration, now: Instant) -> impl Iterator<Item = &Tunnel> {
        self.tunnels
            .iter()
            .filter(move |(_, outer)| outer.moved + linger > now)
            .map(|(tunnel, _)| tunnel)
    }

    /// The tunnels that passed no traffic within the last `linger`.
    pub fn idle(&self, linger: Duration, now: Instant) -> impl Iterator<Item = &Tunnel> {
        self.tunnels
            .iter()
            .filter(move |(_, outer)| outer.moved + linger <= now)
            .map(|(tunnel, _)| tunnel)
    }
}
