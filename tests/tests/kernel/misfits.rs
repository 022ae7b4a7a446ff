//! The host is not what netmon thinks: directories, namespaces and sockets that are others than those it was given. One
//! sentence in the log names the cause and the remedy.

use std::{
    fs::{self, File},
    os::unix::{fs::symlink, net::UnixListener},
    process::Command,
    time::Duration,
};

use anyhow::ensure;
use netmon_tests::{
    netmon::{Netmon, binary},
    page::Page,
    patience::until,
    sh, traffic,
};

use crate::world::{Cable, World, agree, ready};

#[test]
fn files_that_are_no_namespaces_are_passed_over_and_what_should_be_one_is_named() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.times.push_str(",namespace-patience=100ms,program-check=200ms");
    let (a, b) = world.pair(Cable::Bridge)?;
    let folder = world.netns_dir();
    File::create(folder.join("plain"))?;
    fs::create_dir(folder.join("folder"))?;
    symlink("/no/such/file", folder.join("dangling"))?;
    // A namespace, but not a network namespace.
    let other = File::create(folder.join("uts")).map(|_| folder.join("uts"))?;
    sh::output(Command::new("mount").args(["--bind", "/proc/self/ns/uts"]).arg(&other))?;
    let _unmounted = Unmount(&other);

    let netmon = world.netmon(&[])?;
    // What no container claims is no fault.
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 5)?;
    agree(&netmon, &a, "net")?;
    agree(&netmon, &b, "net")?;
    ensure!(missing(&netmon.page()?, "not_mounted")? == 0, "something is missing");

    let mut claims = b.container("net")?;
    claims.name = "claims-a-plain-file".to_owned();
    claims.sandbox = folder.join("plain");
    world.engine.start_container(claims);
    netmon.page_until("the plain file to be reported", |page| {
        ensure!(missing(page, "not_mounted")? == 1, "it is not");
        Ok(())
    })?;
    says_once(&netmon, "rslave")?;
    let page = netmon.page()?;
    page.one(
        "netmon_container_info",
        &[("container", "claims-a-plain-file"), ("state", "pending")],
    )?;
    agree(&netmon, &a, "net").map(drop)
}

#[test]
fn a_directory_that_is_not_the_engines_is_named_and_netmon_is_not_ready() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.times.push_str(",namespace-patience=100ms,program-check=200ms");
    world.pair(Cable::Bridge)?;
    let engines = world.netns_dir();
    let empty = world.scratch.path().join("empty");
    fs::create_dir(&empty)?;
    for (directory, reason) in [
        (empty, "no_file"),
        (world.scratch.path().join("nowhere"), "no_directory"),
    ] {
        let mut flags = world.flags(&[]);
        flags.retain(|flag| !flag.starts_with("--docker.netns-dir="));
        flags.push(format!("--docker.netns-dir={}", directory.display()));
        let mut command = Command::new(binary()?);
        command.args(flags);
        let netmon = world.spawn(&command)?;
        netmon.page_until("the containers to be missed", |page| {
            ensure!(missing(page, reason)? == 2, "{reason}: they are not");
            Ok(())
        })?;
        says_once(&netmon, "--docker.netns-dir")?;
        let ready = netmon.get("/-/ready")?;
        let text = ready.text();
        ensure!(ready.status == 503, "it is ready: {text}");
        for word in [
            &*engines.to_string_lossy(),
            &*directory.to_string_lossy(),
            "2 running containers",
        ] {
            ensure!(text.contains(word), "it does not say {word}: {text}");
        }
    }
    Ok(())
}

#[test]
fn a_directory_that_cannot_be_read_is_named_and_nothing_else_is_blamed() -> anyhow::Result<()> {
    let world = World::new()?;
    // netmon is root, so a folder without permissions would be read.
    let file = world.scratch.path().join("a file");
    File::create(&file)?;
    let mut flags = world.flags(&[]);
    flags.retain(|flag| !flag.starts_with("--docker.netns-dir="));
    flags.push(format!("--docker.netns-dir={}", file.display()));
    let mut command = Command::new(binary()?);
    command.args(flags);
    let netmon = world.spawn(&command)?;
    says_once(&netmon, "cannot list the engine's namespaces")?;
    let log = netmon.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    ensure!(warnings.len() == 1, "{warnings:#?}");
    let ready = netmon.get("/-/ready")?;
    ensure!(
        ready.status == 503 && ready.text().contains("--docker.netns-dir cannot be read"),
        "{}: {}",
        ready.status,
        ready.text()
    );
    Ok(())
}

