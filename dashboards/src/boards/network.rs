//! Docker networks, and traffic between nodes.

use netmon::collectors::catalog::{
    CONTAINER_INTERFACE_INFO, CONTAINER_RECEIVE_BYTES, CONTAINER_TRANSMIT_BYTES, LOAD_BALANCER_PACKET_DROPS,
    NETWORK_INFO, NODE_PACKET_DROPS, NODE_XFRM_ERRORS, OVERLAY_CLEARTEXT_PACKETS, OVERLAY_ESP_RECEIVE_BYTES,
    OVERLAY_ESP_TRANSMIT_BYTES, OVERLAY_MTU, OVERLAY_OVERHEAD, OVERLAY_PACKET_DROPS, OVERLAY_RECEIVE_BYTES,
    OVERLAY_RECEIVE_PACKETS, OVERLAY_TRANSMIT_BYTES, OVERLAY_TRANSMIT_PACKETS, UNDERLAY_MTU, VXLAN_RECEIVE_BYTES,
    VXLAN_RECEIVE_ERRORS, VXLAN_RECEIVE_PACKETS_DROPPED, VXLAN_TRANSMIT_BYTES, VXLAN_TRANSMIT_ERRORS,
    VXLAN_TRANSMIT_PACKETS_DROPPED,
};

use super::{NETWORK, RETRANSMITS, retransmitted, round_trip_times};
use crate::{
    board::{Row, dashboard, values},
    grafana::Dashboard,
    label::{
        Container, Direction, Driver, Encrypted, Instance, Internal, Mtu, Network, Peer, Reason, Scope, Service,
        Subnet, Vni,
    },
    panel::{Limits, Unit, graph, mirrored, table},
    query::{Window, of},
};

pub(super) fn board() -> Dashboard {
    dashboard(
        NETWORK,
        "Network and overlay",
        "Docker networks: who is on them, what passes between nodes, what is lost on the way, and whether what is to be encrypted is.",
        vec![
            values(NETWORK_INFO, Network, "Network"),
            values(OVERLAY_TRANSMIT_BYTES, Peer, "Other node"),
        ],
        vec![networks(), pairs(), encryption(), losses()],
    )
}

fn networks() -> Row {
    let by = (Network, Driver, Scope, Encrypted, Internal, Mtu, Vni, Subnet);
    let nodes = of(NETWORK_INFO).chosen(Network).now().count(by);
    let services = (Service, Network);
    let received = of(CONTAINER_RECEIVE_BYTES).chosen(Network).rate().sum(services).top(10);
    let sent = of(CONTAINER_TRANSMIT_BYTES)
        .chosen(Network)
        .rate()
        .sum(services)
        .top(10);
    let members = of(CONTAINER_INTERFACE_INFO)
        .chosen(Network)
        .is_not(Network, "")
        .now()
        .count((Container, Network))
        .count(Network);
    Row::new("Networks")
        .panel(24, 7, table(
            "Networks",
            "As the engines describe them, and how many nodes know each. The same name twice with another driver, MTU or subnet: nodes disagree, or two networks have one name.",
            by,
            ["Network", "Driver", "Scope", "Encrypted", "Internal", "MTU", "VNI", "Subnet"],
        )
        .column("Nodes", Unit::Count, Limits::None, &nodes)
        .in_order("Network"))
        .panel(12, 9, mirrored(graph(
            "Bytes, by service",
            Unit::BytesPerSecond,
            Limits::None,
            "What containers receive (up) and send (down) on the network, on one node or between nodes. A service without a name: containers that belong to none.",
            vec![received.legend_and(services, "received"), sent.legend_and(services, "sent")],
        ), "/^sent:/"))
        .panel(6, 9, graph(
            "Containers",
            Unit::Count,
            Limits::None,
            "Containers with an interface on the network. A fall that no update explains: look for nodes that are missing.",
            vec![members.legend(Network)],
        ))
        .panel(6, 9, graph(
            "Segments sent again",
            Unit::Share,
            Limits::Above(RETRANSMITS.0, RETRANSMITS.1),
            "Share of TCP segments that had to be sent again. One network alone: its way; all of them: a node or the lines between.",
            vec![retransmitted(|it| it.chosen(Network).is_not(Network, ""), Network).legend(Network)],
        ))
        .panel(24, 8, graph(
            "Round-trip time",
            Unit::Seconds,
            Limits::None,
            "Of the TCP connections on the network, as the kernel sees it. Overlay networks go through the line between nodes: compare with a bridge network to tell the line from the application.",
            round_trip_times(|it| it.chosen(Network).is_not(Network, ""), Network),
        ))
}

