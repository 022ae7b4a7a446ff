//! Queues, tables and their limits: the page shows the same figures as the kernel's own files and tools.

use std::{fs, net::SocketAddr};

use anyhow::{Context as _, ensure};
use netmon_tests::{netmon::Netmon, page::Page, patience::until, traffic};

use crate::world::{Cable, DEVICE, World, ready};

/// A world whose node is the test's own namespace.
fn node() -> anyhow::Result<(World, crate::world::Member, crate::world::Member, Netmon)> {
    node_with(Cable::Bridge, 2)
}

fn node_with(
    cable: Cable,
    interfaces: u64,
) -> anyhow::Result<(World, crate::world::Member, crate::world::Member, Netmon)> {
    let mut world = World::new()?;
    world.sees_node = true;
    let (a, b) = world.pair(cable)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, interfaces)?;
    Ok((world, a, b, netmon))
}

fn drops_of_root(json: &str) -> anyhow::Result<u64> {
    let json: serde_json::Value = serde_json::from_str(json)?;
    json.pointer("/0/drops")
        .and_then(serde_json::Value::as_u64)
        .with_context(|| format!("no drops in {json}"))
}

#[test]
fn a_queues_drops_are_those_that_tc_shows() -> anyhow::Result<()> {
    let (world, a, b, netmon) = node()?;
    let node = world.node()?;
    for (netns, device) in [(&a.netns, DEVICE), (node, "veth1")] {
        netns.run(&format!(
            "tc qdisc add dev {device} root tbf rate 100kbit burst 2000 limit 3000"
        ))?;
    }
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9), 200, 500)?;
    a.netns.run(&format!("tc qdisc del dev {DEVICE} root"))?;
    a.netns.run(&format!(
        "tc qdisc add dev {DEVICE} root tbf rate 100kbit burst 2000 limit 3000"
    ))?;
    traffic::datagrams(&a.netns, SocketAddr::new(b.address, 9), 100, 500)?;
    until("the queues' drops", || {
        let page = netmon.page()?;
        let container = page.count(
            "netmon_container_qdisc_drops_total",
            &[("container", "a"), ("network", "net"), ("kind", "tbf")],
        )?;
        let kernel = drops_of_root(&a.netns.run(&format!("tc -j -s qdisc show dev {DEVICE} root"))?)?;
        ensure!(
            container == kernel && kernel > 0,
            "netmon shows {container}, tc {kernel}"
        );
        let shown = page.count(
            "netmon_node_qdisc_drops_total",
            &[("interface", "veth1"), ("kind", "tbf")],
        )?;
        let kernel = drops_of_root(&node.run("tc -j -s qdisc show dev veth1 root")?)?;
        ensure!(shown == kernel, "netmon shows {shown} on the node, tc {kernel}");
        Ok(())
    })?;
    // An interface without a queueing discipline has no series.
    ensure!(
        netmon
            .page()?
            .all("netmon_container_qdisc_drops_total", &[("container", "b")])
            .is_empty(),
        "b has no queue"
    );
    Ok(())
}

#[test]
fn the_nodes_backlog_is_the_kernels() -> anyhow::Result<()> {
    let (_world, a, b, netmon) = node()?;
    let kernel = || -> anyhow::Result<[u64; 3]> {
        let text = fs::read_to_string("/proc/net/softnet_stat")?;
        let column = |index: usize| {
            text.lines()
                .filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(index)?, 16).ok())
                .sum()
        };
        Ok([0, 1, 2].map(column))
    };
    // The kernel's counts before and after a page, and what the page has.
    let bracketed = || -> anyhow::Result<_> {
        let before = kernel()?;
        let page = netmon.page()?;
        let after = kernel()?;
        let count = |family| page.count(&format!("netmon_node_softnet_{family}_total"), &[]);
        let shown = [count("processed")?, count("dropped")?, count("times_squeezed")?];
        Ok((before, shown, after))
    };
    let (first_before, first, first_after) = bracketed()?;
    traffic::ping(&a.netns, b.address, 200)?;
    let (before, shown, after) = bracketed()?;
    for (index, family) in ["processed", "dropped", "times_squeezed"].into_iter().enumerate() {
        let least = before[index].saturating_sub(first_after[index]);
        let most = after[index] - first_before[index];
        let more = shown[index] - first[index];
        ensure!(
            (least..=most).contains(&more),
            "{family}: netmon shows {more} more, the kernel {least} to {most}"
        );
    }
    ensure!(
        shown[0] - first[0] >= 400,
        "200 pings and their answers are {shown:?} after {first:?}"
    );
    Ok(())
}

