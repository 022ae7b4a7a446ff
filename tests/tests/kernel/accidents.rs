//! Faults that something else causes for netmon: detached programs, namespaces that become invisible, no descriptors,
//! a full disk under the log, no memory. For each, what netmon counts and what it reports.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    figures::Figures,
    netmon::{Programs, binary},
    netns::Netns,
    page::Page,
    patience::until,
    sh, traffic,
};

use crate::world::{Cable, DEVICE, World, agree, modes, quiet, ready};

/// How often netmon checks its programs in these tests.
pub(crate) const CHECK: &str = "program-check=1s";

#[test]
fn programs_that_somebody_takes_off_are_attached_anew_and_no_packet_is_missed() -> anyhow::Result<()> {
    for mode in modes()? {
        let mut world = World::new()?;
        world.times = format!("{},{CHECK}", world.times);
        let (a, b) = world.pair(Cable::Bridge)?;
        let netmon = world.netmon(&[&format!("--bpf.attach={mode}")])?;
        ready(&netmon, 2)?;
        traffic::tcp(&a.netns, &b.netns, b.address, 1_000_000)?;
        agree(&netmon, &a, "net")?;
        let before = segments(&netmon.page()?)?;
        let programs = netmon.programs()?;
        let old = take_off(mode, &programs, [&a.netns, &b.netns])?;
        ensure!(old.len() == 4, "{mode}: {} programs were on", old.len());
        traffic::ping(&a.netns, b.address, 20)?;
        agree(&netmon, &a, "net")?;
        until("programs to be on again", || {
            netmon.page()?;
            let new = programs.loaded()?.difference(&old).count();
            ensure!(new == 4, "{new} are");
            Ok(())
        })
        .with_context(|| format!("{mode}: netmon's log:\n{}", netmon.log()))?;
        netmon.page_until("it to be said", |page| {
            let failures = page.count("netmon_attach_failures_total", &[("reason", "detached")])?;
            ensure!(failures == 2, "{failures} interfaces were found bare");
            Ok(())
        })?;
        ensure!(
            netmon.log().contains("programs were detached by somebody else"),
            "{}",
            netmon.log()
        );
        // The programs did not see these packets, so their segments are unknown. A ping is one segment.
        let between = segments(&netmon.page()?)?;
        let (_, figures) = agree(&netmon, &a, "net")?;
        ensure!(
            between >= before + 20,
            "{mode}: {between} segments after 20 pings, {before} before them"
        );
        traffic::tcp(&a.netns, &b.netns, b.address, 5_000_000)?;
        quiet(&[&a, &b])?;
        let (page, now) = agree(&netmon, &a, "net")?;
        let (packets, more) = (now.since(figures).transmit_packets, segments(&page)? - between);
        ensure!(
            more > packets,
            "{mode}: {more} segments in {packets} packets: super-packets are not seen through"
        );
        agree(&netmon, &b, "net")?;
    }
    Ok(())
}

