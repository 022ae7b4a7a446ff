//! Every way to lose a packet that namespaces and a few tools can produce. Each drop is counted once, for the right
//! container, network and reason, and nothing else is counted.

mod closing;
mod everybody;
mod forwarded;
mod lifetimes;
mod malformed;
mod none;
mod onlookers;
mod real;
mod received;
mod sent;

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use netmon::datapath::btf::Types;
use netmon_tests::{netmon::Netmon, page::Page, patience::until};

/// The labels of a drop: family, container (if it is a container's), network, reason.
type Key = (String, String, String, String);

/// The families of attributed drops.
const FAMILIES: [&str; 4] = [
    "netmon_container_packet_drops_total",
    "netmon_overlay_packet_drops_total",
    "netmon_load_balancer_packet_drops_total",
    "netmon_node_packet_drops_total",
];

/// The drops since a moment.
struct Drops<'a> {
    netmon: &'a Netmon,
    families: &'static [&'static str],
    before: BTreeMap<Key, u64>,
    missed_before: u64,
}

impl<'a> Drops<'a> {
    /// Without the node's drops.
    fn since_now(netmon: &'a Netmon) -> anyhow::Result<Self> {
        Self::of(netmon, &FAMILIES[..3])
    }

    /// With the node's drops. The node is the test's own.
    fn with_node(netmon: &'a Netmon) -> anyhow::Result<Self> {
        Self::of(netmon, &FAMILIES)
    }

    fn of(netmon: &'a Netmon, families: &'static [&'static str]) -> anyhow::Result<Self> {
        let page = netmon.page()?;
        Ok(Self {
            netmon,
            families,
            before: read(&page, families),
            missed_before: missed(&page)?,
        })
    }

    fn now(&self) -> anyhow::Result<BTreeMap<Key, u64>> {
        let mut now = read(&self.netmon.page()?, self.families);
        for (key, before) in &self.before {
            let count = now.get_mut(key).with_context(|| format!("{key:?} is gone"))?;
            *count = count.checked_sub(*before).with_context(|| format!("{key:?} fell"))?;
        }
        now.retain(|_, count| *count > 0);
        Ok(now)
    }

    /// Waits until exactly these drops are counted, and checks that this is still so a moment later.
    ///
    /// As many may be missing as the kernel did not run the program for, anywhere on the machine. It does not run a
    /// program in an interrupt of the same program.
    fn are(&self, expected: &[(Where, &str, u64)]) -> anyhow::Result<()> {
        let expected: BTreeMap<Key, u64> = expected
            .iter()
            .filter(|(_, _, count)| *count > 0)
            .map(|(place, reason, count)| (place.key(reason), *count))
            .collect();
        let same = || {
            let now = self.now()?;
            if now == expected {
                return Ok(());
            }
            let page = self.netmon.page()?;
            let unheard = missed(&page)? - self.missed_before;
            let are_no_others = now.iter().all(|(key, count)| expected.get(key) >= Some(count));
            let missing = expected.values().sum::<u64>().checked_sub(now.values().sum());
            ensure!(
                are_no_others && missing.is_some_and(|missing| missing <= unheard),
                "dropped were {now:?}, not {expected:?}; the program was not run for {unheard}; nobody's are {:?}",
                page.all("netmon_unattributed_drops_total", &[])
            );
            Ok(())
        };
        until("drops to be as expected", same)?;
        std::thread::sleep(std::time::Duration::from_millis(300));
        same()
    }

    /// No drops at all.
    fn are_none(&self) -> anyhow::Result<()> {
        self.are(&[])
    }
}

/// The number of drops that the kernel did not run the program for.
fn missed(page: &Page) -> anyhow::Result<u64> {
    page.count(
        "netmon_bpf_program_missed_runs_total",
        &[("program", "drops_kfree_skb")],
    )
}

fn read(page: &Page, families: &'static [&'static str]) -> BTreeMap<Key, u64> {
    let of_family = |family: &'static str| page.all(family, &[]).into_iter().map(move |sample| (family, sample));
    families
        .iter()
        .copied()
        .flat_map(of_family)
        .map(|(family, sample)| {
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            let key = (family.to_owned(), label("container"), label("network"), label("reason"));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "counters in tests are whole and far below 2^53"
            )]
            let count = sample.value as u64;
            (key, count)
        })
        .collect()
}

/// The owner of a dropped packet.
#[derive(Clone, Copy)]
enum Where<'a> {
    Container(&'a str, &'a str),
    Overlay(&'a str),
    Node(&'a str),
}

impl Where<'_> {
    fn key(self, reason: &str) -> Key {
        let (family, container, network) = match self {
            Self::Container(container, network) => (FAMILIES[0], container, network),
            Self::Overlay(network) => (FAMILIES[1], "", network),
            Self::Node(network) => (FAMILIES[3], "", network),
        };
        let [family, container, network, reason] = [family, container, network, reason].map(ToOwned::to_owned);
        (family, container, network, reason)
    }
}

/// The first of these reasons that the running kernel has: newer kernels have more precise reasons.
fn reason<'a>(names: &[&'a str]) -> anyhow::Result<&'a str> {
    let known = Types::of_kernel()?.enumeration("skb_drop_reason");
    let has = |name: &&&str| {
        known
            .iter()
            .any(|(known, _)| known.strip_prefix("SKB_DROP_REASON_") == Some(**name))
    };
    Ok(names.iter().find(has).copied().unwrap_or("NOT_SPECIFIED"))
}

/// The reason for packets that a bridge has no port for. `NO_TX_TARGET` is older than its use by bridges. That use
/// came together with `BRIDGE_INGRESS_STP_STATE` (6.14).
fn no_port() -> anyhow::Result<&'static str> {
    Ok(match reason(&["BRIDGE_INGRESS_STP_STATE"])? {
        "NOT_SPECIFIED" => "NOT_SPECIFIED",
        _ => "NO_TX_TARGET",
    })
}
