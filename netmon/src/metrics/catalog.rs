//! The one table of all metric families.
//!
//! The encoders refer to families by these constants, so a family that is not here does not compile. The
//! documentation, the golden page and the dashboards read [`ALL`]. A line has kind and labels, the collector, the
//! name *without* unit and suffix, the unit, and the help. The library appends the unit, `_total` and `_info`. It
//! does not escape the help, so the help must be plain text.
#![expect(clippy::doc_markdown, reason = "the help's texts have no markup")]

use super::{
    family::{About, Family, Unit},
    labels::{
        BuildInfo, ByCollector, ByWorker, Capability, Connections, Container, ContainerDrop, ContainerInfo,
        ContainerNetwork, ContainerNetworkFailure, EncryptedPeer, Event, Family as AddressFamily, Interface,
        InterfaceInfo, InterfaceQueue, Limit, Map, NetworkDrop, NetworkInfo, NodeInfo, NodeQueue, OverlayEndpoint,
        OverlayNetwork, OverlayService, Peer, PeerDirection, PeerInfo, Program, ProgramInfo, Reason, Service, State,
        Sysctl, Threshold, UnattributedDrop, Underlay, Unlabelled, Vxlan,
    },
    value::{Counter, Gauge, Histogram, Info},
};
use crate::model::{collector::Collector, protocols::Losses};

macro_rules! unit {
    () => {
        None
    };
    ($unit:ident) => {
        Some(Unit::$unit)
    };
}

macro_rules! families {
    ($($noun:literal {$(
        $family:ident: $kind:ident<$labels:ident> = $collector:ident, $base:literal $(in $unit:ident)?, $help:literal;
    )*})*) => {
        $($(
            #[doc = $help]
            pub const $family: Family<$kind, $labels> =
                Family::new($noun, Collector::$collector, $base, unit!($($unit)?), $help);
        )*)*

        /// Every family, in the order of the documentation.
        pub const ALL: &[&About] = &[$($($family.about(),)*)*];
    };
}

