//! The start and the end of containers and of devices; netmon's own are in [`daemon`].

mod daemon;

use std::{thread, time::Duration};

use anyhow::ensure;
use netmon_tests::{
    fake_engine::{Endpoint, Network},
    figures::Figures,
    netmon::Netmon,
    page::Page,
    patience::{slowness, until},
    traffic,
};

use crate::world::{Cable, DEVICE, Member, World, agree, exactly_or_a_goodbye_more, quiet, ready};

/// Short enough to see the end of the linger, and long enough to fetch a page before it.
const LINGER: &str = "--container.linger=8s";

#[test]
fn a_container_that_starts_later_is_counted_from_its_first_packet_and_has_programs_after_a_second() -> anyhow::Result<()>
{
    let mut world = World::new()?.with_real_times();
    let netmon = world.netmon(&[])?;
    netmon.wait_ready()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    traffic::ping(&a.netns, b.address, 20)?;
    let (_, figures) = agree(&netmon, &a, "net")?;
    ensure!(figures.transmit_packets >= 20, "only {figures:?}");
    ready(&netmon, 2)?;
    netmon.page_until("both to have had their programs for a moment", |page| {
        let delays = |bound| page.count("netmon_attach_delay_seconds_bucket", &[("le", bound)]);
        let (soon, all) = (delays("0.5")?, delays("+Inf")?);
        ensure!(
            (soon, all) == (0, 2),
            "{soon} of {all} had programs within half a second"
        );
        Ok(())
    })?;
    traffic::tcp(&a.netns, &b.netns, b.address, 1_000_000)?;
    agree(&netmon, &a, "net")?;
    agree(&netmon, &b, "net").map(drop)
}

#[test]
fn a_network_connected_later_is_counted_under_its_own_name() -> anyhow::Result<()> {
    let mut world = World::new()?;
    // Programs are attached only after the pings. To add clsact, kernels before 6.6 stop the device's queue, and lose
    // packets that are sent meanwhile.
    world.times = format!("attach-age={}s,attach-quiet=100ms", 2 * slowness());
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;

    world.engine.network(Network {
        name: "later".to_owned(),
        driver: "bridge".to_owned(),
        subnet: "10.79.0.0/24".to_owned(),
        vni: None,
        encrypted: false,
    });
    let (here, there) = (
        a.netns.path().display().to_string(),
        b.netns.path().display().to_string(),
    );
    world
        .other("cable")?
        .run(&format!("ip link add x type veth peer name eth1 netns {there}"))?;
    world.others[1].run(&format!("ip link set x netns {here} name eth1"))?;
    for (number, member) in [(1, &a), (2, &b)] {
        member.netns.run(&format!("ip addr add 10.79.0.{number}/24 dev eth1"))?;
        member.netns.run("ip link set eth1 up")?;
        world.engine.connect(
            &member.name,
            Endpoint {
                network: "later".to_owned(),
                mac: member.netns.mac("eth1")?,
                address: format!("10.79.0.{number}"),
                ipv6_address: String::new(),
            },
        );
    }
    for member in [&a, &b] {
        member.netns.passes("eth1")?;
    }
    traffic::ping(&a.netns, "10.79.0.2".parse()?, 30)?;
    ready(&netmon, 4)?;
    netmon.page_until("the new network's figures", |page| {
        let before = a.netns.figures("eth1")?;
        let shown = page.interface("a", "later")?;
        ensure!(shown == before, "netmon shows {shown:?}, the kernel {before:?}");
        ensure!(shown.transmit_packets >= 30, "the first packets are missing: {shown:?}");
        page.one(
            "netmon_container_network_receive_packets_total",
            &[("container", "a"), ("network", "later"), ("interface", "eth1")],
        )
        .map(drop)
    })?;
    agree(&netmon, &a, "net").map(drop)
}

