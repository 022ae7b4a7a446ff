//! Sockets by state on the page are the kernel's again after changes of state were lost.

use std::{env, net::TcpStream, process::Command, thread, time::Duration};

use anyhow::{Context as _, ensure};
use netmon_tests::{
    netmon::Netmon,
    netns::Netns,
    patience::{PATIENCE, until, within},
    sh,
};

use super::{
    counts::{agree, agrees, connections, entry, listed, lose_all, word},
    load::Load,
    server::Server,
};
use crate::world::{Cable, Member, World, ready};

/// Sets how many seconds the load takes. netmon then has its usual waiting times.
const SECONDS: &str = "NETMON_TEST_TCP_LOAD_SECONDS";
/// netmon verifies these two namespaces once a minute, or, if there was no time for both, in two. The rest is for the round
/// in which it does so.
const ROUNDS: Duration = Duration::from_secs(135);
const SHORT_ROUND: &str = ",round=500ms";

/// Connections that stay open, so that no state has less than no socket if a change is lost.
fn open(member: &Member, server: &Server, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let connect = |_| Ok(TcpStream::connect(server.address)?);
    member.netns.within(|| (0..count).map(connect).collect())
}

/// How many TCP sockets the kernel says are in use.
fn in_use(netns: &Netns) -> anyhow::Result<u64> {
    let mut sum = 0;
    for file in ["sockstat", "sockstat6"] {
        let text = netns.run(&format!("cat /proc/net/{file}"))?;
        let line = text.lines().find(|line| line.starts_with("TCP")).context(file)?;
        sum += line.split_whitespace().nth(2).context("no number")?.parse::<u64>()?;
    }
    Ok(sum)
}

/// Waits until the page shows what the kernel lists, and as many as it says are in use.
fn healed(time: Duration, netmon: &Netmon, members: [&Member; 2]) -> anyhow::Result<()> {
    within(time, "the sockets by state to be the kernel's", || {
        let page = netmon.page()?;
        for member in members {
            let shown = agrees(&page, member)?;
            let (sum, in_use) = (shown.values().sum::<u64>(), in_use(&member.netns)?);
            ensure!(sum == in_use, "{}: {sum} shown, {in_use} in use", member.name);
        }
        Ok(())
    })
}

/// As many connections a second as the machine can, both ways, over both families, with every kind of end.
#[test]
fn sockets_by_state_are_the_kernels_after_a_load() -> anyhow::Result<()> {
    let seconds = env::var(SECONDS).ok().map(|text| text.parse()).transpose()?;
    let mut world = World::new()?;
    let (time, patience) = if let Some(seconds) = seconds {
        world = world.with_real_times();
        (Duration::from_secs(seconds), ROUNDS)
    } else {
        world.times += SHORT_ROUND;
        (Duration::from_secs(8), PATIENCE)
    };
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let servers = [
        Server::start(&b.netns, b.address)?,
        Server::start(&a.netns, a.ipv6_address)?,
    ];
    let _open = [open(&a, &servers[0], 20)?, open(&b, &servers[1], 20)?];
    agree(&netmon, [&a, &b])?;
    let load = Load::start(&a, &b)?;
    thread::sleep(time / 2);
    // On most machines a load alone loses something. This does on all.
    lose_all(&netmon)?;
    // While the load lasts, no list of the kernel's is exact.
    within(patience, "the open connections to be counted again", || {
        let page = netmon.page()?;
        for member in [&a, &b] {
            let shown = connections(&page, &member.name);
            let (open, listen) = (shown.get("established"), shown.get("listen"));
            ensure!(
                open.is_some_and(|open| (35..60).contains(open)) && listen.is_some_and(|listen| *listen == 5),
                "{}: {shown:?}",
                member.name
            );
        }
        Ok(())
    })?;
    thread::sleep(time / 2);
    let (made, rate) = load.stop()?;
    let page = netmon.page()?;
    for member in [&a, &b] {
        let (shown, kernel) = (connections(&page, &member.name), listed(&member.netns)?);
        println!("{}: netmon {shown:?}, the kernel {kernel:?}", member.name);
    }
    let missed = page.value("netmon_bpf_program_missed_runs_total", &[("program", "tcp_state")])?;
    println!("{made} connections, {rate:.0} a second, {missed} missed runs");
    healed(patience, &netmon, [&a, &b])
}

