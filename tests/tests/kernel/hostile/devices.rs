//! Thousands of devices, in a container's own namespace and in namespaces that it creates, and devices that change
//! all the time.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    figures::Figures,
    frames::{self, Envelope},
    page::Page,
    patience::within,
    sh, traffic,
};

use super::{
    SHARE, Scene,
    cables::{Cables, connect_everywhere, drop_everywhere},
    entries, lost, neighbour,
};
use crate::world::{DEVICE, World, agree, exactly_or_a_goodbye_more};

/// How many veth pairs are created.
const CABLES: usize = 1000;
/// How soon a neighbour that starts meanwhile has its programs.
const ATTACHED: Duration = Duration::from_secs(10);
/// How many pairs are created in an unwatched namespace.
const NESTED: usize = 1500;
/// How many bytes of kernel memory a key of the map of TCP may take, and all of that map, however many processors there
/// are. Otherwise strangers could fill the memory of netmon's control group.
const TCP_KEY_BYTES: u64 = 512;
const TCP_BYTES: u64 = 10 << 20;

#[test]
fn two_thousand_devices_take_no_room_from_others_and_delay_nobody() -> anyhow::Result<()> {
    let mut world = World::new()?.with_real_times();
    // After this time netmon decides whose the drops of unwatched devices are.
    "name-patience=5s".clone_into(&mut world.times);
    let scene = Scene::of(world, &[])?;
    let before = scene.netmon.page()?;
    let _cables = Cables::make(&scene.hostile, &scene, CABLES)?;
    let late = neighbour(&scene.world, "late", 77)?;
    has_programs(&scene, 4)?;

    drop_everywhere(&scene.hostile, CABLES)?;
    connect_everywhere(&scene.hostile, CABLES)?;
    let page = scene.is_unharmed()?;
    for map in ["DROPS", "TCP"] {
        let more = entries(&page, map)?.saturating_sub(entries(&before, map)?);
        // If two CPUs create keys at the same moment, these may be counted as one.
        ensure!(more <= 2 * SHARE, "{map} has {more} keys more");
        ensure!(lost(&page, map)? == lost(&before, map)?, "{map} has lost something");
    }
    // The programs say once what happened a thousand times.
    let log = scene.netmon.log();
    for object in ["drops", "tcp"] {
        let said = |line: &&str| line.contains("has used up its share") && line.contains(object);
        let said = log.lines().filter(said).count();
        ensure!(
            said == 1,
            "it is said {said} times that a share of the map of {object} is used up"
        );
    }
    let rows = page.all(
        "netmon_container_network_receive_packets_total",
        &[("container", "hostile")],
    );
    ensure!(rows.len() <= 64, "{} of its interfaces are shown", rows.len());
    let of_it = page
        .samples
        .iter()
        .filter(|it| it.has(&[("container", "hostile")]))
        .count();
    ensure!(of_it <= 500, "it has {of_it} series");
    ensure!(
        page.count("netmon_over_limit", &[("limit", "container_series")])? > 0,
        "nothing is said to be over a limit"
    );
    let refused = page.count("netmon_attach_failures_total", &[("reason", "too_many_devices")])?;
    ensure!(refused <= 2 * CABLES as u64 + 10, "{refused} refused");
    // All drops there are the container's own, and none is missing. Older kernels have a reason for only one of the
    // two kinds.
    scene.netmon.page_until("its drops to be its own", |page| {
        let labels = [("container", "hostile"), ("network", ""), ("reason", "IP_CSUM")];
        let drops = page.count("netmon_container_packet_drops_total", &labels)?;
        ensure!(drops == 2 * CABLES as u64, "{drops} of {}", 2 * CABLES);
        Ok(())
    })?;
    others_losses_are_seen(&scene)?;
    drop(late);
    Ok(())
}

