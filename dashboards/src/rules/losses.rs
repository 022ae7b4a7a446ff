//! Alerts on losses of containers: packets, segments, connections, time, routes, and room in buffers.

use netmon::collectors::catalog::{
    CONTAINER_INTERFACE_INFO, CONTAINER_IP_NO_ROUTES, CONTAINER_TCP_BACKLOG_DROPS, CONTAINER_TCP_CONNECT_FAILURES,
    CONTAINER_TCP_CONNECTS, CONTAINER_TCP_LISTEN_OVERFLOWS, CONTAINER_TCP_PRUNES, CONTAINER_TCP_RECEIVE_QUEUE_DROPS,
    CONTAINER_TCP_RETRANSMITTED_SEGMENTS, CONTAINER_UDP_RECEIVE_BUFFER_ERRORS, CONTAINER_UDP_SEND_BUFFER_ERRORS,
    NODE_PACKET_DROPS, NODE_SOFTNET_DROPPED, NODE_SYSCTL, SERVICE_PACKET_DROPS, SERVICE_TCP_CONNECT_FAILURES,
    SERVICE_TCP_CONNECTS, SERVICE_TCP_RETRANSMITTED_SEGMENTS, SERVICE_TCP_SENT_SEGMENTS, SERVICE_TRANSMIT_PACKETS,
};

use super::{
    Group, Rule,
    Severity::{Critical, Warning},
    alert,
    recorded::{DROPS, LOCAL, LOCAL_LOSS, LOSS, Loss, MEMBER, Member, RETRANSMITTED, ROUND_TRIP_TIME},
};
use crate::{
    label::{Container, Instance, Job, Name, Network, Reason, Service, Stack},
    query::{Vector, Window, of},
};

const RUNBOOK: &str = "losses";

/// Reasons that cannot be fixed where they are counted. Either the other end sent to a missing receiver, or the
/// packet belongs to a connection that has ended. All other reasons alert, including those of future kernels.
const FUTILE: &[&str] = &[
    "NO_SOCKET",
    "UNHANDLED_PROTO",
    "TCP_ABORT_ON_.*",
    "TCP_ACK_UNSENT_DATA",
    "TCP_CLOSE",
    "TCP_FLAGS",
    "TCP_INVALID_.*",
    "TCP_OVERWINDOW",
    "TCP_RFC7323_.*",
    "TCP_TOO_OLD_ACK",
];

/// Networks on which the engine resolves no names, and no network at all. On `ingress` only the routing mesh talks.
const NAMELESS: &[&str] = &["", "bridge", "docker_gwbridge", "ingress"];

pub(super) fn group() -> anyhow::Result<Group> {
    let mut rules = on_the_way()?;
    rules.extend(of_services()?);
    rules.extend(routes()?);
    rules.push(names()?);
    rules.extend(room()?);
    Ok(Group {
        name: "netmon-losses".to_owned(),
        rules,
    })
}

/// A name that stands for more than its client means. Swarm's services have their stack in their name, so their aliases
/// cannot be compared.
fn names() -> anyhow::Result<Rule> {
    let projects = of(CONTAINER_INTERFACE_INFO)
        .is_none_of(Network, NAMELESS)
        .is_not(Service, "")
        .is_not(Stack, "")
        .now()
        .count((Job, Instance, Network, Service, Stack))
        .count((Job, Instance, Network, Service));
    alert(
        RUNBOOK,
        "NetmonNameOfTwo",
        Warning,
        "10m",
        &projects.above(1.0),
        "A name on a network stands for services of several projects.",
        "On network {network} of {instance}, {value} projects have a service {service}: whoever asks for that name reaches any of them.",
    )
}

