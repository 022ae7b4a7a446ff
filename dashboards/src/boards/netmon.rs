//! netmon itself: whether it sees everything, and what it costs.

use netmon::collectors::catalog::{
    ATTACH_DELAY, ATTACH_FAILURES, BPF_MAP_ENTRIES, BPF_MAP_MAX_ENTRIES, BPF_MAP_UPDATE_FAILURES, BPF_PROGRAM_INFO,
    BPF_PROGRAM_MISSED_RUNS, BUILD_INFO, CONTAINERS, DOCKER_DECODE_ERRORS, DOCKER_EVENTS, DOCKER_LAST_SYNC,
    DOCKER_RECONNECTS, DOCKER_UP, EXPOSED_SERIES, HTTP_CONNECTIONS, HTTP_TURNED_AWAY, NODE_INFO, OVER_LIMIT,
    PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT_MEMORY, PROCESS_START_TIME,
    SCRAPE_COLLECTOR_DURATION, SCRAPE_COLLECTOR_SUCCESS, SERIES_LIMITED, UNATTRIBUTED_DROPS,
    UNATTRIBUTED_RECEIVE_PACKETS, UNATTRIBUTED_TRANSMIT_PACKETS,
};

use super::NETMON;
use crate::{
    board::{Row, dashboard},
    grafana::Dashboard,
    label::{
        Address, Cause, Collector, EngineVersion, Hostname, Instance, KernelVersion, Limit, Map, Mode, Program, Reason,
        Revision, Role, State, Type, Version,
    },
    panel::{Limits, Unit, bars, graph, stack, table},
    query::{Window, of, up},
};

pub(super) fn board() -> Dashboard {
    dashboard(
        NETMON,
        "netmon itself",
        "Whether netmon sees everything, node by node, and what it costs.",
        Vec::new(),
        vec![nodes(), collectors(), engine(), programs(), process()],
    )
}

const UP: &[(&str, &str, bool)] = &[("0", "down", false), ("1", "up", true)];
const ANSWERS: &[(&str, &str, bool)] = &[("0", "no", false), ("1", "yes", true)];

fn nodes() -> Row {
    let rows = (Instance, Hostname, Address, Role, EngineVersion, KernelVersion);
    let info = of(NODE_INFO).now().max(rows);
    let builds = (Instance, Version, Revision);
    Row::new("Nodes")
        .panel(10, 8, table(
            "Targets",
            "Down: Prometheus cannot scrape the node; its own page Status > Targets says why. No engine: netmon cannot ask Docker. The time since the last full look at the engine grows beyond a few minutes only if it does not answer.",
            Instance,
            ["Node"],
        )
        .words("netmon", UP, &up().max(Instance))
        .words("Engine", ANSWERS, &of(DOCKER_UP).now().max(Instance))
        .column("Since last sync", Unit::Seconds, Limits::Above(600.0, 3600.0), &of(DOCKER_LAST_SYNC).now().max(Instance).age())
        .column("Runs for", Unit::Seconds, Limits::None, &of(PROCESS_START_TIME).now().max(Instance).age())
        .in_order("Node"))
        .panel(14, 8, table(
            "What they are",
            "Kernels before 6.6 and engines before 20.10 give less: netmon's log says at its start what is missing there.",
            rows,
            ["Node", "Name", "Address", "Role", "Engine", "Kernel"],
        )
        .facts(&info)
        .in_order("Node"))
        .panel(10, 6, table(
            "Builds",
            "More than one for long: an update that did not reach all nodes.",
            builds,
            ["Node", "Version", "Revision"],
        )
        .facts(&of(BUILD_INFO).now().max(builds))
        .in_order("Node"))
        .panel(14, 6, stack(
            "Containers, by what netmon does for them",
            Unit::Count,
            Limits::None,
            "observed: counted. pending: interfaces not found yet; if it stays, see the runbook of NetmonContainersPending. shared, host, isolated: have no interfaces of their own. ended: linger for a moment.",
            vec![of(CONTAINERS).now().sum(State).legend(State)],
        ))
}

fn collectors() -> Row {
    let by = (Instance, Collector);
    Row::new("Collectors")
        .panel(8, 9, table(
            "Do they give everything?",
            "A collector that says no leaves something out on that node: netmon's log says what and why, once. What cannot work there can be switched off with --no-collector.NAME.",
            by,
            ["Node", "Collector"],
        )
        .words("Everything", ANSWERS, &of(SCRAPE_COLLECTOR_SUCCESS).now().min(by))
        .words("Series summed up", &[("0", "none", true), ("1", "some", false)], &of(SERIES_LIMITED).now().max(by))
        .in_order("Everything"))
        .panel(8, 9, graph(
            "Time of a scrape, by collector",
            Unit::Seconds,
            Limits::Above(1.0, 5.0),
            "The slowest node's. Grows with containers; what takes seconds makes Prometheus give up (scrape_timeout).",
            vec![of(SCRAPE_COLLECTOR_DURATION).now().max(Collector).legend(Collector)],
        ))
        .panel(8, 9, stack(
            "Series, by collector",
            Unit::Count,
            Limits::None,
            "Of all nodes. About 100 a container with everything on. One node's limit is --limit.series.",
            vec![of(EXPOSED_SERIES).now().sum(Collector).legend(Collector)],
        ))
}

