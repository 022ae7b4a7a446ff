//! Bad input. It causes a clear sentence or a counted error, never a panic and never a wrong number.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, ensure};
use netmon_tests::{netmon::binary, patience::until, prometheus, sh, traffic};

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
    let refusals = until("it to be refused three times", || {
        let log = netmon.log();
        let refusals = log
            .lines()
            .filter(|line| line.contains("no room for another interface"));
        let refusals: Vec<_> = refusals.map(str::to_owned).collect();
        ensure!(refusals.len() >= 3, "{refusals:?}");
        Ok(refusals)
    })?;
    let warnings = refusals.iter().filter(|line| line.contains(" WARN ")).count();
    ensure!(warnings == 1, "{refusals:?}");
    traffic::ping(&a.netns, b.address, 20)?;
    agree(&netmon, &a, "net")?;
    agree(&netmon, &b, "net").map(drop)
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

#[test]
fn what_a_kernel_without_types_lacks_is_no_fault() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg("mount -t tmpfs none /sys/kernel/btf && exec \"$0\" \"$@\"")
        .arg(binary()?)
        .args(world.flags(&[]));
    let netmon = world.spawn(&command)?;
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 20)?;
    let (page, _) = agree(&netmon, &a, "net")?;
    for (collector, expected) in [("drops", 0), ("tcp", 0), ("traffic", 1), ("sockets", 1)] {
        for family in ["success", "supported"] {
            let family = format!("netmon_scrape_collector_{family}");
            let said = page.count(&family, &[("collector", collector)])?;
            ensure!(said == expected, "{family} of {collector} is {said}: {}", netmon.log());
        }
    }
    let is_warning = |line: &&str| line.contains(" WARN ") && line.contains("CONFIG_DEBUG_INFO_BTF");
    let warned = netmon.log().lines().filter(is_warning).count();
    ensure!(warned == 1, "{warned} warnings: {}", netmon.log());
    Ok(())
}