/// Namespaces inside a container are unattributed, and share the room for those.
#[test]
fn namespaces_within_a_container_take_no_room_from_others() -> anyhow::Result<()> {
    let mut scene = Scene::new(&[])?;
    // An unwatched namespace with so many devices that they could fill all the room.
    scene.world.other("nested")?;
    let nested = scene.world.others.last().context("it was just made")?;
    let _cables = Cables::make(nested, &scene, NESTED)?;
    let before = TcpMap::of(&scene)?;
    drop_everywhere(nested, NESTED)?;
    connect_everywhere(nested, NESTED)?;
    for _ in 0..20 {
        // Namespaces that end at once, each with a refused connection.
        let script = "ip link set lo up; exec 3<>/dev/tcp/127.0.0.1/9";
        drop(sh::output(
            std::process::Command::new("unshare")
                .args(["--net", "bash", "-c", script])
                .stdin(Stdio::null()),
        ));
    }
    let page = scene.is_unharmed()?;
    for map in ["DROPS", "TCP"] {
        let most = page.count("netmon_bpf_map_max_entries", &[("map", map)])?;
        let keys = entries(&page, map)?;
        ensure!(keys <= most / 4 + 2 * SHARE, "{map} has {keys} of {most} keys");
    }
    stays_small(&before, &TcpMap::of(&scene)?)?;
    others_losses_are_seen(&scene)
}

/// How many keys the map of TCP has, and how many bytes they take.
struct TcpMap {
    keys: u64,
    bytes: u64,
}

impl TcpMap {
    fn of(scene: &Scene) -> anyhow::Result<Self> {
        Ok(Self {
            keys: entries(&scene.netmon.page()?, "TCP")?,
            bytes: scene.netmon.map_memory("TCP")?,
        })
    }
}

fn stays_small(before: &TcpMap, after: &TcpMap) -> anyhow::Result<()> {
    let keys = after.keys.saturating_sub(before.keys);
    ensure!(keys >= NESTED as u64, "only {keys} keys are new");
    let (all, more) = (after.bytes, after.bytes.saturating_sub(before.bytes));
    ensure!(
        more <= keys * TCP_KEY_BYTES && all <= TCP_BYTES,
        "the map of TCP takes {all} bytes, {more} of them for {keys} keys"
    );
    Ok(())
}

#[test]
fn devices_that_are_never_still_delay_nobody_and_cost_a_share_of_a_processor() -> anyhow::Result<()> {
    let scene = Scene::new(&["--container.linger=5s"])?;
    let _cables = Cables::make(&scene.hostile, &scene, 20)?;
    let mut toggle = String::new();
    for _ in 0..200 {
        for number in 0..20 {
            writeln!(toggle, "link set x{number} down\nlink set x{number} up")?;
        }
    }
    let mut churn = String::new();
    for number in 0..500 {
        writeln!(
            churn,
            "link add y{number} type veth peer name z{number}\nlink del y{number}"
        )?;
    }
    let (toggle_file, churn_file) = (
        scene.world.scratch.path().join("toggle"),
        scene.world.scratch.path().join("churn"),
    );
    std::fs::write(&toggle_file, toggle)?;
    std::fs::write(&churn_file, churn)?;
    let ends = AtomicBool::new(false);
    let begin = Instant::now();
    let at_work = |file: &std::path::Path| {
        let mut rounds = 0;
        while !ends.load(Ordering::Relaxed) {
            scene.hostile.run(&format!("ip -force -batch {}", file.display()))?;
            rounds += 1;
        }
        anyhow::Ok(rounds)
    };
    let (used, rounds) = thread::scope(|scope| -> anyhow::Result<_> {
        let toggles = scope.spawn(|| at_work(&toggle_file));
        let churns = scope.spawn(|| at_work(&churn_file));
        let looked = || -> anyhow::Result<_> {
            thread::sleep(Duration::from_secs(1));
            let before = scene.netmon.processor_time()?;
            let late = neighbour(&scene.world, "late", 77)?;
            has_programs(&scene, 4)?;
            traffic::ping(&scene.a.netns, scene.b.address, 20)?;
            agree(&scene.netmon, &scene.a, "net")?;
            thread::sleep(Duration::from_secs(2));
            Ok((scene.netmon.processor_time()?.saturating_sub(before), late))
        };
        let looked = looked();
        ends.store(true, Ordering::Relaxed);
        let mut rounds = 0;
        for worker in [toggles, churns] {
            rounds += worker.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
        }
        Ok((looked?.0, rounds))
    })?;
    let took = begin.elapsed();
    ensure!(rounds > 0, "nothing was toggled");
    // netmon used less than half a processor while the changes went on, scrapes included.
    ensure!(used < took / 2, "{used:?} of a processor in {took:?}");
    scene.is_unharmed()?;
    let page = scene.netmon.page_until("what is gone to be forgotten", |page| {
        let rows = page.all(
            "netmon_container_network_receive_packets_total",
            &[("container", "hostile")],
        );
        ensure!(rows.len() <= 64, "{} interfaces are shown", rows.len());
        Ok(page.clone())
    })?;
    ensure!(page.count("netmon_docker_up", &[])? == 1, "the engine is gone");
    Ok(())
}

