//! A container: its facts, interfaces, connections and losses.
//!
//! Series by container are not aggregated, because each already belongs to one container. Grouping hundreds of them
//! at every step would take most of a query's time.

use netmon::collectors::catalog::{
    CONTAINER_CONNTRACK_ENTRIES, CONTAINER_INFO, CONTAINER_INTERFACE_INFO, CONTAINER_IP_NO_ROUTES,
    CONTAINER_IP_REASSEMBLY_FAILURES, CONTAINER_PACKET_DROPS, CONTAINER_RECEIVE_BYTES, CONTAINER_RECEIVE_ERRORS,
    CONTAINER_RECEIVE_PACKETS, CONTAINER_RECEIVE_PACKETS_DROPPED, CONTAINER_TCP_ACCEPTS, CONTAINER_TCP_BACKLOG_DROPS,
    CONTAINER_TCP_CONNECT_FAILURES, CONTAINER_TCP_CONNECTIONS, CONTAINER_TCP_CONNECTS, CONTAINER_TCP_LISTEN_OVERFLOWS,
    CONTAINER_TCP_PRUNES, CONTAINER_TCP_RECEIVE_QUEUE_DROPS, CONTAINER_TCP_RESETS_RECEIVED, CONTAINER_TCP_RESETS_SENT,
    CONTAINER_TCP_RETRANSMITTED_SEGMENTS, CONTAINER_TCP_SENT_SEGMENTS, CONTAINER_TRANSMIT_BYTES,
    CONTAINER_TRANSMIT_ERRORS, CONTAINER_TRANSMIT_PACKETS, CONTAINER_TRANSMIT_PACKETS_DROPPED,
    CONTAINER_UDP_CHECKSUM_ERRORS, CONTAINER_UDP_NO_PORTS, CONTAINER_UDP_RECEIVE_BUFFER_ERRORS,
    CONTAINER_UDP_SEND_BUFFER_ERRORS,
};

use super::{CONTAINER, NETWORK, RETRANSMITS, SERVICE, again_of_all, dns, round_trip_times};
use crate::{
    board::{Row, dashboard, uid, values},
    grafana::Dashboard,
    label::{
        Container, Image, Instance, Interface, IpAddress, Ipv6Address, Kind, MacAddress, Mtu, Network, NetworkMode,
        Reason, Service, SharesWith, State,
    },
    panel::{Limits, Unit, graph, mirrored, stack, table},
    query::of,
};

pub(super) fn board() -> Dashboard {
    dashboard(
        CONTAINER,
        "Container",
        "Containers: interface by interface, connection by connection, loss by loss.",
        vec![values(CONTAINER_INFO, Container, "Container")],
        vec![
            identity(),
            traffic(),
            connections(),
            dns::row(dns::Of {
                chosen: Some(Container),
            }),
            losses(),
        ],
    )
}

fn identity() -> Row {
    let containers = (Container, Service, Instance, Image, NetworkMode, State, SharesWith);
    let container = of(CONTAINER_INFO).chosen(Container).now().max(containers);
    let interfaces = (
        Container,
        Instance,
        Interface,
        Network,
        IpAddress,
        Ipv6Address,
        MacAddress,
        Mtu,
        Kind,
    );
    let interface = of(CONTAINER_INTERFACE_INFO).chosen(Container).now().max(interfaces);
    Row::new("Who it is")
        .panel(24, 7, table(
            "Containers",
            "What netmon does for it: observed (its interfaces are counted), pending (not found yet), shared (it uses those of another container, which is where it is counted), host (those of the node), isolated (only loopback), ended.",
            containers,
            ["Container", "Service", "Node", "Image", "Connected by", "State", "Shares with"],
        )
        .facts(&container)
        .width("Container", 200)
        .leads("Service", &uid(SERVICE), "service")
        .in_order("Container"))
        .panel(24, 8, table(
            "Interfaces",
            "Which address is on which network. An interface without a network: no engine says whose it is.",
            interfaces,
            ["Container", "Node", "Interface", "Network", "Address", "IPv6 address", "MAC", "MTU", "Kind"],
        )
        .facts(&interface)
        .width("Container", 200)
        .leads("Network", &uid(NETWORK), "network")
        .in_order("Container"))
}