fn pairs() -> Row {
    let by = (Network, Instance, Peer);
    let rate = |family| of(family).chosen(Network).chosen(Peer).rate().sum(by);
    let inner = |family| of(family).chosen(Network).rate().sum(Network).top(10);
    let place = (Network, Instance);
    let packet = of(OVERLAY_MTU).chosen(Network).now().max(place);
    let added = of(OVERLAY_OVERHEAD).chosen(Network).now().max(place);
    // A node may have several devices that lead to other nodes. The one with the smallest MTU limits the packets.
    let missing = packet
        .clone()
        .plus(added.clone())
        .less_one(Instance, of(UNDERLAY_MTU).now().min(Instance));
    Row::new("Between nodes")
        .panel(8, 9, mirrored(graph(
            "Bytes, by network",
            Unit::BytesPerSecond,
            Limits::None,
            "What nodes receive from others (up) and send to others (down) on the network, encrypted or not, without outer headers. What one node sends another receives: if the two differ, packets are lost in between.",
            vec![
                inner(VXLAN_RECEIVE_BYTES).legend_and(Network, "received"),
                inner(VXLAN_TRANSMIT_BYTES).legend_and(Network, "sent"),
            ],
        ), "/^sent:/"))
        .panel(8, 9, graph(
            "Sent to other nodes",
            Unit::BytesPerSecond,
            Limits::None,
            "By network, node and other node, outer headers included. Encrypted networks are below.",
            vec![rate(OVERLAY_TRANSMIT_BYTES).top(10).legend(by)],
        ))
        .panel(8, 9, graph(
            "Received from other nodes",
            Unit::BytesPerSecond,
            Limits::None,
            "By network, node and other node, outer headers included. Much less than the other node sends here: packets are lost between the two.",
            vec![rate(OVERLAY_RECEIVE_BYTES).top(10).legend(by)],
        ))
        .panel(14, 9, table(
            "Node by node",
            "Each way from a node to another, by network. Packets sent and none received: the other node does not answer: is UDP port 4789 open in both directions, does the other node know this network? (runbook of NetmonOverlayOneWay)",
            by,
            ["Network", "Node", "Other node"],
        )
        .column("Sent", Unit::BytesPerSecond, Limits::None, &rate(OVERLAY_TRANSMIT_BYTES))
        .column("Received", Unit::BytesPerSecond, Limits::None, &rate(OVERLAY_RECEIVE_BYTES))
        .column("Packets sent", Unit::PacketsPerSecond, Limits::None, &rate(OVERLAY_TRANSMIT_PACKETS))
        .column("Packets received", Unit::PacketsPerSecond, Limits::None, &rate(OVERLAY_RECEIVE_PACKETS))
        .width("Packets sent", 105)
        .width("Packets received", 130)
        .in_order("Network"))
        .panel(10, 9, table(
            "Do the largest packets fit?",
            "How large containers' packets may be, what is put around them on the way to another node, and what is then left of the MTU of the device that leads there. Less than 0: large packets are lost while small ones pass (runbook of NetmonOverlayMtu).",
            place,
            ["Network", "Node"],
        )
        .column("Largest", Unit::PacketBytes, Limits::None, &packet)
        .column("Added", Unit::PacketBytes, Limits::None, &added)
        .column("Left", Unit::PacketBytes, Limits::Below(0.0), &missing.times(-1.0))
        .in_order("Left"))
}

