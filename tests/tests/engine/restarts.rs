//! netmon ends and starts again while packets pass. The devices' counts continue exactly. What only netmon knows
//! starts at 0, which Prometheus takes for a reset.

use std::{
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    figures::Figures,
    flow::Stream,
    lab::Engine,
    netmon::{Netmon, binary, other_build},
    page::Page,
    patience::{PATIENCE, until, within},
    traffic,
};

use crate::nodes::{Member, Nodes, tunnel};

const NETWORK: &str = "wide";
/// How often netmons check their programs, where two of them share interfaces.
const CHECK: &str = "program-check=1s";

#[test]
fn a_netmon_that_follows_another_goes_on_exactly_or_begins_at_nothing() -> anyhow::Result<()> {
    let mut nodes = Nodes::up(2, Engine::Installed)?;
    let members = nodes.overlay(NETWORK)?;
    let [one, two] = &members[..] else {
        anyhow::bail!("there are {} members", members.len());
    };
    traffic::reach(&one.netns, two.address)?;
    let stream = Stream::start(&one.netns, &two.netns, two.address)?;
    stream.flows()?;
    let ends = |netmon: Netmon| netmon.terminate().map(drop);
    let is_killed = |netmon: Netmon| netmon.kill();
    let (build, other_build) = (binary()?, other_build()?);
    // The last two are an upgrade and a downgrade.
    for (end, next_build) in [
        (ends as fn(Netmon) -> anyhow::Result<()>, &build),
        (is_killed, &build),
        (ends, &other_build),
        (is_killed, &build),
    ] {
        refused(one, two)?;
        // Nothing listens here, either: this is a drop of the first container's.
        refused(two, one)?;
        let before = Known::of(&nodes, one, "something to be counted")?;
        ensure!(
            before.failures > 0 && before.drops > 0 && before.sent > 0 && before.tunnel.transmit_packets > 0,
            "{before:?}"
        );
        end(nodes.unwatch(1))?;
        stream.flows()?;
        let began = all_sent(one)?;
        // Before it is ready, every page must be right.
        let next = nodes.node(1).netmon_of(next_build, &["--container.linger=5s"])?;
        pages_are_right(&nodes, &next, one, before.figures)?;
        nodes.watch(1, next);
        let after = Known::of(&nodes, one, "the tunnel to be known")?;
        let since = all_sent(one)? - began;
        let shown = [after.sent, after.segments, after.tunnel.transmit_packets];
        // The container sends an ARP request from time to time.
        ensure!(
            after.failures == 0 && after.drops == 0 && shown.iter().all(|it| *it <= since + 10),
            "{since} segments were sent since it was started, and the next begins with {after:?}"
        );
        // From its first value on, the count rises as the kernel's does.
        let (low, from, high) = bracket(&nodes, one)?;
        let sent = one.netns.nstat("TcpOutSegs")?;
        until("a thousand segments to be sent", || {
            let more = one.netns.nstat("TcpOutSegs")? - sent;
            ensure!(more >= 1000, "{more} were");
            Ok(())
        })?;
        refused(one, two)?;
        let (later_low, to, later_high) = bracket(&nodes, one)?;
        ensure!(
            (later_low - high..=later_high - low).contains(&(to - from)),
            "of {} to {} segments netmon saw {}",
            later_low - high,
            later_high - low,
            to - from
        );
        let failures = Known::of(&nodes, one, "the failure")?.failures;
        ensure!(failures == 1, "one connection was refused, and {failures} are shown");
    }
    stream.stop()?;
    for member in &members {
        member.agrees(&nodes)?;
    }
    Ok(())
}

/// As in an update that starts the new netmon before the old one ends: first with the same port, then with another
/// one.
#[test]
fn two_netmons_on_a_node_both_count_right_and_the_second_says_that_the_port_is_taken() -> anyhow::Result<()> {
    let mut nodes = Nodes::up(2, Engine::Installed)?;
    let members = nodes.overlay(NETWORK)?;
    let [one, two] = &members[..] else {
        anyhow::bail!("there are {} members", members.len());
    };
    let address = nodes.netmon(1).address;
    let line = format!("{} --web.listen-address={address}", binary()?.display());
    let refusal = nodes.node(1).exec(&line).err().context("two netmons have one port")?;
    let text = format!("{refusal:#}");
    ensure!(
        text.contains(&address.to_string()) && text.to_lowercase().contains("in use"),
        "the second says: {text}"
    );

    let stream = Stream::start(&one.netns, &two.netns, two.address)?;
    for attach in ["tcx", "clsact"] {
        let flags = [
            format!("--bpf.attach={attach}"),
            format!("--debug.times=page-age=0ms,{CHECK}"),
        ];
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        nodes.unwatch(1).terminate()?;
        let next = nodes.node(1).netmon(&flags)?;
        next.wait_ready()?;
        nodes.watch(1, next);
        let first = nodes.netmon(1);
        let before = first.page_until("what the first begins with", |page| counts(page, one))?;
        let second = nodes.node(1).netmon(&flags)?;
        second.wait_ready()?;
        let start = second.page_until("what the second begins with", |page| counts(page, one))?;
        stream.flows()?;
        refused(one, two)?;
        until("both to say the same", || {
            let low = one.interface.figures(nodes.node(1))?;
            let pages = [first.page()?, second.page()?];
            let high = one.interface.figures(nodes.node(1))?;
            for page in &pages {
                let shown = page.interface(one.name(), NETWORK)?;
                ensure!(shown.between(low, high), "{low:?} to {high:?}, and {shown:?} is shown");
            }
            let more = [
                counts(&pages[0], one)?.0 - before.0,
                counts(&pages[1], one)?.0 - start.0,
            ];
            ensure!(more == [1, 1], "one connection was refused, and {more:?} are shown");
            Ok(())
        })?;
        // Both have checked twice whether their programs are still on.
        for _ in 0..4 {
            stream.flows()?;
            thread::sleep(Duration::from_secs(1));
            for netmon in [first, &second] {
                let detached = netmon
                    .page()?
                    .count("netmon_attach_failures_total", &[("reason", "detached")])?;
                ensure!(
                    detached == 0,
                    "{attach}: {detached} devices were found bare:\n{}",
                    netmon.log()
                );
            }
        }
        drop(second);
        // The first netmon misses nothing that passes its own programs.
        let (low, from, high) = segments(&nodes, one)?;
        stream.flows()?;
        let (later_low, to, later_high) = segments(&nodes, one)?;
        ensure!(
            (later_low - high..=later_high - low).contains(&(to - from)),
            "{attach}: of {} to {} segments the first saw {} when the second had gone",
            later_low - high,
            later_high - low,
            to - from
        );
    }
    stream.stop()?;
    for member in &members {
        member.agrees(&nodes)?;
    }
    Ok(())
}

