//! Interfaces that are created late and deleted early: live connects, restarts, short-lived containers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use netmon_tests::{
    figures::Figures,
    lab::{Engine, IMAGE, Node},
    page::Page,
    patience::until,
    traffic,
};

use crate::ground::{CONTAINER, Ground, ping};

#[test]
fn a_network_that_is_connected_later_is_counted_and_ends_when_it_is_disconnected() -> anyhow::Result<()> {
    connected_later(&Ground::new(Engine::Installed)?)
}

#[test]
fn what_a_container_sends_over_a_network_that_it_left_and_joined_again_is_that_networks() -> anyhow::Result<()> {
    joined_again(&Ground::new(Engine::Installed)?)
}

#[test]
fn a_container_that_is_renamed_keeps_what_it_lost() -> anyhow::Result<()> {
    renamed(&Ground::new(Engine::Installed)?)
}

#[test]
fn a_restarted_container_counts_from_its_new_interface_and_its_service_keeps_both() -> anyhow::Result<()> {
    restarted(&Ground::new(Engine::Installed)?)
}

#[test]
fn a_container_that_lives_for_a_moment_is_counted_to_its_last_packet() -> anyhow::Result<()> {
    brief(&Ground::new(Engine::Installed)?)
}

#[test]
fn a_service_keeps_what_a_burst_of_short_lived_containers_counted() -> anyhow::Result<()> {
    burst(&Ground::new(Engine::Installed)?)
}

#[test]
fn all_lifetimes_on_a_newer_engine_are_counted() -> anyhow::Result<()> {
    let ground = Ground::new(Engine::New)?;
    connected_later(&ground)?;
    restarted(&ground)?;
    brief(&ground)
}

/// Newer engines do not answer requests about a container while they start it. Once it has ended, they have forgotten
/// its namespace.
#[test]
fn a_service_keeps_what_a_burst_of_short_lived_containers_counted_on_a_newer_engine() -> anyhow::Result<()> {
    burst(&Ground::new(Engine::New)?)
}

fn connected_later(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    node.docker("network create late")?;
    node.start_container("early", "")?;
    node.start_container("other", "--network late")?;
    ground.agrees("early", "bridge")?;
    node.docker("network connect late early")?;
    ground.carries("early", "other", "late")?;
    let last = ground.agrees("early", "late")?;
    node.docker("network disconnect late early")?;
    is_last(last, ground.netmon.page()?.interface("early", "late")?, TEARDOWN)?;
    ground.netmon.page_until("the interface to be forgotten", |page| {
        gone(&page.interface("early", "late"))
    })?;
    ground.agrees("early", "bridge").map(drop)
}

/// The container joins again only after the last values of its first interface there have ended.
fn joined_again(ground: &Ground) -> anyhow::Result<()> {
    const BYTES: usize = 3_000_000;
    let node = ground.node();
    node.docker("network create back")?;
    // It is also on a second network, so that its namespace stays when it leaves this one.
    node.start_container("mover", "")?;
    node.start_container("anchor", "--network back")?;
    node.docker("network connect back mover")?;
    let netns = |container: &str| node.namespace(&node.sandbox(container)?);
    let (mover, anchor) = (netns("mover")?, netns("anchor")?);
    let address = node.address_of("anchor", "back")?;
    let shares = || -> anyhow::Result<[u64; 2]> {
        let page = ground.netmon.page()?;
        let sent = |network| {
            let labels = [("container", "mover"), ("network", network)];
            page.count("netmon_container_tcp_sent_segments_total", &labels)
        };
        Ok([sent("back")?, sent("")?])
    };
    let send = || -> anyhow::Result<()> {
        // Segments have a network only once the interface has its programs.
        ground.netmon.page_until("every interface to have programs", |page| {
            let used = page.count("netmon_bpf_map_entries", &[("map", "TRAFFIC")])?;
            page.interface("mover", "back")?;
            let rows = |family: &str| page.all(&format!("{family}_receive_packets_total"), &[]).len() as u64;
            let there = rows(CONTAINER) + rows("netmon_vxlan");
            ensure!(used == there, "{used} of {there} have");
            Ok(())
        })?;
        let before = (mover.nstat("TcpOutSegs")?, shares()?);
        traffic::tcp(&mover, &anchor, address, BYTES)?;
        let sent = mover.nstat_at_rest("TcpOutSegs")? - before.0;
        until("what was sent to be the network's", || {
            let now = shares()?;
            let more = [now[0] - before.1[0], now[1] - before.1[1]];
            ensure!(
                more == [sent, 0],
                "{more:?} is shown on the network, and on none, of {sent}"
            );
            Ok(())
        })
    };
    send()?;
    node.docker("network disconnect back mover")?;
    ground.netmon.page_until("the interface to be forgotten", |page| {
        gone(&page.interface("mover", "back"))
    })?;
    node.docker("network connect back mover")?;
    ground.agrees("mover", "back")?;
    send()
}

