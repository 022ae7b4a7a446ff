//! Retransmitted segments and first transmissions. Both equal the kernel's counts, however many packets are lost, and
//! each has its network.

use std::{fs, net::IpAddr, path::Path, time::Duration};

use anyhow::ensure;
use netmon_tests::{figures::UNHEARD, filter::Filter, netmon::Netmon, patience::until, traffic};

use crate::world::{Cable, Member, World, ready};

/// The percentage of packets that are lost, and how many bytes are sent. At 20 % a connection mostly waits.
const LOSSES: [(u32, usize); 3] = [(1, 8_000_000), (5, 2_000_000), (20, 200_000)];

#[test]
fn retransmits_over_a_veth_are_what_the_kernel_counts() -> anyhow::Result<()> {
    under_loss(Cable::Bridge)
}

#[test]
fn retransmits_over_an_overlay_are_what_the_kernel_counts() -> anyhow::Result<()> {
    under_loss(Cable::Vxlan)
}

fn under_loss(cable: Cable) -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(cable)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, if cable == Cable::Vxlan { 3 } else { 2 })?;
    for member in [&a, &b] {
        impatient(member)?;
    }
    for (percent, bytes) in LOSSES {
        let _lossy = [Filter::lossy(&a.netns, percent)?, Filter::lossy(&b.netns, percent)?];
        for address in [b.address, b.ipv6_address] {
            let before = a.netns.nstat("TcpRetransSegs")?;
            for _ in 0..50 {
                traffic::tcp(&a.netns, &b.netns, address, bytes)?;
                if a.netns.nstat("TcpRetransSegs")? > before {
                    break;
                }
            }
            ensure!(
                a.netns.nstat("TcpRetransSegs")? > before,
                "{percent} % of loss, and nothing was sent again"
            );
            for member in [&a, &b] {
                sums_agree(&netmon, member)?;
            }
        }
    }
    are_named(&netmon, [&a, &b])
}

/// Limits the time between retransmits of a segment to a second. A connection that loses one packet in five may
/// otherwise wait for minutes. Before Linux 6.15 there is no such setting.
fn impatient(member: &Member) -> anyhow::Result<()> {
    member.netns.within(|| {
        let setting = Path::new("/proc/sys/net/ipv4/tcp_rto_max_ms");
        if setting.exists() {
            fs::write(setting, "1000")?;
        }
        Ok(())
    })
}

#[test]
fn a_handshake_that_is_lost_is_sent_again_and_counted() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let sent_elsewhere = || {
        let labels = [("container", &*b.name), ("network", "")];
        netmon
            .page()?
            .count("netmon_container_tcp_sent_segments_total", &labels)
    };
    let before = sent_elsewhere()?;
    for address in [b.address, b.ipv6_address] {
        // First the SYN is dropped at the receiver, then the SYN-ACK.
        for (netns, flags) in [(&b.netns, "syn"), (&a.netns, "syn|ack")] {
            let lossy = Filter::new(netns, "prerouting", &format!("tcp flags == ({flags}) counter drop"))?;
            let before = (a.netns.nstat("TcpRetransSegs")?, b.netns.nstat("TcpRetransSegs")?);
            let listener = b.netns.within(|| Ok(std::net::TcpListener::bind((address, 5555))?))?;
            let refused = a.netns.within(|| {
                let address = std::net::SocketAddr::new(address, 5555);
                Ok(std::net::TcpStream::connect_timeout(&address, Duration::from_millis(3500)).is_err())
            })?;
            ensure!(refused, "a connection was made without {flags}");
            let after = (a.netns.nstat("TcpRetransSegs")?, b.netns.nstat("TcpRetransSegs")?);
            ensure!(
                after.0 + after.1 > before.0 + before.1,
                "nothing was sent again without {flags}"
            );
            drop((lossy, listener));
            for member in [&a, &b] {
                sums_agree(&netmon, member)?;
            }
        }
    }
    // The kernel counts a SYN-ACK that it sends again as sent, too.
    let elsewhere = sent_elsewhere()? - before;
    ensure!(elsewhere == 0, "{elsewhere} segments of b have no network");
    are_named(&netmon, [&a, &b])
}