fn traffic() -> Row {
    let by = (Network, Interface, Container);
    let rate = |family| of(family).chosen(Container).rate().top(10);
    let bad = |family| rate(family).above(0.0);
    Row::new("Traffic")
        .panel(8, 9, mirrored(graph(
            "Bytes",
            Unit::BytesPerSecond,
            Limits::None,
            "What it receives (up) and sends (down), by the interface's own counters: equal to what `ip -s link` shows in the container.",
            vec![rate(CONTAINER_RECEIVE_BYTES).legend_and(by, "received"), rate(CONTAINER_TRANSMIT_BYTES).legend_and(by, "sent")],
        ), "/^sent:/"))
        .panel(8, 9, mirrored(graph(
            "Packets",
            Unit::PacketsPerSecond,
            Limits::None,
            "What it receives (up) and sends (down). A super-packet counts once, as the interface counts it; netmon_container_network_*_segments_total has those on the wire.",
            vec![rate(CONTAINER_RECEIVE_PACKETS).legend_and(by, "received"), rate(CONTAINER_TRANSMIT_PACKETS).legend_and(by, "sent")],
        ), "/^sent:/"))
        .panel(8, 9, graph(
            "Errors and drops of the interface",
            Unit::PerSecond,
            Limits::Above(1.0, 100.0),
            "The interface's own counters. Dropped on receive: packets too long for it, or a queue that was full. Nothing is drawn while there is none.",
            vec![
                bad(CONTAINER_RECEIVE_PACKETS_DROPPED).legend_and(by, "dropped on receive"),
                bad(CONTAINER_TRANSMIT_PACKETS_DROPPED).legend_and(by, "dropped on send"),
                bad(CONTAINER_RECEIVE_ERRORS).legend_and(by, "bad on receive"),
                bad(CONTAINER_TRANSMIT_ERRORS).legend_and(by, "bad on send"),
            ],
        ))
}

fn connections() -> Row {
    let by = (Network, Container);
    let rate = |family| of(family).chosen(Container).rate().top(10);
    let failed = (Network, Reason, Container);
    let again = again_of_all(
        of(CONTAINER_TCP_RETRANSMITTED_SEGMENTS).chosen(Container).rate(),
        of(CONTAINER_TCP_SENT_SEGMENTS).chosen(Container).rate(),
    );
    Row::new("Connections")
        .panel(8, 9, graph(
            "Connections made and taken",
            Unit::PerSecond,
            Limits::None,
            "TCP connections. Many a second to the same place: does the client keep its connections?",
            vec![rate(CONTAINER_TCP_CONNECTS).legend_and(by, "made"), rate(CONTAINER_TCP_ACCEPTS).legend_and(by, "taken")],
        ))
        .panel(8, 9, graph(
            "Connections that failed",
            Unit::PerSecond,
            Limits::Above(0.1, 1.0),
            "TCP connections that it could not make. refused: nobody listens there. timeout: nobody answers, look for drops on the way. unanswered: the same, and it did not wait. unreachable: no way there. reset: the other end broke it off. local: no packet was sent, mostly for want of a free port. aborted: it gave up within a second.",
            vec![of(CONTAINER_TCP_CONNECT_FAILURES).chosen(Container).rate().top(10).above(0.0).legend(failed)],
        ))
        .panel(8, 9, stack(
            "Sockets, by state",
            Unit::Count,
            Limits::None,
            "close_wait that grows: the application forgets to close. syn_sent that stays: nobody answers. time_wait by the thousand: connections are not kept.",
            vec![of(CONTAINER_TCP_CONNECTIONS).chosen(Container).now().sum(State).legend(State)],
        ))
        .panel(8, 9, graph(
            "Segments sent again",
            Unit::Share,
            Limits::Above(RETRANSMITS.0, RETRANSMITS.1),
            "Share of segments that were sent again. Above 1 %: the way loses packets, or the other end is overrun.",
            vec![again.top(10).legend(by)],
        ))
        .panel(8, 9, graph(
            "Round-trip time",
            Unit::Seconds,
            Limits::None,
            "As the kernel sees it. A jump without more traffic: a queue on the way, or a processor that is busy.",
            round_trip_times(|it| it.chosen(Container).is_not(Network, ""), by),
        ))
        .panel(8, 9, graph(
            "Resets",
            Unit::PerSecond,
            Limits::None,
            "Sent: it refused or broke off. Received: the other end did. Regular ones after the same time: an idle timeout on the way.",
            vec![rate(CONTAINER_TCP_RESETS_SENT).legend_and(by, "sent"), rate(CONTAINER_TCP_RESETS_RECEIVED).legend_and(by, "received")],
        ))
}