fn renamed(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    node.docker("network create call")?;
    for name in ["caller", "called"] {
        node.start_container(name, "--network call")?;
    }
    let netns = |container: &str| node.namespace(&node.sandbox(container)?);
    let (from, to) = (netns("caller")?, netns("called")?);
    let nobody_listens = SocketAddr::new(node.address_of("called", "call")?, 9);
    let loses = |name: &str| -> anyhow::Result<()> {
        traffic::datagrams(&from, nobody_listens, 20, 100)?;
        let counted = to.nstat_at_rest("UdpNoPorts")?;
        ground.netmon.page_until("what it lost", |page| {
            let labels = [("container", name), ("network", "call"), ("reason", "NO_SOCKET")];
            let shown = page.count("netmon_container_packet_drops_total", &labels)?;
            ensure!(shown == counted, "the kernel counts {counted}, netmon shows {shown}");
            Ok(())
        })
    };
    loses("called")?;
    node.docker("rename called called-old")?;
    loses("called-old")?;
    ground.agrees("called-old", "call")?;
    let page = ground.netmon.page()?;
    let left: Vec<_> = page
        .samples
        .iter()
        .filter(|sample| sample.has(&[("container", "called")]))
        .collect();
    ensure!(left.is_empty(), "by its former name: {left:?}");
    Ok(())
}

fn restarted(ground: &Ground) -> anyhow::Result<()> {
    const PINGS: u64 = 50;
    let node = ground.node();
    node.docker("network create again")?;
    node.start_container(
        "twice",
        "--network again --label com.docker.compose.service=twice --label com.docker.compose.project=shop",
    )?;
    let gateway = node.gateway_of("twice", "again")?;
    ping(node, "twice", gateway, PINGS)?;
    let first = ground.agrees("twice", "again")?;
    node.docker("restart -t 0 twice")?;
    ground.netmon.page_until("the new interface", |page| {
        let shown = page.interface("twice", "again")?;
        ensure!(shown.transmit_packets < PINGS, "the page has {shown:?}");
        Ok(())
    })?;
    ground.carries_to("twice", &["twice"], gateway, "again")?;
    let second = ground.agrees("twice", "again")?;
    let sum = ground.netmon.page()?.figures(
        "netmon_service_network",
        &[("service", "twice"), ("stack", "shop"), ("network", "again")],
    )?;
    is_last(plus(first, second), sum, TEARDOWN)
        .with_context(|| format!("the container counted {first:?} before and {second:?} after"))
}

fn brief(ground: &Ground) -> anyhow::Result<()> {
    let node = ground.node();
    let scripts = [
        ("brief-five", "ping -q -c 5 -i 0.01 172.17.0.1"),
        ("brief-some", "ping -q -c 1 172.17.0.1; sleep 0.2"),
        ("brief-once", "ping -q -c 1 172.17.0.1"),
    ];
    for (name, script) in scripts {
        let last = run(node, &format!("--name {name}"), script)?;
        ground
            .netmon
            .page_until("its last values", |page| {
                is_last(last, page.interface(name, "bridge")?, TEARDOWN)
            })
            .with_context(|| format!("{name} saw {last:?} as the last thing it did"))?;
    }
    for (name, _) in scripts {
        ground
            .netmon
            .page_until("its series to end", |page| gone(&page.interface(name, "bridge")))?;
    }
    Ok(())
}

