//! The families of losses that no tracepoint reports per packet.

use crate::{
    collectors::{labels::Container, sockets::facts::SocketRows},
    model::protocols::Losses,
    page::{
        key::Key,
        labels::Unlabelled,
        limits::{CONTAINER, SHOWN},
        rows::{Rows, schemas},
    },
};

/// Declares the losses of containers and of the node: the same counters of the kernel, in their namespaces.
macro_rules! losses {
    ($($of_container:ident $container:literal, $of_node:ident $node:literal: $field:ident, $help:literal;)*) => {
        schemas! {
            pub families of super::NAME;
            "Sockets and buffers" {
                /// A container's losses.
                CONTAINERS(it in Losses) by Container, CONTAINER {$(
                    $of_container: Counter, $container, it.$field, $help;
                )*}
                /// The node's losses.
                NODE(it in Losses) by Unlabelled, SHOWN {$(
                    $of_node: Counter, $node, it.$field, concat!($help, " Counted in the node's own namespace.");
                )*}
            }
        }
    };
}

losses! {
    CONTAINER_TCP_LISTEN_OVERFLOWS "netmon_container_tcp_listen_overflows", NODE_TCP_LISTEN_OVERFLOWS "netmon_node_tcp_listen_overflows": tcp_listen_overflows,
        "Connections dropped because the accept queue was full (TcpExt: ListenOverflows). The application accepts too slowly, or its backlog or net.core.somaxconn is too small.";
    CONTAINER_TCP_LISTEN_DROPS "netmon_container_tcp_listen_drops", NODE_TCP_LISTEN_DROPS "netmon_node_tcp_listen_drops": tcp_listen_drops,
        "Connections that a listening socket dropped for any reason (TcpExt: ListenDrops). Overflows are included.";
    CONTAINER_TCP_BACKLOG_DROPS "netmon_container_tcp_backlog_drops", NODE_TCP_BACKLOG_DROPS "netmon_node_tcp_backlog_drops": tcp_backlog_drops,
        "Segments dropped because the socket was in use and its backlog was full (TcpExt: TCPBacklogDrop). Raise net.ipv4.tcp_rmem.";
    CONTAINER_TCP_RECEIVE_QUEUE_DROPS "netmon_container_tcp_receive_queue_drops", NODE_TCP_RECEIVE_QUEUE_DROPS "netmon_node_tcp_receive_queue_drops": tcp_receive_queue_drops,
        "Segments dropped because the socket's receive queue was full (TcpExt: TCPRcvQDrop). Raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
    CONTAINER_TCP_PRUNES "netmon_container_tcp_prunes", NODE_TCP_PRUNES "netmon_node_tcp_prunes": tcp_prunes,
        "How often the kernel discarded received segments to free memory (TcpExt: RcvPruned and OfoPruned). Raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
    CONTAINER_UDP_RECEIVE_BUFFER_ERRORS "netmon_container_udp_receive_buffer_errors", NODE_UDP_RECEIVE_BUFFER_ERRORS "netmon_node_udp_receive_buffer_errors": udp_receive_buffer_errors,
        "Datagrams dropped because the socket's receive buffer was full (Udp: RcvbufErrors). The application reads too slowly, or net.core.rmem_max is too small.";
    CONTAINER_UDP_SEND_BUFFER_ERRORS "netmon_container_udp_send_buffer_errors", NODE_UDP_SEND_BUFFER_ERRORS "netmon_node_udp_send_buffer_errors": udp_send_buffer_errors,
        "Datagrams not sent because the socket's send buffer was full (Udp: SndbufErrors). Raise net.core.wmem_max.";
    CONTAINER_UDP_CHECKSUM_ERRORS "netmon_container_udp_checksum_errors", NODE_UDP_CHECKSUM_ERRORS "netmon_node_udp_checksum_errors": udp_checksum_errors,
        "Datagrams with a wrong checksum (Udp: InCsumErrors).";
    CONTAINER_UDP_NO_PORTS "netmon_container_udp_no_ports", NODE_UDP_NO_PORTS "netmon_node_udp_no_ports": udp_no_ports,
        "Datagrams to a port without a listener (Udp: NoPorts).";
    CONTAINER_IP_NO_ROUTES "netmon_container_ip_no_routes", NODE_IP_NO_ROUTES "netmon_node_ip_no_routes": ip_no_routes,
        "Packets without a route (Ip: OutNoRoutes).";
    CONTAINER_IP_REASSEMBLY_FAILURES "netmon_container_ip_reassembly_failures", NODE_IP_REASSEMBLY_FAILURES "netmon_node_ip_reassembly_failures": ip_reassembly_failures,
        "Fragmented packets that could not be reassembled (Ip: ReasmFails). A fragment was lost, or net.ipv4.ipfrag_high_thresh is too small.";
}

/// The rows of a scrape.
pub(crate) fn rows(sockets: &SocketRows) -> Vec<Rows> {
    let SocketRows { containers, node } = sockets;
    let containers = containers.iter().map(|(identity, losses)| (Key::of(identity), losses));
    let mut rows = vec![CONTAINERS.rows(containers)];
    rows.extend(node.as_ref().map(|losses| NODE.row(losses)));
    rows
}

#[cfg(test)]
mod tests {
    use super::{CONTAINERS, NODE};

    #[test]
    fn each_loss_of_a_container_is_one_of_the_node_too() {
        let (containers, node) = (CONTAINERS.group().families, NODE.group().families);
        assert_eq!(containers.len(), node.len());
        for (container, node) in containers.iter().zip(node) {
            let name = container.name().replacen("container", "node", 1);
            assert_eq!(node.name(), name);
            assert!(node.help.starts_with(container.help), "{name}: {}", node.help);
        }
    }
}
