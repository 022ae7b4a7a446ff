//! Packet filters that lose or spoil packets on purpose (nftables), gone with the test.

use anyhow::Context as _;

use crate::{netns::Netns, patience::at_rest};

/// Before the kernel's own work in the same hook.
const PRIORITY: &str = "-300";

/// A rule in a namespace, until it goes.
#[derive(Debug)]
pub struct Filter<'a> {
    netns: &'a Netns,
    family: &'static str,
    name: String,
}

impl<'a> Filter<'a> {
    /// A rule for packets that pass a hook of the namespace's IP layer: `input`, `output`, `forward`, `prerouting`.
    ///
    /// # Errors
    /// The kernel or `nft` refuses.
    pub fn new(netns: &'a Netns, hook: &str, rule: &str) -> anyhow::Result<Self> {
        let hook = format!("hook {hook}");
        Self::chain(netns, "inet", &hook, rule)
    }

    /// A rule for packets that come in on a device, before anybody has looked at them.
    ///
    /// # Errors
    /// The kernel or `nft` refuses.
    pub fn ingress(netns: &'a Netns, device: &str, rule: &str) -> anyhow::Result<Self> {
        let hook = format!("hook ingress device {device}");
        Self::chain(netns, "netdev", &hook, rule)
    }

    /// Loses so many percent of the TCP packets that come in, at random.
    ///
    /// # Errors
    /// The kernel or `nft` refuses.
    pub fn lossy(netns: &'a Netns, percent: u32) -> anyhow::Result<Self> {
        let rule = format!("meta l4proto tcp numgen random mod 100 < {percent} counter drop");
        Self::new(netns, "prerouting", &rule)
    }

    fn chain(netns: &'a Netns, family: &'static str, hook: &str, rule: &str) -> anyhow::Result<Self> {
        // One table a rule: it takes its chain with it.
        let name = format!("t{}", hook.split_whitespace().nth(1).unwrap_or_default());
        netns.run(&format!("nft add table {family} {name}"))?;
        let filter = Self { netns, family, name };
        let Self { name, .. } = &filter;
        netns.run(&format!(
            "nft add chain {family} {name} c {{ type filter {hook} priority {PRIORITY} ; }}"
        ))?;
        netns.run(&format!("nft add rule {family} {name} c {rule}"))?;
        Ok(filter)
    }

    /// How many packets it has counted, if the rule has a counter.
    ///
    /// # Errors
    /// It has none.
    pub fn packets(&self) -> anyhow::Result<u64> {
        let Self { netns, family, name } = self;
        let text = netns.run(&format!("nft list chain {family} {name} c"))?;
        let (_, count) = text.split_once("counter packets ").context("the rule has no counter")?;
        let count = count.split_whitespace().next().unwrap_or_default();
        count.parse().with_context(|| format!("a counter of {count:?}"))
    }

    /// The same, when what was sent has arrived.
    ///
    /// # Errors
    /// It has none, or it rises all the time.
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
