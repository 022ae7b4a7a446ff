//! Services that change under load. Tasks start and end, no packet is counted as a drop, series of ended tasks end,
//! and the service's counts never fall.

use std::{collections::BTreeMap, fmt::Write as _, thread};

use anyhow::{Context as _, anyhow, ensure};
use netmon_tests::{
    lab::{Engine, IMAGE},
    patience::{PATIENCE, until, within},
    traffic,
};

use crate::{
    ground::CONTAINER,
    nodes::{Member, Nodes, OVERLAY_DROPS, TASKS, ends, tasks},
};

const NETWORK: &str = "wide";
/// How many packets may come late. Ten tasks end, and the last packets of a connection are retransmitted a few times.
const LATE: u64 = 30;

#[test]
fn a_service_that_is_updated_scaled_and_removed_under_load_is_clean() -> anyhow::Result<()> {
    changes(Engine::Installed)
}

#[test]
fn a_service_that_a_newer_engine_changes_under_load_is_clean() -> anyhow::Result<()> {
    changes(Engine::New)
}

fn changes(engine: Engine) -> anyhow::Result<()> {
    let nodes = Nodes::up(3, engine)?;
    let members = nodes.overlay(NETWORK)?;
    let one = &members[0];
    let manager = nodes.node(1);
    // With a short monitor time: otherwise Swarm watches each new task for five seconds.
    manager.docker(&format!(
        "service create --detach --name web --network {NETWORK} --endpoint-mode dnsrr --replicas 3 \
         --stop-grace-period 1s --update-monitor 100ms --no-resolve-image {IMAGE} httpd -f -p 80 -h /www"
    ))?;
    running(&nodes, 3)?;
    // netmon knows each task, and has attached its programs.
    nodes.nothing_is_left()?;
    let descriptors = descriptors(&nodes)?;
    let drops = nodes.drops()?;
    let failed = thread::scope(|scope| {
        let load = scope.spawn(|| load(&nodes, one));
        let changed = || -> anyhow::Result<()> {
            for (number, order) in ["stop-first", "start-first"].into_iter().enumerate() {
                let gone = all_tasks(&nodes)?;
                manager.docker(&format!(
                    "service update --detach --update-order {order} --env-add TURN={number} --no-resolve-image web"
                ))?;
                updated(&nodes).context(order)?;
                have_ended(&nodes, &gone).context(order)?;
            }
            let before = all_tasks(&nodes)?;
            manager.docker("service scale --detach web=7")?;
            running(&nodes, 7)?;
            nodes.nothing_is_left().context("scaled up")?;
            manager.docker("service scale --detach web=3")?;
            running(&nodes, 3)?;
            nodes.nothing_is_left().context("scaled down")?;
            ensure!(
                all_tasks(&nodes)?.len() == before.len(),
                "as many tasks are left as were"
            );
            Ok(())
        };
        let changed = changed();
        manager.docker("exec a1 touch /tmp/over")?;
        let text = load.join().map_err(|_| anyhow!("the load panicked"))??;
        let mut words = text.split_whitespace();
        let mut number = || -> anyhow::Result<u64> { Ok(words.next().context("no count")?.parse()?) };
        let (sent, failed) = (number()?, number()?);
        ensure!(sent >= 50, "the load were {text} requests");
        changed.with_context(|| format!("requests, and those that failed: {text}"))?;
        anyhow::Ok(failed)
    })?;
    // The service's name leads to a task before its server listens, and after its server has ended.
    let kinds: [(&[&str], u64); 2] = [
        (&[OVERLAY_DROPS, NETWORK, "NO_TX_TARGET"], LATE),
        (&["\"service\": \"web\"", "NO_SOCKET"], failed),
    ];
    nodes.dropped_only_since(&drops, &kinds)?;
    for member in &members {
        member.agrees(&nodes)?;
        member.sums_agree(&nodes)?;
    }
    let gone = all_tasks(&nodes)?;
    manager.docker("service rm web")?;
    have_ended(&nodes, &gone)?;
    for number in nodes.numbers() {
        ends(nodes.netmon(number), 2, "netmon_service_network", &[("service", "web")])?;
    }
    nodes.nothing_is_left()?;
    nodes.dropped_only_since(&drops, &kinds)?;
    // netmon has one more descriptor while a request to the engine is open.
    until("no more descriptors than before", || {
        let after = self::descriptors(&nodes)?;
        ensure!(
            after.iter().zip(&descriptors).all(|(after, before)| after <= before),
            "{descriptors:?} before, {after:?} after"
        );
        Ok(())
    })
}