/// Packets, segments, connections and time.
fn on_the_way() -> anyhow::Result<Vec<Rule>> {
    let usual = ROUND_TRIP_TIME.over("avg_over_time", "1d", "30m");
    let known = ROUND_TRIP_TIME.minutes_of_a_day("30m").above(60.0);

    Ok(vec![
        // The rule looks back ten minutes, so a burst that is already over is still seen.
        alert(
            RUNBOOK,
            "NetmonPacketDrops",
            Warning,
            "5m",
            &drops(),
            "A container loses packets.",
            "The kernel of {instance} threw away {value} packets of {container} on network {network} within ten minutes: {reason}.",
        )?,
        alert(
            RUNBOOK,
            "NetmonRetransmits",
            Warning,
            "15m",
            &retransmits(),
            "A container has to send much again.",
            "{container} on {instance} sends {share} of its TCP segments on network {network} again.",
        )?,
        // Three times the usual value, if that is more than a busy processor explains, and if the usual value is
        // known for an hour.
        alert(
            RUNBOOK,
            "NetmonRoundTripTime",
            Warning,
            "10m",
            &ROUND_TRIP_TIME
                .now()
                .above_that(usual.times(3.0))
                .above(0.005)
                .only_with(known),
            "The round-trip time of a service is far above its usual.",
            "The connections of service {service} on network {network} take {seconds}, more than three times as long as in the last day.",
        )?,
        alert(
            RUNBOOK,
            "NetmonConnectFailures",
            Warning,
            "5m",
            &connect_failures(),
            "A container cannot connect.",
            "{share} of the connections that {container} on {instance} tries on network {network} fail: {reason}.",
        )?,
    ])
}

/// Packets that a container loses.
fn drops() -> Vector<Loss> {
    DROPS.is_none_of(Reason, FUTILE).above(60.0)
}

/// The share of segments that a container sends again.
fn retransmits() -> Vector<Member> {
    // A share of few segments says nothing, but a rate would leave out whoever hangs: ever longer pauses are between the
    // retransmits of a segment.
    let again = of(CONTAINER_TCP_RETRANSMITTED_SEGMENTS).increase(Window::Of("10m"));
    let many_again = again.sum(MEMBER).above(20.0);
    RETRANSMITTED.now().above(0.05).only_with(many_again)
}

/// What the rules for containers miss: each container of a crash loop ends before it has lost enough. A service is quiet
/// where one of its containers is not.
fn of_services() -> anyhow::Result<Vec<Rule>> {
    let window = Window::Of("10m");
    let lost = of(SERVICE_PACKET_DROPS).is_none_of(Reason, FUTILE).seen(window);
    let lost = lost.sum(LOCAL_LOSS).above(60.0).unless(LOCAL_LOSS, drops());

    let again = of(SERVICE_TCP_RETRANSMITTED_SEGMENTS).increase(window).sum(LOCAL);
    let all = of(SERVICE_TCP_SENT_SEGMENTS)
        .increase(window)
        .sum(LOCAL)
        .plus(again.clone());
    // What a container sent before it had kernel programs is only known as packets.
    let packets = of(SERVICE_TRANSMIT_PACKETS).increase(window).sum(LOCAL);
    let much = |all: Vector<_>| again.clone().per(all.above(0.0)).above(0.05);
    let much_again = much(packets)
        .only_with(much(all))
        .only_with(again.clone().above(20.0))
        .unless(LOCAL, retransmits());

    let failed = |window| {
        of(SERVICE_TCP_CONNECT_FAILURES)
            .is_not(Reason, "aborted")
            .seen(Window::Of(window))
    };
    let tried = of(SERVICE_TCP_CONNECTS).increase(window).sum(LOCAL);
    let tried = failed("10m").sum(LOCAL).plus(tried).above(0.0);
    let failures = failed("10m").sum(LOCAL_LOSS).per_one(LOCAL, tried).above(0.1);
    let failures = failures
        .only_with(failed("10m").sum(LOCAL_LOSS).above(3.0))
        .only_with(failed("5m").sum(LOCAL_LOSS).above(0.0))
        .unless(LOCAL_LOSS, connect_failures());
    Ok(vec![
        alert(
            RUNBOOK,
            "NetmonServiceDrops",
            Warning,
            "5m",
            &lost,
            "The containers of a service lose packets.",
            "The kernel of {instance} threw away {value} packets of service {service} on network {network} within ten minutes: {reason}.",
        )?,
        alert(
            RUNBOOK,
            "NetmonServiceRetransmits",
            Warning,
            "15m",
            &much_again,
            "The containers of a service have to send much again.",
            "Service {service} on {instance} sends {share} of its packets on network {network} again.",
        )?,
        alert(
            RUNBOOK,
            "NetmonServiceConnectFailures",
            Warning,
            "5m",
            &failures,
            "The containers of a service cannot connect.",
            "{share} of the connections that service {service} on {instance} tries on network {network} fail: {reason}.",
        )?,
    ])
}

