//! Losses: packets, segments, connections, time, and room in buffers.

use netmon::collectors::catalog::{
    CONTAINER_PACKET_DROPS, CONTAINER_QDISC_DROPS, CONTAINER_TCP_BACKLOG_DROPS, CONTAINER_TCP_CONNECT_FAILURES,
    CONTAINER_TCP_LISTEN_OVERFLOWS, CONTAINER_TCP_PRUNES, CONTAINER_TCP_RECEIVE_QUEUE_DROPS,
    CONTAINER_TCP_RESETS_RECEIVED, CONTAINER_TCP_RESETS_SENT, CONTAINER_TCP_ROUND_TRIP_TIME,
    CONTAINER_UDP_RECEIVE_BUFFER_ERRORS, CONTAINER_UDP_SEND_BUFFER_ERRORS, LOAD_BALANCER_PACKET_DROPS,
    NODE_CONNTRACK_DROPS, NODE_CONNTRACK_EARLY_DROPS, NODE_CONNTRACK_ENTRIES, NODE_CONNTRACK_INSERT_FAILURES,
    NODE_CONNTRACK_LIMIT, NODE_IP_NO_ROUTES, NODE_IP_REASSEMBLY_FAILURES, NODE_NEIGHBOUR_ENTRIES,
    NODE_NEIGHBOUR_EXEMPT, NODE_NEIGHBOUR_LIMIT, NODE_NEIGHBOUR_TABLE_FULL, NODE_PACKET_DROPS, NODE_QDISC_BACKLOG,
    NODE_QDISC_DROPS, NODE_SOFTNET_DROPPED, NODE_SOFTNET_TIMES_SQUEEZED, NODE_SYSCTL, NODE_TCP_BACKLOG_DROPS,
    NODE_TCP_LISTEN_DROPS, NODE_TCP_LISTEN_OVERFLOWS, NODE_TCP_MEMORY, NODE_TCP_PRUNES, NODE_TCP_RECEIVE_QUEUE_DROPS,
    NODE_UDP_CHECKSUM_ERRORS, NODE_UDP_MEMORY, NODE_UDP_NO_PORTS, NODE_UDP_RECEIVE_BUFFER_ERRORS,
    NODE_UDP_SEND_BUFFER_ERRORS, OVERLAY_PACKET_DROPS, UNATTRIBUTED_DROPS,
};

use super::{CONTAINER, LOSSES, RETRANSMITS, retransmitted};
use crate::{
    board::{Row, dashboard, uid},
    grafana::{Dashboard, Panel},
    label::{AddressFamily, Cause, Container, Instance, Interface, Name, Network, Reason, Service, Threshold},
    panel::{Limits, Unit, bars, graph, stack, table},
    query::{Window, of},
};

pub(super) fn board() -> Dashboard {
    dashboard(
        LOSSES,
        "Losses",
        "What is lost, where and why: packets by the kernel's reason, segments sent again, connections, time in queues, room in buffers and tables.",
        Vec::new(),
        vec![drops(), tcp(), sockets(), tables(), queues()],
    )
}