#[test]
fn what_a_queue_or_a_filter_of_the_senders_own_loses_is_counted_as_the_kernel_does() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    a.netns
        .run("tc qdisc add dev eth0 root tbf rate 20mbit burst 4000 limit 20000")?;
    traffic::tcp(&a.netns, &b.netns, b.address, 3_000_000)?;
    a.netns.run("tc qdisc del dev eth0 root")?;
    ensure!(a.netns.nstat("TcpRetransSegs")? > 0, "the queue lost nothing");
    sums_agree(&netmon, &a)?;
    sums_agree(&netmon, &b)?;
    // TCP learns at once that the sender's own filter dropped a segment, and sends it again. The kernel counts that
    // segment twice as sent.
    let own = Filter::new(&a.netns, "output", "meta l4proto tcp numgen random mod 100 < 20 drop")?;
    traffic::tcp(&a.netns, &b.netns, b.address, 3_000_000)?;
    drop(own);
    sums_agree(&netmon, &a)?;
    sums_agree(&netmon, &b)
}

#[test]
fn loopback_is_no_network() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let loopback: IpAddr = "127.0.0.1".parse()?;
    traffic::tcp(&a.netns, &a.netns, loopback, 100_000)?;
    traffic::tcp(&a.netns, &b.netns, b.address, 100_000)?;
    until("loopback's share to be there", || {
        let page = netmon.page()?;
        let sent = |network: &str| {
            page.count(
                "netmon_container_tcp_sent_segments_total",
                &[("container", "a"), ("network", network)],
            )
        };
        let (own, network) = (sent("")?, sent("net")?);
        ensure!(
            own > 0 && network > 0,
            "{own} segments over loopback, {network} over the network"
        );
        Ok(())
    })?;
    sums_agree(&netmon, &a)
}

/// Retransmits have a network. A few may have none: some kernels count retransmits without running any program on the
/// tracepoint. Where this was seen, threads of the machine's first process were at work. One end may send very few
/// segments again, so both ends are taken together.
fn are_named(netmon: &Netmon, members: [&Member; 2]) -> anyhow::Result<()> {
    let page = netmon.page()?;
    let sent_again = |network: &str| {
        let of = |member: &Member| {
            let labels = [("container", &*member.name), ("network", network)];
            page.count("netmon_container_tcp_retransmitted_segments_total", &labels)
        };
        let [one, other] = members;
        anyhow::Ok(of(one)? + of(other)?)
    };
    let (strays, named) = (sent_again("")?, sent_again("net")?);
    ensure!(
        strays <= 1 + named / UNHEARD,
        "{strays} segments that were sent again have no network, {named} have one"
    );
    Ok(())
}

/// The sum over all networks on the page is the kernel's count for the namespace.
fn sums_agree(netmon: &Netmon, member: &Member) -> anyhow::Result<()> {
    for (family, counter) in [
        ("netmon_container_tcp_retransmitted_segments_total", "TcpRetransSegs"),
        ("netmon_container_tcp_sent_segments_total", "TcpOutSegs"),
        ("netmon_container_tcp_resets_sent_total", "TcpOutRsts"),
    ] {
        until(counter, || {
            let before = member.netns.nstat(counter)?;
            let page = netmon.page()?;
            let shares = page.all(family, &[("container", &member.name)]);
            let shown: f64 = shares.iter().map(|sample| sample.value).sum();
            let after = member.netns.nstat(counter)?;
            ensure!(
                (before as f64..=after as f64).contains(&shown),
                "{counter} of {}: netmon shows {shown}, the kernel {before} to {after}; {shares:?} {:?} {:?}",
                member.name,
                page.all(
                    "netmon_container_tcp_retransmitted_segments_total",
                    &[("container", &member.name)]
                ),
                page.all("netmon_bpf_program_missed_runs_total", &[]),
            );
            Ok(())
        })?;
    }
    Ok(())
}