families! {
    "Containers" {
        CONTAINER_RECEIVE_BYTES: Counter<Interface> = Traffic, "netmon_container_network_receive" in Bytes,
            "Bytes that the container received on the interface. Equal to the interface's own kernel counter.";
        CONTAINER_TRANSMIT_BYTES: Counter<Interface> = Traffic, "netmon_container_network_transmit" in Bytes,
            "Bytes that the container sent on the interface. Equal to the interface's own kernel counter.";
        CONTAINER_RECEIVE_PACKETS: Counter<Interface> = Traffic, "netmon_container_network_receive_packets",
            "Packets that the container received on the interface. Equal to the interface's own kernel counter, which counts a GRO super-packet once.";
        CONTAINER_TRANSMIT_PACKETS: Counter<Interface> = Traffic, "netmon_container_network_transmit_packets",
            "Packets that the container sent on the interface. Equal to the interface's own kernel counter, which counts a GSO super-packet once.";
        CONTAINER_RECEIVE_SEGMENTS: Counter<Interface> = Traffic, "netmon_container_network_receive_segments",
            "Packets that the container received, as they were on the wire. Once kernel programs are attached, a super-packet counts as its segments; before that, as one.";
        CONTAINER_TRANSMIT_SEGMENTS: Counter<Interface> = Traffic, "netmon_container_network_transmit_segments",
            "Packets that the container sent, as they are on the wire. Once kernel programs are attached, a super-packet counts as its segments; before that, as one.";
        CONTAINER_RECEIVE_ERRORS: Counter<Interface> = Traffic, "netmon_container_network_receive_errors",
            "Receive errors that the interface counted.";
        CONTAINER_TRANSMIT_ERRORS: Counter<Interface> = Traffic, "netmon_container_network_transmit_errors",
            "Transmit errors that the interface counted.";
        CONTAINER_RECEIVE_PACKETS_DROPPED: Counter<Interface> = Traffic, "netmon_container_network_receive_packets_dropped",
            "Received packets that the interface counted as dropped.";
        CONTAINER_TRANSMIT_PACKETS_DROPPED: Counter<Interface> = Traffic, "netmon_container_network_transmit_packets_dropped",
            "Packets to be sent that the interface counted as dropped.";
        UNATTRIBUTED_RECEIVE_PACKETS: Counter<Unlabelled> = Traffic, "netmon_unattributed_receive_packets",
            "Packets received by interfaces that were removed before the engine named their container. No other family has them.";
        UNATTRIBUTED_TRANSMIT_PACKETS: Counter<Unlabelled> = Traffic, "netmon_unattributed_transmit_packets",
            "Packets sent by interfaces that were removed before the engine named their container. No other family has them.";
        CONTAINER_INTERFACE_INFO: Info<InterfaceInfo> = Traffic, "netmon_container_interface",
            "An interface of a container. A label with several addresses separates them by commas.";
        CONTAINER_INFO: Info<ContainerInfo> = Docker, "netmon_container",
            "A container, with its service, stack and image, and what netmon does for it (state). shares_with names the container whose network namespace it uses.";
        CONTAINERS: Gauge<State> = Docker, "netmon_containers",
            "Containers by state. observed: their interfaces are counted. pending: their interfaces are not found yet. shared: they use another container's namespace. host: they use the node's. isolated: they have only loopback. ended: they ended within the linger.";
    }
    "Drops" {
        CONTAINER_PACKET_DROPS: Counter<ContainerDrop> = Drops, "netmon_container_packet_drops",
            "Packets that the kernel dropped in the container's namespace, by the kernel's drop reason. A super-packet counts as its segments. The network is empty for loopback and for devices of no Docker network. docs/design/drops.md lists the reasons that are no loss and are left out.";
        OVERLAY_PACKET_DROPS: Counter<NetworkDrop> = Drops, "netmon_overlay_packet_drops",
            "Packets that the kernel dropped in the overlay network's own namespace on this node, between the containers' interfaces and the tunnels to other nodes.";
        LOAD_BALANCER_PACKET_DROPS: Counter<NetworkDrop> = Drops, "netmon_load_balancer_packet_drops",
            "Packets that the kernel dropped in the network's load balancer on this node. The routing mesh (ingress) is one of them.";
        NODE_PACKET_DROPS: Counter<NetworkDrop> = Drops, "netmon_node_packet_drops",
            "Packets that the kernel dropped in the node's own namespace. The network is the one whose bridge they passed; it is empty for the node's other devices.";
        UNATTRIBUTED_DROPS: Counter<UnattributedDrop> = Drops, "netmon_unattributed_drops",
            "Dropped packets that belong to no known container or network, by cause. no_namespace: the packet named neither device nor socket. foreign_namespace: the namespace is not the engine's. unnamed: the engine did not name the container. no_place: there is no reason, and the kernel hides the function. map_full: the kernel map was full.";
    }
    "TCP" {
        CONTAINER_TCP_SENT_SEGMENTS: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_sent_segments",
            "TCP segments that the container sent, without retransmits. Summed over networks it equals the namespace's TcpOutSegs since netmon or the container started. The network is empty for loopback and for devices without kernel programs.";
        CONTAINER_TCP_RETRANSMITTED_SEGMENTS: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_retransmitted_segments",
            "TCP segments that the container retransmitted. Summed over networks it equals the namespace's TcpRetransSegs since netmon or the container started. The network is empty for loopback and where it is not known.";
        CONTAINER_TCP_RESETS_SENT: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_resets_sent",
            "TCP resets that the container sent. It refused or aborted a connection. Summed over networks it equals the namespace's TcpOutRsts since netmon or the container started. Before Linux 6.10, resets for closed ports and ended connections have no network.";
        CONTAINER_TCP_RESETS_RECEIVED: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_resets_received",
            "TCP resets that the container received. The other end refused or aborted a connection.";
        CONTAINER_TCP_CONNECTS: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_connects",
            "TCP connections that the container opened.";
        CONTAINER_TCP_ACCEPTS: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_accepts",
            "TCP connections that the container accepted.";
        CONTAINER_TCP_CONNECT_FAILURES: Counter<ContainerNetworkFailure> = Tcp, "netmon_container_tcp_connect_failures",
            "TCP connections that the container failed to open, by reason. refused: nobody listens. timeout: nobody answered. unreachable: there is no route. reset: the other end aborted it. aborted: the application closed the socket first. other: any other error.";
        CONTAINER_TCP_ROUND_TRIP_TIME: Histogram<ContainerNetwork> = Tcp, "netmon_container_tcp_round_trip_time" in Seconds,
            "Smoothed round-trip time of the container's TCP connections, as the kernel estimates it. One in eight acknowledgements of sent data is observed.";
        CONTAINER_TCP_CONNECTIONS: Gauge<Connections> = Tcp, "netmon_container_tcp_connections",
            "TCP sockets of the container, by state.";
    }
    "Sockets and buffers" {
        CONTAINER_TCP_LISTEN_OVERFLOWS: Counter<Container> = Sockets, "netmon_container_tcp_listen_overflows",
            "Connections dropped because the accept queue was full (TcpExt: ListenOverflows). The application accepts too slowly, or its backlog or net.core.somaxconn is too small.";
        CONTAINER_TCP_LISTEN_DROPS: Counter<Container> = Sockets, "netmon_container_tcp_listen_drops",
            "Connections that a listening socket dropped for any reason (TcpExt: ListenDrops). Overflows are included.";
        CONTAINER_TCP_BACKLOG_DROPS: Counter<Container> = Sockets, "netmon_container_tcp_backlog_drops",
            "Segments dropped because the socket was in use and its backlog was full (TcpExt: TCPBacklogDrop). Raise net.ipv4.tcp_rmem.";
        CONTAINER_TCP_RECEIVE_QUEUE_DROPS: Counter<Container> = Sockets, "netmon_container_tcp_receive_queue_drops",
            "Segments dropped because the socket's receive queue was full (TcpExt: TCPRcvQDrop). Raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
        CONTAINER_TCP_PRUNES: Counter<Container> = Sockets, "netmon_container_tcp_prunes",
            "How often the kernel discarded received segments to free memory (TcpExt: RcvPruned and OfoPruned). Raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
        CONTAINER_UDP_RECEIVE_BUFFER_ERRORS: Counter<Container> = Sockets, "netmon_container_udp_receive_buffer_errors",
            "Datagrams dropped because the socket's receive buffer was full (Udp: RcvbufErrors). The application reads too slowly, or net.core.rmem_max is too small.";
        CONTAINER_UDP_SEND_BUFFER_ERRORS: Counter<Container> = Sockets, "netmon_container_udp_send_buffer_errors",
            "Datagrams not sent because the socket's send buffer was full (Udp: SndbufErrors). Raise net.core.wmem_max.";
        CONTAINER_UDP_CHECKSUM_ERRORS: Counter<Container> = Sockets, "netmon_container_udp_checksum_errors",
            "Datagrams with a wrong checksum (Udp: InCsumErrors).";
        CONTAINER_UDP_NO_PORTS: Counter<Container> = Sockets, "netmon_container_udp_no_ports",
            "Datagrams to a port without a listener (Udp: NoPorts).";
        CONTAINER_IP_NO_ROUTES: Counter<Container> = Sockets, "netmon_container_ip_no_routes",
            "Packets without a route (Ip: OutNoRoutes).";
        CONTAINER_IP_REASSEMBLY_FAILURES: Counter<Container> = Sockets, "netmon_container_ip_reassembly_failures",
            "Fragmented packets that could not be reassembled (Ip: ReasmFails). A fragment was lost, or net.ipv4.ipfrag_high_thresh is too small.";
        NODE_TCP_LISTEN_OVERFLOWS: Counter<Unlabelled> = Sockets, "netmon_node_tcp_listen_overflows",
            "In the node's namespace: connections dropped because the accept queue was full (TcpExt: ListenOverflows). The application accepts too slowly, or its backlog or net.core.somaxconn is too small.";
        NODE_TCP_LISTEN_DROPS: Counter<Unlabelled> = Sockets, "netmon_node_tcp_listen_drops",
            "In the node's namespace: connections that a listening socket dropped for any reason (TcpExt: ListenDrops). Overflows are included.";
        NODE_TCP_BACKLOG_DROPS: Counter<Unlabelled> = Sockets, "netmon_node_tcp_backlog_drops",
            "In the node's namespace: segments dropped because the socket was in use and its backlog was full (TcpExt: TCPBacklogDrop). Raise net.ipv4.tcp_rmem.";
        NODE_TCP_RECEIVE_QUEUE_DROPS: Counter<Unlabelled> = Sockets, "netmon_node_tcp_receive_queue_drops",
            "In the node's namespace: segments dropped because the socket's receive queue was full (TcpExt: TCPRcvQDrop). Raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
        NODE_TCP_PRUNES: Counter<Unlabelled> = Sockets, "netmon_node_tcp_prunes",
            "In the node's namespace: how often the kernel discarded received segments to free memory (TcpExt: RcvPruned and OfoPruned). Raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
        NODE_UDP_RECEIVE_BUFFER_ERRORS: Counter<Unlabelled> = Sockets, "netmon_node_udp_receive_buffer_errors",
            "In the node's namespace: datagrams dropped because the socket's receive buffer was full (Udp: RcvbufErrors). The application reads too slowly, or net.core.rmem_max is too small.";
        NODE_UDP_SEND_BUFFER_ERRORS: Counter<Unlabelled> = Sockets, "netmon_node_udp_send_buffer_errors",
            "In the node's namespace: datagrams not sent because the socket's send buffer was full (Udp: SndbufErrors). Raise net.core.wmem_max.";
        NODE_UDP_CHECKSUM_ERRORS: Counter<Unlabelled> = Sockets, "netmon_node_udp_checksum_errors",
            "In the node's namespace: datagrams with a wrong checksum (Udp: InCsumErrors).";
        NODE_UDP_NO_PORTS: Counter<Unlabelled> = Sockets, "netmon_node_udp_no_ports",
            "In the node's namespace: datagrams to a port without a listener (Udp: NoPorts).";
        NODE_IP_NO_ROUTES: Counter<Unlabelled> = Sockets, "netmon_node_ip_no_routes",
            "In the node's namespace: packets without a route (Ip: OutNoRoutes).";
        NODE_IP_REASSEMBLY_FAILURES: Counter<Unlabelled> = Sockets, "netmon_node_ip_reassembly_failures",
            "In the node's namespace: fragmented packets that could not be reassembled (Ip: ReasmFails). A fragment was lost, or net.ipv4.ipfrag_high_thresh is too small.";
    }
    "Queues and tables" {
        CONTAINER_QDISC_DROPS: Counter<InterfaceQueue> = Buffers, "netmon_container_qdisc_drops",
            "Packets that the queueing discipline of the container's own interface dropped. Most interfaces have none.";
        CONTAINER_CONNTRACK_ENTRIES: Gauge<Container> = Buffers, "netmon_container_conntrack_entries",
            "Connections that conntrack tracks in the container's namespace.";
        CONTAINER_LISTEN_BACKLOG_LIMIT: Gauge<Container> = Buffers, "netmon_container_listen_backlog_limit",
            "How many connections can wait for accept, whatever backlog the application asks for (net.core.somaxconn of the container's namespace). Read once a minute.";
        NODE_SOFTNET_PROCESSED: Counter<Unlabelled> = Buffers, "netmon_node_softnet_processed",
            "Packets that the node's CPUs received.";
        NODE_SOFTNET_DROPPED: Counter<Unlabelled> = Buffers, "netmon_node_softnet_dropped",
            "Packets dropped because a CPU's backlog was full. Raise net.core.netdev_max_backlog, or spread the load over CPUs.";
        NODE_SOFTNET_TIMES_SQUEEZED: Counter<Unlabelled> = Buffers, "netmon_node_softnet_times_squeezed",
            "How often a CPU used up its receive budget with packets left. If packets are dropped too, raise net.core.netdev_budget and net.core.netdev_budget_usecs.";
        NODE_QDISC_DROPS: Counter<NodeQueue> = Buffers, "netmon_node_qdisc_drops",
            "Packets that the queueing discipline of a device of the node dropped. The device is slower than the traffic it is given.";
        NODE_QDISC_OVERLIMITS: Counter<NodeQueue> = Buffers, "netmon_node_qdisc_overlimits",
            "How often the queueing discipline of a device of the node delayed packets.";
        NODE_QDISC_BACKLOG: Gauge<NodeQueue> = Buffers, "netmon_node_qdisc_backlog" in Bytes,
            "Bytes queued in the queueing discipline of a device of the node.";
        NODE_CONNTRACK_ENTRIES: Gauge<Unlabelled> = Buffers, "netmon_node_conntrack_entries",
            "Connections that conntrack tracks in the node's namespace.";
        NODE_CONNTRACK_LIMIT: Gauge<Unlabelled> = Buffers, "netmon_node_conntrack_entries_limit",
            "How many connections conntrack can track in one namespace (net.netfilter.nf_conntrack_max).";
        NODE_CONNTRACK_DROPS: Counter<Unlabelled> = Buffers, "netmon_node_conntrack_drops",
            "Packets dropped because the conntrack table was full. Raise net.netfilter.nf_conntrack_max.";
        NODE_CONNTRACK_EARLY_DROPS: Counter<Unlabelled> = Buffers, "netmon_node_conntrack_early_drops",
            "Connections that conntrack evicted early to make room for others. Raise net.netfilter.nf_conntrack_max.";
        NODE_CONNTRACK_INSERT_FAILURES: Counter<Unlabelled> = Buffers, "netmon_node_conntrack_insert_failures",
            "Connections that conntrack failed to insert. Mostly two packets of one connection raced, such as a resolver's.";
        NODE_NEIGHBOUR_ENTRIES: Gauge<AddressFamily> = Buffers, "netmon_node_neighbour_entries",
            "Entries of the neighbour table (ARP, neighbour discovery). All namespaces of the machine share it.";
        NODE_NEIGHBOUR_LIMIT: Gauge<Threshold> = Buffers, "netmon_node_neighbour_limit",
            "Limits of the neighbour table, which all namespaces of the machine share. Below gc_thresh1 nothing is evicted. Above gc_thresh2 entries are evicted soon. gc_thresh3 is the maximum.";
        NODE_NEIGHBOUR_TABLE_FULL: Counter<AddressFamily> = Buffers, "netmon_node_neighbour_table_full",
            "How often the neighbour table had no room for an entry. Raise gc_thresh3 of net.ipv4.neigh.default or net.ipv6.neigh.default.";
        NODE_TCP_MEMORY: Gauge<Unlabelled> = Buffers, "netmon_node_tcp_memory" in Bytes,
            "Memory in the buffers of all TCP sockets of the machine. net.ipv4.tcp_mem bounds it.";
        NODE_UDP_MEMORY: Gauge<Unlabelled> = Buffers, "netmon_node_udp_memory" in Bytes,
            "Memory in the buffers of all UDP sockets of the machine. net.ipv4.udp_mem bounds it.";
        NODE_SYSCTL: Gauge<Sysctl> = Buffers, "netmon_node_sysctl",
            "Kernel settings that bound buffers and queues, where they can be read. Of a setting with three numbers the last, which is the limit.";
    }
    "Services" {
        SERVICE_RECEIVE_BYTES: Counter<Service> = Service, "netmon_service_network_receive" in Bytes,
            "Bytes that the service's containers on this node received from the network since netmon started. Containers that have ended are included.";
        SERVICE_TRANSMIT_BYTES: Counter<Service> = Service, "netmon_service_network_transmit" in Bytes,
            "Bytes that the service's containers on this node sent to the network since netmon started. Containers that have ended are included.";
        SERVICE_RECEIVE_PACKETS: Counter<Service> = Service, "netmon_service_network_receive_packets",
            "Packets that the service's containers on this node received from the network since netmon started. Containers that have ended are included.";
        SERVICE_TRANSMIT_PACKETS: Counter<Service> = Service, "netmon_service_network_transmit_packets",
            "Packets that the service's containers on this node sent to the network since netmon started. Containers that have ended are included.";
    }
    "Overlay networks" {
        VXLAN_RECEIVE_BYTES: Counter<Vxlan> = Vxlan, "netmon_vxlan_receive" in Bytes,
            "Bytes of the network's packets from other nodes, without outer headers, as this node's VXLAN device counts them.";
        VXLAN_TRANSMIT_BYTES: Counter<Vxlan> = Vxlan, "netmon_vxlan_transmit" in Bytes,
            "Bytes of the network's packets to other nodes, without outer headers, as this node's VXLAN device counts them.";
        VXLAN_RECEIVE_PACKETS: Counter<Vxlan> = Vxlan, "netmon_vxlan_receive_packets",
            "The network's packets from other nodes, as this node's VXLAN device counts them.";
        VXLAN_TRANSMIT_PACKETS: Counter<Vxlan> = Vxlan, "netmon_vxlan_transmit_packets",
            "The network's packets to other nodes, as this node's VXLAN device counts them.";
        VXLAN_RECEIVE_SEGMENTS: Counter<Vxlan> = Vxlan, "netmon_vxlan_receive_segments",
            "The network's packets from other nodes, as they were on the wire. A super-packet counts as its segments.";
        VXLAN_TRANSMIT_SEGMENTS: Counter<Vxlan> = Vxlan, "netmon_vxlan_transmit_segments",
            "The network's packets to other nodes, as they are on the wire. A super-packet counts as its segments.";
        VXLAN_RECEIVE_ERRORS: Counter<Vxlan> = Vxlan, "netmon_vxlan_receive_errors",
            "Receive errors that this node's VXLAN device counted.";
        VXLAN_TRANSMIT_ERRORS: Counter<Vxlan> = Vxlan, "netmon_vxlan_transmit_errors",
            "Transmit errors that this node's VXLAN device counted.";
        VXLAN_RECEIVE_PACKETS_DROPPED: Counter<Vxlan> = Vxlan, "netmon_vxlan_receive_packets_dropped",
            "Packets from other nodes that this node's VXLAN device dropped.";
        VXLAN_TRANSMIT_PACKETS_DROPPED: Counter<Vxlan> = Vxlan, "netmon_vxlan_transmit_packets_dropped",
            "Packets to other nodes that this node's VXLAN device dropped. Among them are those to addresses without a forwarding entry.";
        OVERLAY_RECEIVE_BYTES: Counter<Peer> = Overlay, "netmon_overlay_receive" in Bytes,
            "Bytes from the other node through the network's tunnel, outer headers included, as the network card received them. A super-packet counts its headers once; an IP-fragmented packet counts its first fragment only. Encrypted packets are not in it.";
        OVERLAY_TRANSMIT_BYTES: Counter<Peer> = Overlay, "netmon_overlay_transmit" in Bytes,
            "Bytes to the other node through the network's tunnel, outer headers included, as handed to the network card. A super-packet counts its headers once; an IP-fragmented packet counts its first fragment only. Encrypted packets are not in it.";
        OVERLAY_RECEIVE_PACKETS: Counter<Peer> = Overlay, "netmon_overlay_receive_packets",
            "Packets from the other node through the network's tunnel, as they were on the wire. Encrypted packets are not in it.";
        OVERLAY_TRANSMIT_PACKETS: Counter<Peer> = Overlay, "netmon_overlay_transmit_packets",
            "Packets to the other node through the network's tunnel, as they are on the wire. Encrypted packets are not in it.";
        OVERLAY_CLEARTEXT_PACKETS: Counter<PeerDirection> = Overlay, "netmon_overlay_cleartext_packets",
            "Packets of an encrypted network that passed between nodes in clear text. It must stay 0.";
        OVERLAY_ESP_RECEIVE_BYTES: Counter<EncryptedPeer> = Overlay, "netmon_overlay_esp_receive" in Bytes,
            "Encrypted bytes (ESP) from a node that an encrypted network reaches, outer headers included. ESP hides which network a packet belongs to.";
        OVERLAY_ESP_TRANSMIT_BYTES: Counter<EncryptedPeer> = Overlay, "netmon_overlay_esp_transmit" in Bytes,
            "Encrypted bytes (ESP) to a node that an encrypted network reaches, outer headers included. ESP hides which network a packet belongs to.";
        OVERLAY_ESP_RECEIVE_PACKETS: Counter<EncryptedPeer> = Overlay, "netmon_overlay_esp_receive_packets",
            "Encrypted packets (ESP) from a node that an encrypted network reaches. ESP hides which network a packet belongs to.";
        OVERLAY_ESP_TRANSMIT_PACKETS: Counter<EncryptedPeer> = Overlay, "netmon_overlay_esp_transmit_packets",
            "Encrypted packets (ESP) to a node that an encrypted network reaches. ESP hides which network a packet belongs to.";
        OVERLAY_MTU: Gauge<OverlayNetwork> = Overlay, "netmon_overlay_mtu" in Bytes,
            "MTU of the network: that of its VXLAN device on this node. Where there are several, the smallest.";
        OVERLAY_OVERHEAD: Gauge<OverlayNetwork> = Overlay, "netmon_overlay_overhead" in Bytes,
            "Bytes that the tunnel adds to each packet of the network: VXLAN and outer headers (50 over IPv4, 70 over IPv6), and encryption if the network has it. Together with the network's MTU it must fit into the underlay's.";
        UNDERLAY_MTU: Gauge<Underlay> = Overlay, "netmon_underlay_mtu" in Bytes,
            "MTU of the node's device that leads to other nodes.";
        OVERLAY_PEER_INFO: Info<PeerInfo> = Overlay, "netmon_overlay_peer",
            "Another node: its name here (peer), the address it sends from, and its hostname and id if this node's engine knows them.";
        OVERLAY_ENDPOINT_INFO: Info<OverlayEndpoint> = Members, "netmon_overlay_endpoint",
            "An endpoint on an overlay network that this node is part of. It is a container on any node (peer), or this node's load balancer (lb-NETWORK), whose address traffic from virtual IPs has. Read from the network's gossip; up to a minute old.";
        OVERLAY_SERVICE_INFO: Info<OverlayService> = Members, "netmon_overlay_service",
            "The virtual IP of a service on an overlay network that this node is part of. Up to a minute old.";
    }
    "Networks and the node" {
        NETWORK_INFO: Info<NetworkInfo> = Docker, "netmon_network",
            "A Docker network that this node knows. Its MTU is what its containers get. A label with several VNIs or subnets separates them by commas.";
        NODE_INFO: Info<NodeInfo> = Docker, "netmon_node",
            "The node. Its id and role are empty outside a Swarm.";
        NODE_XFRM_ERRORS: Counter<Reason> = Overlay, "netmon_node_xfrm_errors",
            "Packets that the node dropped because of an IPsec error, by the kernel's name for it, since boot. Encrypted overlay networks use IPsec.";
    }
    "The Docker engine" {
        DOCKER_UP: Gauge<Unlabelled> = Docker, "netmon_docker_up",
            "Whether the engine answers and its event stream is open.";
        DOCKER_LAST_SYNC: Gauge<Unlabelled> = Docker, "netmon_docker_last_sync_timestamp" in Seconds,
            "When the engine last answered a full listing.";
        DOCKER_EVENTS: Counter<Event> = Docker, "netmon_docker_events",
            "Events received from the engine.";
        DOCKER_RECONNECTS: Counter<Unlabelled> = Docker, "netmon_docker_reconnects",
            "How often the engine's event stream was reopened after it broke.";
        DOCKER_DECODE_ERRORS: Counter<Unlabelled> = Docker, "netmon_docker_decode_errors",
            "Answers and events of the engine that netmon could not decode and skipped.";
    }
    "The kernel programs" {
        ATTACH_DELAY: Histogram<Unlabelled> = Netmon, "netmon_attach_delay" in Seconds,
            "Time from the discovery of an interface until its kernel programs count.";
        ATTACH_WAITING: Gauge<Unlabelled> = Netmon, "netmon_attach_waiting_interfaces",
            "Interfaces that wait for kernel programs. Their own counters are exposed meanwhile.";
        ATTACH_FAILURES: Counter<Reason> = Netmon, "netmon_attach_failures",
            "Interfaces without kernel programs, by reason. full: no slot is left. gone: the interface was removed meanwhile. load: the kernel rejected the programs. attach: the kernel did not attach them. detached: somebody detached them; they are attached again. too_many_devices: their container has more devices than are watched. Their own counters are exposed all the same.";
        BPF_PROGRAM_INFO: Info<ProgramInfo> = Netmon, "netmon_bpf_program",
            "A kernel program in use, and how it is attached.";
        BPF_PROGRAM_MISSED_RUNS: Counter<Program> = Netmon, "netmon_bpf_program_missed_runs",
            "Events that the kernel program missed because it was already running on that CPU. They are not counted.";
        BPF_MAP_ENTRIES: Gauge<Map> = Netmon, "netmon_bpf_map_entries",
            "Entries in use in the kernel map.";
        BPF_MAP_MAX_ENTRIES: Gauge<Map> = Netmon, "netmon_bpf_map_max_entries",
            "Maximum number of entries of the kernel map.";
        BPF_MAP_UPDATE_FAILURES: Counter<Map> = Netmon, "netmon_bpf_map_update_failures",
            "How often an entry did not fit into the kernel map.";
    }
    "netmon itself" {
        BUILD_INFO: Info<BuildInfo> = Netmon, "netmon_build",
            "This build of netmon.";
        SCRAPE_COLLECTOR_DURATION: Gauge<ByCollector> = Netmon, "netmon_scrape_collector_duration" in Seconds,
            "How long the collector took in this scrape.";
        SCRAPE_COLLECTOR_SUCCESS: Gauge<ByCollector> = Netmon, "netmon_scrape_collector_success",
            "Whether the collector was complete in this scrape.";
        EXPOSED_SERIES: Gauge<ByCollector> = Netmon, "netmon_exposed_series",
            "Series of the collector on this page.";
        SERIES_LIMITED: Gauge<ByCollector> = Netmon, "netmon_series_limited",
            "Whether a limit made netmon sum up series of the collector (of members: leave them out). The sum has (over the limit) in place of the name. Sums by service, by network and of the node are not affected.";
        OVER_LIMIT: Gauge<Limit> = Netmon, "netmon_over_limit",
            "How many are over a limit and summed up. series: containers, by --limit.series. container_series: a container's own interfaces and drop reasons, by --limit.container-series. services: services, a tenth of --limit.series. peers: addresses that send to this node and get nothing from it, 64.";
        WORKER_LAST_TURN_AGE: Gauge<ByWorker> = Netmon, "netmon_worker_last_turn_age" in Seconds,
            "How long ago the worker last ended a turn. control keeps the registry and attaches programs. watch listens to the kernel. reader reads for scrapes. engine follows the Docker engine. All but reader take a turn at least every 10 s. A turn of more than 30 s makes /-/healthy fail.";
        HTTP_CONNECTIONS: Gauge<Unlabelled> = Netmon, "netmon_http_connections",
            "Open client connections. The maximum is 256.";
        HTTP_TURNED_AWAY: Counter<Reason> = Netmon, "netmon_http_turned_away",
            "Clients turned away, by reason. connections: there were too many, and the longest idle one was closed. scrapes: too many at once (--web.max-requests). slow: a request took too long to arrive, or an answer to be read. malformed: the request was invalid or too long.";
        WEB_CONFIG_SUCCESS: Gauge<Unlabelled> = Netmon, "netmon_web_config_last_reload_success",
            "Whether the web configuration in force is what its file says now. Absent without --web.config.file.";
    }
    "The process" {
        PROCESS_CAPABILITY_INFO: Info<Capability> = Netmon, "netmon_process_capability",
            "A capability that a thread of netmon holds. The threads that serve clients and follow the engine hold none.";
        PROCESS_CPU: Counter<Unlabelled> = Netmon, "process_cpu" in Seconds,
            "User and system CPU time that netmon used.";
        PROCESS_RESIDENT_MEMORY: Gauge<Unlabelled> = Netmon, "process_resident_memory" in Bytes,
            "Resident memory of netmon.";
        PROCESS_VIRTUAL_MEMORY: Gauge<Unlabelled> = Netmon, "process_virtual_memory" in Bytes,
            "Virtual memory of netmon.";
        PROCESS_OPEN_FDS: Gauge<Unlabelled> = Netmon, "process_open_fds",
            "Open file descriptors of netmon.";
        PROCESS_MAX_FDS: Gauge<Unlabelled> = Netmon, "process_max_fds",
            "Maximum number of file descriptors of netmon.";
        PROCESS_START_TIME: Gauge<Unlabelled> = Netmon, "process_start_time" in Seconds,
            "When netmon started, in seconds since the epoch.";
        PROCESS_THREADS: Gauge<Unlabelled> = Netmon, "process_threads",
            "Threads of netmon.";
    }
}