/// How many other names a device may have (`rtnl_alt_ifname`: 64 KiB in all), and how long each may be.
const NAMES: usize = 490;
const NAME_BYTES: usize = 127;

/// A message about such a device is larger than a list's datagrams usually are, and forty of them larger than the buffer
/// of netmon's socket.
#[test]
fn a_device_with_hundreds_of_names_hides_nothing_and_costs_no_neighbour_its_last_packets() -> anyhow::Result<()> {
    let scene = Scene::new(&["--container.linger=20s"])?;
    let names: Vec<String> = (0..NAMES).map(|number| format!("{number:0NAME_BYTES$}")).collect();
    let batch = scene.world.scratch.path().join("names");
    let altnames = names
        .iter()
        .map(|name| format!("link property add dev {DEVICE} altname {name}\n"));
    std::fs::write(&batch, altnames.collect::<String>())?;
    scene.hostile.run(&format!("ip -batch {}", batch.display()))?;
    let toggle = format!(
        "link property del dev {DEVICE} altname {name}\nlink property add dev {DEVICE} altname {name}\n",
        name = names[0]
    );
    std::fs::write(&batch, toggle.repeat(100))?;
    let overruns = |page: &Page| page.count("netmon_netlink_overruns_total", &[]);
    let before = overruns(&scene.netmon.page()?)?;
    let ends = AtomicBool::new(false);
    let ended = thread::scope(|scope| -> anyhow::Result<_> {
        let toggles = scope.spawn(|| {
            let mut rounds = 0;
            while !ends.load(Ordering::Relaxed) {
                scene.hostile.run(&format!("ip -batch {}", batch.display()))?;
                rounds += 1;
            }
            anyhow::Ok(rounds)
        });
        let live = || -> anyhow::Result<_> {
            // Another listing of the hostile container's devices.
            let _late = neighbour(&scene.world, "late", 77)?;
            has_programs(&scene, 4)?;
            (0..5)
                .map(|number| brief(&scene, number))
                .collect::<anyhow::Result<Vec<_>>>()
        };
        let ended = live();
        ends.store(true, Ordering::Relaxed);
        let rounds = toggles.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
        ensure!(rounds > 0, "nothing was toggled");
        ended
    })?;
    traffic::ping(&scene.hostile, scene.a.address, 20)?;
    for (name, last) in ended {
        let shown = scene
            .netmon
            .page_until("the container to be named", |page| page.interface(&name, "net"))?;
        let lost = overruns(&scene.netmon.page()?)?;
        exactly_or_a_goodbye_more(shown, last).with_context(|| format!("{name}, overruns {lost}"))?;
    }
    let page = scene.is_unharmed()?;
    let (shown, kernel) = (page.interface("hostile", "net")?, scene.hostile.figures(DEVICE)?);
    ensure!(
        shown.receive_packets.abs_diff(kernel.receive_packets) <= 5,
        "the hostile container has {kernel:?}, and the page {shown:?}"
    );
    let lost = overruns(&page)? - before;
    ensure!(lost == 0, "messages were lost {lost} times");
    // One that has not seen the device before has to list it.
    let next = scene.world.netmon(&[])?;
    next.page_until("the next netmon to find the device", |page| {
        page.interface("hostile", "net")
    })
    .map(drop)
}