#[test]
fn namespaces_that_are_out_of_sight_for_a_while_go_on_exactly_when_they_are_back() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let directory = world.netns_dir().display().to_string();
    // As in the engine's folder: mounts that are made later propagate to other mount namespaces.
    sh::run(&format!("mount --bind {directory} {directory}"))?;
    let _unmount = Unmount(directory.clone());
    sh::run(&format!("mount --make-shared {directory}"))?;
    let flags = world.flags(&["--container.linger=8s"]);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation=slave"])
        .arg(binary()?)
        .args(flags);
    let netmon = world.spawn(&command)?;
    netmon.wait_ready()?;
    // The containers start after netmon. So the service's sum includes them from their first packet.
    let (a, b) = world.pair(Cable::Bridge)?;
    ready(&netmon, 2)?;
    let in_sight = |command: &str| sh::run(&format!("nsenter --target {} --mount {command}", netmon.pid()));
    let service = |page: &Page| {
        let labels = [("service", "shop_web"), ("stack", "shop"), ("network", "net")];
        page.figures("netmon_service_network", &labels)
    };
    traffic::ping(&a.netns, b.address, 20)?;
    quiet(&[&a, &b])?;
    agree(&netmon, &b, "net")?;
    let (page, _) = agree(&netmon, &a, "net")?;
    let sum = |a: Figures, b: Figures| a.transmit_packets + b.transmit_packets;
    ensure!(
        service(&page)?.transmit_packets == sum(a.figures()?, b.figures()?),
        "the service's sum is not its containers'"
    );
    for (what, pause) in [("for a moment", 0), ("for longer than anything lingers", 10)] {
        in_sight(&format!("mount -t tmpfs none {directory}"))?;
        netmon
            .page_until("the containers to be without a namespace", |page| {
                page.one("netmon_container_info", &[("container", "a"), ("state", "pending")])?;
                Ok(())
            })
            .context(what)?;
        traffic::ping(&a.netns, b.address, 20)?;
        thread::sleep(Duration::from_secs(pause));
        let away = a.figures()?;
        in_sight(&format!("umount {directory}"))?;
        let (page, now) = agree(&netmon, &a, "net").context(what)?;
        ensure!(now == away, "{what}: the device is not quiet");
        let listed = page.all("netmon_container_network_transmit_packets_total", &[("container", "a")]);
        ensure!(listed.len() == 1, "{what}: {} series of one interface", listed.len());
        let (total, shown) = (sum(now, b.figures()?), service(&page)?.transmit_packets);
        // After the longer pause the last values no longer linger. The service's sum leaves out what passed while the
        // namespaces were invisible.
        let wanted = if pause == 0 { total..=total } else { 1..=total };
        ensure!(
            wanted.contains(&shown),
            "{what}: the service's sum is {shown}, its containers' {total}"
        );
        ready(&netmon, 2)?;
        let before = service(&netmon.page()?)?;
        traffic::ping(&a.netns, b.address, 20)?;
        quiet(&[&a, &b])?;
        let (page, _) = agree(&netmon, &a, "net")?;
        let more = service(&page)?.since(before).transmit_packets;
        ensure!(
            more == 40,
            "{what}: 20 pings and their answers are {more} of the service"
        );
    }
    Ok(())
}

#[test]
fn without_a_descriptor_left_what_is_there_is_counted_and_all_is_well_when_there_are_some() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let netmon = world.netmon(&[])?;
    netmon.wait_ready()?;
    let limit = |count: &str| sh::run(&format!("prlimit --pid {} --nofile={count}:", netmon.pid()));
    let most = sh::run(&format!(
        "prlimit --pid {} --nofile --output HARD --noheadings",
        netmon.pid()
    ))?;
    // Accepted before the page that is fetched after it.
    let mut early = netmon.connect()?;
    netmon.page()?;
    // Descriptors above those of the standard streams, which are in use.
    limit("3")?;
    let (a, b) = world.pair(Cable::Bridge)?;
    traffic::ping(&a.netns, b.address, 20)?;
    // Some parts of netmon try again only after a second or two.
    thread::sleep(Duration::from_secs(3));
    early.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    early.read_to_string(&mut answer)?;
    let (_, page) = answer.split_once("\r\n\r\n").context("no answer")?;
    let page = Page::parse(page)?;
    let success = page.count("netmon_scrape_collector_success", &[("collector", "device")])?;
    let unread = page.count("netmon_unread_namespaces", &[])?;
    ensure!(
        success == 0 && unread > 0,
        "success {success}, and {unread} namespaces are said to be unread"
    );
    traffic::ping(&a.netns, b.address, 20)?;
    limit(most.trim())?;
    agree(&netmon, &a, "net")?;
    ready(&netmon, 2)?;
    let log = netmon.log();
    ensure!(
        log.contains("Too many open files") || log.contains("os error 24"),
        "nothing is said of it:\n{log}"
    );
    let lines = log.lines().filter(|line| line.contains("os error 24")).count();
    ensure!(lines < 200, "{lines} lines in three seconds do not help");
    traffic::tcp(&a.netns, &b.netns, b.address, 1_000_000)?;
    agree(&netmon, &b, "net").map(drop)
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    // Every write to it fails with ENOSPC, as on a full disk.
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" \"$@\" > /dev/full 2>&1"])
        .arg(binary()?)
        .args(world.flags(&[]));
    let netmon = world.spawn(&command)?;
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 20)?;
    agree(&netmon, &a, "net")?;
    let (status, _) = netmon.terminate()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