/// A loss that a namespace's protocols count: the container's family, the node's family, and the value.
type Loss = (
    &'static Family<Counter, Container<'static>>,
    &'static Family<Counter, Unlabelled>,
    fn(&Losses) -> u64,
);

/// All such losses.
pub(super) const LOSSES: &[Loss] = &[
    (&CONTAINER_TCP_LISTEN_OVERFLOWS, &NODE_TCP_LISTEN_OVERFLOWS, |losses| {
        losses.tcp_listen_overflows
    }),
    (&CONTAINER_TCP_LISTEN_DROPS, &NODE_TCP_LISTEN_DROPS, |losses| {
        losses.tcp_listen_drops
    }),
    (&CONTAINER_TCP_BACKLOG_DROPS, &NODE_TCP_BACKLOG_DROPS, |losses| {
        losses.tcp_backlog_drops
    }),
    (
        &CONTAINER_TCP_RECEIVE_QUEUE_DROPS,
        &NODE_TCP_RECEIVE_QUEUE_DROPS,
        |losses| losses.tcp_receive_queue_drops,
    ),
    (&CONTAINER_TCP_PRUNES, &NODE_TCP_PRUNES, |losses| losses.tcp_prunes),
    (
        &CONTAINER_UDP_RECEIVE_BUFFER_ERRORS,
        &NODE_UDP_RECEIVE_BUFFER_ERRORS,
        |losses| losses.udp_receive_buffer_errors,
    ),
    (
        &CONTAINER_UDP_SEND_BUFFER_ERRORS,
        &NODE_UDP_SEND_BUFFER_ERRORS,
        |losses| losses.udp_send_buffer_errors,
    ),
    (&CONTAINER_UDP_CHECKSUM_ERRORS, &NODE_UDP_CHECKSUM_ERRORS, |losses| {
        losses.udp_checksum_errors
    }),
    (&CONTAINER_UDP_NO_PORTS, &NODE_UDP_NO_PORTS, |losses| {
        losses.udp_no_ports
    }),
    (&CONTAINER_IP_NO_ROUTES, &NODE_IP_NO_ROUTES, |losses| {
        losses.ip_no_routes
    }),
    (
        &CONTAINER_IP_REASSEMBLY_FAILURES,
        &NODE_IP_REASSEMBLY_FAILURES,
        |losses| losses.ip_reassembly_failures,
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ALL;
    use crate::metrics::family::Kind;

    #[test]
    fn every_family_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ALL.iter().map(|family| family.name()).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn names_follow_the_conventions() {
        for family in ALL {
            let name = family.name();
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(name.bytes().all(allowed), "{name} has other characters");
            assert!(
                name.starts_with("netmon_") || name.starts_with("process_"),
                "{name} has no prefix"
            );
            for doubled in ["_total_total", "_info_info", "_bytes_bytes", "_seconds_seconds"] {
                assert!(!name.contains(doubled), "{name} has {doubled}");
            }
            assert!(
                family.kind == Kind::Counter || !name.ends_with("_total"),
                "{name} is no counter"
            );
        }
    }

    #[test]
    fn a_help_is_one_plain_sentence_or_more() {
        for family in ALL {
            let (name, help) = (family.name(), family.help);
            assert!(
                !help.contains(['\n', '\\', '"']),
                "the help of {name} would need escaping"
            );
            assert!(help.ends_with('.'), "the help of {name} has no full stop");
            for sentence in help.split(". ") {
                let words = sentence.split_whitespace().count();
                assert!(
                    words <= 30,
                    "the help of {name} has a sentence of {words} words: {sentence}"
                );
            }
        }
    }

    #[test]
    fn a_label_is_never_called_what_prometheus_uses_itself() {
        for family in ALL {
            for label in family.labels {
                assert!(
                    !["le", "quantile", "job", "instance"].contains(label),
                    "{} has the label {label}",
                    family.name()
                );
            }
        }
    }
}
