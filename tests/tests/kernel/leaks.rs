//! Interfaces that are created and deleted leave nothing behind: no namespace, no BPF link, no descriptor, no slot in
//! a map.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use netmon_tests::{
    fake_engine::{Container, Endpoint, Network},
    netns::Netns,
    patience::until,
    traffic,
};

use crate::world::{Cable, DEVICE, World, agree, ready};

/// How many interfaces are created and deleted.
const INTERFACES: usize = 500;
/// How many of them exist at a time.
const BATCH: usize = 50;

#[test]
fn five_hundred_interfaces_come_and_go_and_nothing_is_left() -> anyhow::Result<()> {
    let mut world = World::new()?.with_real_times();
    let netmon = world.netmon(&["--container.linger=1s"])?;
    netmon.wait_ready()?;
    // These containers stay, and must be counted exactly all the time.
    let (a, b) = world.pair(Cable::Bridge)?;
    ready(&netmon, 2)?;
    world.engine.network(Network {
        name: "churn".to_owned(),
        driver: "bridge".to_owned(),
        subnet: "10.99.0.0/16".to_owned(),
        vni: None,
        encrypted: false,
    });
    let programs = netmon.programs()?;
    let numbers = numbered_namespaces(&world)?;
    let mut descriptors = None;

    for batch in 0..INTERFACES / BATCH {
        let mut containers = Vec::new();
        for number in 0..BATCH {
            containers.push(start(&world, batch * BATCH + number)?);
        }
        // Every other batch ends before most of it has programs.
        if batch % 2 == 0 {
            ready(&netmon, 2 + BATCH as u64)?;
        }
        traffic::ping(&a.netns, b.address, 10)?;
        agree(&netmon, &a, "net")?;
        for (name, netns) in containers {
            world.engine.end_container(&name);
            // An engine deletes the device first. In every third batch only the namespace is removed.
            if batch % 3 != 0 {
                netns.run(&format!("ip link del {DEVICE}"))?;
            }
            drop(netns);
        }
        until("the batch to be forgotten", || {
            let page = netmon.page()?;
            let left = page.count("netmon_bpf_map_entries", &[("map", "TRAFFIC")])?;
            ensure!(left == 2, "{left} slots are in use");
            ensure!(
                page.count("netmon_containers", &[("state", "ended")])? == 0,
                "some linger"
            );
            let loaded = programs.loaded()?.len();
            ensure!(loaded == 4, "{loaded} programs are loaded");
            let now = numbered_namespaces(&world)?;
            ensure!(now == numbers, "{now} namespaces are alive, {numbers} were");
            Ok(())
        })
        .with_context(|| format!("batch {batch}, netmon's log:\n{}", netmon.log()))?;
        let now = netmon.descriptors()?;
        ensure!(
            *descriptors.get_or_insert(now) >= now,
            "{now} descriptors after {batch} batches, {descriptors:?} before"
        );
    }
    agree(&netmon, &a, "net")?;
    agree(&netmon, &b, "net")?;
    drop(netmon);
    until("netmon's programs to go", || {
        let left = programs.loaded()?;
        ensure!(left.is_empty(), "{left:?} are loaded");
        Ok(())
    })
}

/// The age at which a device gets programs in this test.
const AGE: Duration = Duration::from_millis(200);

#[test]
fn a_device_that_vanishes_while_it_is_attached_is_skipped() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.times = format!("attach-age={}ms,attach-quiet=100ms", AGE.as_millis());
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let endpoint = |number: usize| Endpoint {
        network: "fleeting".to_owned(),
        mac: format!("02:00:00:00:00:{number:02x}"),
        ..Endpoint::default()
    };
    world.engine.network(Network {
        name: "fleeting".to_owned(),
        driver: "bridge".to_owned(),
        ..Network::default()
    });
    for number in 0..20 {
        world.engine.connect("a", endpoint(number));
        a.netns
            .run("ip link add gone type veth peer name peer address 02:00:00:00:01:01")?;
        a.netns
            .run(&format!("ip link set gone address 02:00:00:00:00:{number:02x} up"))?;
        // Around the moment at which the device is old enough for programs, and while they are being attached.
        std::thread::sleep(AGE + Duration::from_millis(3 * number as u64));
        a.netns.run("ip link del gone")?;
    }
    traffic::ping(&a.netns, b.address, 10)?;
    agree(&netmon, &a, "net")?;
    ready(&netmon, 2)?;
    let page = netmon.page()?;
    for reason in ["load", "attach", "full"] {
        let failures = page.all("netmon_attach_failures_total", &[("reason", reason)]);
        ensure!(
            failures.iter().all(|it| it.value == 0.0),
            "{failures:?}: {}",
            netmon.log()
        );
    }
    Ok(())
}

/// A container with an interface. Its peer is in the namespace of the pair's bridge.
fn start(world: &World, number: usize) -> anyhow::Result<(String, Netns)> {
    let name = format!("churn{number}");
    let netns = world.sandbox(&format!("dddddddd{number:04}"))?;
    world.others[0].run(&format!(
        "ip link add c{number} type veth peer name {DEVICE} netns {}",
        netns.path().display()
    ))?;
    world.others[0].run(&format!("ip link set c{number} up"))?;
    let address = format!("10.99.{}.{}", number / 250, number % 250 + 1);
    netns.run(&format!("ip addr add {address}/16 dev {DEVICE}"))?;
    netns.run(&format!("ip link set {DEVICE} up"))?;
    world.engine.start_container(Container {
        name: name.clone(),
        sandbox: netns.path().to_path_buf(),
        network_mode: "default".to_owned(),
        endpoints: vec![Endpoint {
            network: "churn".to_owned(),
            mac: netns.mac(DEVICE)?,
            address,
            ipv6_address: String::new(),
        }],
        ..Container::default()
    });
    Ok((name, netns))
}

/// The number of namespaces with an nsid. The kernel forgets the nsid of a removed namespace.
fn numbered_namespaces(world: &World) -> anyhow::Result<usize> {
    Ok(world.home.run("ip netns list-id")?.lines().count())
}