#[test]
fn a_netmon_that_is_not_in_the_nodes_namespace_says_what_it_lacks() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Vxlan)?;
    // netmon's own namespace is a container's.
    let own = File::create(world.netns_dir().join("cccccccccccc")).map(|_| world.netns_dir().join("cccccccccccc"))?;
    sh::output(Command::new("mount").arg("--bind").arg(world.home.path()).arg(&own))?;
    let _unmounted = Unmount(&own);
    let netmon = world.netmon(&[])?;
    netmon.page_until("containers to be counted all the same", |page| {
        let observed = page.count("netmon_containers", &[("state", "observed")])?;
        ensure!(observed == 2, "{observed} are");
        Ok(())
    })?;
    says_once(&netmon, "--path.node-netns")?;
    let ready = netmon.get("/-/ready")?;
    ensure!(
        ready.status == 503 && ready.text().contains("--network host"),
        "{}: {}",
        ready.status,
        ready.text()
    );
    let page = netmon.page()?;
    for collector in ["sockets", "buffers", "overlay"] {
        let success = page.count("netmon_scrape_collector_success", &[("collector", collector)])?;
        ensure!(success == 0, "{collector} lacks nothing");
    }
    traffic::ping(&a.netns, b.address, 5)?;
    agree(&netmon, &a, "net").map(drop)
}

#[test]
fn tunnels_to_nodes_without_a_route_are_not_counted_and_it_is_said() -> anyhow::Result<()> {
    let mut world = World::new()?;
    // netmon takes its own namespace for the node's, from where no route leads to the other node.
    world.pair(Cable::Vxlan)?;
    let netmon = world.netmon(&[])?;
    until("the log to say so", || {
        ensure!(
            netmon.log().contains("no device leads to the other nodes"),
            "{}",
            netmon.log()
        );
        Ok(())
    })?;
    let success = netmon
        .page()?
        .count("netmon_scrape_collector_success", &[("collector", "overlay")])?;
    ensure!(success == 0, "overlay lacks nothing");
    Ok(())
}

/// Running containers whose namespaces are missing for that reason.
fn missing(page: &Page, reason: &str) -> anyhow::Result<u64> {
    page.count("netmon_missing_namespaces", &[("reason", reason)])
}

/// Checks that the log gets one warning with that word, and no second one.
fn says_once(netmon: &Netmon, word: &str) -> anyhow::Result<()> {
    let warnings = || {
        let log = netmon.log();
        let lines = log.lines().filter(|line| line.contains("WARN") && line.contains(word));
        lines.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    until("the log to say so", || {
        ensure!(!warnings().is_empty(), "no {word}: {}", netmon.log());
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(1));
    let warnings = warnings();
    ensure!(warnings.len() == 1, "{warnings:?}");
    Ok(())
}

#[test]
fn a_socket_that_the_engine_no_longer_has_makes_netmon_unhealthy() -> anyhow::Result<()> {
    let world = World::new()?;
    let (real, bound) = (world.scratch.path().join("real"), world.scratch.path().join("bound"));
    drop(UnixListener::bind(&real)?);
    File::create(&bound)?;
    sh::output(Command::new("mount").arg("--bind").args([&real, &bound]))?;
    let _unmounted = Unmount(&bound);
    let mut command = Command::new(binary()?);
    command.arg(format!("--docker.host=unix://{}", bound.display()));
    let netmon = world.spawn(&command)?;
    until("the silence to be noticed", || {
        let ready = netmon.get("/-/ready")?.text();
        ensure!(ready.contains("started again"), "{ready}");
        Ok(())
    })?;
    // The engine may be back.
    ensure!(netmon.get("/-/healthy")?.status == 200, "it is unhealthy");
    fs::remove_file(&real)?;
    until("the old socket to be noticed", || {
        let healthy = netmon.get("/-/healthy")?;
        let text = healthy.text();
        ensure!(
            healthy.status == 503 && text.contains("docker restart"),
            "{}: {text}",
            healthy.status
        );
        Ok(())
    })
}

struct Unmount<'a>(&'a std::path::Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        drop(sh::output(Command::new("umount").arg(self.0)));
    }
}
