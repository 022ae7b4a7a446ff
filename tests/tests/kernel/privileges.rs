//! The privileges of netmon while it runs: each thread has what its work takes, whatever netmon was started with.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    fake_engine::{Container, Endpoint, compose_labels},
    netmon::{Netmon, binary},
    patience::until,
    traffic,
};

use crate::world::{Cable, DEVICE, World, agree, best_mode, exactly_or_a_goodbye_more, ready};

const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
/// The names of netmon's threads that have capabilities, as the kernel shows them, and the most that each may have.
const HOLDERS: [(&str, u64); 4] = [
    ("control", SYS_ADMIN | NET_ADMIN),
    ("reader", SYS_ADMIN),
    ("checks", SYS_ADMIN | NET_ADMIN),
    // A thread that one of the others made to enter a namespace.
    ("netns", SYS_ADMIN | NET_ADMIN),
];

/// The kernel's description of a process' threads: the lines of `status`, which include the name.
fn threads(pid: u32) -> anyhow::Result<Vec<BTreeMap<String, String>>> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // The thread has ended meanwhile.
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else {
            continue;
        };
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        all.push(
            lines
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
        );
    }
    Ok(all)
}

/// The seccomp mode that this test runs in, and so netmon's threads at least: 0 is none, 2 is a filter.
fn own_mode() -> anyhow::Result<String> {
    let own = threads(std::process::id())?;
    let own = own.first().and_then(|it| it.get("Seccomp"));
    own.cloned().context("this kernel has no seccomp")
}

#[test]
fn threads_that_talk_to_others_may_not_make_calls_that_only_the_others_need() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let netmon = world.netmon(&[])?;
    // What needs the calls still works: containers that come later are entered, and get programs.
    let (a, _b) = world.pair(Cable::Bridge)?;
    ready(&netmon, 2)?;
    agree(&netmon, &a, "net")?;
    let own = own_mode()?;
    let mut seen = Vec::new();
    for thread in threads(netmon.pid())? {
        let name = thread.get("Name").context("a thread without a name")?.clone();
        let is_holder = HOLDERS.iter().any(|(holder, _)| *holder == name);
        let expected = if is_holder { own.as_str() } else { "2" };
        let mode = thread.get("Seccomp").map(String::as_str);
        ensure!(mode == Some(expected), "{name}: {thread:?}");
        seen.push(name);
    }
    // The first thread has the process' name.
    for needed in [
        "netmon",
        "tokio-rt-worker",
        "engine",
        "netns-watch",
        "control",
        "reader",
        "checks",
    ] {
        ensure!(seen.iter().any(|it| it == needed), "no {needed}: {seen:?}");
    }
    ensure!(!netmon.log().contains("refuse system calls"), "{}", netmon.log());
    Ok(())
}

/// A netmon that is started as root with only these capabilities.
fn with_capabilities(world: &World, capabilities: &str) -> anyhow::Result<Netmon> {
    let mut command = Command::new("setpriv");
    command
        .args([
            format!("--bounding-set={capabilities}"),
            format!("--inh-caps={capabilities}"),
        ])
        .arg(binary()?)
        .args(world.flags(&[]));
    world.spawn(&command)
}

fn held(netmon: &Netmon) -> anyhow::Result<Vec<String>> {
    let page = netmon.page()?;
    let samples = page.all("netmon_process_capability_info", &[]);
    Ok(samples
        .into_iter()
        .filter_map(|it| it.labels.get("capability").cloned())
        .collect())
}

#[test]
fn each_thread_holds_what_its_work_takes_though_netmon_was_started_by_root() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    // Scrapes and changes make netmon start more threads.
    traffic::ping(&a.netns, b.address, 20)?;
    agree(&netmon, &a, "net")?;

    let threads = threads(netmon.pid())?;
    let mut seen = Vec::new();
    for thread in &threads {
        let bits = |name: &str| -> anyhow::Result<u64> {
            let text = thread.get(name).with_context(|| format!("no {name}: {thread:?}"))?;
            Ok(u64::from_str_radix(text, 16)?)
        };
        let name = thread.get("Name").context("a thread without a name")?.as_str();
        let most = HOLDERS
            .iter()
            .find(|(holder, _)| *holder == name)
            .map_or(0, |(_, most)| *most);
        ensure!(
            bits("CapPrm")? & !most == 0,
            "{name} may do more than its work takes: {thread:?}"
        );
        ensure!(bits("CapEff")? == bits("CapPrm")?, "{thread:?}");
        for nothing in ["CapInh", "CapBnd", "CapAmb"] {
            ensure!(bits(nothing)? == 0, "{name} has {nothing}: {thread:?}");
        }
        ensure!(thread.get("NoNewPrivs").is_some_and(|it| it == "1"), "{thread:?}");
        if bits("CapPrm")? == most && most != 0 {
            seen.push(name);
        }
    }
    for needed in ["control", "reader", "checks"] {
        ensure!(
            seen.contains(&needed),
            "there is no {needed} with its rights: {threads:#?}"
        );
    }
    ensure!(
        held(&netmon)? == ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"],
        "{:?}",
        held(&netmon)?
    );
    ensure!(
        netmon.log().contains("CAP_NET_ADMIN,CAP_SYS_ADMIN"),
        "it does not say what it holds: {}",
        netmon.log()
    );
    Ok(())
}

