//! All nodes: what is missing, which services send and receive, and where losses are.

use netmon::collectors::catalog::{
    ATTACH_FAILURES, BPF_MAP_UPDATE_FAILURES, CONTAINER_PACKET_DROPS, CONTAINER_TCP_CONNECT_FAILURES,
    CONTAINER_TCP_RETRANSMITTED_SEGMENTS, CONTAINER_TCP_ROUND_TRIP_TIME, CONTAINER_TRANSMIT_BYTES, CONTAINERS,
    DOCKER_UP, LOAD_BALANCER_PACKET_DROPS, NETWORK_INFO, NODE_PACKET_DROPS, OVERLAY_CLEARTEXT_PACKETS,
    OVERLAY_PACKET_DROPS, OVERLAY_TRANSMIT_BYTES, SCRAPE_COLLECTOR_SUCCESS, SCRAPE_COLLECTOR_SUPPORTED, SERIES_LIMITED,
    SERVICE_RECEIVE_BYTES, SERVICE_TRANSMIT_BYTES, UNATTRIBUTED_DROPS,
};

use super::{
    CONTAINER, OVERVIEW, RETRANSMITS, dns,
    edges::{self, Edges},
    findings, none_if_looked, retransmitted,
};
use crate::{
    board::{Row, dashboard, uid},
    grafana::Dashboard,
    label::{Container, Instance, Network, Peer, Reason, Service, Stack, State},
    panel::{Limits, Unit, graph, stat, table, text},
    query::{Window, of, up},
};

const EMPTY: &str = "\
**Red above?** Its description (the *i* in its corner) says what to do. **No data anywhere?** The variable *Job* at the \
top finds jobs that expose netmon's metrics: if it is empty, Prometheus scrapes no netmon; look at its *Status > \
Targets*. **Numbers in some panels only?** *netmon / netmon itself* says which collector gives nothing, and on which \
node.";

pub(super) fn board() -> Dashboard {
    dashboard(
        OVERVIEW,
        "Overview",
        "All nodes: whether anything is missing, who talks to the network and how much, and where it hurts most.",
        Vec::new(),
        vec![findings::row(), missing(), fleet(), traffic(), talk(), names(), pain()],
    )
}

fn missing() -> Row {
    let down = up().count(()).minus(up().sum(()));
    let engines = of(DOCKER_UP).now();
    let engines = engines.clone().count(()).minus(engines.sum(()));
    // What a kernel does not support is never complete.
    let collectors = of(SCRAPE_COLLECTOR_SUPPORTED)
        .now()
        .sum(())
        .minus(of(SCRAPE_COLLECTOR_SUCCESS).now().sum(()));
    let pending = of(CONTAINERS).is(State, "pending").now().sum(());
    let limited = of(SERIES_LIMITED).now().sum(());
    let full = of(BPF_MAP_UPDATE_FAILURES).increase(Window::Shown).sum(());
    let bare = of(ATTACH_FAILURES).seen(Window::Shown).sum(());
    Row::new("Is anything missing?")
        .panel(4, 4, stat(
            "Nodes without netmon",
            Unit::Count,
            Limits::Zero,
            "Targets that Prometheus cannot scrape. Look whether netmon runs there (`docker service ps`, its log), and whether its port can be reached from Prometheus.",
            vec![down.named("nodes")],
        ))
        .panel(4, 4, stat(
            "Engines that do not answer",
            Unit::Count,
            Limits::Zero,
            "Nodes whose Docker engine netmon cannot ask: new containers there have no names and are not shown. Look whether the engine runs, and whether netmon sees its socket; netmon's log says what failed.",
            vec![engines.named("nodes")],
        ))
        .panel(4, 4, stat(
            "Collectors with gaps",
            Unit::Count,
            Limits::Zero,
            "Parts of a scrape that did not give all they should, on all nodes together. *netmon / netmon itself* says which and where; netmon's log says why: a kernel without BTF, a missing capability, a folder that is not mounted.",
            vec![collectors.named("collectors")],
        ))
        .panel(4, 4, stat(
            "Containers not counted yet",
            Unit::Count,
            Limits::Above(1.0, 10.0),
            "Containers whose interfaces netmon has not found. For a moment after a start this is usual; if it stays, netmon does not see the engine's namespaces: is /var/run/docker/netns mounted, with rslave propagation?",
            vec![pending.named("containers")],
        ))
        .panel(4, 4, stat(
            "Left out for room",
            Unit::Count,
            Limits::Zero,
            "Collectors that sum something up to keep within a limit: (over the limit) stands for its name. Sums by service, by network and of nodes are whole. Raise the limit, or switch off a collector that you do not need.",
            vec![limited.named("collectors")],
        ))
        .panel(4, 4, stat(
            "Did not fit",
            Unit::Count,
            Limits::Zero,
            "Interfaces that stayed without kernel programs, and entries that did not fit into a kernel map, in the time that is shown. What is not counted for it is said in *netmon / netmon itself*.",
            vec![bare.named("interfaces"), full.named("entries")],
        ))
        .panel(24, 2, text("", EMPTY))
}

