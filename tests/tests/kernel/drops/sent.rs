//! Packets that a container sent, and packets that did not even leave it.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use netmon_tests::{filter::Filter, netns::Netns, patience::until, traffic};

use super::{Drops, Where, no_port, reason};
use crate::world::{Cable, DEVICE, World, offloads, ready};

const A: Where<'_> = Where::Container("a", "net");
/// How many super-packets are sent, and how many datagrams each contains.
const SUPER_PACKETS: u32 = 500;
const SEGMENTS: usize = 40;

#[test]
fn packets_that_a_filter_of_the_senders_own_forbids() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    for address in [b.address, b.ipv6_address] {
        let drops = Drops::since_now(&netmon)?;
        let filter = Filter::new(&a.netns, "output", "udp dport 9999 counter drop")?;
        traffic::datagrams(&a.netns, SocketAddr::new(address, 9999), 50, 100)?;
        let counted = filter.packets_at_rest()?;
        ensure!(counted >= 50, "the filter counted {counted} of 50");
        drops.are(&[(A, "NETFILTER_DROP", counted)])?;
    }
    Ok(())
}

#[test]
fn packets_that_a_queue_has_no_room_for() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::since_now(&netmon)?;
    let _queue = Queue::new(&a.netns, "rate 100kbit burst 2000 limit 3000")?;
    let _sink = Filter::new(&b.netns, "prerouting", "udp dport 9 reject with icmpx no-route")?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9000), 200, 500)?;
    let dropped = queue_drops(&a.netns)?;
    ensure!(dropped > 100, "the queue lost only {dropped} of 200");
    until("the queue's drops", || {
        let now = drops.now()?;
        let shown = now.get(&A.key(reason(&["QDISC_OVERLIMIT", "QDISC_DROP"])?)).copied();
        let shown = shown.or(now.get(&A.key("QDISC_DROP")).copied()).unwrap_or(0);
        ensure!(shown == dropped, "netmon shows {now:?}, the queue {dropped}");
        Ok(())
    })
}

/// A lost super-packet counts as the packets it would have been on the wire. The test sends datagrams. TCP counts
/// packets that a queue refused as sent, as retransmitted, or as both.
#[test]
fn super_packets_that_are_lost_count_as_their_segments() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    offloads(&a, "on")?;
    // They are segmented after the queue, so that the receiver counts the segments.
    world.others[0].run("ethtool -K veth1 tso off gso off tx-udp-segmentation off")?;
    // Room for one or two whole super-packets: none is segmented before it is dropped.
    let _queue = Queue::new(&a.netns, "rate 300mbit burst 70000 limit 140000")?;
    let arrived = || Ok::<_, anyhow::Error>(b.netns.nstat("UdpNoPorts")? + b.netns.nstat("UdpInErrors")?);
    let (drops, before) = (Drops::since_now(&netmon)?, arrived()?);
    let sent = u64::from(SUPER_PACKETS) * SEGMENTS as u64;
    traffic::super_packets(&a.netns, SocketAddr::new(b.address, 9), SUPER_PACKETS, SEGMENTS, 1400)?;
    until("the segments to be counted", || {
        let lost = sent - (arrived()? - before);
        let (events, now) = (queue_drops(&a.netns)?, drops.now()?);
        let shown: u64 = queue_lines().into_iter().filter_map(|key| now.get(&key)).sum();
        ensure!(
            lost == shown && shown == events * SEGMENTS as u64 && events > 0,
            "{lost} of {sent} segments were lost in {events} packets, netmon shows {now:?}"
        );
        Ok(())
    })
}

#[test]
fn packets_to_a_neighbour_that_does_not_answer() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, _b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::since_now(&netmon)?;
    // The kernel sends three ARP requests, one a second.
    traffic::datagrams(&a.netns, "10.77.0.99:9".parse()?, 5, 100)?;
    drops.are(&[(A, "NEIGH_FAILED", 5)])?;
    // The queue of packets that wait for an answer is short. The oldest is dropped.
    a.netns.run("sysctl -qw net.ipv4.neigh.eth0.unres_qlen_bytes=4096")?;
    traffic::datagrams(&a.netns, "10.77.0.98:9".parse()?, 50, 1000)?;
    until("both reasons", || {
        let now = drops.now()?;
        let of = |reason: &str| now.get(&A.key(reason)).copied().unwrap_or(0);
        let (failed, full) = (of("NEIGH_FAILED"), of("NEIGH_QUEUEFULL"));
        ensure!(
            failed + full == 55 && full > 30 && now.len() == 2,
            "dropped were {now:?}, of 55"
        );
        Ok(())
    })
}

#[test]
fn what_the_other_end_of_the_cable_cannot_take() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.sees_node = true;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let drops = Drops::with_node(&netmon)?;
    b.netns.run(&format!("ip link set {DEVICE} down"))?;
    // The kernel updates carriers once a second. Until then the veth drops the packets, because it has no peer to
    // send them to.
    until("the bridge to know", || {
        let port = world.node()?.run("bridge link show dev veth1")?;
        ensure!(port.contains("state disabled"), "{port}");
        Ok(())
    })?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9), 20, 100)?;
    // The port has no carrier, so the bridge has no target for the packet.
    drops.are(&[(Where::Node("net"), no_port()?, 20)])
}

/// The reasons for losses in a queue of `a`, which differ between kernels.
fn queue_lines() -> [super::Key; 2] {
    ["QDISC_DROP", "QDISC_OVERLIMIT"].map(|name| A.key(name))
}

/// A token bucket on a container's device. It is deleted when this is dropped.
struct Queue<'a>(&'a Netns);

impl<'a> Queue<'a> {
    fn new(netns: &'a Netns, parameters: &str) -> anyhow::Result<Self> {
        netns.run(&format!("tc qdisc add dev {DEVICE} root tbf {parameters}"))?;
        Ok(Self(netns))
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        drop(self.0.run(&format!("tc qdisc del dev {DEVICE} root")));
    }
}

fn queue_drops(netns: &Netns) -> anyhow::Result<u64> {
    let json: serde_json::Value = serde_json::from_str(&netns.run(&format!("tc -j -s qdisc show dev {DEVICE} root"))?)?;
    json.pointer("/0/drops")
        .and_then(serde_json::Value::as_u64)
        .with_context(|| format!("no drops in {json}"))
}
