//! Alerts on whether netmon sees everything. An exporter that sees nothing silences all other alerts.

use netmon::collectors::catalog::{
    ATTACH_FAILURES, ATTACH_LONGEST_WAIT, BPF_MAP_ENTRIES, BPF_MAP_MAX_ENTRIES, BPF_MAP_UPDATE_FAILURES, CONTAINERS,
    DOCKER_UP, MISSING_NAMESPACES, NETLINK_OVERRUNS, SCRAPE_COLLECTOR_SUCCESS, SCRAPE_COLLECTOR_SUPPORTED,
    SERIES_LIMITED, WEB_CONFIG_SUCCESS, WORKER_LAST_TURN_AGE,
};

use super::{
    Group, Rule,
    Severity::{Critical, Info, Warning},
    alert,
};
use crate::{
    label::{Collector, Instance, Job, Map, Reason, State, Worker},
    query::{Window, of, up},
};

const RUNBOOK: &str = "health";
/// The reason of a map that has no entry because the kernel had no memory at that moment.
const NO_MEMORY: &str = "no_memory";

pub(super) fn group() -> anyhow::Result<Group> {
    let mut rules = blind()?;
    rules.extend(in_part()?);
    Ok(Group {
        name: "netmon-health".to_owned(),
        rules,
    })
}

/// A node, an engine, a collector or a container is not seen at all.
fn blind() -> anyhow::Result<Vec<Rule>> {
    let collector = (Job, Instance, Collector);
    let unsupported = of(SCRAPE_COLLECTOR_SUPPORTED).now().max(collector).exactly(0.0);
    Ok(vec![
        // An update of the service stops and starts netmon on every node, which takes less than five minutes.
        alert(
            RUNBOOK,
            "NetmonDown",
            Warning,
            "5m",
            &up().exactly(0.0),
            "Prometheus cannot scrape a node's netmon.",
            "Nothing is known of the network of {instance}: its netmon does not answer.",
        )?,
        // A missing target has no `up` that could be 0.
        alert(
            RUNBOOK,
            "NetmonMissing",
            Critical,
            "5m",
            &up().absent(),
            "Prometheus scrapes no netmon at all.",
            "There is no target of the job netmon: all other alerts of netmon are silent, whatever happens.",
        )?,
        alert(
            RUNBOOK,
            "NetmonBlind",
            Warning,
            "10m",
            // A kernel that has nothing to read stays so, and nobody can mend it with the service's settings: those are the
            // same on all nodes.
            &of(SCRAPE_COLLECTOR_SUCCESS)
                .now()
                .max(collector)
                .exactly(0.0)
                .unless(collector, unsupported),
            "A collector of netmon does not give everything it should.",
            "The collector {collector} on {instance} leaves something out; netmon's log says what and why.",
        )?,
        alert(
            RUNBOOK,
            "NetmonEngineSilent",
            Warning,
            "5m",
            &of(DOCKER_UP).now().max((Job, Instance)).exactly(0.0),
            "A Docker engine does not answer netmon.",
            "New containers on {instance} have no names and are not shown until its engine answers.",
        )?,
        // The reader works only when it is asked, and then it answers or it does not.
        alert(
            RUNBOOK,
            "NetmonWorkerHangs",
            Warning,
            "1m",
            &of(WORKER_LAST_TURN_AGE)
                .is_not(Worker, "reader")
                .now()
                .max((Job, Instance, Worker))
                .above(60.0),
            "A part of netmon hangs.",
            "The worker {worker} of netmon on {instance} has ended no turn for {value} s: what it does is not done, and figures there may be wrong.",
        )?,
        alert(
            RUNBOOK,
            "NetmonNamespacesMissing",
            Warning,
            "5m",
            &of(MISSING_NAMESPACES).now().max((Job, Instance, Reason)).above(0.0),
            "Containers' network namespaces are not where netmon looks.",
            "{value} containers on {instance} are not counted: netmon does not find their network namespaces ({reason}). /-/ready and netmon's log say what to bind or to set.",
        )?,
        alert(
            RUNBOOK,
            "NetmonContainersPending",
            Warning,
            "10m",
            &of(CONTAINERS)
                .is(State, "pending")
                .now()
                .max((Job, Instance))
                .above(0.0),
            "netmon does not find the interfaces of some containers.",
            "{value} containers on {instance} are not counted: netmon does not find their interfaces.",
        )?,
        alert(
            RUNBOOK,
            "NetmonContainersOrphaned",
            Warning,
            "5m",
            &of(CONTAINERS)
                .is(State, "orphaned")
                .now()
                .max((Job, Instance))
                .above(0.0),
            "Containers hold the network namespace of a container that ended or started again.",
            "{value} containers on {instance} have no network: the container whose namespace they share has ended or started again. Start them again.",
        )?,
    ])
}