#[test]
fn with_the_capabilities_of_the_stack_everything_is_counted() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let netmon = with_capabilities(&world, "-all,+sys_admin,+net_admin,+net_broadcast,+syslog")?;
    // These containers start after netmon has dropped the capabilities of its start.
    let (a, b) = world.pair(Cable::Bridge)?;
    ready(&netmon, 2)?;
    traffic::ping(&a.netns, b.address, 20)?;
    agree(&netmon, &a, "net")?;
    for sample in netmon.page()?.all("netmon_scrape_collector_success", &[]) {
        let expected = if sample.has(&[("collector", "overlay")]) {
            0.0
        } else {
            1.0
        };
        ensure!(sample.value >= expected, "{sample:?}");
    }
    ensure!(!netmon.log().contains("WARN"), "{}", netmon.log());
    Ok(())
}

#[test]
fn with_sys_admin_alone_containers_are_counted_and_what_is_missing_is_said() -> anyhow::Result<()> {
    let mut world = World::new()?;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = with_capabilities(&world, "-all,+sys_admin")?;
    let mut missing = vec!["needs CAP_NET_BROADCAST", "the kernel hides its functions' addresses"];
    if best_mode()? == "tcx" {
        ready(&netmon, 2)?;
    } else {
        netmon.page_until("the failures to be counted", |page| {
            let failures = page.count("netmon_attach_failures_total", &[("reason", "attach")])?;
            ensure!(failures == 2, "{failures} of 2");
            Ok(())
        })?;
        missing.push("Operation not permitted (os error 1); without tcx, which Linux has from 6.6 on, netmon needs CAP_NET_ADMIN");
    }
    traffic::ping(&a.netns, b.address, 20)?;
    // Counted by the programs, or by the device alone.
    agree(&netmon, &a, "net")?;
    ensure!(held(&netmon)? == ["CAP_SYS_ADMIN"], "{:?}", held(&netmon)?);
    let log = netmon.log();
    for said in missing {
        ensure!(log.contains(said), "it does not say {said:?}: {log}");
    }
    Ok(())
}

/// Without `CAP_NET_ADMIN` netmon cannot give a namespace an nsid. The kernel does when a veth leads there from the node.
#[test]
fn a_namespace_that_got_no_number_at_the_first_look_is_counted_exactly_once_it_has_one() -> anyhow::Result<()> {
    const MAC: &str = "02:42:0a:4d:00:63";
    let mut world = World::new()?;
    let (a, _b) = world.pair(Cable::Bridge)?;
    let netmon = with_capabilities(&world, "-all,+sys_admin,+net_broadcast,+syslog")?;
    agree(&netmon, &a, "net")?;
    let late = world.sandbox("cccccccccccc")?;
    world.engine.start_container(Container {
        name: "late".to_owned(),
        sandbox: late.path().to_path_buf(),
        labels: compose_labels("", "late"),
        network_mode: "default".to_owned(),
        endpoints: vec![Endpoint {
            network: "net".to_owned(),
            mac: MAC.to_owned(),
            address: "10.77.0.99".to_owned(),
            ipv6_address: String::new(),
        }],
    });
    let file = late.path().display().to_string();
    until("the first look at the namespace", || {
        let log = netmon.log();
        let mut refused = log.lines().filter(|line| line.contains("found by looking"));
        ensure!(refused.any(|line| line.contains(&file)), "{log}");
        Ok(())
    })?;
    let numbers = world.home.run("ip netns list-id")?;
    ensure!(numbers.is_empty(), "namespaces have nsids: {numbers}");

    let cable = format!("ip link add far type veth peer name {DEVICE} address {MAC} netns {file}");
    world.home.run(&cable)?;
    world.home.run("ip addr add 10.77.0.98/24 dev far")?;
    world.home.run("ip link set far up")?;
    late.run(&format!("ip addr add 10.77.0.99/24 dev {DEVICE}"))?;
    late.run(&format!("ip link set {DEVICE} up"))?;
    late.passes(DEVICE)?;
    traffic::ping(&late, "10.77.0.98".parse()?, 20)?;
    netmon.page_until("its figures", |page| {
        let (shown, kernel) = (page.interface("late", "net")?, late.figures(DEVICE)?);
        ensure!(shown == kernel, "netmon shows {shown:?}, the kernel {kernel:?}");
        Ok(())
    })?;
    // No reading sees these, only the kernel's last message.
    traffic::ping(&late, "10.77.0.98".parse()?, 20)?;
    let last = late.figures(DEVICE)?;
    world.engine.end_container("late");
    late.run(&format!("ip link set {DEVICE} down"))?;
    late.run(&format!("ip link del {DEVICE}"))?;
    netmon.page_until("its last figures", |page| {
        exactly_or_a_goodbye_more(page.interface("late", "net")?, last)
    })
}
