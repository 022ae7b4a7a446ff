//! What the page and the kernel's own list (`ss`) say of a container's connections. Must not know what a test did to
//! them.

use std::collections::BTreeMap;

use netmon_tests::{netns::Netns, page::Page};

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

/// The smoothed round-trip time of every connection from `ss`, in milliseconds.
pub(super) fn smoothed(netns: &Netns) -> anyhow::Result<Vec<f64>> {
    let text = netns.run("ss -H -t -i -n state established")?;
    let of_word = |word: &str| word.strip_prefix("rtt:")?.split('/').next()?.parse().ok();
    Ok(text.split_whitespace().filter_map(of_word).collect())
}