#[test]
fn the_last_values_of_a_gone_container_stay_for_the_linger_and_then_end() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let netmon = world.netmon(&[LINGER])?;
    // The service's sum includes only what was counted after netmon started.
    netmon.wait_ready()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    ready(&netmon, 2)?;
    quiet(&[&a, &b])?;
    let (_, before) = agree(&netmon, &a, "net")?;
    // No page is fetched between this traffic and the end of the container.
    traffic::tcp(&a.netns, &b.netns, b.address, 5_000_000)?;
    traffic::udp(&a.netns, &b.netns, b.address, 100, 4000)?;
    let last = world.end(a)?;
    ensure!(
        last.since(before).transmit_packets > 300,
        "the kernel counted too few: {last:?}"
    );

    ended(&netmon)?;
    let shown = netmon.page()?.interface("a", "net")?;
    exactly_or_a_goodbye_more(shown, last)?;
    until("its series to end", || gone(&netmon.page()?, "a"))?;
    // The service's sum stays while another container of the service runs.
    let service = netmon.page()?.figures(
        "netmon_service_network",
        &[("service", "shop_web"), ("stack", "shop"), ("network", "net")],
    )?;
    let both = b.figures()?.transmit_packets + shown.transmit_packets;
    ensure!(
        service.transmit_packets == both,
        "the service sent {} packets, its containers {both}",
        service.transmit_packets
    );
    Ok(())
}

#[test]
fn a_container_whose_namespace_is_torn_away_is_counted_to_its_last_packet() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    quiet(&[&a, &b])?;
    agree(&netmon, &a, "net")?;
    traffic::tcp(&a.netns, &b.netns, b.address, 5_000_000)?;
    traffic::ping(&a.netns, b.address, 100)?;
    let last = a.figures()?;
    // The device can no longer be read, and the kernel sends no message about it. Only the programs' counts are left.
    drop(a);
    // A page that is made before the control loop notices has the figures of before: last counters might still come.
    netmon.page_until("the end of the device to be noticed", |page| {
        let shown = page.interface("a", "net")?;
        ensure!(
            shown == last,
            "netmon shows {shown:?}, the kernel's last figures are {last:?}"
        );
        Ok(())
    })?;
    world.engine.end_container("a");
    ended(&netmon)?;
    let shown = netmon.page()?.interface("a", "net")?;
    exactly_or_a_goodbye_more(shown, last)
}

#[test]
fn a_container_that_is_gone_before_anything_is_attached_is_counted() -> anyhow::Result<()> {
    let mut world = World::new()?;
    "attach-age=1h".clone_into(&mut world.times);
    let netmon = world.netmon(&["--container.linger=20s"])?;
    netmon.wait_ready()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    traffic::ping(&a.netns, b.address, 10)?;
    let last = world.end(a)?;
    ended(&netmon)?;
    let shown = netmon.page_until("the container to be named", |page| page.interface("a", "net"))?;
    let attached = netmon.page()?.count("netmon_attach_delay_seconds_count", &[])?;
    ensure!(attached == 0, "{attached} interfaces had programs");
    exactly_or_a_goodbye_more(shown, last)
}

#[test]
fn a_container_that_the_engine_describes_only_after_its_end_is_counted() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let netmon = world.netmon(&["--container.linger=20s"])?;
    netmon.wait_ready()?;
    world.engine.hold("a");
    let (a, b) = world.pair(Cable::Bridge)?;
    traffic::ping(&a.netns, b.address, 10)?;
    until("netmon to ask for the container", || {
        ensure!(world.engine.was_requested("a"), "it has not");
        Ok(())
    })?;
    // Long enough for netmon to look the addresses up in the list.
    thread::sleep(Duration::from_millis(400));
    let last = world.end(a)?;
    thread::sleep(Duration::from_millis(100));
    world.engine.release("a");
    let shown = netmon.page_until("the container to be named", |page| page.interface("a", "net"))?;
    exactly_or_a_goodbye_more(shown, last)
}