/// A container that ends once it is listed. Returns its name, and the last counters of its device.
fn brief(scene: &Scene, number: u8) -> anyhow::Result<(String, Figures)> {
    let name = format!("brief{number}");
    let netns = neighbour(&scene.world, &name, 80 + number)?;
    // Nobody can say whose a device was if netmon never saw its namespace. On a machine with much else to do, a
    // container could be over before.
    let listed = |page: &Page| page.interface(&name, "net").map(drop);
    scene.netmon.page_until("the container to be listed", listed)?;
    traffic::ping(&netns, scene.a.address, 5)?;
    let last = netns.figures(DEVICE)?;
    scene.world.engine.end_container(&name);
    netns.run(&format!("ip link set {DEVICE} down"))?;
    netns.run(&format!("ip link del {DEVICE}"))?;
    Ok((name, last))
}

/// Every interface that the engine created has its programs in time, while the hostile container goes on.
fn has_programs(scene: &Scene, interfaces: u64) -> anyhow::Result<()> {
    within(ATTACHED, "a neighbour to have its programs", || {
        let used = entries(&scene.netmon.page()?, "TRAFFIC")?;
        ensure!(used == interfaces, "{used} of {interfaces} have programs");
        Ok(())
    })
    .with_context(|| format!("netmon says: {:#?}", scene.netmon.said()))
}

/// New losses of a container that behaves are shown as that container's.
fn others_losses_are_seen(scene: &Scene) -> anyhow::Result<()> {
    let reason = |page: &Page| {
        page.all(
            "netmon_container_packet_drops_total",
            &[("container", "a"), ("network", "net")],
        )
        .iter()
        .map(|it| it.value)
        .sum::<f64>()
    };
    let before = reason(&scene.netmon.page()?);
    let damaged = envelope(scene)?.tcp_damaged(9)?;
    frames::send(&scene.b.netns, DEVICE, &damaged, 50)?;
    scene.netmon.page_until("a's losses to be seen", |page| {
        let seen = reason(page) - before;
        ensure!((seen - 50.0).abs() < f64::EPSILON, "{seen} of 50 are a's");
        Ok(())
    })?;
    // The same for a refused connection of `a`.
    let refused = |page: &Page| {
        let labels = [("container", "a"), ("network", "net"), ("reason", "refused")];
        page.count("netmon_container_tcp_connect_failures_total", &labels)
    };
    let before = refused(&scene.netmon.page()?)?;
    scene.a.netns.within(|| {
        drop(TcpStream::connect_timeout(
            &SocketAddr::new(scene.b.address, 9),
            Duration::from_secs(5),
        ));
        Ok(())
    })?;
    scene.netmon.page_until("a's failure to be seen", |page| {
        let seen = refused(page)? - before;
        ensure!(seen == 1, "{seen} are seen");
        Ok(())
    })
}

fn envelope(scene: &Scene) -> anyhow::Result<Envelope> {
    Ok(Envelope {
        macs: (
            frames::mac(&scene.b.netns.mac(DEVICE)?)?,
            frames::mac(&scene.a.netns.mac(DEVICE)?)?,
        ),
        addresses: (Ipv4Addr::new(10, 77, 0, 2), Ipv4Addr::new(10, 77, 0, 1)),
    })
}