fn losses() -> Row {
    let lost = (Network, Reason, Container);
    let sockets = |family, word| {
        of(family)
            .chosen(Container)
            .rate()
            .top(10)
            .above(0.0)
            .legend_and(Container, word)
    };
    Row::new("Losses")
        .panel(12, 10, graph(
            "Packets lost, by reason",
            Unit::PerSecond,
            Limits::Above(1.0, 100.0),
            "Packets that the kernel threw away in its namespace, by the kernel's own reason: the runbook of NetmonPacketDrops says what to do about each. Nothing is drawn while there is none.",
            vec![of(CONTAINER_PACKET_DROPS).chosen(Container).rate().top(20).above(0.0).legend(lost)],
        ))
        .panel(12, 10, graph(
            "Overruns of sockets",
            Unit::PerSecond,
            Limits::Above(0.1, 1.0),
            "Listen: the application does not take connections fast enough. Buffers: it does not read fast enough, or the limits are too small. METRICS.md names the setting for each. Nothing is drawn while there is none.",
            vec![
                sockets(CONTAINER_TCP_LISTEN_OVERFLOWS, "listen overflows"),
                sockets(CONTAINER_TCP_BACKLOG_DROPS, "TCP backlog"),
                sockets(CONTAINER_TCP_RECEIVE_QUEUE_DROPS, "TCP receive queue"),
                sockets(CONTAINER_TCP_PRUNES, "TCP prunes"),
                sockets(CONTAINER_UDP_RECEIVE_BUFFER_ERRORS, "UDP receive buffer"),
                sockets(CONTAINER_UDP_SEND_BUFFER_ERRORS, "UDP send buffer"),
            ],
        ))
        .panel(12, 8, graph(
            "Odd packets",
            Unit::PerSecond,
            Limits::None,
            "Datagrams to a port that nobody listens on, with a wrong checksum, packets without a way, fragments that were not put together. Nothing is drawn while there is none.",
            vec![
                sockets(CONTAINER_UDP_NO_PORTS, "UDP to no port"),
                sockets(CONTAINER_UDP_CHECKSUM_ERRORS, "UDP checksum"),
                sockets(CONTAINER_IP_NO_ROUTES, "no route"),
                sockets(CONTAINER_IP_REASSEMBLY_FAILURES, "not put together"),
            ],
        ))
        .panel(12, 8, graph(
            "Connections followed (conntrack)",
            Unit::Count,
            Limits::None,
            "Connections that the packet filter follows in the container's namespace. The limit is the node's: see *netmon / Losses* and the runbook of NetmonContainerConntrackNearlyFull.",
            vec![of(CONTAINER_CONNTRACK_ENTRIES).chosen(Container).now().max(Container).legend(Container)],
        ))
}