/// Connections that are not made. The share counts, because an application that waits for each makes few. So four within
/// ten minutes are enough, which is what one thread makes that waits until the kernel gives up. They have to go on:
/// a new container may find the others a little later, and then keep its connections.
///
/// An application that gives up within a second may be hasty, and so it is left out.
fn connect_failures() -> Vector<Loss> {
    let failed = |window| {
        of(CONTAINER_TCP_CONNECT_FAILURES)
            .is_not(Reason, "aborted")
            .increase(Window::Of(window))
    };
    // Both counters exist from the start, at 0, even if a container never connects.
    let tried = of(CONTAINER_TCP_CONNECTS)
        .increase(Window::Of("10m"))
        .sum(MEMBER)
        .plus(failed("10m").sum(MEMBER))
        .above(0.0);
    let share = failed("10m").sum(LOSS).per_one(MEMBER, tried);
    let enough = failed("10m").sum(LOSS).above(3.0);
    let still = failed("5m").sum(LOSS).above(0.0);
    share.above(0.1).only_with(enough).only_with(still)
}

/// What leads from one network to another.
fn routes() -> anyhow::Result<Vec<Rule>> {
    let window = Window::Of("10m");
    let node = (Job, Instance);
    let container = (Job, Instance, Stack, Service, Container);
    let lost = (Job, Instance, Network, Reason);
    // Without a network they are the node's own, such as what its firewall keeps out.
    let of_networks = of(NODE_PACKET_DROPS)
        .is_not(Network, "")
        .is_none_of(Reason, FUTILE)
        .seen(window);
    let forwards = of(NODE_SYSCTL).is(Name, "net.ipv4.ip_forward").now().max(node);
    Ok(vec![
        alert(
            RUNBOOK,
            "NetmonNoRoute",
            Warning,
            "5m",
            &of(CONTAINER_IP_NO_ROUTES).increase(window).sum(container).above(10.0),
            "A container sends to where it has no route.",
            "{container} on {instance} had no route for {value} packets within ten minutes.",
        )?,
        alert(
            RUNBOOK,
            "NetmonNodeDrops",
            Warning,
            "5m",
            &of_networks.sum(lost).above(60.0),
            "A node loses packets of a network.",
            "{instance} threw away {value} packets of network {network} within ten minutes: {reason}.",
        )?,
        alert(
            RUNBOOK,
            "NetmonForwardingOff",
            Critical,
            "5m",
            &forwards.exactly(0.0),
            "A node does not forward packets.",
            "{instance} forwards no packets between its devices: net.ipv4.ip_forward is 0.",
        )?,
    ])
}

/// Room in queues and buffers.
fn room() -> anyhow::Result<Vec<Rule>> {
    let window = Window::Of("10m");
    let node = (Job, Instance);
    let container = (Job, Instance, Stack, Service, Container);
    let overflows = of(CONTAINER_TCP_LISTEN_OVERFLOWS).increase(window).sum(container);
    let udp = of(CONTAINER_UDP_RECEIVE_BUFFER_ERRORS).increase(window).sum(container);
    let udp = udp.plus(of(CONTAINER_UDP_SEND_BUFFER_ERRORS).increase(window).sum(container));
    let tcp = of(CONTAINER_TCP_BACKLOG_DROPS).increase(window).sum(container);
    let tcp = tcp.plus(of(CONTAINER_TCP_RECEIVE_QUEUE_DROPS).increase(window).sum(container));
    let tcp = tcp.plus(of(CONTAINER_TCP_PRUNES).increase(window).sum(container));
    Ok(vec![
        alert(
            RUNBOOK,
            "NetmonListenOverflow",
            Warning,
            "0m",
            &overflows.above(10.0),
            "An application does not take its connections fast enough.",
            "{container} on {instance} turned {value} connections away within ten minutes: its queue of connections to accept is full.",
        )?,
        alert(
            RUNBOOK,
            "NetmonUdpBufferErrors",
            Warning,
            "0m",
            &udp.above(10.0),
            "Datagrams are lost for want of room in a socket's buffer.",
            "{container} on {instance} lost {value} datagrams within ten minutes: its socket's buffer had no room.",
        )?,
        alert(
            RUNBOOK,
            "NetmonTcpBufferErrors",
            Warning,
            "0m",
            &tcp.above(10.0),
            "TCP segments are lost for want of room in a socket's buffer.",
            "{container} on {instance} had no room for TCP segments {value} times within ten minutes.",
        )?,
        alert(
            RUNBOOK,
            "NetmonProcessorBacklog",
            Warning,
            "0m",
            &of(NODE_SOFTNET_DROPPED).increase(window).sum(node).above(10.0),
            "A node's processors do not keep up with its packets.",
            "{instance} lost {value} packets within ten minutes because a processor's backlog had no room.",
        )?,
    ])
}