fn burst(ground: &Ground) -> anyhow::Result<()> {
    const AT_ONCE: u64 = 10;
    const EACH: u64 = 3;
    const LABELS: &str = "--label com.docker.compose.service=gust --label com.docker.compose.project=storm";
    let node = ground.node();
    node.docker("network create storm")?;
    // A service's counts are kept while it has a container here. This one is on another network.
    node.start_container("stays", LABELS)?;
    node.start_container("target", "--network storm")?;
    let target = node.address_of("target", "storm")?;
    let script = format!("ping -q -c 5 -i 0.01 {target}");
    let run_some = |row: u64| -> anyhow::Result<Vec<(String, Figures)>> {
        let names = (0..EACH).map(|number| format!("gust-{row}-{number}"));
        names
            .map(|name| {
                let last = run(node, &format!("--name {name} --network storm {LABELS}"), &script)?;
                Ok((name, last))
            })
            .collect()
    };
    // The last values linger only briefly. On a busy machine they may end before the engine's client returns.
    let mut shown = BTreeMap::new();
    let all = thread::scope(|scope| {
        let run_some = &run_some;
        let threads: Vec<_> = (0..AT_ONCE).map(|row| scope.spawn(move || run_some(row))).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            shown.extend(gusts(&ground.netmon.page()?)?);
            thread::sleep(BETWEEN_PAGES);
        }
        let mut all = BTreeMap::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow!("a thread panicked"))??);
        }
        anyhow::Ok(all)
    })?;
    let least = all.values().copied().fold(Figures::default(), plus);
    ensure!(
        least.transmit_packets >= AT_ONCE * EACH * 5,
        "the containers themselves saw {least:?}"
    );
    let slack = all.values().fold(Figures::default(), |sum, _| plus(sum, BROADCASTS));
    let labels = [("service", "gust"), ("stack", "storm"), ("network", "storm")];
    ground.netmon.page_until("the last values of each", |page| {
        shown.extend(gusts(page)?);
        for (name, last) in &all {
            let shown = shown.get(name).copied();
            is_last(*last, shown.unwrap_or_default(), BROADCASTS)
                .with_context(|| format!("of {name} the last that was shown is {shown:?}"))?;
        }
        Ok(())
    })?;
    let mut sum = ground.netmon.page_until("the sum of all of them", |page| {
        let sum = page.figures("netmon_service_network", &labels)?;
        is_last(least, sum, slack)?;
        Ok(sum)
    })?;
    ground.netmon.page_until("the series of each to end", |page| {
        let there = gusts(page)?.len();
        if there > 0 {
            // The kernel's last message about a device may arrive later.
            sum = page.figures("netmon_service_network", &labels)?;
            is_last(least, sum, slack)?;
        }
        ensure!(there == 0, "{there} are there");
        Ok(())
    })?;
    let kept = ground.netmon.page()?.figures("netmon_service_network", &labels)?;
    ensure!(kept == sum, "the service had {sum:?}, and keeps {kept:?}");
    Ok(())
}

/// The page's counts of the containers of a burst.
fn gusts(page: &Page) -> anyhow::Result<BTreeMap<String, Figures>> {
    let series = page.all(
        &format!("{CONTAINER}_receive_packets_total"),
        &[("service", "gust"), ("network", "storm")],
    );
    let names: BTreeSet<_> = series
        .iter()
        .filter_map(|sample| sample.labels.get("container"))
        .collect();
    let figures = |name: &String| Ok((name.clone(), page.interface(name, "storm")?));
    names.into_iter().map(figures).collect()
}

/// How often the page is fetched, for values that stay only briefly.
const BETWEEN_PAGES: Duration = Duration::from_millis(100);

/// Traffic that may pass between a container's last reading of its interface and the interface's end.
pub(crate) const TEARDOWN: Figures = Figures {
    receive_packets: 5,
    receive_bytes: 500,
    transmit_packets: 5,
    transmit_bytes: 500,
};

/// The same while other containers start and end: each of them sends ARP requests to all.
const BROADCASTS: Figures = Figures {
    receive_packets: 50,
    receive_bytes: 5000,
    ..TEARDOWN
};

pub(crate) fn is_last(seen: Figures, shown: Figures, slack: Figures) -> anyhow::Result<()> {
    ensure!(
        shown.between(seen, plus(seen, slack)),
        "{seen:?} was seen last, and {shown:?} is shown"
    );
    Ok(())
}

/// Runs a container to its end. Returns the interface's counters, which the container read last of all.
fn run(node: Node<'_>, flags: &str, script: &str) -> anyhow::Result<Figures> {
    let text = node.docker_script(
        &format!("run --rm {flags} {IMAGE}"),
        &format!(
            "({script}) >/dev/null && cd /sys/class/net/eth0/statistics && cat rx_packets rx_bytes tx_packets tx_bytes"
        ),
    )?;
    let numbers: Vec<u64> = text
        .lines()
        .map(|line| line.trim().parse().with_context(|| format!("no counter: {line}")))
        .collect::<anyhow::Result<_>>()?;
    let [receive_packets, receive_bytes, transmit_packets, transmit_bytes] = numbers[..] else {
        bail!("the container printed {text}");
    };
    Ok(Figures {
        receive_packets,
        receive_bytes,
        transmit_packets,
        transmit_bytes,
    })
}

pub(crate) fn plus(one: Figures, other: Figures) -> Figures {
    Figures {
        receive_packets: one.receive_packets + other.receive_packets,
        receive_bytes: one.receive_bytes + other.receive_bytes,
        transmit_packets: one.transmit_packets + other.transmit_packets,
        transmit_bytes: one.transmit_bytes + other.transmit_bytes,
    }
}

fn gone(figures: &anyhow::Result<Figures>) -> anyhow::Result<()> {
    match figures {
        Ok(figures) => bail!("it is still there: {figures:?}"),
        Err(_) => Ok(()),
    }
}