fn drops() -> Row {
    let worst = (Container, Network, Reason, Instance);
    let lost = of(CONTAINER_PACKET_DROPS)
        .seen(Window::Shown)
        .sum(worst)
        .highest(50)
        .above(0.0);
    let nobodys = (Cause, Reason, Instance);
    Row::new("Packets")
        .panel(8, 9, stack(
            "In containers, by reason",
            Unit::PerSecond,
            Limits::None,
            "Packets that kernels threw away in containers' namespaces, by the kernel's own reason. The runbook of NetmonPacketDrops says what to do about each.",
            vec![of(CONTAINER_PACKET_DROPS).rate().sum(Reason).legend(Reason)],
        ))
        .panel(8, 9, stack(
            "Between containers and the line, by place and reason",
            Unit::PerSecond,
            Limits::None,
            "Packets lost in overlays' namespaces, in load balancers, and on nodes themselves. NETFILTER_DROP on a node: its firewall.",
            vec![
                of(OVERLAY_PACKET_DROPS).rate().sum(Reason).legend_and(Reason, "overlay"),
                of(LOAD_BALANCER_PACKET_DROPS).rate().sum(Reason).legend_and(Reason, "load balancer"),
                of(NODE_PACKET_DROPS).rate().sum(Reason).legend_and(Reason, "node"),
            ],
        ))
        .panel(8, 9, graph(
            "Nobody knows whose",
            Unit::PerSecond,
            Limits::None,
            "Drops that cannot be charged to anybody, by why not. foreign_namespace is other software's; map_full: more places drop than netmon's map holds.",
            vec![of(UNATTRIBUTED_DROPS).rate().sum(Cause).legend(Cause)],
        ))
        .panel(14, 9, table(
            "By container and reason",
            "All packets lost in the time that is shown. The name leads to the container.",
            worst,
            ["Container", "Network", "Reason", "Node"],
        )
        .column("Packets", Unit::Count, Limits::Above(100.0, 10_000.0), &lost)
        .leads("Container", &uid(CONTAINER), "container")
        .width("Container", 200)
        .sorted("Packets"))
        .panel(10, 9, table(
            "Nobody's, by cause and reason",
            "The same for what cannot be charged to anybody.",
            nobodys,
            ["Cause", "Reason", "Node"],
        )
        .column("Packets", Unit::Count, Limits::None, &of(UNATTRIBUTED_DROPS).seen(Window::Shown).sum(nobodys).above(0.0))
        .sorted("Packets"))
}

fn tcp() -> Row {
    let by = (Service, Network);
    let rows = (Container, Network, Reason, Instance);
    let failures = of(CONTAINER_TCP_CONNECT_FAILURES)
        .increase(Window::Shown)
        .sum(rows)
        .highest(50)
        .above(0.0);
    Row::new("TCP")
        .panel(8, 9, graph(
            "Segments sent again, by service and network",
            Unit::Share,
            Limits::Above(RETRANSMITS.0, RETRANSMITS.1),
            "The ten worst. Above 1 % connections become slow, above 5 % they stall. One network: its way. One service: what it talks to.",
            vec![retransmitted(|it| it, by).top(10).legend(by)],
        ))
        .panel(8, 9, graph(
            "Segments sent again, by node",
            Unit::Share,
            Limits::Above(RETRANSMITS.0, RETRANSMITS.1),
            "One node alone: its card, its cable, its processors. All of them: what is between.",
            vec![retransmitted(|it| it, Instance).legend(Instance)],
        ))
        .panel(8, 9, graph(
            "Round-trip time, worst services",
            Unit::Seconds,
            Limits::None,
            "What 95 % lie below, for the ten slowest. A queue that fills up shows here before anything is lost.",
            vec![of(CONTAINER_TCP_ROUND_TRIP_TIME).is_not(Network, "").quantile(0.95, by).above(0.0).top(10).legend(by)],
        ))
        .panel(14, 9, table(
            "Connections that failed",
            "By container and why: refused (nobody listens), timeout (nobody answers), unanswered (the same, and the application did not wait), unreachable (no way there), reset (the other end broke it off), local (no packet was sent, mostly for want of a free port), aborted (the application gave up within a second).",
            rows,
            ["Container", "Network", "Why", "Node"],
        )
        .column("Failures", Unit::Count, Limits::Above(10.0, 1000.0), &failures)
        .leads("Container", &uid(CONTAINER), "container")
        .width("Container", 200)
        .sorted("Failures"))
        .panel(10, 9, graph(
            "Resets, by service",
            Unit::PerSecond,
            Limits::None,
            "The ten services that send and receive most. Regular ones after the same time: an idle timeout between the two.",
            vec![
                of(CONTAINER_TCP_RESETS_SENT).rate().sum(Service).top(10).legend_and(Service, "sent"),
                of(CONTAINER_TCP_RESETS_RECEIVED).rate().sum(Service).top(10).legend_and(Service, "received"),
            ],
        ))
}

