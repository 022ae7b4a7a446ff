//! What the page and the kernel's own list (`ss`) say of a container's connections. Must not know what a test did to
//! them.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use netmon_tests::{netmon::Netmon, netns::Netns, page::Page, patience::until, sh};

use crate::world::Member;

pub(super) fn count(page: &Page, family: &str, container: &str, network: &str) -> anyhow::Result<u64> {
    page.count(
        &format!("netmon_container_tcp_{family}_total"),
        &[("container", container), ("network", network)],
    )
}

pub(super) fn failures(page: &Page, container: &str, reason: &str) -> anyhow::Result<u64> {
    page.count(
        "netmon_container_tcp_connect_failures_total",
        &[("container", container), ("network", "net"), ("reason", reason)],
    )
}

/// The sockets by state on the page. Without `time_wait`, which the kernel's list does not have as sockets.
pub(super) fn connections(page: &Page, container: &str) -> BTreeMap<String, u64> {
    page.all("netmon_container_tcp_connections", &[("container", container)])
        .into_iter()
        .map(|sample| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "counts in tests are whole and small"
            )]
            let count = sample.value as u64;
            (sample.labels["state"].clone(), count)
        })
        .filter(|(state, count)| *count > 0 && state != "time_wait")
        .collect()
}

pub(super) fn listed(netns: &Netns) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut states = BTreeMap::new();
    for line in netns.run("ss -H -t -a -n")?.lines() {
        let state = match line.split_whitespace().next().unwrap_or_default() {
            "ESTAB" => "established",
            "LISTEN" => "listen",
            "SYN-SENT" => "syn_sent",
            "FIN-WAIT-1" => "fin_wait1",
            "FIN-WAIT-2" => "fin_wait2",
            "CLOSE-WAIT" => "close_wait",
            "LAST-ACK" => "last_ack",
            "CLOSING" => "closing",
            // These are not sockets: connections that are being made, or that have ended.
            _ => continue,
        };
        *states.entry(state.to_owned()).or_default() += 1;
    }
    Ok(states)
}

/// Waits until the sockets by state on the page are those that the kernel lists.
pub(super) fn agree(netmon: &Netmon, members: [&Member; 2]) -> anyhow::Result<()> {
    until("the connections to be the kernel's", || {
        let page = netmon.page()?;
        for member in members {
            let (shown, kernel) = (connections(&page, &member.name), listed(&member.netns)?);
            ensure!(
                shown == kernel,
                "{}: netmon {shown:?}, the kernel {kernel:?}",
                member.name
            );
        }
        Ok(())
    })
}

/// Deletes all that the kernel programs have counted.
pub(super) fn lose_all(netmon: &Netmon) -> anyhow::Result<()> {
    let map = netmon.map("TCP")?;
    let dump: serde_json::Value = serde_json::from_str(&sh::run(&format!("bpftool -j map dump id {map}"))?)?;
    let entries = dump.as_array().context("bpftool shows no list")?;
    ensure!(!entries.is_empty(), "nothing was counted");
    for entry in entries {
        let key = entry["key"].as_array().context("an entry without a key")?;
        let bytes: Vec<_> = key.iter().filter_map(serde_json::Value::as_str).collect();
        sh::run(&format!(
            "bpftool map delete id {map} key hex {}",
            bytes.join(" ").replace("0x", "")
        ))?;
    }
    Ok(())
}

/// The smoothed round-trip time of every connection from `ss`, in milliseconds.
pub(super) fn smoothed(netns: &Netns) -> anyhow::Result<Vec<f64>> {
    let text = netns.run("ss -H -t -i -n state established")?;
    let of_word = |word: &str| word.strip_prefix("rtt:")?.split('/').next()?.parse().ok();
    Ok(text.split_whitespace().filter_map(of_word).collect())
}
