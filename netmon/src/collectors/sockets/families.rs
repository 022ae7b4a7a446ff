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

schemas! {
    pub families of super::NAME;
    "Sockets and buffers" {
        /// A container's losses.
        CONTAINERS(it in Losses) by Container, CONTAINER {
            CONTAINER_TCP_LISTEN_OVERFLOWS: Counter, "netmon_container_tcp_listen_overflows",
                it.tcp_listen_overflows,
                "Connections dropped because the accept queue was full (TcpExt: ListenOverflows). The application accepts too slowly, or its backlog or net.core.somaxconn is too small.";
            CONTAINER_TCP_LISTEN_DROPS: Counter, "netmon_container_tcp_listen_drops",
                it.tcp_listen_drops,
                "Connections that a listening socket dropped for any reason (TcpExt: ListenDrops). Overflows are included.";
            CONTAINER_TCP_BACKLOG_DROPS: Counter, "netmon_container_tcp_backlog_drops",
                it.tcp_backlog_drops,
                "Segments dropped because the socket was in use and its backlog was full (TcpExt: TCPBacklogDrop). Raise net.ipv4.tcp_rmem.";
            CONTAINER_TCP_RECEIVE_QUEUE_DROPS: Counter, "netmon_container_tcp_receive_queue_drops",
                it.tcp_receive_queue_drops,
                "Segments dropped because the socket's receive queue was full (TcpExt: TCPRcvQDrop). Raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
            CONTAINER_TCP_PRUNES: Counter, "netmon_container_tcp_prunes",
                it.tcp_prunes,
                "How often the kernel discarded received segments to free memory (TcpExt: RcvPruned and OfoPruned). Raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
            CONTAINER_UDP_RECEIVE_BUFFER_ERRORS: Counter, "netmon_container_udp_receive_buffer_errors",
                it.udp_receive_buffer_errors,
                "Datagrams dropped because the socket's receive buffer was full (Udp: RcvbufErrors). The application reads too slowly, or net.core.rmem_max is too small.";
            CONTAINER_UDP_SEND_BUFFER_ERRORS: Counter, "netmon_container_udp_send_buffer_errors",
                it.udp_send_buffer_errors,
                "Datagrams not sent because the socket's send buffer was full (Udp: SndbufErrors). Raise net.core.wmem_max.";
            CONTAINER_UDP_CHECKSUM_ERRORS: Counter, "netmon_container_udp_checksum_errors",
                it.udp_checksum_errors,
                "Datagrams with a wrong checksum (Udp: InCsumErrors).";
            CONTAINER_UDP_NO_PORTS: Counter, "netmon_container_udp_no_ports",
                it.udp_no_ports,
                "Datagrams to a port without a listener (Udp: NoPorts).";
            CONTAINER_IP_NO_ROUTES: Counter, "netmon_container_ip_no_routes",
                it.ip_no_routes,
                "Packets without a route (Ip: OutNoRoutes).";
            CONTAINER_IP_REASSEMBLY_FAILURES: Counter, "netmon_container_ip_reassembly_failures",
                it.ip_reassembly_failures,
                "Fragmented packets that could not be reassembled (Ip: ReasmFails). A fragment was lost, or net.ipv4.ipfrag_high_thresh is too small.";
        }
        /// The node's losses.
        NODE(it in Losses) by Unlabelled, SHOWN {
            NODE_TCP_LISTEN_OVERFLOWS: Counter, "netmon_node_tcp_listen_overflows",
                it.tcp_listen_overflows,
                "In the node's namespace: connections dropped because the accept queue was full (TcpExt: ListenOverflows). The application accepts too slowly, or its backlog or net.core.somaxconn is too small.";
            NODE_TCP_LISTEN_DROPS: Counter, "netmon_node_tcp_listen_drops",
                it.tcp_listen_drops,
                "In the node's namespace: connections that a listening socket dropped for any reason (TcpExt: ListenDrops). Overflows are included.";
            NODE_TCP_BACKLOG_DROPS: Counter, "netmon_node_tcp_backlog_drops",
                it.tcp_backlog_drops,
                "In the node's namespace: segments dropped because the socket was in use and its backlog was full (TcpExt: TCPBacklogDrop). Raise net.ipv4.tcp_rmem.";
            NODE_TCP_RECEIVE_QUEUE_DROPS: Counter, "netmon_node_tcp_receive_queue_drops",
                it.tcp_receive_queue_drops,
                "In the node's namespace: segments dropped because the socket's receive queue was full (TcpExt: TCPRcvQDrop). Raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
            NODE_TCP_PRUNES: Counter, "netmon_node_tcp_prunes",
                it.tcp_prunes,
                "In the node's namespace: how often the kernel discarded received segments to free memory (TcpExt: RcvPruned and OfoPruned). Raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
            NODE_UDP_RECEIVE_BUFFER_ERRORS: Counter, "netmon_node_udp_receive_buffer_errors",
                it.udp_receive_buffer_errors,
                "In the node's namespace: datagrams dropped because the socket's receive buffer was full (Udp: RcvbufErrors). The application reads too slowly, or net.core.rmem_max is too small.";
            NODE_UDP_SEND_BUFFER_ERRORS: Counter, "netmon_node_udp_send_buffer_errors",
                it.udp_send_buffer_errors,
                "In the node's namespace: datagrams not sent because the socket's send buffer was full (Udp: SndbufErrors). Raise net.core.wmem_max.";
            NODE_UDP_CHECKSUM_ERRORS: Counter, "netmon_node_udp_checksum_errors",
                it.udp_checksum_errors,
                "In the node's namespace: datagrams with a wrong checksum (Udp: InCsumErrors).";
            NODE_UDP_NO_PORTS: Counter, "netmon_node_udp_no_ports",
                it.udp_no_ports,
                "In the node's namespace: datagrams to a port without a listener (Udp: NoPorts).";
            NODE_IP_NO_ROUTES: Counter, "netmon_node_ip_no_routes",
                it.ip_no_routes,
                "In the node's namespace: packets without a route (Ip: OutNoRoutes).";
            NODE_IP_REASSEMBLY_FAILURES: Counter, "netmon_node_ip_reassembly_failures",
                it.ip_reassembly_failures,
                "In the node's namespace: fragmented packets that could not be reassembled (Ip: ReasmFails). A fragment was lost, or net.ipv4.ipfrag_high_thresh is too small.";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(sockets: &SocketRows) -> Vec<Rows> {
    let SocketRows { containers, node } = sockets;
    let containers = containers.iter().map(|(identity, losses)| (Key::of(identity), losses));
    let mut rows = vec![CONTAINERS.rows(containers)];
    rows.extend(node.as_ref().map(|losses| NODE.row(losses)));
    rows
}