fn sockets() -> Row {
    let by = (Container, Instance);
    let worst = |family, word| of(family).rate().sum(by).top(5).above(0.0).legend_and(Container, word);
    Row::new("Sockets")
        .panel(8, 9, graph(
            "Connections turned away",
            Unit::PerSecond,
            Limits::Above(0.1, 1.0),
            "The application did not take those before: it is too slow, or its backlog or net.core.somaxconn too small (runbook of NetmonListenOverflow). Nothing is drawn while there is none.",
            vec![
                worst(CONTAINER_TCP_LISTEN_OVERFLOWS, "container"),
                of(NODE_TCP_LISTEN_OVERFLOWS).rate().sum(Instance).above(0.0).legend_and(Instance, "node"),
            ],
        ))
        .panel(8, 9, graph(
            "TCP without room",
            Unit::PerSecond,
            Limits::Above(0.1, 1.0),
            "Segments that the socket had no room for: raise net.ipv4.tcp_rmem, or find out why the application does not read (runbook of NetmonTcpBufferErrors). Nothing is drawn while there is none.",
            vec![
                worst(CONTAINER_TCP_BACKLOG_DROPS, "backlog"),
                worst(CONTAINER_TCP_RECEIVE_QUEUE_DROPS, "receive queue"),
                worst(CONTAINER_TCP_PRUNES, "prunes"),
            ],
        ))
        .panel(8, 9, graph(
            "UDP without room",
            Unit::PerSecond,
            Limits::Above(0.1, 1.0),
            "Datagrams that the socket had no room for: raise net.core.rmem_max and the application's SO_RCVBUF, or find out why it does not read (runbook of NetmonUdpBufferErrors). Nothing is drawn while there is none.",
            vec![
                worst(CONTAINER_UDP_RECEIVE_BUFFER_ERRORS, "receive"),
                worst(CONTAINER_UDP_SEND_BUFFER_ERRORS, "send"),
                of(NODE_UDP_RECEIVE_BUFFER_ERRORS).rate().sum(Instance).above(0.0).legend_and(Instance, "node, receive"),
            ],
        ))
        .panel(24, 8, of_nodes())
}

/// Socket losses in the nodes' own namespaces.
fn of_nodes() -> Panel {
    let node = |family, word| of(family).rate().sum(Instance).above(0.0).legend_and(Instance, word);
    graph(
        "Sockets of the nodes themselves",
        Unit::PerSecond,
        Limits::Above(1.0, 100.0),
        "The same and more in the nodes' own namespaces, where containers on the host's network are, too. METRICS.md names the setting for each. Nothing is drawn while there is none.",
        vec![
            node(NODE_TCP_LISTEN_DROPS, "TCP turned away"),
            node(NODE_TCP_BACKLOG_DROPS, "TCP backlog"),
            node(NODE_TCP_RECEIVE_QUEUE_DROPS, "TCP receive queue"),
            node(NODE_TCP_PRUNES, "TCP prunes"),
            node(NODE_UDP_SEND_BUFFER_ERRORS, "UDP send"),
            node(NODE_UDP_CHECKSUM_ERRORS, "UDP checksum"),
            node(NODE_UDP_NO_PORTS, "UDP to no port"),
            node(NODE_IP_NO_ROUTES, "no route"),
            node(NODE_IP_REASSEMBLY_FAILURES, "not put together"),
        ],
    )
}