/// Some data are missing, or come from a lesser source than they should.
fn in_part() -> anyhow::Result<Vec<Rule>> {
    let map = (Job, Instance, Map);
    let fill = of(BPF_MAP_ENTRIES)
        .now()
        .max(map)
        .per(of(BPF_MAP_MAX_ENTRIES).now().max(map).above(0.0));
    Ok(vec![
        // A deleted interface loses nothing. A failure at start-up may come before the first scrape.
        alert(
            RUNBOOK,
            "NetmonAttachFailures",
            Info,
            "0m",
            &of(ATTACH_FAILURES)
                .is_not(Reason, "gone")
                .seen(Window::Of("15m"))
                .sum((Job, Instance, Reason))
                .above(0.0),
            "Interfaces stay without kernel programs.",
            "On {instance} {value} interfaces stayed without kernel programs ({reason}): they have packets and bytes, but no segments.",
        )?,
        alert(
            RUNBOOK,
            "NetmonAttachWaits",
            Warning,
            "10m",
            &of(ATTACH_LONGEST_WAIT).now().max((Job, Instance)).above(300.0),
            "Interfaces wait long for kernel programs.",
            "On {instance} an interface has waited for kernel programs for {value} s: it has packets and bytes, but no segments.",
        )?,
        alert(
            RUNBOOK,
            "NetmonMapFull",
            Warning,
            "5m",
            &of(BPF_MAP_UPDATE_FAILURES)
                .is_not(Reason, NO_MEMORY)
                .increase(Window::Of("15m"))
                .sum(map)
                .above(0.0)
                .or(fill.above(0.9)),
            "A kernel map of netmon's is full, or nearly.",
            "The map {map} on {instance} has no room, or will soon have none: what does not fit is not counted.",
        )?,
        // A burst of new entries empties the kernel's stock of memory for a moment. That mends itself.
        alert(
            RUNBOOK,
            "NetmonMapWithoutMemory",
            Info,
            "1h",
            &of(BPF_MAP_UPDATE_FAILURES)
                .is(Reason, NO_MEMORY)
                .increase(Window::Of("15m"))
                .sum(map)
                .above(0.0),
            "The kernel has no memory for new entries of netmon's maps, again and again.",
            "On {instance} the kernel had no memory for entries of the map {map} {value} times within a quarter of an hour: these events are not counted.",
        )?,
        alert(
            RUNBOOK,
            "NetmonMessagesLost",
            Info,
            "0m",
            &of(NETLINK_OVERRUNS)
                .seen(Window::Of("15m"))
                .sum((Job, Instance))
                .above(0.0),
            "The kernel dropped messages for netmon.",
            "On {instance} the kernel dropped messages about devices {value} times: containers that ended then may lack their last packets.",
        )?,
        alert(
            RUNBOOK,
            "NetmonSeriesLimited",
            Warning,
            "15m",
            &of(SERIES_LIMITED).now().max((Job, Instance, Collector)).above(0.0),
            "netmon sums series up to keep within a limit.",
            "The collector {collector} on {instance} shows some things as one sum, (over the limit): netmon_over_limit says how many, and of which limit.",
        )?,
        alert(
            RUNBOOK,
            "NetmonWebConfigNotLoaded",
            Warning,
            "5m",
            &of(WEB_CONFIG_SUCCESS).now().max((Job, Instance)).exactly(0.0),
            "netmon goes on with an older web configuration than the one in its file.",
            "netmon on {instance} cannot use what its web configuration says now: certificates and passwords are still the older ones.",
        )?,
    ])
}