fn engine() -> Row {
    Row::new("The engine")
        .panel(12, 7, graph(
            "Events",
            Unit::PerSecond,
            Limits::None,
            "What engines tell, by type. Thousands: something starts and ends containers in a loop.",
            vec![of(DOCKER_EVENTS).rate().sum(Type).legend(Type)],
        ))
        .panel(12, 7, graph(
            "Trouble with the engine",
            Unit::PerSecond,
            Limits::None,
            "Streams that broke and were opened again (the engine was restarted, or is overloaded), and answers that made no sense (an engine newer than netmon: please report).",
            vec![
                of(DOCKER_RECONNECTS).rate().sum(Instance).legend_and(Instance, "reconnects"),
                of(DOCKER_DECODE_ERRORS).rate().sum(Instance).legend_and(Instance, "not understood"),
            ],
        ))
}

fn programs() -> Row {
    let rows = (Program, Mode, Instance);
    let by = (Instance, Map);
    let room = of(BPF_MAP_MAX_ENTRIES).now().max(by).above(0.0);
    Row::new("Kernel programs")
        .panel(8, 9, table(
            "Programs in use",
            "How often each is attached, and how. clsact instead of tcx: a kernel before 6.6.",
            rows,
            ["Program", "Attached by", "Node"],
        )
        .column("Places", Unit::Count, Limits::None, &of(BPF_PROGRAM_INFO).now().count(rows))
        .width("Program", 160)
        .in_order("Program"))
        .panel(8, 9, bars(
            "Maps",
            Limits::Above(0.7, 0.9),
            "How full each kernel map is. What does not fit is not counted, and said: see the runbook of NetmonMapFull.",
            vec![of(BPF_MAP_ENTRIES).now().max(by).per(room).legend(by)],
        ))
        .panel(8, 9, graph(
            "From an interface to its programs",
            Unit::Seconds,
            Limits::None,
            "What 95 % lie below. An interface is left alone for its first second on purpose; packets are counted from the first one all the same.",
            vec![of(ATTACH_DELAY).quantile(0.95, Instance).above(0.0).legend(Instance)],
        ))
        .panel(8, 8, graph(
            "Not attached, did not fit, not named",
            Unit::PerSecond,
            Limits::None,
            "Interfaces without programs, by why: they have packets and bytes all the same, but no segments. Entries that did not fit into a map. And packets of interfaces that are gone, and of which the engine never said whose they were.",
            vec![
                of(ATTACH_FAILURES).rate().sum(Reason).legend(Reason),
                of(BPF_MAP_UPDATE_FAILURES).rate().sum((Map, Reason)).above(0.0).legend((Map, Reason)),
                of(UNATTRIBUTED_RECEIVE_PACKETS).rate().sum(()).named("received, not named"),
                of(UNATTRIBUTED_TRANSMIT_PACKETS).rate().sum(()).named("sent, not named"),
            ],
        ))
        .panel(8, 8, graph(
            "Events missed",
            Unit::PerSecond,
            Limits::None,
            "Events within events, for which the kernel does not run a program that is at work already. They are not counted; a few are usual under load.",
            vec![of(BPF_PROGRAM_MISSED_RUNS).rate().sum(Program).legend(Program)],
        ))
        .panel(8, 8, table(
            "Drops that are nobody's",
            "In the time that is shown. no_place and map_full are gaps of netmon's; foreign_namespace is other software's; unnamed: the engine does not say whose.",
            (Cause, Instance),
            ["Cause", "Node"],
        )
        .column("Packets", Unit::Count, Limits::None, &of(UNATTRIBUTED_DROPS).seen(Window::Shown).sum((Cause, Instance)))
        .sorted("Packets"))
}

fn process() -> Row {
    let files = of(PROCESS_OPEN_FDS).now().per(of(PROCESS_MAX_FDS).now()).max(Instance);
    Row::new("What it costs")
        .panel(8, 8, graph(
            "Processor",
            Unit::Share,
            Limits::Above(0.1, 0.5),
            "Share of one core. Mostly scrapes: look at their times above, and at how often they come.",
            vec![of(PROCESS_CPU).rate().sum(Instance).legend(Instance)],
        ))
        .panel(8, 8, graph(
            "Memory",
            Unit::Bytes,
            Limits::None,
            "Resident memory. About 20 MB for some hundred containers; what only ever grows is a fault of netmon's.",
            vec![of(PROCESS_RESIDENT_MEMORY).now().sum(Instance).legend(Instance)],
        ))
        .panel(8, 8, bars(
            "File descriptors",
            Limits::Above(0.7, 0.9),
            "Share of those that it may open: raise the limit of the service (ulimits) if it is near.",
            vec![files.legend(Instance)],
        ))
        .panel(8, 8, graph(
            "Over a limit",
            Unit::Count,
            Limits::Zero,
            "What is summed up instead of shown by itself, with (over the limit) for its name. series: containers; raise --limit.series. container_series: what containers make themselves. peers: addresses that only send to us.",
            vec![of(OVER_LIMIT).now().max(Limit).legend(Limit)],
        ))
        .panel(8, 8, graph(
            "Who is connected",
            Unit::Count,
            Limits::None,
            "Connections to netmon. One or two for each Prometheus; 256 at most.",
            vec![of(HTTP_CONNECTIONS).now().sum(Instance).legend(Instance)],
        ))
        .panel(8, 8, graph(
            "Turned away",
            Unit::PerSecond,
            Limits::Zero,
            "Clients that got no answer. scrapes: more at once than --web.max-requests. connections, slow, malformed: somebody who is no Prometheus; let only Prometheus reach the port.",
            vec![of(HTTP_TURNED_AWAY).rate().sum(Reason).legend(Reason)],
        ))
}
