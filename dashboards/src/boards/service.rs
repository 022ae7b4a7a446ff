//! A service: all its containers on all nodes.

use netmon::collectors::catalog::{
    CONTAINER_INFO, CONTAINER_RECEIVE_BYTES, CONTAINER_TCP_ACCEPTS, CONTAINER_TCP_CONNECTIONS,
    CONTAINER_TCP_LISTEN_OVERFLOWS, CONTAINER_TCP_RESETS_RECEIVED, CONTAINER_TCP_RESETS_SENT, CONTAINER_TRANSMIT_BYTES,
    CONTAINER_UDP_RECEIVE_BUFFER_ERRORS, SERVICE_PACKET_DROPS, SERVICE_RECEIVE_BYTES, SERVICE_RECEIVE_PACKETS,
    SERVICE_TCP_ACCEPTS, SERVICE_TCP_CONNECT_FAILURES, SERVICE_TCP_CONNECTS, SERVICE_TCP_RETRANSMITTED_SEGMENTS,
    SERVICE_TRANSMIT_BYTES, SERVICE_TRANSMIT_PACKETS,
};

use super::{
    CONTAINER, RETRANSMITS, SERVICE, dns,
    edges::{Edges, edges},
    none_if_looked, retransmitted, round_trip_times,
};
use crate::{
    balance::skew,
    board::{Row, dashboard, uid, values},
    grafana::Dashboard,
    label::{Container, Instance, Network, Reason, Service, State},
    panel::{Limits, Unit, graph, mirrored, stack, stat, table},
    query::of,
};

pub(super) fn board() -> Dashboard {
    dashboard(
        SERVICE,
        "Service",
        "Services: what they say and hear on each network, how their connections fare, what they lose.",
        vec![values(CONTAINER_INFO, Service, "Service")],
        vec![
            glance(),
            traffic(),
            connections(),
            talk(),
            dns::row(dns::Of { chosen: Some(Service) }),
            balance(),
            losses(),
            containers(),
        ],
    )
}

fn glance() -> Row {
    let running = of(CONTAINER_INFO)
        .chosen(Service)
        .is_not(State, "ended")
        .now()
        .count(());
    let received = of(SERVICE_RECEIVE_BYTES).chosen(Service).rate().sum(());
    let sent = of(SERVICE_TRANSMIT_BYTES).chosen(Service).rate().sum(());
    let lost = of(SERVICE_PACKET_DROPS).chosen(Service).rate().sum(());
    let failures = of(SERVICE_TCP_CONNECT_FAILURES).chosen(Service).rate().sum(());
    Row::new("At a glance")
        .panel(4, 4, stat(
            "Containers",
            Unit::Count,
            Limits::Below(1.0),
            "Containers of the service that netmon knows of, on all nodes. Fewer than it should have: `docker service ps`.",
            vec![running.named("containers")],
        ))
        .panel(4, 4, stat("Received", Unit::BytesPerSecond, Limits::None, "Bytes a second that its containers receive. Unexpected: see below on which network, and from there who else is on it.", vec![received.named("received")]))
        .panel(4, 4, stat("Sent", Unit::BytesPerSecond, Limits::None, "Bytes a second that its containers send. Unexpected: see below on which network, and from there who else is on it.", vec![sent.named("sent")]))
        .panel(4, 4, stat(
            "Sent again",
            Unit::Share,
            Limits::Above(RETRANSMITS.0, RETRANSMITS.1),
            "Share of TCP segments that it had to send again. Above 1 %: look below on which network, then at the other end's losses.",
            vec![retransmitted(|it| it.chosen(Service), ()).named("again")],
        ))
        .panel(4, 4, stat(
            "Connections that fail",
            Unit::PerSecond,
            Limits::Above(0.1, 1.0),
            "TCP connections a second that it could not make. Below it is said on which network and why.",
            vec![failures.or(none_if_looked("tcp")).named("failures")],
        ))
        .panel(4, 4, stat(
            "Packets lost",
            Unit::PerSecond,
            Limits::Above(1.0, 100.0),
            "Packets a second that kernels threw away in its containers' namespaces. Below it is said why.",
            vec![lost.or(none_if_looked("drops")).named("lost")],
        ))
}

