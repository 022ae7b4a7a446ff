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
        members
            .into_iter()
            .try_for_each(|member| agrees(&page, member).map(drop))
    })
}

/// The sockets by state on the page, which are those that the kernel lists.
pub(super) fn agrees(page: &Page, member: &Member) -> anyhow::Result<BTreeMap<String, u64>> {
    let (shown, kernel) = (connections(page, &member.name), listed(&member.netns)?);
    ensure!(
        shown == kernel,
        "{}: netmon {shown:?}, the kernel {kernel:?}",
        member.name
    );
    Ok(shown)
}

/// A key of the map of counts, as `bpftool` takes it, and the words of its value.
type Entry = (String, Vec<u64>);

fn entries(map: u64) -> anyhow::Result<Vec<Entry>> {
    let dump: serde_json::Value = serde_json::from_str(&sh::run(&format!("bpftool -j map dump id {map}"))?)?;
    let bytes = |value: &serde_json::Value| -> anyhow::Result<Vec<u8>> {
        let hex = value.as_array().context("no bytes")?.iter();
        let byte = |text: &str| Ok(u8::from_str_radix(text.trim_start_matches("0x"), 16)?);
        hex.filter_map(serde_json::Value::as_str).map(byte).collect()
    };
    let of_entry = |entry: &serde_json::Value| {
        let key = hex(&bytes(&entry["key"])?);
        let bytes = bytes(&entry["value"])?;
        let (words, _) = bytes.as_chunks();
        Ok((key, words.iter().map(|word| u64::from_ne_bytes(*word)).collect()))
    };
    let dump = dump.as_array().context("bpftool shows no list")?;
    dump.iter().map(of_entry).collect()
}

/// The entry of the map of counts that has such words.
pub(super) fn entry(map: u64, is_wanted: impl Fn(&[u64]) -> bool) -> anyhow::Result<Entry> {
    let mut entries = entries(map)?.into_iter();
    let wanted = entries.find(|(_, words)| is_wanted(words));
    wanted.context("there is no such entry")
}

/// Bytes as `bpftool` takes them.
fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

/// A word as `bpftool` takes it.
pub(super) fn word(word: u64) -> String {
    hex(&word.to_ne_bytes())
}

/// Deletes all that the kernel programs have counted.
pub(super) fn lose_all(netmon: &Netmon) -> anyhow::Result<()> {
    let map = netmon.map("TCP")?;
    let entries = entries(map)?;
    ensure!(!entries.is_empty(), "nothing was counted");
    for (key, _) in entries {
        sh::run(&format!("bpftool map delete id {map} key hex {key}"))?;
    }
    Ok(())
}

/// The smoothed round-trip time of every connection from `ss`, in milliseconds.
pub(super) fn smoothed(netns: &Netns) -> anyhow::Result<Vec<f64>> {
    let text = netns.run("ss -H -t -i -n state established")?;
    let of_word = |word: &str| word.strip_prefix("rtt:")?.split('/').next()?.parse().ok();
    Ok(text.split_whitespace().filter_map(of_word).collect())
}
