//! Packet filters (nftables) that drop or corrupt packets on purpose. They are removed when the test ends.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;

use crate::{netns::Netns, patience::at_rest};

/// The rule runs before the kernel's own work in the same hook.
const PRIORITY: &str = "-300";

/// A rule in a namespace. It is deleted when this is dropped.
#[derive(Debug)]
pub struct Filter<'a> {
    netns: &'a Netns,
    family: &'static str,
    name: String,
}

impl<'a> Filter<'a> {
    /// Adds a rule to a hook of the namespace's IP layer: `input`, `output`, `forward`, `prerouting`.
    ///
    /// # Errors
    /// The kernel or `nft` refuses.
    pub fn new(netns: &'a Netns, hook: &str, rule: &str) -> anyhow::Result<Self> {
        let hook = format!("hook {hook}");
        Self::chain(netns, "inet", &hook, rule)
    }

    /// Adds a rule for packets that a device receives. It runs before the IP layer.
    ///
    /// # Errors
    /// The kernel or `nft` refuses.
    pub fn ingress(netns: &'a Netns, device: &str, rule: &str) -> anyhow::Result<Self> {
        let hook = format!("hook ingress device {device}");
        Self::chain(netns, "netdev", &hook, rule)
    }

    /// Drops this percentage of the received TCP packets at random, but never two in a row.
    ///
    /// Otherwise all retransmits of a segment would be lost now and then. The time until the next one doubles each
    /// time, and before Linux 6.15 it has no limit but two minutes.
    ///
    /// # Errors
    /// The kernel or `nft` refuses.
    pub fn lossy(netns: &'a Netns, percent: u32) -> anyhow::Result<Self> {
        let of_every_other = 2 * percent;
        let rule =
            format!("meta l4proto tcp numgen inc mod 2 == 0 numgen random mod 100 < {of_every_other} counter drop");
        Self::new(netns, "prerouting", &rule)
    }

    fn chain(netns: &'a Netns, family: &'static str, hook: &str, rule: &str) -> anyhow::Result<Self> {
        // Each rule has a table of its own. Deleting the table deletes the rule.
        static RULES: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", RULES.fetch_add(1, Ordering::Relaxed));
        netns.run(&format!("nft add table {family} {name}"))?;
        let filter = Self { netns, family, name };
        let Self { name, .. } = &filter;
        netns.run(&format!(
            "nft add chain {family} {name} c {{ type filter {hook} priority {PRIORITY} ; }}"
        ))?;
        netns.run(&format!("nft add rule {family} {name} c {rule}"))?;
        Ok(filter)
    }

    /// The number of packets that the rule's counter shows.
    ///
    /// # Errors
    /// The rule has no counter.
    pub fn packets(&self) -> anyhow::Result<u64> {
        let Self { netns, family, name } = self;
        let text = netns.run(&format!("nft list chain {family} {name} c"))?;
        let (_, count) = text.split_once("counter packets ").context("the rule has no counter")?;
        let count = count.split_whitespace().next().unwrap_or_default();
        count.parse().with_context(|| format!("a counter of {count:?}"))
    }

    /// The same, once all packets that were sent have arrived.
    ///
    /// # Errors
    /// The rule has no counter, or the counter does not stop rising.
    pub fn packets_at_rest(&self) -> anyhow::Result<u64> {
        at_rest("what the filter counts", || self.packets())
    }
}

impl Drop for Filter<'_> {
    fn drop(&mut self) {
        let Self { netns, family, name } = self;
        drop(netns.run(&format!("nft delete table {family} {name}")));
    }
}