fn traffic() -> Row {
    let by = (Service, Network);
    let packets = |family| of(family).chosen(Service).rate().sum(by).top(10);
    let bytes = |family| of(family).chosen(Service).rate().sum(by).top(10);
    Row::new("Traffic")
        .panel(12, 9, mirrored(graph(
            "Bytes, by network",
            Unit::BytesPerSecond,
            Limits::None,
            "What its containers receive (up) and send (down) on each network, short-lived containers included.",
            vec![bytes(SERVICE_RECEIVE_BYTES).legend_and(by, "received"), bytes(SERVICE_TRANSMIT_BYTES).legend_and(by, "sent")],
        ), "/^sent:/"))
        .panel(12, 9, mirrored(graph(
            "Packets, by network",
            Unit::PacketsPerSecond,
            Limits::None,
            "As many packets for few bytes: small messages, which cost processors more than the line.",
            vec![packets(SERVICE_RECEIVE_PACKETS).legend_and(by, "received"), packets(SERVICE_TRANSMIT_PACKETS).legend_and(by, "sent")],
        ), "/^sent:/"))
}

fn connections() -> Row {
    let by = (Service, Network);
    Row::new("Connections")
        .panel(8, 9, graph(
            "Connections made",
            Unit::PerSecond,
            Limits::None,
            "TCP connections that the service makes to others and takes from others, short-lived containers included. Thousands a second to the same service: does the client keep its connections?",
            vec![
                of(SERVICE_TCP_CONNECTS).chosen(Service).rate().sum(by).top(10).legend_and(by, "made"),
                of(SERVICE_TCP_ACCEPTS).chosen(Service).rate().sum(by).top(10).legend_and(by, "taken"),
            ],
        ))
        .panel(8, 9, graph(
            "Connections that failed",
            Unit::PerSecond,
            Limits::Above(0.1, 1.0),
            "TCP connections that it could not make: refused (nobody listens: is the other service up?), timeout and unanswered (nobody answers: look at drops there), unreachable (no way), reset, local (no free port), aborted (it gave up within a second).",
            vec![of(SERVICE_TCP_CONNECT_FAILURES).chosen(Service).rate().sum((Service, Network, Reason)).above(0.0).legend((Service, Network, Reason))],
        ))
        .panel(8, 9, stack(
            "Sockets, by state",
            Unit::Count,
            Limits::None,
            "TCP sockets of all its containers. close_wait that grows: the application forgets to close. syn_sent that stays: nobody answers.",
            vec![of(CONTAINER_TCP_CONNECTIONS).chosen(Service).now().sum(State).legend(State)],
        ))
        .panel(8, 9, graph(
            "Segments sent again",
            Unit::Share,
            Limits::Above(RETRANSMITS.0, RETRANSMITS.1),
            "Share of segments that were sent again. An empty network is loopback, or not known. Above 1 %: the way loses packets, or the other end is overrun; look at losses on the same network.",
            vec![retransmitted(|it| it.chosen(Service), by).top(10).legend(by)],
        ))
        .panel(8, 9, graph(
            "Segments sent again, by count",
            Unit::PerSecond,
            Limits::None,
            "Segments a second that were sent again, short-lived containers included. The share has only containers that are here.",
            vec![of(SERVICE_TCP_RETRANSMITTED_SEGMENTS).chosen(Service).rate().sum(by).top(10).legend(by)],
        ))
        .panel(8, 9, graph(
            "Round-trip time",
            Unit::Seconds,
            Limits::None,
            "As the kernel sees it, by network. Between containers of one node tens of microseconds, between nodes of one room some hundred. A jump without more traffic: a queue on the way (netmon / Losses, node), or a processor that is busy.",
            round_trip_times(|it| it.chosen(Service).is_not(Network, ""), by),
        ))
}

