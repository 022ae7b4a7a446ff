//! Bad input. It causes a clear sentence or a counted error, never a panic and never a wrong number.

use std::{
    ffi::OsStr,
    fs::{self, File},
    net::TcpListener,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    netmon::{Netmon, binary},
    page::Page,
    patience::until,
    prometheus, sh, traffic,
};

use crate::world::{Cable, DEVICE, World, agree, ready};

#[test]
fn without_root_it_says_what_is_missing() -> anyhow::Result<()> {
    let world = World::new()?;
    // Copied to a folder where any user may run it.
    let copy = world.scratch.path().join("netmon");
    fs::copy(binary()?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    let output = run(Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .arg("--web.listen-address=127.0.0.1:0"))?;
    refuses(&output, 1, &["root", "CAP_SYS_ADMIN"])
}

#[test]
fn what_it_does_not_understand_is_usage() -> anyhow::Result<()> {
    for (flag, word) in [
        ("--collector.magic", "--collector.magic"),
        ("--container.linger=never", "never"),
        ("--web.telemetry-path=metrics", "metrics"),
        ("--limit.interfaces=0", "0"),
        ("--bpf.attach=kprobe", "kprobe"),
    ] {
        let output = run(Command::new(binary()?).arg(flag))?;
        refuses(&output, 2, &[word])?;
    }
    Ok(())
}

#[test]
fn a_taken_port_is_named() -> anyhow::Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = run(Command::new(binary()?).arg(format!("--web.listen-address={address}")))?;
    refuses(&output, 1, &[&address, "in use"])
}

#[test]
fn an_engine_address_that_makes_no_sense_is_named() -> anyhow::Result<()> {
    let output = run(Command::new(binary()?).args(["--web.listen-address=127.0.0.1:0", "--docker.host=gopher://x"]))?;
    refuses(&output, 1, &["gopher://x"])
}

#[test]
fn without_an_engine_it_serves_and_says_so() -> anyhow::Result<()> {
    let world = World::new()?;
    let mut command = Command::new(binary()?);
    command.arg("--docker.host=unix:///run/no-such.sock");
    let netmon = world.spawn(&command)?;
    let page = netmon.page()?;
    ensure!(page.count("netmon_docker_up", &[])? == 0, "the engine is up");
    let ready = netmon.get("/-/ready")?;
    ensure!(ready.status == 503 && ready.text().contains("engine"), "{ready:?}");
    until("the log to say so", || {
        ensure!(netmon.log().contains("/run/no-such.sock"), "{}", netmon.log());
        Ok(())
    })
}

#[test]
fn an_engine_that_answers_rubbish_costs_no_counting() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let errors = || netmon.page()?.count("netmon_docker_decode_errors_total", &[]);
    ensure!(errors()? == 0, "errors before anything was wrong");

    // Lines that are not events are counted, and the stream continues.
    for line in ["{", "[]", "7", "\"x\"", "{\"Type\":7}", "\u{0}\u{1}"] {
        world.engine.send_line(line);
    }
    netmon.page_until("the rubbish to be counted", |page| {
        let count = page.count("netmon_docker_decode_errors_total", &[])?;
        ensure!(count == 6, "{count} of 6 are counted");
        ensure!(page.count("netmon_docker_up", &[])? == 1, "the engine is down");
        Ok(())
    })?;

    // Answers that are not lists, while netmon asks the engine for everything again.
    for path in ["/containers/json", "/networks", "/info", "/version"] {
        world.engine.answer(path, b"<html>\xff\xfe</html>");
    }
    world.engine.hang_up();
    netmon.page_until("the engine to be down", |page| {
        ensure!(page.count("netmon_docker_up", &[])? == 0, "it is up");
        Ok(())
    })?;
    traffic::ping(&a.netns, b.address, 20)?;
    agree(&netmon, &a, "net")?;

    world.engine.answer_rightly();
    netmon.page_until("the engine to be up again", |page| {
        ensure!(page.count("netmon_docker_up", &[])? == 1, "it is down");
        ensure!(
            page.count("netmon_docker_reconnects_total", &[])? >= 1,
            "nothing was reconnected"
        );
        Ok(())
    })?;
    traffic::ping(&a.netns, b.address, 20)?;
    agree(&netmon, &a, "net").map(drop)
}

#[test]
fn one_container_that_makes_no_sense_costs_only_itself() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let mut odd = b.container("net")?;
    odd.name = "odd".to_owned();
    let path = format!("/containers/{}/json", odd.id());
    world.engine.answer(&path, b"{\"Id\": \"\xff\", \"Name\": [}");
    world.engine.start_container(odd);
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 20)?;
    agree(&netmon, &a, "net")?;
    netmon.page_until("the odd one to be counted", |page| {
        ensure!(page.count("netmon_docker_decode_errors_total", &[])? >= 1, "it is not");
        Ok(())
    })
}

#[test]
fn hostile_names_stay_label_values() -> anyhow::Result<()> {
    const HOSTILE: &str = "quote\" back\\slash new\nline } 1 # {";
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    world.engine.end_container("a");
    let mut hostile = a.container("net")?;
    for label in hostile.labels.values_mut() {
        *label = HOSTILE.to_owned();
    }
    world.engine.start_container(hostile);
    // A name that is not UTF-8, and whose other characters would end a label's value.
    sh::output(
        b.netns
            .command("ip link add")
            .arg(OsStr::from_bytes(b"\xff\"\\{}"))
            .args(["type", "veth", "peer", "name", "peer"]),
    )?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 5)?;
    let (page, _) = agree(&netmon, &a, "net")?;
    page.one(
        "netmon_container_network_receive_packets_total",
        &[
            ("container", "a"),
            ("service", HOSTILE),
            ("stack", HOSTILE),
            ("interface", DEVICE),
        ],
    )?;
    agree(&netmon, &b, "net")?;
    prometheus::check_metrics(&netmon.get("/metrics")?.body)
}

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
fn with_no_slot_left_packets_are_still_counted_and_it_is_said() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&["--limit.interfaces=1"])?;
    netmon.page_until("one interface to be refused", |page| {
        ensure!(
            page.count("netmon_attach_failures_total", &[("reason", "full")])? >= 1,
            "none is"
        );
        ensure!(
            page.count("netmon_bpf_map_max_entries", &[("map", "TRAFFIC")])? == 1,
            "there is more room"
        );
        Ok(())
    })?;
    traffic::ping(&a.netns, b.address, 20)?;
    agree(&netmon, &a, "net")?;
    agree(&netmon, &b, "net").map(drop)
}

struct Unmount<'a>(&'a std::path::Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        drop(sh::output(Command::new("umount").arg(self.0)));
    }
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be run", command.get_program().display()))
}

/// Checks that the process ended with that status and printed these words, without a panic.
fn refuses(output: &Output, status: i32, words: &[&str]) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(status), "{}: {text}", output.status);
    for word in words {
        ensure!(text.contains(word), "it does not say {word}: {text}");
    }
    ensure!(!text.contains("panicked"), "{text}");
    Ok(())
}