fn fleet() -> Row {
    let services = of(SERVICE_RECEIVE_BYTES).is_not(Service, "").rate();
    let drops = of(CONTAINER_PACKET_DROPS).rate().sum(()).or(none_if_looked("drops"));
    let leaks = of(OVERLAY_CLEARTEXT_PACKETS).seen(Window::Shown).sum(());
    Row::new("The fleet")
        .panel(3, 4, stat(
            "Nodes",
            Unit::Count,
            Limits::Below(1.0),
            "Nodes whose netmon answers. Fewer than you have: see the row above.",
            vec![up().sum(()).named("nodes")],
        ))
        .panel(3, 4, stat(
            "Containers",
            Unit::Count,
            Limits::None,
            "Containers whose interfaces are counted. Those on the host's network, or without any, are in netmon_container_info.",
            vec![of(CONTAINERS).is(State, "observed").now().sum(()).named("containers")],
        ))
        .panel(3, 4, stat(
            "Services",
            Unit::Count,
            Limits::None,
            "Services with a container on any node, by Swarm's or Compose's labels.",
            vec![services.count((Service, Stack)).count(()).named("services")],
        ))
        .panel(3, 4, stat(
            "Networks",
            Unit::Count,
            Limits::None,
            "Docker networks by name, of all drivers. *netmon / Network and overlay* lists them.",
            vec![of(NETWORK_INFO).now().count(Network).count(()).named("networks")],
        ))
        .panel(3, 4, stat(
            "Sent by containers",
            Unit::BytesPerSecond,
            Limits::None,
            "Bytes a second that all containers send, on all networks.",
            vec![of(CONTAINER_TRANSMIT_BYTES).rate().sum(()).named("sent")],
        ))
        .panel(3, 4, stat(
            "Lost in containers",
            Unit::PerSecond,
            Limits::Above(1.0, 100.0),
            "Packets a second that kernels threw away in containers' namespaces. The table below says whose and why; what to do about a reason is in the runbook of NetmonPacketDrops.",
            vec![drops.named("lost")],
        ))
        .panel(3, 4, stat(
            "Sent again",
            Unit::Share,
            Limits::Above(RETRANSMITS.0, RETRANSMITS.1),
            "Share of TCP segments that had to be sent again. Above 1 % something loses packets: see *netmon / Losses*.",
            vec![retransmitted(|it| it, ()).named("again")],
        ))
        .panel(3, 4, stat(
            "In the clear",
            Unit::Count,
            Limits::Zero,
            "Packets of encrypted networks that left or reached a node unencrypted, in the time that is shown. Must be 0: see the runbook of NetmonCleartext. No data: no network here is encrypted.",
            vec![leaks.named("packets")],
        ))
}

fn traffic() -> Row {
    let services = |family| of(family).is_not(Service, "").rate().sum((Stack, Service)).top(10);
    Row::new("Who talks")
        .panel(8, 9, graph(
            "Received, by service",
            Unit::BytesPerSecond,
            Limits::None,
            "The ten services that receive most, all their containers together. Unexpected: open the service for its networks and containers.",
            vec![services(SERVICE_RECEIVE_BYTES).legend(Service)],
        ))
        .panel(8, 9, graph(
            "Sent, by service",
            Unit::BytesPerSecond,
            Limits::None,
            "The ten services that send most, all their containers together. Unexpected: open the service for its networks and containers.",
            vec![services(SERVICE_TRANSMIT_BYTES).legend(Service)],
        ))
        .panel(8, 9, graph(
            "Between nodes, by network and node",
            Unit::BytesPerSecond,
            Limits::None,
            "The ten ways between two nodes that carry most, by overlay network. One that is far above the others may be worth placing its services together. Encrypted networks are in *netmon / Network and overlay*.",
            vec![of(OVERLAY_TRANSMIT_BYTES).rate().sum((Instance, Network, Peer)).top(10).legend((Network, Instance, Peer))],
        ))
}