#[test]
fn what_an_interface_counted_that_the_engine_never_named_is_said_to_be_nobodys() -> anyhow::Result<()> {
    let mut world = World::new()?;
    // As above: no programs are attached during the pings.
    world.times = "attach-age=10s".to_owned();
    let netmon = world.netmon(&["--container.linger=2s"])?;
    netmon.wait_ready()?;
    world.engine.hold("a");
    let (a, b) = world.pair(Cable::Bridge)?;
    traffic::ping(&a.netns, b.address, 100)?;
    let last = world.end(a)?;
    let nobodys = netmon.page_until("packets of nobody's", |page| {
        let count = |direction| page.count(&format!("netmon_unattributed_{direction}_packets_total"), &[]);
        let (receive_packets, transmit_packets) = (count("receive")?, count("transmit")?);
        ensure!(transmit_packets > 0, "nobody sent anything");
        // The page has packets only.
        Ok(Figures {
            receive_packets,
            transmit_packets,
            ..last
        })
    })?;
    exactly_or_a_goodbye_more(nobodys, last)
}

#[test]
fn a_new_container_of_the_same_name_takes_the_old_ones_place() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&["--container.linger=30s"])?;
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 100)?;
    let old = a.netns.path().to_path_buf();
    world.end(a)?;
    let netns = netmon_tests::netns::Netns::new(&world.netns_dir(), "cccccccccccc")?;
    ensure!(netns.path() != old, "the same file");
    let bridge = &world.others[0];
    bridge.run(&format!(
        "ip link add again type veth peer name {DEVICE} netns {}",
        netns.path().display()
    ))?;
    bridge.run("ip link set again master br0 up")?;
    netns.run(&format!("ip addr add 10.77.0.1/24 dev {DEVICE}"))?;
    netns.run(&format!("ip link set {DEVICE} up"))?;
    let again = Member {
        name: "a".to_owned(),
        netns,
        address: "10.77.0.1".parse()?,
        ipv6_address: "fd77::1".parse()?,
    };
    world.engine.start_container(again.container("net")?);
    agree(&netmon, &again, "net").map(drop)
}

#[test]
fn an_ifindex_that_comes_back_belongs_to_the_new_device() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 200)?;
    let (_, old) = agree(&netmon, &a, "net")?;
    let number = a.netns.ifindex(DEVICE)?;
    let mac = a.netns.mac(DEVICE)?;
    a.netns.run(&format!("ip link del {DEVICE}"))?;
    // The ifindex can only be chosen when a device is created. So the device is created here, and its peer is moved
    // to the bridge.
    let bridge = &world.others[0];
    a.netns.run(&format!(
        "ip link add {DEVICE} index {number} address {mac} type veth peer name again netns {}",
        bridge.path().display()
    ))?;
    bridge.run("ip link set again master br0 up")?;
    a.netns.run(&format!("ip addr add 10.77.0.1/24 dev {DEVICE}"))?;
    a.netns.run(&format!("ip link set {DEVICE} up"))?;
    ensure!(a.netns.ifindex(DEVICE)? == number, "the number did not come back");
    traffic::ping(&a.netns, b.address, 20)?;
    let (_, new) = agree(&netmon, &a, "net")?;
    ensure!(
        new.transmit_packets < old.transmit_packets,
        "{new:?} is the old device's"
    );
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 20)?;
    agree(&netmon, &a, "net").map(drop)
}

/// Waits until one container has ended.
fn ended(netmon: &Netmon) -> anyhow::Result<()> {
    netmon.page_until("the container to have ended", |page| {
        ensure!(
            page.count("netmon_containers", &[("state", "ended")])? == 1,
            "it has not"
        );
        Ok(())
    })
}

fn gone(page: &Page, container: &str) -> anyhow::Result<()> {
    let left = page.samples.iter().find(|it| it.has(&[("container", container)]));
    ensure!(left.is_none(), "{left:?} is still there");
    Ok(())
}

#[test]
fn figures_are_the_same_on_every_page_of_a_quiet_node() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon: Netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    traffic::tcp(&a.netns, &b.netns, b.address, 1_000_000)?;
    quiet(&[&a, &b])?;
    let first = netmon.page()?;
    let second = netmon.page()?;
    for sample in first.samples.iter().filter(|it| it.name.contains("_network_")) {
        let labels: Vec<(&str, &str)> = sample.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        ensure!(*sample == *second.one(&sample.name, &labels)?, "{sample:?} changed");
    }
    Ok(())
}
