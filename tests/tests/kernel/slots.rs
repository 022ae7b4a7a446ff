//! Each interface's programs count for that interface alone: a slot of the map is given away when its programs are gone,
//! and netmons that share an interface leave each other's filters alone.

mod older;

use std::{process::Command, thread, time::Duration};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    fake_engine::{Container, Endpoint, Network, compose_labels},
    netmon::{Netmon, binary},
    netns::Netns,
    page::Page,
    sh, traffic,
};

use crate::{
    accidents::CHECK,
    world::{Cable, DEVICE, Member, World, agree, filters, modes, quiet, ready},
};

/// How old an interface is when it gets programs, where the slots of others have to be free by then.
const LATE: &str = "attach-age=4s,attach-quiet=100ms";

#[test]
fn the_slot_of_a_half_made_attachment_rests_until_its_programs_are_gone() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.times = format!("{},attach-retry=60s", world.times);
    let (a, _b) = world.pair(Cable::Bridge)?;
    // netmon's filters are for all protocols. The kernel has one protocol for each priority.
    a.netns.run(&format!("tc qdisc add dev {DEVICE} clsact"))?;
    let filter = format!("tc filter add dev {DEVICE} egress pref 1 protocol ip bpf da bytecode");
    sh::output(a.netns.command(&filter).arg("1,6 0 0 4294967295"))?;
    let netmon = world.netmon(&["--bpf.attach=clsact"])?;
    let used = netmon.page_until("the failure to be counted", |page| {
        let failures = page.count("netmon_attach_failures_total", &[("reason", "attach")])?;
        ensure!(failures == 1, "{failures} failures");
        let waiting = page.count("netmon_attach_waiting_interfaces", &[])?;
        ensure!(waiting == 0, "{waiting} wait");
        slots(page)
    })?;
    ensure!(used == 2, "{used} slots are taken a moment after the failure");
    ensure!(filters(&a.netns, DEVICE)? == 0, "half of it is left");
    netmon.page_until("the slot to be free", |page| {
        let used = slots(page)?;
        ensure!(used == 1, "{used} slots are taken");
        Ok(())
    })
}

#[test]
fn programs_that_are_out_of_sight_count_for_nobody_else() -> anyhow::Result<()> {
    for mode in modes()? {
        out_of_sight(mode).context(mode)?;
    }
    Ok(())
}

fn out_of_sight(mode: &str) -> anyhow::Result<()> {
    let mut world = World::new()?;
    LATE.clone_into(&mut world.times);
    let (a, b) = world.pair(Cable::Bridge)?;
    let c = single(&mut world)?;
    // netmon sees either `a` and `b`, or `c`.
    let (directory, elsewhere) = (world.netns_dir(), world.scratch.path().join("others"));
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation=slave"])
        .arg(binary()?)
        .args(world.flags(&[&format!("--bpf.attach={mode}")]));
    let netmon = world.spawn(&command)?;
    let in_sight = |command: &str| sh::run(&format!("nsenter --target {} --mount {command}", netmon.pid()));
    ready(&netmon, 2)?;
    agree(&netmon, &a, "net")?;

    in_sight(&format!(
        "mount --rbind {} {}",
        elsewhere.display(),
        directory.display()
    ))?;
    world.engine.start_container(Container {
        sandbox: directory.join("cccccccccccc"),
        ..c.container("net")?
    });
    netmon
        .page_until("the third to have programs", |page| {
            page.one("netmon_container_info", &[("container", "a"), ("state", "pending")])?;
            let (used, waiting) = (slots(page)?, page.count("netmon_attach_waiting_interfaces", &[])?);
            let has_programs = if mode == "clsact" {
                filters(&c.netns, DEVICE)? == 2
            } else {
                used == 1
            };
            ensure!(waiting == 0 && has_programs, "{waiting} wait, {used} slots are taken");
            Ok(())
        })
        .with_context(|| format!("netmon's log:\n{}", netmon.log()))?;
    quiet(&[&c])?;
    let (page, before) = agree(&netmon, &c, "net")?;
    let counted = segments(&page, "c")?;
    traffic::ping(&a.netns, b.address, 200)?;
    traffic::tcp(&a.netns, &b.netns, b.address, 1_000_000)?;
    let (page, after) = agree(&netmon, &c, "net")?;
    let now = segments(&page, "c")?;
    ensure!(
        before == after && now == counted,
        "what others sent is counted: {counted:?} segments, and then {now:?}"
    );
    // Filters stay on devices that netmon does not see, and those count into their slots.
    let stay = if mode == "clsact" { 2 } else { 0 };
    ensure!(slots(&page)? == stay + 1, "{} slots are taken", slots(&page)?);

    in_sight(&format!("umount -l {}", directory.display()))?;
    // Now `c` is out of sight.
    netmon
        .page_until("the others to have programs again", |page| {
            page.one("netmon_container_info", &[("container", "c"), ("state", "pending")])?;
            let (used, waiting) = (slots(page)?, page.count("netmon_attach_waiting_interfaces", &[])?);
            ensure!(waiting == 0, "{waiting} wait");
            ensure!(used == stay / 2 + 2, "{used} slots are taken");
            Ok(())
        })
        .with_context(|| format!("netmon's log:\n{}", netmon.log()))?;
    if mode == "clsact" {
        let of_each = [
            filters(&a.netns, DEVICE)?,
            filters(&b.netns, DEVICE)?,
            filters(&c.netns, DEVICE)?,
        ];
        ensure!(of_each == [2, 2, 2], "{of_each:?} filters are on the devices");
    }
    agree(&netmon, &a, "net")?;
    world.engine.end_container("c");
    c.netns.run(&format!("ip link del {DEVICE}"))?;
    netmon.page_until("its slot to be free", |page| {
        let used = slots(page)?;
        ensure!(used == 2, "{used} slots are taken");
        Ok(())
    })
}