/// A connection to a port on which nothing listens.
fn refused(from: &Member, to: &Member) -> anyhow::Result<()> {
    let address = SocketAddr::new(to.address, 9);
    let refused = from.netns.within(|| Ok(TcpStream::connect(address).map(drop)))?;
    let kind = refused.map_err(|error| error.kind());
    ensure!(
        kind == Err(std::io::ErrorKind::ConnectionRefused),
        "the connection came to {kind:?}"
    );
    Ok(())
}

/// A page's figures of a container and its network.
#[derive(Debug)]
struct Known {
    figures: Figures,
    tunnel: Figures,
    /// The number of reasons for which packets of it were dropped.
    drops: usize,
    /// The segments that TCP sent.
    sent: u64,
    failures: u64,
    /// The segments that passed the interface.
    segments: u64,
}

impl Known {
    fn of(nodes: &Nodes, member: &Member, what: &str) -> anyhow::Result<Self> {
        nodes.netmon(member.number).page_until(what, |page| {
            let (failures, segments) = counts(page, member)?;
            let sent = page.count("netmon_container_tcp_sent_segments_total", &of(member))?;
            Ok(Self {
                figures: page.interface(member.name(), NETWORK)?,
                tunnel: tunnel(page, nodes.node(2), NETWORK)?,
                drops: page.all("netmon_container_packet_drops_total", &of(member)).len(),
                sent,
                failures,
                segments,
            })
        })
    }
}

fn of(member: &Member) -> [(&str, &str); 2] {
    [("container", member.name()), ("network", NETWORK)]
}

/// Refused connections, and segments that left.
fn counts(page: &Page, member: &Member) -> anyhow::Result<(u64, u64)> {
    let mut refused = of(member).to_vec();
    refused.push(("reason", "refused"));
    Ok((
        page.count("netmon_container_tcp_connect_failures_total", &refused)?,
        page.count("netmon_container_network_transmit_segments_total", &of(member))?,
    ))
}

/// Checks every page until netmon is ready: the interface's counters have not fallen, and are the kernel's.
fn pages_are_right(nodes: &Nodes, netmon: &Netmon, member: &Member, before: Figures) -> anyhow::Result<()> {
    let node = nodes.node(member.number);
    within(PATIENCE, "netmon to be ready", || {
        let low = member.interface.figures(node)?;
        let page = netmon.page()?;
        let high = member.interface.figures(node)?;
        if let Ok(shown) = page.interface(member.name(), NETWORK) {
            // A panic, because an error would only repeat the check.
            assert!(
                shown.between(low, high) && shown.between(before, high),
                "before {before:?}, the kernel {low:?} to {high:?}, and {shown:?} is shown"
            );
        }
        let ready = netmon.get("/-/ready")?;
        ensure!(ready.status == 200, "{}", ready.text());
        page.interface(member.name(), NETWORK).map(drop)
    })
}

/// TCP segments sent for the first time, on all networks: the kernel's count, netmon's, and the kernel's again.
fn bracket(nodes: &Nodes, member: &Member) -> anyhow::Result<(u64, u64, u64)> {
    let low = member.netns.nstat("TcpOutSegs")?;
    let page = nodes.netmon(member.number).page()?;
    let high = member.netns.nstat("TcpOutSegs")?;
    let all = page.all(
        "netmon_container_tcp_sent_segments_total",
        &[("container", member.name())],
    );
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters in tests are whole and far below 2^53"
    )]
    let shown = all.iter().map(|it| it.value).sum::<f64>() as u64;
    Ok((low, shown, high))
}

/// The same for packets that left by the interface. The kernel's count is that of all TCP segments, because nothing
/// else is sent there.
fn segments(nodes: &Nodes, member: &Member) -> anyhow::Result<(u64, u64, u64)> {
    let low = all_sent(member)?;
    let page = nodes.netmon(member.number).page()?;
    let high = all_sent(member)?;
    // The container may send an ARP request.
    Ok((low, counts(&page, member)?.1, high + 2))
}

/// Segments that a container sent, first transmissions and retransmits.
fn all_sent(member: &Member) -> anyhow::Result<u64> {
    Ok(member.netns.nstat("TcpOutSegs")? + member.netns.nstat("TcpRetransSegs")?)
}