fn encryption() -> Row {
    let by = (Instance, Peer);
    let sent = of(OVERLAY_ESP_TRANSMIT_BYTES).chosen(Peer).rate().sum(by).top(10);
    let received = of(OVERLAY_ESP_RECEIVE_BYTES).chosen(Peer).rate().sum(by).top(10);
    let leaks = (Network, Instance, Peer, Direction);
    let clear = of(OVERLAY_CLEARTEXT_PACKETS)
        .chosen(Network)
        .chosen(Peer)
        .seen(Window::Shown)
        .sum(leaks);
    let errors = (Reason, Instance);
    Row::new("Encryption")
        .panel(8, 8, mirrored(graph(
            "Encrypted, by node",
            Unit::BytesPerSecond,
            Limits::None,
            "ESP that a node receives from (up) and sends to (down) another. Which network's cannot be seen. No data: no encrypted network reaches another node.",
            vec![received.legend_and(by, "received"), sent.legend_and(by, "sent")],
        ), "/^sent:/"))
        .panel(8, 8, table(
            "In the clear",
            "Packets of encrypted networks that anybody between the nodes can read, in the time that is shown. Anything but 0: see the runbook of NetmonCleartext. No rows: no network here is encrypted.",
            leaks,
            ["Network", "Node", "Other node", "Direction"],
        )
        .column("Packets", Unit::Count, Limits::Zero, &clear)
        .sorted("Packets"))
        .panel(8, 8, graph(
            "Encryption that fails",
            Unit::PerSecond,
            Limits::Above(0.1, 10.0),
            "Packets that a node threw away because something was wrong with their encryption, by the kernel's own reason: the runbook of NetmonEncryptionErrors says what to do about each. Nothing is drawn while there is none.",
            vec![of(NODE_XFRM_ERRORS).rate().sum(errors).above(0.0).legend(errors)],
        ))
}

fn losses() -> Row {
    let by = (Reason, Instance, Network);
    let device = (Network, Instance);
    Row::new("Losses on the way")
        .panel(8, 9, graph(
            "In the overlay's namespace",
            Unit::PerSecond,
            Limits::Above(1.0, 100.0),
            "Packets lost between containers' interfaces and the way to other nodes. NO_TX_TARGET: an address that the overlay does not know; often a container that has gone. Nothing is drawn while there is none.",
            vec![of(OVERLAY_PACKET_DROPS).chosen(Network).rate().sum(by).above(0.0).legend(by)],
        ))
        .panel(8, 9, graph(
            "In the load balancer",
            Unit::PerSecond,
            Limits::Above(1.0, 100.0),
            "Packets lost where virtual addresses and published ports are turned into containers'. Nothing is drawn while there is none.",
            vec![of(LOAD_BALANCER_PACKET_DROPS).chosen(Network).rate().sum(by).above(0.0).legend(by)],
        ))
        .panel(8, 9, graph(
            "On the node's side",
            Unit::PerSecond,
            Limits::Above(1.0, 100.0),
            "Packets lost in the node's namespace on the network's bridge. NETFILTER_DROP: the node's firewall. Nothing is drawn while there is none.",
            vec![of(NODE_PACKET_DROPS).chosen(Network).rate().sum(by).above(0.0).legend(by)],
        ))
        .panel(24, 8, graph(
            "VXLAN devices: errors and drops",
            Unit::PerSecond,
            Limits::Above(1.0, 100.0),
            "By the devices' own counters. Dropped on send: among them packets to addresses that no node is known for. Nothing is drawn while there is none.",
            vec![
                of(VXLAN_TRANSMIT_PACKETS_DROPPED).chosen(Network).rate().sum(device).above(0.0).legend_and(device, "dropped on send"),
                of(VXLAN_RECEIVE_PACKETS_DROPPED).chosen(Network).rate().sum(device).above(0.0).legend_and(device, "dropped on receive"),
                of(VXLAN_TRANSMIT_ERRORS).chosen(Network).rate().sum(device).above(0.0).legend_and(device, "not sent"),
                of(VXLAN_RECEIVE_ERRORS).chosen(Network).rate().sum(device).above(0.0).legend_and(device, "bad on receive"),
            ],
        ))
}