fn talk() -> Row {
    Row::new("Who it talks to")
        .panel(
            24,
            8,
            edges(
                Edges::OfClient,
                "Its servers",
                "Whom the service connects to, by network and port. Failed: is the other service up? A long round trip, or much sent again: look at the way, and at the other service's node.",
            ),
        )
        .panel(
            24,
            8,
            edges(
                Edges::OfServer,
                "Its clients",
                "Who connects to the service. (outside) came through a published port or another gateway, (ingress) through the routing mesh.",
            ),
        )
}

fn balance() -> Row {
    let by = (Container, Network);
    let accepts = || of(CONTAINER_TCP_ACCEPTS).chosen(Service).is_not(Network, "").rate();
    Row::new("How its tasks share the load")
        .panel(
            16,
            9,
            graph(
                "Connections taken, by task",
                Unit::PerSecond,
                Limits::None,
                "New TCP connections that each task takes. One line far from the others: clients that keep their connections stay with the task they got, and a task that was started last gets none of these. One at 0: NetmonTaskGetsNothing.",
                vec![accepts().sum(by).top(20).legend(by)],
            ),
        )
        .panel(
            8,
            9,
            graph(
                "Busiest task, against the mean",
                Unit::Times,
                Limits::Above(2.0, 4.0),
                "How many times more connections the busiest task takes than the mean of all tasks. 1: all take as many. As many as there are tasks: one takes them all.",
                vec![skew(accepts().sum((Service, Network, Container)), (Service, Network)).legend((Service, Network))],
            ),
        )
}

fn losses() -> Row {
    Row::new("Losses")
        .panel(8, 9, graph(
            "Packets lost, by reason",
            Unit::PerSecond,
            Limits::None,
            "The kernel's own reasons, short-lived containers included. What to do about each is in the runbook of NetmonPacketDrops.",
            vec![of(SERVICE_PACKET_DROPS).chosen(Service).rate().sum((Service, Network, Reason)).above(0.0).legend((Service, Network, Reason))],
        ))
        .panel(8, 9, graph(
            "Resets",
            Unit::PerSecond,
            Limits::None,
            "Sent: it refused or broke off. Received: the other end did. Many without a failure of the application: look for idle timeouts between the two.",
            vec![
                of(CONTAINER_TCP_RESETS_SENT).chosen(Service).rate().sum(Service).legend_and(Service, "sent"),
                of(CONTAINER_TCP_RESETS_RECEIVED).chosen(Service).rate().sum(Service).legend_and(Service, "received"),
            ],
        ))
        .panel(8, 9, graph(
            "Overruns",
            Unit::PerSecond,
            Limits::Above(0.1, 1.0),
            "Connections turned away because the application did not take those before, and datagrams for which its buffer had no room. The application is too slow, or the limits too small: see the runbooks of NetmonListenOverflow and NetmonUdpBufferErrors.",
            vec![
                of(CONTAINER_TCP_LISTEN_OVERFLOWS).chosen(Service).rate().sum(Service).legend_and(Service, "listen"),
                of(CONTAINER_UDP_RECEIVE_BUFFER_ERRORS).chosen(Service).rate().sum(Service).legend_and(Service, "UDP"),
            ],
        ))
}

fn containers() -> Row {
    let rows = (Container, Network, Instance);
    let received = of(CONTAINER_RECEIVE_BYTES).chosen(Service).rate().sum(rows);
    let sent = of(CONTAINER_TRANSMIT_BYTES).chosen(Service).rate().sum(rows);
    let again = retransmitted(|it| it.chosen(Service).is_not(Network, ""), rows);
    Row::new("Its containers").panel(
        24,
        9,
        table(
            "Containers",
            "One that differs from its sisters is where to look. The name leads to the container.",
            rows,
            ["Container", "Network", "Node"],
        )
        .column("Received", Unit::BytesPerSecond, Limits::None, &received)
        .column("Sent", Unit::BytesPerSecond, Limits::None, &sent)
        .column(
            "Sent again",
            Unit::Share,
            Limits::Above(RETRANSMITS.0, RETRANSMITS.1),
            &again,
        )
        .leads("Container", &uid(CONTAINER), "container")
        .width("Container", 280)
        .sorted("Sent"),
    )
}
