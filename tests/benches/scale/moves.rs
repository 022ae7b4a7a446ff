//! Whether the containers did what they are made for: a page of idle ones costs less, and would pass for theirs. Must not
//! know what makes the figures rise.

use anyhow::ensure;
use netmon_tests::page::Page;

/// Families that must have risen between two pages.
const RISING: [&str; 7] = [
    "netmon_container_network_receive_packets_total",
    "netmon_container_network_transmit_packets_total",
    "netmon_container_packet_drops_total",
    "netmon_container_tcp_sent_segments_total",
    "netmon_container_tcp_connects_total",
    "netmon_container_tcp_accepts_total",
    "netmon_container_tcp_connect_failures_total",
];

/// The sums of these families on a page.
#[derive(Debug)]
pub(crate) struct Moves([f64; RISING.len()]);

impl Moves {
    pub(crate) fn of(page: &Page) -> Self {
        Self(RISING.map(|family| page.all(family, &[]).into_iter().map(|it| it.value).sum()))
    }

    /// Fails if one of them has not risen since.
    pub(crate) fn have_moved(&self, later: &Self) -> anyhow::Result<()> {
        for (family, (before, after)) in RISING.into_iter().zip(self.0.into_iter().zip(later.0)) {
            ensure!(
                after > before,
                "{family} was {before}, and is {after}: the containers are idle"
            );
        }
        Ok(())
    }
}
