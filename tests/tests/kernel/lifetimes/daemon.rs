//! The end of netmon itself, and what the next netmon goes on with.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    figures::Figures,
    netmon::{Netmon, binary, innermost},
    patience::{slowness, until},
    sh, traffic,
};

use crate::world::{Cable, DEVICE, World, agree, filters, modes, quiet, ready};

/// The kernel ignores a signal that process 1 of a container does not handle. `docker stop` would wait 10 s and kill it.
#[test]
fn a_signal_while_it_starts_ends_it_also_as_process_1() -> anyhow::Result<()> {
    let world = World::new()?;
    let log = world.scratch.path().join("log");
    let file = File::create(&log)?;
    let mut netmon = world
        .home
        .command("unshare --pid --fork --kill-child --mount-proc")
        .arg(binary()?)
        .args(world.flags(&["--web.listen-address=127.0.0.1:0", "--log.level=debug"]))
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let mut ended = || -> anyhow::Result<_> {
        until("it to load its programs", || {
            ensure!(said().contains("kernel programs loaded"), "{}", said());
            Ok(())
        })?;
        sh::run(&format!("kill -TERM {}", innermost(netmon.id())?))?;
        until("it to end", || netmon.try_wait()?.context("it runs on"))
    };
    let status = ended();
    drop(netmon.kill());
    netmon.wait()?;
    ensure!(status?.success(), "it failed: {}", said());
    Ok(())
}

#[test]
fn a_killed_netmon_leaves_nothing_and_the_next_goes_on_counting() -> anyhow::Result<()> {
    for mode in modes()? {
        let flag = format!("--bpf.attach={mode}");
        let mut world = World::new()?;
        let (a, b) = world.pair(Cable::Bridge)?;
        let netmon = world.netmon(&[&flag])?;
        ready(&netmon, 2)?;
        let programs = netmon.programs()?;
        ensure!(programs.loaded()?.len() == 4, "{:?} are loaded", programs.loaded()?);
        traffic::ping(&a.netns, b.address, 50)?;
        let (_, first) = agree(&netmon, &a, "net")?;
        netmon.kill()?;
        if mode == "tcx" {
            until("the killed netmon's programs to go", || {
                let left = programs.loaded()?;
                ensure!(left.is_empty(), "{left:?} are loaded");
                Ok(())
            })?;
        }
        traffic::ping(&a.netns, b.address, 50)?;
        let netmon = world.netmon(&[&flag])?;
        ready(&netmon, 2)?;
        let (_, second) = agree(&netmon, &a, "net")?;
        ensure!(
            second.since(first).transmit_packets >= 50,
            "{mode}: what passed in between is missing: {second:?} after {first:?}"
        );
        if mode == "clsact" {
            ensure!(filters(&a.netns, DEVICE)? == 2, "filters of the killed netmon are left");
        }
        let second = netmon.programs()?;
        drop(netmon);
        until("both netmons' programs to go", || {
            for programs in [&programs, &second] {
                let left = programs.loaded()?;
                ensure!(left.is_empty(), "{mode}: {left:?} are loaded");
            }
            Ok(())
        })?;
        ensure!(filters(&a.netns, DEVICE)? == 0, "{mode}: filters are left");
    }
    Ok(())
}

/// Prometheus takes a counter that starts at 0 for a reset. It would take one that starts below its last value for a
/// reset and a jump.
#[test]
fn what_only_netmon_knows_begins_at_nothing_with_the_next_netmon() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let netmon = world.netmon(&[])?;
    netmon.wait_ready()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    ready(&netmon, 2)?;
    traffic::tcp(&a.netns, &b.netns, b.address, 5_000_000)?;
    quiet(&[&a, &b])?;
    let look = |netmon: &Netmon| -> anyhow::Result<(Figures, Figures, u64)> {
        let (page, figures) = agree(netmon, &a, "net")?;
        let labels = [("service", "shop_web"), ("stack", "shop"), ("network", "net")];
        let segments = page.count(
            "netmon_container_network_transmit_segments_total",
            &[("container", "a"), ("network", "net")],
        )?;
        Ok((figures, page.figures("netmon_service_network", &labels)?, segments))
    };
    let (figures, service, segments) = look(&netmon)?;
    ensure!(
        service.transmit_packets == figures.transmit_packets + b.figures()?.transmit_packets
            && segments > figures.transmit_packets,
        "the service sent {service:?}, and a {figures:?} in {segments} segments"
    );
    netmon.kill()?;
    traffic::ping(&a.netns, b.address, 50)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let (figures, service, segments) = look(&netmon)?;
    ensure!(
        service.transmit_packets < 20 && segments < 20,
        "the next netmon begins with {service:?} and {segments} segments"
    );
    traffic::ping(&a.netns, b.address, 30)?;
    let (now, now_service, now_segments) = look(&netmon)?;
    let (more, more_service) = (now.since(figures), now_service.since(service));
    ensure!(
        more_service.transmit_packets == 60 && more.transmit_packets == 30 && now_segments - segments == 30,
        "30 pings and their answers are {more_service:?} of the service, {more:?} and {} segments of a",
        now_segments - segments
    );
    Ok(())
}

#[test]
fn told_to_end_it_ends_before_the_clients_that_keep_their_connections() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let _pair = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let idle = netmon.connect()?;
    let mut slow = netmon.connect()?;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")?;
    // Both are connected, and netmon has sent nothing to either.
    for stream in [&idle, &slow] {
        stream.set_nonblocking(true)?;
        let heard = stream.peek(&mut [0]).map_err(|error| error.kind());
        ensure!(heard == Err(ErrorKind::WouldBlock), "the connection gave {heard:?}");
    }
    let (status, took) = netmon.terminate()?;
    ensure!(status.success(), "it ended with {status}");
    // netmon closes such connections by itself only after ten seconds. `cargo xtask bench scale` measures how long it
    // takes to end.
    ensure!(
        took < Duration::from_secs(5) * slowness(),
        "it waited for them: it ended after {took:?}"
    );
    Ok(())
}