#[test]
fn limits_are_those_of_the_kernels_settings() -> anyhow::Result<()> {
    let (world, a, _b, netmon) = node()?;
    a.netns.run("sysctl -qw net.core.somaxconn=77")?;
    // netmon reads a container's limits once a minute, and when one of its devices changes.
    a.netns.run(&format!("ip link set {DEVICE} txqueuelen 999"))?;
    let node = world.node()?;
    node.run("sysctl -qw net.ipv4.tcp_max_syn_backlog=333")?;
    node.run("sysctl -qw net.ipv4.ip_forward=1")?;
    until("the limits", || {
        let page = netmon.page()?;
        let sysctl = |name: &str| page.count("netmon_node_sysctl", &[("name", name)]);
        ensure!(
            sysctl("net.ipv4.tcp_max_syn_backlog")? == 333,
            "the node's backlog of requests"
        );
        let kernel = node.run("sysctl -n net.ipv4.tcp_rmem")?;
        let largest: u64 = kernel.split_whitespace().nth(2).context("three numbers")?.parse()?;
        ensure!(sysctl("net.ipv4.tcp_rmem_max")? == largest, "not {largest}");
        ensure!(sysctl("net.ipv4.ip_forward")? == 1, "the node forwards");
        let limit = page.count("netmon_container_listen_backlog_limit", &[("container", "a")])?;
        ensure!(limit == 77, "the container's limit is {limit}, not 77");
        Ok(())
    })?;
    node.run("sysctl -qw net.ipv4.ip_forward=0")?;
    netmon
        .page_until("the node to forward no more", |page| {
            let forwards = page.count("netmon_node_sysctl", &[("name", "net.ipv4.ip_forward")])?;
            ensure!(forwards == 0, "it is {forwards}");
            Ok(())
        })
        .map(drop)
}

#[test]
fn the_neighbour_table_and_its_limits_are_the_kernels() -> anyhow::Result<()> {
    let (_world, a, _b, netmon) = node()?;
    let entries = |page: &Page| page.count("netmon_node_neighbour_entries", &[("family", "ipv4")]);
    let before = entries(&netmon.page()?)?;
    for number in 0..100 {
        a.netns.run(&format!(
            "ip neigh replace 10.77.0.{} lladdr 02:00:00:00:00:{number:02x} dev {DEVICE} nud permanent",
            100 + number
        ))?;
    }
    until("the neighbours to be counted", || {
        let page = netmon.page()?;
        let more = entries(&page)?.saturating_sub(before);
        // All namespaces share this table, so other entries may appear and disappear.
        ensure!(more >= 80, "{more} more after 100 were made");
        let limit = page.count(
            "netmon_node_neighbour_limit",
            &[("family", "ipv4"), ("threshold", "gc_thresh3")],
        )?;
        let kernel: u64 = fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3")?
            .trim()
            .parse()?;
        ensure!(limit == kernel, "netmon shows {limit}, the kernel {kernel}");
        Ok(())
    })
}

#[test]
fn permanent_neighbours_of_an_overlay_are_shown_beside_the_whole_table() -> anyhow::Result<()> {
    let (world, _a, _b, netmon) = node_with(Cable::Vxlan, 3)?;
    let overlay = world.overlay_netns()?;
    let exempt = |page: &Page, family| page.count("netmon_node_neighbour_exempt_entries", &[("family", family)]);
    let before = exempt(&netmon.page()?, "ipv4")?;
    for number in 1..=30 {
        let permanent = if number > 20 { "reachable" } else { "permanent" };
        overlay.run(&format!(
            "ip neigh replace 10.77.1.{number} lladdr 02:00:00:00:01:{number:02x} dev vxlan0 nud {permanent}"
        ))?;
    }
    overlay.run("ip neigh replace fd77::1 lladdr 02:00:00:00:01:01 dev vxlan0 nud permanent")?;
    let page = netmon.page()?;
    assert_eq!((exempt(&page, "ipv4")? - before, exempt(&page, "ipv6")?), (20, 1));
    Ok(())
}

#[test]
fn the_table_of_connections_is_each_namespaces_own() -> anyhow::Result<()> {
    let (_world, a, b, netmon) = node()?;
    // The kernel only tracks connections if a rule needs it.
    b.netns.run("nft add table inet follow")?;
    b.netns
        .run("nft add chain inet follow c { type filter hook input priority 0 ; }")?;
    b.netns.run("nft add rule inet follow c ct state new accept")?;
    for port in 1..=20 {
        traffic::datagrams(&a.netns, SocketAddr::new(b.address, port), 1, 10)?;
    }
    until("the connections to be counted", || {
        let page = netmon.page()?;
        let of = |container: &str| page.count("netmon_container_conntrack_entries", &[("container", container)]);
        let kernel: u64 = b.netns.run("sysctl -n net.netfilter.nf_conntrack_count")?.parse()?;
        ensure!(
            of("b")? == kernel && kernel >= 20,
            "netmon shows {}, the kernel {kernel}",
            of("b")?
        );
        ensure!(of("a")? == 0, "a follows {}", of("a")?);
        Ok(())
    })
}