#[test]
fn two_netmons_with_filters_leave_each_others_alone_and_remove_those_of_a_dead_one() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.sees_node = true;
    world.times = format!("{},{CHECK}", world.times);
    let (a, b) = world.pair(Cable::Vxlan)?;
    let node = world.node()?;
    // A netmon whose process ids are its own sees no process of another one.
    let start = |runner: &str| {
        let mut words = runner.split_whitespace();
        let mut command = Command::new(words.next().context("no command")?);
        command
            .args(words)
            .arg(binary()?)
            .args(world.flags(&["--bpf.attach=clsact"]));
        let netmon = world.spawn(&command)?;
        // Of `a`, of the tunnel, and of `b`, whose namespace is among the watched ones.
        ready(&netmon, 3)?;
        Ok::<_, anyhow::Error>(netmon)
    };
    let counts = |netmons: &[&Netmon], when: &str| -> anyhow::Result<()> {
        each_counts(netmons, &a, &b).context(when.to_owned())?;
        let on = (filters(&a.netns, DEVICE)?, filters(node, "under0")?);
        let wanted = 2 * netmons.len();
        ensure!(
            on == (wanted, wanted),
            "{when}: filters on the devices are {on:?}, not {wanted}"
        );
        Ok(())
    };
    let (first, second) = (start("unshare --uts")?, start("unshare --uts")?);
    counts(&[&first, &second], "side by side")?;
    first.kill()?;
    let third = start("unshare --pid --fork --kill-child --mount-proc")?;
    counts(&[&second, &third], "beside the next after one that was killed")?;
    drop(second);
    counts(&[&third], "alone")?;
    drop(third);
    counts(&[], "all have ended")
}

#[test]
fn filters_of_an_older_netmon_stay_while_it_runs_and_go_when_it_does_not() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    for member in [&a, &b] {
        older::attach(&member.netns, DEVICE)?;
    }
    let on_each = || -> anyhow::Result<_> { Ok([filters(&a.netns, DEVICE)?, filters(&b.netns, DEVICE)?]) };
    let older = older::Running::start(&world.home)?;
    {
        let netmon = world.netmon(&["--bpf.attach=clsact"])?;
        ready(&netmon, 2)?;
        agree(&netmon, &a, "net")?;
        let beside = on_each()?;
        ensure!(
            beside == [4, 4],
            "{beside:?} filters are on the devices, which is not two each"
        );
    }
    let alone = on_each()?;
    ensure!(
        alone == [2, 2],
        "of the older netmon alone, {alone:?} filters are on the devices"
    );
    drop(older);
    let netmon = world.netmon(&["--bpf.attach=clsact"])?;
    ready(&netmon, 2)?;
    agree(&netmon, &b, "net")?;
    let swept = on_each()?;
    ensure!(
        swept == [2, 2],
        "{swept:?} filters are on the devices: those of the dead one are left"
    );
    Ok(())
}

/// How many interfaces have their counters in one array.
const ARRAY: u64 = 64;

#[test]
fn more_interfaces_than_one_array_has_room_for_are_counted_each_for_itself() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let _crowd = crowd(&world, "crowd")?;
    let netmon = world.netmon(&[])?;
    // An emulated machine takes a second for each.
    for least in (0..=ARRAY).step_by(16) {
        netmon.page_until("the first array to be full", |page| {
            let used = slots(page)?;
            ensure!(used >= least, "{used} slots are taken");
            Ok(())
        })?;
    }
    let (a, b) = world.pair(Cable::Bridge)?;
    ready(&netmon, ARRAY + 2)?;
    each_counts(&[&netmon], &a, &b)?;
    // Whatever has the same place in the first array has counted nothing.
    let labels = [("container", "crowd")];
    let page = netmon.page()?;
    let rows = page.all("netmon_container_network_transmit_segments_total", &labels);
    ensure!(!rows.is_empty(), "the crowd has no rows");
    ensure!(rows.iter().all(|row| row.value == 0.0), "{rows:?}");
    Ok(())
}