#[test]
fn a_container_whose_name_is_used_at_once_on_another_node_is_counted_on_each_for_itself() -> anyhow::Result<()> {
    let nodes = Nodes::up(2, Engine::Installed)?;
    let members = nodes.overlay(NETWORK)?;
    for (from, to) in [(1, 2), (2, 1)] {
        nodes
            .node(from)
            .start_container("same", &format!("--network {NETWORK}"))?;
        let old = nodes.member(from, "same", NETWORK)?;
        let (peer, other) = (&members[usize::from(to) - 1], &members[usize::from(from) - 1]);
        traffic::reach(&peer.netns, old.address)?;
        traffic::ping(&peer.netns, old.address, 50)?;
        let last = old.agrees(&nodes)?;
        drop(old);
        nodes.node(from).docker("rm -f same")?;
        nodes
            .node(to)
            .start_container("same", &format!("--network {NETWORK}"))?;
        let new = nodes.member(to, "same", NETWORK)?;
        traffic::reach(&other.netns, new.address)?;
        traffic::ping(&other.netns, new.address, 10)?;
        let figures = new.agrees(&nodes)?;
        ensure!(
            figures.receive_packets < last.receive_packets,
            "the new one has {figures:?}, which is not less than the old one's {last:?}"
        );
        ends(nodes.netmon(from), 1, CONTAINER, &[("container", "same")])?;
        new.agrees(&nodes)?;
        nodes.node(to).docker("rm -f same")?;
        nodes.nothing_is_left()?;
    }
    Ok(())
}

/// Sends requests, one after the other, until it is stopped. Returns how many there were, and how many failed. The
/// pause is for the machine's process ids: `timeout` leaves a process that nobody in the container waits for.
fn load(nodes: &Nodes, from: &Member) -> anyhow::Result<String> {
    nodes.node(from.number).docker_script(
        &format!("exec {}", from.name()),
        "n=0; f=0; while [ ! -e /tmp/over ]; do n=$((n+1)); timeout 5 wget -q -O /dev/null http://web/ || f=$((f+1)); \
         sleep 0.05; done; echo $n $f",
    )
}

/// The tasks of all nodes, with the number of the node.
fn all_tasks(nodes: &Nodes) -> anyhow::Result<Vec<(u8, String)>> {
    let mut all = Vec::new();
    for number in nodes.numbers() {
        let names = tasks(nodes.node(number), "web")?;
        all.extend(names.into_iter().map(|name| (number, name)));
    }
    Ok(all)
}

fn running(nodes: &Nodes, wanted: usize) -> anyhow::Result<()> {
    let mut sums = Sums::default();
    within(TASKS, "the tasks to run", || {
        sums.look(nodes)?;
        let tasks = all_tasks(nodes)?;
        ensure!(tasks.len() == wanted, "{} run, of {wanted}: {tasks:?}", tasks.len());
        Ok(())
    })?;
    sums.never_fell()
}

/// Waits for the end of an update.
fn updated(nodes: &Nodes) -> anyhow::Result<()> {
    let mut sums = Sums::default();
    within(6 * PATIENCE, "the update to be completed", || {
        sums.look(nodes)?;
        let state = nodes.node(1).docker("service inspect -f {{.UpdateStatus.State}} web")?;
        ensure!(state == "completed", "it is {state}");
        Ok(())
    })?;
    sums.never_fell()
}

/// Waits until the series of these tasks have ended. An engine may still report an endpoint of a task that has just
/// ended. netmon asks again a minute later.
fn have_ended(nodes: &Nodes, gone: &[(u8, String)]) -> anyhow::Result<()> {
    const MEMBERS: &str = "netmon_overlay_endpoint_info";
    for (number, name) in gone {
        let (netmon, labels) = (nodes.netmon(*number), [("container", name.as_str())]);
        within(2 * PATIENCE, &format!("{name} to end"), || {
            let page = netmon.page()?;
            let mut left = page.samples.iter().filter(|it| it.has(&labels) && it.name != MEMBERS);
            let one = left.next();
            ensure!(one.is_none(), "{one:?} is there, and {} more", left.count());
            Ok(())
        })?;
        ends(netmon, 5, MEMBERS, &labels)?;
    }
    Ok(())
}

fn descriptors(nodes: &Nodes) -> anyhow::Result<Vec<usize>> {
    nodes
        .numbers()
        .map(|number| nodes.netmon(number).descriptors())
        .collect()
}

/// The service's counts on each node, as last seen. They may end, and start anew, but must never fall.
#[derive(Default)]
struct Sums {
    last: BTreeMap<(u8, &'static str), u64>,
    falls: String,
}

impl Sums {
    fn look(&mut self, nodes: &Nodes) -> anyhow::Result<()> {
        for number in nodes.numbers() {
            let page = nodes.netmon(number).page()?;
            let labels = [("service", "web"), ("network", NETWORK)];
            for family in [
                "netmon_service_network_receive_bytes_total",
                "netmon_service_network_transmit_packets_total",
            ] {
                let key = (number, family);
                let Ok(now) = page.count(family, &labels) else {
                    self.last.remove(&key);
                    continue;
                };
                if let Some(before) = self.last.insert(key, now).filter(|before| *before > now) {
                    writeln!(self.falls, "n{number} {family}: {before}, then {now}")?;
                }
            }
        }
        Ok(())
    }

    fn never_fell(&self) -> anyhow::Result<()> {
        ensure!(self.falls.is_empty(), "sums fell: {}", self.falls);
        Ok(())
    }
}
