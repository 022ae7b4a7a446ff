//! Alerts on traffic between nodes.

use netmon::{
    collectors::catalog::{
        LOAD_BALANCER_PACKET_DROPS, NETWORK_INFO, NODE_XFRM_ERRORS, OVERLAY_CLEARTEXT_PACKETS,
        OVERLAY_ESP_RECEIVE_PACKETS, OVERLAY_ESP_TRANSMIT_PACKETS, OVERLAY_MTU, OVERLAY_OVERHEAD, OVERLAY_PACKET_DROPS,
        OVERLAY_RECEIVE_PACKETS, OVERLAY_TRANSMIT_PACKETS, UNDERLAY_MTU,
    },
    page::{family::Counter, labels::LabelSet},
};

use super::{
    Group,
    Severity::{Critical, Warning},
    alert,
};
use crate::{
    label::{Direction, Encrypted, Instance, Job, Labels, Network, Peer, Reason},
    query::{Selection, Vector, Window, of},
};

const RUNBOOK: &str = "overlay";
/// Below this rate (packets per second), traffic without an answer is normal.
const FLOW: f64 = 0.2;

pub(super) fn group() -> anyhow::Result<Group> {
    let window = Window::Of("10m");
    let leak = (Job, Instance, Network, Peer, Direction);
    let way = (Job, Instance, Network, Peer);
    let node = (Job, Instance, Peer);
    let lost = (Job, Instance, Network, Reason);
    Ok(Group {
        name: "netmon-overlay".to_owned(),
        rules: vec![
            // A single packet is too many, and its series may appear only with it.
            alert(
                RUNBOOK,
                "NetmonCleartext",
                Critical,
                "0m",
                &of(OVERLAY_CLEARTEXT_PACKETS)
                    .seen(Window::Of("15m"))
                    .sum(leak)
                    .above(0.0),
                "An encrypted network sends packets that anybody can read.",
                "{value} packets of the encrypted network {network} went between {instance} and {peer} in the clear ({direction}).",
            )?,
            alert(
                RUNBOOK,
                "NetmonOverlayOneWay",
                Warning,
                "10m",
                &one_way(of(OVERLAY_TRANSMIT_PACKETS), of(OVERLAY_RECEIVE_PACKETS), way),
                "A node sends to another through an overlay and hears nothing.",
                "{instance} sends {value} packets a second to {peer} on network {network}, and none comes back.",
            )?,
            alert(
                RUNBOOK,
                "NetmonEncryptedOneWay",
                Warning,
                "10m",
                &one_way(of(OVERLAY_ESP_TRANSMIT_PACKETS), of(OVERLAY_ESP_RECEIVE_PACKETS), node),
                "A node sends encrypted packets to another and hears nothing.",
                "{instance} sends {value} encrypted packets a second to {peer}, and none comes back.",
            )?,
            alert(
                RUNBOOK,
                "NetmonEncryptionErrors",
                Warning,
                "5m",
                &encryption_errors(),
                "A node throws encrypted packets away.",
                "{instance} threw away {value} packets within ten minutes because something was wrong with their encryption: {reason}.",
            )?,
            alert(
                RUNBOOK,
                "NetmonOverlayMtu",
                Warning,
                "5m",
                &too_large(),
                "The largest packets of an overlay network do not fit between the nodes.",
                "The largest packets of network {network} are {value} bytes too large for the device of {instance} that leads to other nodes: small packets pass, large ones may be lost.",
            )?,
            alert(
                RUNBOOK,
                "NetmonOverlayDrops",
                Warning,
                "5m",
                &of(OVERLAY_PACKET_DROPS).seen(window).sum(lost).above(60.0),
                "Packets are lost inside an overlay network.",
                "{instance} lost {value} packets inside network {network} within ten minutes: {reason}.",
            )?,
            alert(
                RUNBOOK,
                "NetmonLoadBalancerDrops",
                Warning,
                "5m",
                &of(LOAD_BALANCER_PACKET_DROPS).seen(window).sum(lost).above(60.0),
                "Packets are lost in a network's load balancer.",
                "{instance} lost {value} packets in the load balancer of network {network} within ten minutes: {reason}.",
            )?,
        ],
    })
}

/// Packets lost to encryption errors, on nodes with an encrypted network. Elsewhere the errors are not Docker's. Some
/// packets are lost while the Swarm's keys change.
fn encryption_errors() -> Vector<(Job, Instance, Reason)> {
    let encrypted = of(NETWORK_INFO).is(Encrypted, "true").now();
    of(NODE_XFRM_ERRORS)
        .increase(Window::Of("10m"))
        .sum((Job, Instance, Reason))
        .above(10.0)
        .and((Job, Instance), encrypted)
}

/// How many bytes the largest packets exceed the smallest MTU on the way to other nodes.
fn too_large() -> Vector<(Job, Instance, Network)> {
    let by = (Job, Instance, Network);
    let size = of(OVERLAY_MTU).now().max(by).plus(of(OVERLAY_OVERHEAD).now().max(by));
    size.less_one((Job, Instance), of(UNDERLAY_MTU).now().min((Job, Instance)))
        .above(0.0)
}

/// Traffic that is sent while nothing comes back.
fn one_way<L: LabelSet, P: Labels + Copy>(
    sent: Selection<Counter, L>,
    received: Selection<Counter, L>,
    by: P,
) -> Vector<P> {
    let window = Window::Of("10m");
    let silent = received.rate_over(window).sum(by).exactly(0.0);
    sent.rate_over(window).sum(by).above(FLOW).only_with(silent)
}