/// A container with as many devices as an array has room for.
fn crowd(world: &World, name: &str) -> anyhow::Result<Netns> {
    let netns = world.sandbox("dddddddddddd")?;
    // These devices send nothing by themselves.
    netns.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")?;
    let cables = (0..ARRAY / 2).map(|number| {
        format!("link add x{number} type veth peer name y{number}\nlink set x{number} up\nlink set y{number} up\n")
    });
    let batch = world.scratch.path().join(name);
    std::fs::write(&batch, cables.collect::<String>())?;
    netns.run(&format!("ip -batch {}", batch.display()))?;
    let devices = (0..ARRAY / 2).flat_map(|number| [format!("x{number}"), format!("y{number}")]);
    let endpoints = devices.enumerate().map(|(number, device)| {
        let network = format!("net{number}");
        world.engine.network(Network {
            name: network.clone(),
            driver: "bridge".to_owned(),
            subnet: format!("10.78.{number}.0/24"),
            vni: None,
            encrypted: false,
        });
        Ok(Endpoint {
            network,
            mac: netns.mac(&device)?,
            address: format!("10.78.{number}.2"),
            ipv6_address: String::new(),
        })
    });
    world.engine.start_container(Container {
        name: name.to_owned(),
        sandbox: netns.path().to_path_buf(),
        labels: compose_labels("", name),
        network_mode: "default".to_owned(),
        endpoints: endpoints.collect::<anyhow::Result<_>>()?,
    });
    Ok(netns)
}

/// Checks, for longer than twice the time in which netmon checks its programs, that each netmon counts everything with its
/// own.
fn each_counts(netmons: &[&Netmon], a: &Member, b: &Member) -> anyhow::Result<()> {
    quiet(&[a, b])?;
    let look = |netmon: &Netmon| -> anyhow::Result<_> {
        let (page, figures) = agree(netmon, a, "net")?;
        Ok((segments(&page, "a")?, figures))
    };
    let before = netmons.iter().map(|it| look(it)).collect::<anyhow::Result<Vec<_>>>()?;
    for _ in 0..4 {
        traffic::tcp(&a.netns, &b.netns, b.address, 1_000_000)?;
        for netmon in netmons {
            netmon.page()?;
        }
        thread::sleep(Duration::from_secs(1));
    }
    quiet(&[a, b])?;
    let mut all = Vec::new();
    for (netmon, (counted, figures)) in netmons.iter().zip(before) {
        let (now, later) = look(netmon)?;
        let [received, sent] = [now[0] - counted[0], now[1] - counted[1]];
        ensure!(
            sent > later.since(figures).transmit_packets,
            "{sent} segments in {:?}: super-packets are not seen through",
            later.since(figures)
        );
        all.push([received, sent]);
        // This also tells of the node's devices.
        let detached = netmon
            .page()?
            .count("netmon_attach_failures_total", &[("reason", "detached")])?;
        ensure!(detached == 0, "{detached} devices were found bare:\n{}", netmon.log());
    }
    ensure!(all.iter().all(|it| *it == all[0]), "they count {all:?} segments");
    Ok(())
}

/// A container with a device, of which the engine says nothing yet. netmon does not see it.
fn single(world: &mut World) -> anyhow::Result<Member> {
    let netns = Netns::new(&world.scratch.path().join("others"), "cccccccccccc")?;
    let far = world.other("far")?;
    far.run(&format!(
        "ip link add far type veth peer name {DEVICE} netns {}",
        netns.path().display()
    ))?;
    far.run("ip link set far up")?;
    netns.run(&format!("ip link set {DEVICE} up"))?;
    netns.run(&format!("ip addr add 10.77.0.3/24 dev {DEVICE}"))?;
    netns.passes(DEVICE)?;
    Ok(Member {
        name: "c".to_owned(),
        netns,
        address: "10.77.0.3".parse()?,
        ipv6_address: "fd77::3".parse()?,
    })
}

/// How many slots are not free.
fn slots(page: &Page) -> anyhow::Result<u64> {
    page.count("netmon_bpf_map_entries", &[("map", "TRAFFIC")])
}

/// The segments that a container received, and those that it sent.
fn segments(page: &Page, container: &str) -> anyhow::Result<[u64; 2]> {
    let labels = [("container", container), ("network", "net")];
    Ok([
        page.count("netmon_container_network_receive_segments_total", &labels)?,
        page.count("netmon_container_network_transmit_segments_total", &labels)?,
    ])
}