#[test]
fn out_of_memory_it_is_killed_alone_and_the_next_goes_on_counting() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let group = MemoryGroup::new()?;
    let start = |bytes: u64| {
        group.limit(bytes)?;
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "echo $$ > \"$0\" && echo 1000 > /proc/self/oom_score_adj && exec \"$@\"",
            ])
            .arg(group.path.join("cgroup.procs"))
            .arg(binary()?)
            .args(world.flags(&[]));
        world.spawn(&command)
    };
    let netmon = start(STACK_LIMIT_BYTES)?;
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 20)?;
    agree(&netmon, &a, "net")?;
    // Another process in the group takes nearly all of the memory. `oom_score_adj` makes the kernel kill netmon for
    // it.
    let script = "echo $$ > \"$0\" && exec dd if=/dev/zero of=/dev/null bs=$1 count=1";
    // The kernel may kill this process too, if netmon's memory is not free at once.
    drop(sh::output(
        Command::new("sh")
            .args(["-c", script])
            .arg(group.path.join("cgroup.procs"))
            .arg((STACK_LIMIT_BYTES - (2 << 20)).to_string()),
    ));
    until("the kernel to kill it", || {
        ensure!(netmon.get("/-/healthy").is_err(), "it answers");
        Ok(())
    })?;
    traffic::ping(&a.netns, b.address, 20)?;
    drop(netmon);
    let netmon = start(STACK_LIMIT_BYTES)?;
    ready(&netmon, 2)?;
    let (_, figures) = agree(&netmon, &a, "net")?;
    ensure!(figures.transmit_packets >= 40, "{figures:?} after 40 pings");
    agree(&netmon, &b, "net").map(drop)
}

/// The memory limit in `deploy/stack.yml`.
const STACK_LIMIT_BYTES: u64 = 256 << 20;

/// A control group of either version, with a memory limit.
struct MemoryGroup {
    path: PathBuf,
    file: &'static str,
}

impl MemoryGroup {
    fn new() -> anyhow::Result<Self> {
        let (parent, file) = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ]
        .into_iter()
        .find(|(parent, _)| PathBuf::from(parent).join("cgroup.procs").exists())
        .context("there are no control groups here")?;
        let path = PathBuf::from(parent).join(format!("netmon-test-{}", std::process::id()));
        // An earlier test with the same process id may have been killed. It left its group, which is empty by now.
        drop(fs::remove_dir(&path));
        fs::create_dir(&path).with_context(|| format!("{}", path.display()))?;
        ensure!(path.join(file).exists(), "{} has no {file}", path.display());
        Ok(Self { path, file })
    }

    fn limit(&self, bytes: u64) -> anyhow::Result<()> {
        Ok(fs::write(self.path.join(self.file), bytes.to_string())?)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The group has to be empty, and its processes have only just ended.
        let _removed = until("the control group to be empty", || Ok(fs::remove_dir(&self.path)?));
    }
}

/// A mount. It is unmounted when this is dropped.
struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let Self(path) = self;
        drop(sh::run(&format!("umount --lazy {path}")));
    }
}

fn segments(page: &Page) -> anyhow::Result<u64> {
    page.count(
        "netmon_container_network_transmit_segments_total",
        &[("container", "a"), ("network", "net")],
    )
}

/// Detaches netmon's programs, as an administrator of the containers' networks could. Returns the programs that were
/// loaded before.
fn take_off(mode: &str, programs: &Programs, devices: [&Netns; 2]) -> anyhow::Result<BTreeSet<u64>> {
    let programs = programs.loaded()?;
    if mode != "tcx" {
        for netns in devices {
            netns.run(&format!("tc qdisc del dev {DEVICE} clsact"))?;
        }
        return Ok(programs);
    }
    let shown: serde_json::Value = serde_json::from_str(&sh::run("bpftool -j link show")?)?;
    for link in shown.as_array().context("bpftool shows no list")? {
        if link["prog_id"].as_u64().is_some_and(|it| programs.contains(&it)) {
            sh::run(&format!("bpftool link detach id {}", link["id"]))?;
        }
    }
    Ok(programs)
}