fn talk() -> Row {
    Row::new("Who talks to whom")
        .panel(
            24,
            14,
            edges::graph(
                "Services, and what goes between them",
                "Bytes of payload a second, both ways together, over TCP: the hundred edges that carry most. An arrow leads from the client to the server. One that should not be there: look at the networks that both are on.",
            ),
        )
        .panel(
            24,
            10,
            edges::edges(
                Edges::All,
                "Services and their connections",
                "TCP connections between services, on all nodes. (outside) is beyond a gateway, (ingress) the routing mesh, (node) a node itself. Failed connections, resets or a long way: open the service that they lead to.",
            ),
        )
}

fn names() -> Row {
    Row::new("Does the name service answer").panel(24, 9, dns::services())
}

fn pain() -> Row {
    let drops = of(CONTAINER_PACKET_DROPS)
        .seen(Window::Shown)
        .sum((Container, Network, Reason, Instance))
        .highest(20)
        .above(0.0);
    let rows = (Container, Network, Instance);
    let again = of(CONTAINER_TCP_RETRANSMITTED_SEGMENTS)
        .increase(Window::Shown)
        .sum(rows)
        .highest(20)
        .above(0.0);
    let share = retransmitted(|it| it, rows);
    let by_place = vec![
        of(CONTAINER_PACKET_DROPS)
            .rate()
            .sum(())
            .or(none_if_looked("drops"))
            .named("containers"),
        of(OVERLAY_PACKET_DROPS).rate().sum(()).named("overlays"),
        of(LOAD_BALANCER_PACKET_DROPS).rate().sum(()).named("load balancers"),
        of(NODE_PACKET_DROPS).rate().sum(()).named("nodes"),
        of(UNATTRIBUTED_DROPS).rate().sum(()).named("nobody knows whose"),
    ];
    Row::new("Where it hurts")
        .panel(12, 9, table(
            "Packets lost, by container and reason",
            "The worst twenty in the time that is shown. The reason is the kernel's own word: the runbook of NetmonPacketDrops says what to do about each.",
            (Container, Network, Reason, Instance),
            ["Container", "Network", "Reason", "Node"],
        )
        .column("Packets", Unit::Count, Limits::Above(100.0, 10_000.0), &drops)
        .leads("Container", &uid(CONTAINER), "container")
        .width("Container", 200)
            .width("Packets", 90)
        .sorted("Packets"))
        .panel(12, 9, table(
            "Segments sent again, by container",
            "Who had to send most again in the time that is shown. Many containers on one node: look at the node's way out. One container alone: at its peers, and at its losses.",
            rows,
            ["Container", "Network", "Node"],
        )
        .column("Segments", Unit::Count, Limits::None, &again)
        .column("Share now", Unit::Share, Limits::Above(RETRANSMITS.0, RETRANSMITS.1), &share.only_with(again.clone()))
        .leads("Container", &uid(CONTAINER), "container")
        .width("Container", 200)
            .width("Segments", 110)
        .width("Share now", 90)
        .sorted("Segments"))
        .panel(8, 9, graph(
            "Packets lost, by place",
            Unit::PerSecond,
            Limits::None,
            "Where kernels throw packets away. *netmon / Losses* has the reasons for each place.",
            by_place,
        ))
        .panel(8, 9, graph(
            "Connections that failed",
            Unit::PerSecond,
            Limits::None,
            "TCP connections that containers could not make, by why: refused (nobody listens), timeout (nobody answers), unreachable (no way). Open *netmon / Losses* for who.",
            vec![of(CONTAINER_TCP_CONNECT_FAILURES).rate().sum(Reason).legend(Reason)],
        ))
        .panel(8, 9, graph(
            "Round-trip time, worst services",
            Unit::Seconds,
            Limits::None,
            "What 95 % of the round-trip times lie below, for the ten slowest services. A jump in all at once: look at the network between nodes; in one: at the service itself.",
            vec![of(CONTAINER_TCP_ROUND_TRIP_TIME).quantile(0.95, (Stack, Service)).above(0.0).top(10).legend(Service)],
        ))
}