/// The sum over the states is right, and no state has less than no socket: only the kernel's list can tell.
#[test]
fn a_change_between_two_states_that_was_lost_is_made_good() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.times += SHORT_ROUND;
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    let server = Server::start(&b.netns, b.address)?;
    let all = 21;
    // More connections were made than are open, so that only one of the counts has the number of open ones.
    drop(open(&a, &server, 3)?);
    let open = open(&a, &server, usize::try_from(all)?)?;
    agree(&netmon, [&a, &b])?;
    let map = netmon.map("TCP")?;
    let is_its = |words: &[u64]| words.iter().filter(|word| **word == all).count() == 1 && words.contains(&(all + 3));
    let (key, counts) = entry(map, is_its)?;
    let established = counts.iter().position(|word| *word == all).context("none is open")?;
    let mut words = vec![0; counts.len()];
    words[established] = all - 1;
    words[established + 1] = 1;
    let value: Vec<_> = words.into_iter().map(word).collect();
    let value = value.join(" ");
    sh::run(&format!("bpftool map update id {map} key hex {key} value hex {value}"))?;
    let shown = connections(&netmon.page()?, "a");
    println!("netmon shows {shown:?} at first");
    healed(PATIENCE, &netmon, [&a, &b])?;
    drop(open);
    healed(PATIENCE, &netmon, [&a, &b])
}

#[test]
fn sockets_by_state_are_the_kernels_once_a_full_map_has_room_again() -> anyhow::Result<()> {
    let mut world = World::new()?;
    world.times += SHORT_ROUND;
    // How long a namespace that nobody knows keeps its counts.
    world.times += ",name-patience=1s";
    let (a, b) = world.pair(Cable::Bridge)?;
    let netmon = world.netmon(&[])?;
    ready(&netmon, 2)?;
    fill(&world, netmon.map("TCP")?)?;
    let servers = [
        Server::start(&b.netns, b.address)?,
        Server::start(&a.netns, a.ipv6_address)?,
    ];
    let lost = [open(&a, &servers[0], 7)?, open(&b, &servers[1], 5)?];
    let page = netmon.page()?;
    let of_map = |family: &str| page.all(&format!("netmon_bpf_map_{family}"), &[("map", "TCP")]);
    let refused: f64 = of_map("update_failures_total").iter().map(|sample| sample.value).sum();
    ensure!(refused >= 24.0, "{refused} events found no room");
    // netmon deletes counts of namespaces that it does not watch. From now on there is room.
    netmon.page_until("the map to have room", |page| {
        let entries = page.count("netmon_bpf_map_entries", &[("map", "TCP")])?;
        ensure!(entries < 100, "{entries} entries");
        Ok(())
    })?;
    healed(PATIENCE, &netmon, [&a, &b])?;
    ensure!(
        netmon.log().contains("the programs lost events"),
        "nothing said that sockets have to be verified: {}",
        netmon.log()
    );
    let more = [open(&a, &servers[0], 3)?, open(&b, &servers[1], 3)?];
    healed(PATIENCE, &netmon, [&a, &b])?;
    drop((lost, more));
    healed(PATIENCE, &netmon, [&a, &b])
}

/// Fills a map of counts with those of namespaces that do not exist.
fn fill(world: &World, map: u64) -> anyhow::Result<()> {
    let shown: serde_json::Value = serde_json::from_str(&sh::run(&format!("bpftool -j map show id {map}"))?)?;
    let number = |name: &str| shown[name].as_u64().with_context(|| format!("no {name}"));
    let (most, words) = (number("max_entries")?, number("bytes_value")? / 8);
    let value = vec![word(0); usize::try_from(words)?].join(" ");
    let line = |netns| {
        // The namespace's cookie, and the ifindex.
        let key = [word(netns | 1 << 62), word(1)].join(" ");
        format!("map update id {map} key hex {key} value hex {value}\n")
    };
    let file = world.scratch.path().join("fill");
    let all: Vec<u64> = (0..most).collect();
    for some in all.chunks(256) {
        std::fs::write(&file, some.iter().copied().map(line).collect::<String>())?;
        // The kernel allocates in advance, and has no more for a moment.
        until("the kernel to have memory for the map", || {
            match sh::output(Command::new("bpftool").arg("batch").arg("file").arg(&file)) {
                // The map has others' keys, too.
                Err(error) if error.to_string().contains("Argument list too long") => Ok(()),
                done => done.map(drop),
            }
        })?;
    }
    Ok(())
}