fn tables() -> Row {
    let conntrack = of(NODE_CONNTRACK_ENTRIES)
        .now()
        .per(of(NODE_CONNTRACK_LIMIT).now().above(0.0))
        .max(Instance);
    let limit = of(NODE_NEIGHBOUR_LIMIT)
        .is(Threshold, "gc_thresh3")
        .now()
        .max((Instance, AddressFamily));
    let neighbours = of(NODE_NEIGHBOUR_ENTRIES)
        .now()
        .max((Instance, AddressFamily))
        .minus(of(NODE_NEIGHBOUR_EXEMPT).now().max((Instance, AddressFamily)))
        .per(limit.above(0.0));
    Row::new("Tables of the node")
        .panel(8, 7, bars(
            "Connections followed (conntrack)",
            Limits::Above(0.7, 0.9),
            "Share of net.netfilter.nf_conntrack_max. When it is full, new connections are dropped: raise it, or find out who makes so many (runbook of NetmonConntrackFull). No data: nothing is followed.",
            vec![conntrack.legend(Instance)],
        ))
        .panel(8, 7, bars(
            "Neighbours",
            Limits::Above(0.7, 0.9),
            "Share of gc_thresh3, over all namespaces of the node, without permanent neighbours. When it is full, nobody new can be reached: raise it (runbook of NetmonNeighbourTableFull).",
            vec![neighbours.legend((Instance, AddressFamily))],
        ))
        .panel(8, 7, graph(
            "Full",
            Unit::PerSecond,
            Limits::Above(0.1, 1.0),
            "What was lost because a table was full. insert: mostly two packets of one connection at once, such as a resolver's two questions. Nothing is drawn while there is none.",
            vec![
                of(NODE_CONNTRACK_DROPS).rate().sum(Instance).above(0.0).legend_and(Instance, "conntrack drops"),
                of(NODE_CONNTRACK_EARLY_DROPS).rate().sum(Instance).above(0.0).legend_and(Instance, "conntrack early drops"),
                of(NODE_CONNTRACK_INSERT_FAILURES).rate().sum(Instance).above(0.0).legend_and(Instance, "conntrack insert"),
                of(NODE_NEIGHBOUR_TABLE_FULL).rate().sum(Instance).above(0.0).legend_and(Instance, "neighbours"),
            ],
        ))
}

fn queues() -> Row {
    let by = (Instance, Interface);
    let inside = (Container, Interface);
    let settings = of(NODE_SYSCTL).now().max((Name, Instance));
    Row::new("Queues of the node")
        .panel(8, 9, graph(
            "Processors",
            Unit::PerSecond,
            Limits::None,
            "Dropped: a processor's backlog had no room: raise net.core.netdev_max_backlog, or spread the load. Squeezed: it ran out of its budget, which is harmless alone.",
            vec![
                of(NODE_SOFTNET_DROPPED).rate().sum(Instance).legend_and(Instance, "dropped"),
                of(NODE_SOFTNET_TIMES_SQUEEZED).rate().sum(Instance).legend_and(Instance, "squeezed"),
            ],
        ))
        .panel(8, 9, graph(
            "Queues of devices",
            Unit::PerSecond,
            Limits::Above(1.0, 100.0),
            "Packets that a device's queue dropped: the device is slower than what it is given. Nothing is drawn while there is none.",
            vec![
                of(NODE_QDISC_DROPS).rate().sum(by).above(0.0).legend(by),
                of(CONTAINER_QDISC_DROPS).rate().sum(inside).top(5).above(0.0).legend(inside),
            ],
        ))
        .panel(8, 9, graph(
            "Memory",
            Unit::Bytes,
            Limits::None,
            "Buffers of all TCP and UDP sockets of the node (net.ipv4.tcp_mem and udp_mem bound them), and what waits in queues of devices.",
            vec![
                of(NODE_TCP_MEMORY).now().sum(Instance).legend_and(Instance, "TCP"),
                of(NODE_UDP_MEMORY).now().sum(Instance).legend_and(Instance, "UDP"),
                of(NODE_QDISC_BACKLOG).now().sum(Instance).legend_and(Instance, "queues"),
            ],
        ))
        .panel(24, 8, table(
            "Settings that bound them",
            "Of settings with three numbers the last. Raise them with sysctl, one at a time, and look here whether the losses end. net.ipv4.ip_forward has to be 1.",
            (Name, Instance),
            ["Setting", "Node"],
        )
        .column("Value", Unit::Words, Limits::None, &settings)
        .in_order("Setting"))
}
