//! The one table: every metric family, once.
//!
//! The encoders name families by these constants, so that one that is not here does not compile; the documentation,
//! the golden page and the dashboards read [`ALL`]. A line gives kind and labels, the collector, the name *without*
//! unit and suffix, the unit, and the help. The library appends unit, `_total` and `_info` by itself; it does not
//! escape the help, which therefore is plain text.
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
            "Bytes that the container received on the interface: equal to the interface's own kernel counter.";
        CONTAINER_TRANSMIT_BYTES: Counter<Interface> = Traffic, "netmon_container_network_transmit" in Bytes,
            "Bytes that the container sent on the interface: equal to the interface's own kernel counter.";
        CONTAINER_RECEIVE_PACKETS: Counter<Interface> = Traffic, "netmon_container_network_receive_packets",
            "Packets that the container received on the interface: equal to the interface's own kernel counter, which counts a GRO super-packet once.";
        CONTAINER_TRANSMIT_PACKETS: Counter<Interface> = Traffic, "netmon_container_network_transmit_packets",
            "Packets that the container sent on the interface: equal to the interface's own kernel counter, which counts a GSO super-packet once.";
        CONTAINER_RECEIVE_SEGMENTS: Counter<Interface> = Traffic, "netmon_container_network_receive_segments",
            "Packets that the container received as they were on the wire: a super-packet counts as its segments, from the moment the kernel programs were attached.";
        CONTAINER_TRANSMIT_SEGMENTS: Counter<Interface> = Traffic, "netmon_container_network_transmit_segments",
            "Packets that the container sent as they are on the wire: a super-packet counts as its segments, from the moment the kernel programs were attached.";
        CONTAINER_RECEIVE_ERRORS: Counter<Interface> = Traffic, "netmon_container_network_receive_errors",
            "Bad packets received, by the interface's own counter.";
        CONTAINER_TRANSMIT_ERRORS: Counter<Interface> = Traffic, "netmon_container_network_transmit_errors",
            "Packets that could not be sent, by the interface's own counter.";
        CONTAINER_RECEIVE_PACKETS_DROPPED: Counter<Interface> = Traffic, "netmon_container_network_receive_packets_dropped",
            "Received packets that the interface dropped, by its own counter.";
        CONTAINER_TRANSMIT_PACKETS_DROPPED: Counter<Interface> = Traffic, "netmon_container_network_transmit_packets_dropped",
            "Packets to be sent that the interface dropped, by its own counter.";
        UNATTRIBUTED_RECEIVE_PACKETS: Counter<Unlabelled> = Traffic, "netmon_unattributed_receive_packets",
            "Packets received by interfaces that are gone, and of which the engine never said whose they were: they are in no other family.";
        UNATTRIBUTED_TRANSMIT_PACKETS: Counter<Unlabelled> = Traffic, "netmon_unattributed_transmit_packets",
            "Packets sent by interfaces that are gone, and of which the engine never said whose they were: they are in no other family.";
        CONTAINER_INTERFACE_INFO: Info<InterfaceInfo> = Traffic, "netmon_container_interface",
            "An interface of a container. Several addresses stand in one label with commas between them.";
        CONTAINER_INFO: Info<ContainerInfo> = Docker, "netmon_container",
            "A container: what it is part of, what netmon does for it, and the name of the container whose interfaces it uses where it uses another's.";
        CONTAINERS: Gauge<State> = Docker, "netmon_containers",
            "Containers by what netmon does for them: their interfaces are counted (observed), not found yet (pending), those of another container (shared) or of the node (host), only loopback (isolated), or gone a moment ago (ended).";
    }
    "Drops" {
        CONTAINER_PACKET_DROPS: Counter<ContainerDrop> = Drops, "netmon_container_packet_drops",
            "Packets that the kernel threw away in the container's namespace, by the kernel's own reason; of a super-packet its segments. The network is empty for loopback, and where the device belongs to none. ARCHITECTURE.md lists what is no loss and not here.";
        OVERLAY_PACKET_DROPS: Counter<NetworkDrop> = Drops, "netmon_overlay_packet_drops",
            "Packets that the kernel threw away in the overlay network's own namespace on this node: between the containers' interfaces and the way to other nodes.";
        LOAD_BALANCER_PACKET_DROPS: Counter<NetworkDrop> = Drops, "netmon_load_balancer_packet_drops",
            "Packets that the kernel threw away in the network's load balancer on this node; of the routing mesh, too.";
        NODE_PACKET_DROPS: Counter<NetworkDrop> = Drops, "netmon_node_packet_drops",
            "Packets that the kernel threw away in the node's own namespace. The network is the one whose bridge they passed; empty for the node's other devices.";
        UNATTRIBUTED_DROPS: Counter<UnattributedDrop> = Drops, "netmon_unattributed_drops",
            "Packets that the kernel threw away, and nobody can say whose they were: no_namespace (the packet carried neither device nor socket), foreign_namespace (not one of the engine's), unnamed (the engine does not say whose), no_place (no reason, and the kernel hides the place), map_full.";
    }
    "TCP" {
        CONTAINER_TCP_SENT_SEGMENTS: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_sent_segments",
            "TCP segments that the container sent for the first time. The sum over networks is the namespace's TcpOutSegs since netmon or the container started; an empty network is loopback, and what passed no device with kernel programs.";
        CONTAINER_TCP_RETRANSMITTED_SEGMENTS: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_retransmitted_segments",
            "TCP segments that the container sent again. The sum over networks is the namespace's TcpRetransSegs since netmon or the container started; an empty network is loopback, and what no network is known of.";
        CONTAINER_TCP_RESETS_SENT: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_resets_sent",
            "TCP resets that the container sent: it refused a connection, or broke one off. The sum over networks is the namespace's TcpOutRsts since netmon or the container started. Before Linux 6.10 those that answer to a closed port, or for a connection that is over, belong to no network.";
        CONTAINER_TCP_RESETS_RECEIVED: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_resets_received",
            "TCP resets that the container received: the other end refused a connection, or broke one off.";
        CONTAINER_TCP_CONNECTS: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_connects",
            "TCP connections that the container made to others.";
        CONTAINER_TCP_ACCEPTS: Counter<ContainerNetwork> = Tcp, "netmon_container_tcp_accepts",
            "TCP connections that others made to the container.";
        CONTAINER_TCP_CONNECT_FAILURES: Counter<ContainerNetworkFailure> = Tcp, "netmon_container_tcp_connect_failures",
            "TCP connections that the container could not make: refused (nobody listens), timeout (nobody answered), unreachable (no way there), reset (the other end broke it off), aborted (the application gave up first), other.";
        CONTAINER_TCP_ROUND_TRIP_TIME: Histogram<ContainerNetwork> = Tcp, "netmon_container_tcp_round_trip_time" in Seconds,
            "Smoothed round-trip time of the container's TCP connections, as the kernel sees it: at one in eight of the acknowledgements that it receives for data it sent.";
        CONTAINER_TCP_CONNECTIONS: Gauge<Connections> = Tcp, "netmon_container_tcp_connections",
            "TCP sockets of the container, by state.";
    }
    "Sockets and buffers" {
        CONTAINER_TCP_LISTEN_OVERFLOWS: Counter<Container> = Sockets, "netmon_container_tcp_listen_overflows",
            "Connections that were turned away because the application did not take those before it (TcpExt: ListenOverflows): it is too slow, or its backlog or net.core.somaxconn too small.";
        CONTAINER_TCP_LISTEN_DROPS: Counter<Container> = Sockets, "netmon_container_tcp_listen_drops",
            "Connections that a listening socket turned away for whatever reason (TcpExt: ListenDrops), the overflows among them.";
        CONTAINER_TCP_BACKLOG_DROPS: Counter<Container> = Sockets, "netmon_container_tcp_backlog_drops",
            "Segments that came while the socket was in use and for which its backlog had no room (TcpExt: TCPBacklogDrop): raise net.ipv4.tcp_rmem.";
        CONTAINER_TCP_RECEIVE_QUEUE_DROPS: Counter<Container> = Sockets, "netmon_container_tcp_receive_queue_drops",
            "Segments for which the socket's receive queue had no room (TcpExt: TCPRcvQDrop): raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
        CONTAINER_TCP_PRUNES: Counter<Container> = Sockets, "netmon_container_tcp_prunes",
            "How often segments that were received already were thrown away for want of memory (TcpExt: RcvPruned and OfoPruned): raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
        CONTAINER_UDP_RECEIVE_BUFFER_ERRORS: Counter<Container> = Sockets, "netmon_container_udp_receive_buffer_errors",
            "Datagrams for which the socket's receive buffer had no room (Udp: RcvbufErrors): the application is too slow, or net.core.rmem_max too small.";
        CONTAINER_UDP_SEND_BUFFER_ERRORS: Counter<Container> = Sockets, "netmon_container_udp_send_buffer_errors",
            "Datagrams for which the socket's send buffer had no room (Udp: SndbufErrors): raise net.core.wmem_max.";
        CONTAINER_UDP_CHECKSUM_ERRORS: Counter<Container> = Sockets, "netmon_container_udp_checksum_errors",
            "Datagrams with a wrong checksum (Udp: InCsumErrors).";
        CONTAINER_UDP_NO_PORTS: Counter<Container> = Sockets, "netmon_container_udp_no_ports",
            "Datagrams to a port that nobody listens on (Udp: NoPorts).";
        CONTAINER_IP_NO_ROUTES: Counter<Container> = Sockets, "netmon_container_ip_no_routes",
            "Packets that found no route out (Ip: OutNoRoutes).";
        CONTAINER_IP_REASSEMBLY_FAILURES: Counter<Container> = Sockets, "netmon_container_ip_reassembly_failures",
            "Fragmented packets that were not put together again (Ip: ReasmFails): a fragment is missing, or net.ipv4.ipfrag_high_thresh too small.";
        NODE_TCP_LISTEN_OVERFLOWS: Counter<Unlabelled> = Sockets, "netmon_node_tcp_listen_overflows",
            "In the node's namespace: connections that were turned away because the application did not take those before it (TcpExt: ListenOverflows): it is too slow, or its backlog or net.core.somaxconn too small.";
        NODE_TCP_LISTEN_DROPS: Counter<Unlabelled> = Sockets, "netmon_node_tcp_listen_drops",
            "In the node's namespace: connections that a listening socket turned away for whatever reason (TcpExt: ListenDrops), the overflows among them.";
        NODE_TCP_BACKLOG_DROPS: Counter<Unlabelled> = Sockets, "netmon_node_tcp_backlog_drops",
            "In the node's namespace: segments that came while the socket was in use and for which its backlog had no room (TcpExt: TCPBacklogDrop): raise net.ipv4.tcp_rmem.";
        NODE_TCP_RECEIVE_QUEUE_DROPS: Counter<Unlabelled> = Sockets, "netmon_node_tcp_receive_queue_drops",
            "In the node's namespace: segments for which the socket's receive queue had no room (TcpExt: TCPRcvQDrop): raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
        NODE_TCP_PRUNES: Counter<Unlabelled> = Sockets, "netmon_node_tcp_prunes",
            "In the node's namespace: how often segments that were received already were thrown away for want of memory (TcpExt: RcvPruned and OfoPruned): raise net.ipv4.tcp_rmem or net.ipv4.tcp_mem.";
        NODE_UDP_RECEIVE_BUFFER_ERRORS: Counter<Unlabelled> = Sockets, "netmon_node_udp_receive_buffer_errors",
            "In the node's namespace: datagrams for which the socket's receive buffer had no room (Udp: RcvbufErrors): the application is too slow, or net.core.rmem_max too small.";
        NODE_UDP_SEND_BUFFER_ERRORS: Counter<Unlabelled> = Sockets, "netmon_node_udp_send_buffer_errors",
            "In the node's namespace: datagrams for which the socket's send buffer had no room (Udp: SndbufErrors): raise net.core.wmem_max.";
        NODE_UDP_CHECKSUM_ERRORS: Counter<Unlabelled> = Sockets, "netmon_node_udp_checksum_errors",
            "In the node's namespace: datagrams with a wrong checksum (Udp: InCsumErrors).";
        NODE_UDP_NO_PORTS: Counter<Unlabelled> = Sockets, "netmon_node_udp_no_ports",
            "In the node's namespace: datagrams to a port that nobody listens on (Udp: NoPorts).";
        NODE_IP_NO_ROUTES: Counter<Unlabelled> = Sockets, "netmon_node_ip_no_routes",
            "In the node's namespace: packets that found no route out (Ip: OutNoRoutes).";
        NODE_IP_REASSEMBLY_FAILURES: Counter<Unlabelled> = Sockets, "netmon_node_ip_reassembly_failures",
            "In the node's namespace: fragmented packets that were not put together again (Ip: ReasmFails): a fragment is missing, or net.ipv4.ipfrag_high_thresh too small.";
    }
    "Queues and tables" {
        CONTAINER_QDISC_DROPS: Counter<InterfaceQueue> = Buffers, "netmon_container_qdisc_drops",
            "Packets that the queueing discipline of the container's own interface dropped. Most interfaces have none.";
        CONTAINER_CONNTRACK_ENTRIES: Gauge<Container> = Buffers, "netmon_container_conntrack_entries",
            "Connections that the packet filter follows in the container's namespace.";
        CONTAINER_LISTEN_BACKLOG_LIMIT: Gauge<Container> = Buffers, "netmon_container_listen_backlog_limit",
            "How many connections may wait to be accepted, whatever the application asks for (net.core.somaxconn of the container's namespace, looked at once a minute).";
        NODE_SOFTNET_PROCESSED: Counter<Unlabelled> = Buffers, "netmon_node_softnet_processed",
            "Packets that the node's processors took in.";
        NODE_SOFTNET_DROPPED: Counter<Unlabelled> = Buffers, "netmon_node_softnet_dropped",
            "Packets for which a processor's backlog had no room: raise net.core.netdev_max_backlog, or spread the load.";
        NODE_SOFTNET_TIMES_SQUEEZED: Counter<Unlabelled> = Buffers, "netmon_node_softnet_times_squeezed",
            "How often a processor ran out of its budget with packets left: raise net.core.netdev_budget and net.core.netdev_budget_usecs if packets are dropped, too.";
        NODE_QDISC_DROPS: Counter<NodeQueue> = Buffers, "netmon_node_qdisc_drops",
            "Packets that the queueing discipline of one of the node's devices dropped: the device is slower than what it is given.";
        NODE_QDISC_OVERLIMITS: Counter<NodeQueue> = Buffers, "netmon_node_qdisc_overlimits",
            "How often the queueing discipline of one of the node's devices held packets back.";
        NODE_QDISC_BACKLOG: Gauge<NodeQueue> = Buffers, "netmon_node_qdisc_backlog" in Bytes,
            "Bytes that wait in the queueing discipline of one of the node's devices.";
        NODE_CONNTRACK_ENTRIES: Gauge<Unlabelled> = Buffers, "netmon_node_conntrack_entries",
            "Connections that the packet filter follows in the node's namespace.";
        NODE_CONNTRACK_LIMIT: Gauge<Unlabelled> = Buffers, "netmon_node_conntrack_entries_limit",
            "How many connections the packet filter may follow in one namespace (net.netfilter.nf_conntrack_max).";
        NODE_CONNTRACK_DROPS: Counter<Unlabelled> = Buffers, "netmon_node_conntrack_drops",
            "Packets that were dropped because the table of connections was full: raise net.netfilter.nf_conntrack_max.";
        NODE_CONNTRACK_EARLY_DROPS: Counter<Unlabelled> = Buffers, "netmon_node_conntrack_early_drops",
            "Connections that were forgotten early to make room for others: raise net.netfilter.nf_conntrack_max.";
        NODE_CONNTRACK_INSERT_FAILURES: Counter<Unlabelled> = Buffers, "netmon_node_conntrack_insert_failures",
            "Connections that could not be entered into the table: mostly two packets of one at once, such as a resolver's.";
        NODE_NEIGHBOUR_ENTRIES: Gauge<AddressFamily> = Buffers, "netmon_node_neighbour_entries",
            "Neighbours (ARP and neighbour discovery) that the kernel knows, in all namespaces of the machine together.";
        NODE_NEIGHBOUR_LIMIT: Gauge<Threshold> = Buffers, "netmon_node_neighbour_limit",
            "How many neighbours the kernel keeps anyway (gc_thresh1), lets go of soon (gc_thresh2), and knows at most (gc_thresh3), in all namespaces of the machine together.";
        NODE_NEIGHBOUR_TABLE_FULL: Counter<AddressFamily> = Buffers, "netmon_node_neighbour_table_full",
            "How often there was no room for another neighbour: raise gc_thresh3 of net.ipv4.neigh.default or net.ipv6.neigh.default.";
        NODE_TCP_MEMORY: Gauge<Unlabelled> = Buffers, "netmon_node_tcp_memory" in Bytes,
            "Memory of the buffers of all TCP sockets of the machine; net.ipv4.tcp_mem bounds it.";
        NODE_UDP_MEMORY: Gauge<Unlabelled> = Buffers, "netmon_node_udp_memory" in Bytes,
            "Memory of the buffers of all UDP sockets of the machine; net.ipv4.udp_mem bounds it.";
        NODE_SYSCTL: Gauge<Sysctl> = Buffers, "netmon_node_sysctl",
            "Settings of the kernel that bound buffers and queues, as far as they can be read. Of settings with three numbers the last, which is the limit.";
    }
    "Services" {
        SERVICE_RECEIVE_BYTES: Counter<Service> = Service, "netmon_service_network_receive" in Bytes,
            "Bytes that the service's containers on this node received from the network since netmon started, those that have ended included.";
        SERVICE_TRANSMIT_BYTES: Counter<Service> = Service, "netmon_service_network_transmit" in Bytes,
            "Bytes that the service's containers on this node sent to the network since netmon started, those that have ended included.";
        SERVICE_RECEIVE_PACKETS: Counter<Service> = Service, "netmon_service_network_receive_packets",
            "Packets that the service's containers on this node received from the network since netmon started, those that have ended included.";
        SERVICE_TRANSMIT_PACKETS: Counter<Service> = Service, "netmon_service_network_transmit_packets",
            "Packets that the service's containers on this node sent to the network since netmon started, those that have ended included.";
    }
    "Overlay networks" {
        VXLAN_RECEIVE_BYTES: Counter<Vxlan> = Vxlan, "netmon_vxlan_receive" in Bytes,
            "Bytes of the network's own packets that came from other nodes, by this node's VXLAN device.";
        VXLAN_TRANSMIT_BYTES: Counter<Vxlan> = Vxlan, "netmon_vxlan_transmit" in Bytes,
            "Bytes of the network's own packets that went to other nodes, by this node's VXLAN device.";
        VXLAN_RECEIVE_PACKETS: Counter<Vxlan> = Vxlan, "netmon_vxlan_receive_packets",
            "The network's own packets that came from other nodes, by this node's VXLAN device.";
        VXLAN_TRANSMIT_PACKETS: Counter<Vxlan> = Vxlan, "netmon_vxlan_transmit_packets",
            "The network's own packets that went to other nodes, by this node's VXLAN device.";
        VXLAN_RECEIVE_SEGMENTS: Counter<Vxlan> = Vxlan, "netmon_vxlan_receive_segments",
            "The network's own packets that came from other nodes, as they were on the wire: a super-packet counts as its segments.";
        VXLAN_TRANSMIT_SEGMENTS: Counter<Vxlan> = Vxlan, "netmon_vxlan_transmit_segments",
            "The network's own packets that went to other nodes, as they are on the wire: a super-packet counts as its segments.";
        VXLAN_RECEIVE_ERRORS: Counter<Vxlan> = Vxlan, "netmon_vxlan_receive_errors",
            "Bad packets from other nodes, by this node's VXLAN device.";
        VXLAN_TRANSMIT_ERRORS: Counter<Vxlan> = Vxlan, "netmon_vxlan_transmit_errors",
            "Packets that could not be sent to other nodes, by this node's VXLAN device.";
        VXLAN_RECEIVE_PACKETS_DROPPED: Counter<Vxlan> = Vxlan, "netmon_vxlan_receive_packets_dropped",
            "Packets from other nodes that this node's VXLAN device dropped.";
        VXLAN_TRANSMIT_PACKETS_DROPPED: Counter<Vxlan> = Vxlan, "netmon_vxlan_transmit_packets_dropped",
            "Packets to other nodes that this node's VXLAN device dropped: among them those to addresses that no node is known for.";
        OVERLAY_RECEIVE_BYTES: Counter<Peer> = Overlay, "netmon_overlay_receive" in Bytes,
            "Bytes that came from the other node through the network's tunnel, outer headers included, as they came in by the card: of a super-packet only the first headers, of a packet in IP fragments only the first. Without what came encrypted.";
        OVERLAY_TRANSMIT_BYTES: Counter<Peer> = Overlay, "netmon_overlay_transmit" in Bytes,
            "Bytes that went to the other node through the network's tunnel, outer headers included, as they were handed to the card: of a super-packet only the first headers, of a packet in IP fragments only the first. Without what went encrypted.";
        OVERLAY_RECEIVE_PACKETS: Counter<Peer> = Overlay, "netmon_overlay_receive_packets",
            "Packets that came from the other node through the network's tunnel, as they were on the wire. Without what came encrypted.";
        OVERLAY_TRANSMIT_PACKETS: Counter<Peer> = Overlay, "netmon_overlay_transmit_packets",
            "Packets that went to the other node through the network's tunnel, as they are on the wire. Without what went encrypted.";
        OVERLAY_CLEARTEXT_PACKETS: Counter<PeerDirection> = Overlay, "netmon_overlay_cleartext_packets",
            "Packets of a network with encryption that anybody between the nodes can read. Must stay 0.";
        OVERLAY_ESP_RECEIVE_BYTES: Counter<EncryptedPeer> = Overlay, "netmon_overlay_esp_receive" in Bytes,
            "Encrypted bytes (ESP) from a node that an encrypted network reaches, outer headers included. Which network's cannot be seen.";
        OVERLAY_ESP_TRANSMIT_BYTES: Counter<EncryptedPeer> = Overlay, "netmon_overlay_esp_transmit" in Bytes,
            "Encrypted bytes (ESP) to a node that an encrypted network reaches, outer headers included. Which network's cannot be seen.";
        OVERLAY_ESP_RECEIVE_PACKETS: Counter<EncryptedPeer> = Overlay, "netmon_overlay_esp_receive_packets",
            "Encrypted packets (ESP) from a node that an encrypted network reaches.";
        OVERLAY_ESP_TRANSMIT_PACKETS: Counter<EncryptedPeer> = Overlay, "netmon_overlay_esp_transmit_packets",
            "Encrypted packets (ESP) to a node that an encrypted network reaches.";
        OVERLAY_MTU: Gauge<OverlayNetwork> = Overlay, "netmon_overlay_mtu" in Bytes,
            "How large packets of the network's containers may be: the MTU of its VXLAN device on this node, the smallest where there are several.";
        OVERLAY_OVERHEAD: Gauge<OverlayNetwork> = Overlay, "netmon_overlay_overhead" in Bytes,
            "How much larger the network's largest packet is between nodes: VXLAN's and the outer headers (50 over IPv4, 70 over IPv6), and encryption where the network has it. With the network's MTU it must fit into the underlay's.";
        UNDERLAY_MTU: Gauge<Underlay> = Overlay, "netmon_underlay_mtu" in Bytes,
            "How large packets between nodes may be: the MTU of the node's device that leads to other nodes.";
        OVERLAY_PEER_INFO: Info<PeerInfo> = Overlay, "netmon_overlay_peer",
            "Another node: what it is called here, the address that it sends from, and its hostname and id where this node's engine tells them.";
        OVERLAY_ENDPOINT_INFO: Info<OverlayEndpoint> = Members, "netmon_overlay_endpoint",
            "A container on an overlay network that this node has a part in, on whatever node it is (peer), as the network's gossip says; and this node's own load balancer there (lb-NETWORK), from which comes what it passes on of virtual addresses. Up to a minute old.";
        OVERLAY_SERVICE_INFO: Info<OverlayService> = Members, "netmon_overlay_service",
            "The virtual address of a service on an overlay network that this node has a part in. Up to a minute old.";
    }
    "Networks and the node" {
        NETWORK_INFO: Info<NetworkInfo> = Docker, "netmon_network",
            "A Docker network that this node knows of. Its MTU is what its containers get. Several VXLAN identifiers or subnets stand in one label with commas between them.";
        NODE_INFO: Info<NodeInfo> = Docker, "netmon_node",
            "The node. Its id and role are empty outside a Swarm.";
        NODE_XFRM_ERRORS: Counter<Reason> = Overlay, "netmon_node_xfrm_errors",
            "Packets that the node dropped because something was wrong with their encryption (IPsec), which encrypted overlay networks use, by the kernel's name of the reason. Since the node was started.";
    }
    "The Docker engine" {
        DOCKER_UP: Gauge<Unlabelled> = Docker, "netmon_docker_up",
            "Whether the engine answers and its event stream is open.";
        DOCKER_LAST_SYNC: Gauge<Unlabelled> = Docker, "netmon_docker_last_sync_timestamp" in Seconds,
            "When the engine was last asked for everything, and answered.";
        DOCKER_EVENTS: Counter<Event> = Docker, "netmon_docker_events",
            "Events that the engine sent.";
        DOCKER_RECONNECTS: Counter<Unlabelled> = Docker, "netmon_docker_reconnects",
            "How often the engine's event stream was opened again after it broke.";
        DOCKER_DECODE_ERRORS: Counter<Unlabelled> = Docker, "netmon_docker_decode_errors",
            "Answers and events of the engine that were skipped because they made no sense.";
    }
    "The kernel programs" {
        ATTACH_DELAY: Histogram<Unlabelled> = Netmon, "netmon_attach_delay" in Seconds,
            "Time from the first sight of an interface to kernel programs that count on it.";
        ATTACH_WAITING: Gauge<Unlabelled> = Netmon, "netmon_attach_waiting_interfaces",
            "Interfaces that wait for their kernel programs. Their own counters are exposed all the same.";
        ATTACH_FAILURES: Counter<Reason> = Netmon, "netmon_attach_failures",
            "Interfaces without kernel programs: no slot was left (full), they went meanwhile (gone), the kernel did not take the programs (load) or not attach them (attach), somebody took them off (detached; they are put on again), their container has more than are watched (too_many_devices). Their own counters are exposed all the same.";
        BPF_PROGRAM_INFO: Info<ProgramInfo> = Netmon, "netmon_bpf_program",
            "A kernel program in use, and the mechanism it is attached by.";
        BPF_PROGRAM_MISSED_RUNS: Counter<Program> = Netmon, "netmon_bpf_program_missed_runs",
            "Events that the kernel program was not run for, as it was at work on another one on that CPU: not counted.";
        BPF_MAP_ENTRIES: Gauge<Map> = Netmon, "netmon_bpf_map_entries",
            "Entries of the kernel map that are in use.";
        BPF_MAP_MAX_ENTRIES: Gauge<Map> = Netmon, "netmon_bpf_map_max_entries",
            "Entries that the kernel map has room for.";
        BPF_MAP_UPDATE_FAILURES: Counter<Map> = Netmon, "netmon_bpf_map_update_failures",
            "How often something did not fit into the kernel map.";
    }
    "netmon itself" {
        BUILD_INFO: Info<BuildInfo> = Netmon, "netmon_build",
            "This build of netmon.";
        SCRAPE_COLLECTOR_DURATION: Gauge<ByCollector> = Netmon, "netmon_scrape_collector_duration" in Seconds,
            "How long the collector took in this scrape.";
        SCRAPE_COLLECTOR_SUCCESS: Gauge<ByCollector> = Netmon, "netmon_scrape_collector_success",
            "Whether the collector gave everything it should in this scrape.";
        EXPOSED_SERIES: Gauge<ByCollector> = Netmon, "netmon_exposed_series",
            "Series of the collector on this page.";
        SERIES_LIMITED: Gauge<ByCollector> = Netmon, "netmon_series_limited",
            "Whether series of the collector were summed up to keep within a limit (of members: left out). What is summed up has (over the limit) for the name of the container, the interface, the reason, the service or the peer; sums by service, by network and of the node are what they would be without.";
        OVER_LIMIT: Gauge<Limit> = Netmon, "netmon_over_limit",
            "How many are over a limit, and so summed up: containers over that of the page (series, --limit.series), their own interfaces and reasons of drops over that of a container (container_series, --limit.container-series), services (services, a tenth of --limit.series), other nodes' addresses that packets came from and nothing here sends to (peers, 64).";
        WORKER_LAST_TURN_AGE: Gauge<ByWorker> = Netmon, "netmon_worker_last_turn_age" in Seconds,
            "How long ago the worker last ended a turn: control (keeps the registry of namespaces and attaches programs), watch (hears the kernel's news), reader (reads for scrapes: of this scrape the turn still goes on), engine (follows the Docker engine). All but reader take one every 10 s at least. After 30 s within one turn /-/healthy fails; when a worker ends, netmon does.";
        HTTP_CONNECTIONS: Gauge<Unlabelled> = Netmon, "netmon_http_connections",
            "Open connections of those who ask for pages. There are 256 at most.";
        HTTP_TURNED_AWAY: Counter<Reason> = Netmon, "netmon_http_turned_away",
            "How often somebody who asks for pages was turned away: connections (there were too many; the one that was silent longest had to go), scrapes (too many at once, --web.max-requests), slow (a request took too long to come, or an answer to be taken), malformed (no request, or too long a one).";
        WEB_CONFIG_SUCCESS: Gauge<Unlabelled> = Netmon, "netmon_web_config_last_reload_success",
            "Whether the web configuration in force is what its file says now. Not there without --web.config.file.";
    }
    "The process" {
        PROCESS_CAPABILITY_INFO: Info<Capability> = Netmon, "netmon_process_capability",
            "A capability that a thread of netmon holds. Those that serve pages and talk to the engine hold none.";
        PROCESS_CPU: Counter<Unlabelled> = Netmon, "process_cpu" in Seconds,
            "User and system CPU time that netmon used.";
        PROCESS_RESIDENT_MEMORY: Gauge<Unlabelled> = Netmon, "process_resident_memory" in Bytes,
            "Resident memory of netmon.";
        PROCESS_VIRTUAL_MEMORY: Gauge<Unlabelled> = Netmon, "process_virtual_memory" in Bytes,
            "Virtual memory of netmon.";
        PROCESS_OPEN_FDS: Gauge<Unlabelled> = Netmon, "process_open_fds",
            "Open file descriptors of netmon.";
        PROCESS_MAX_FDS: Gauge<Unlabelled> = Netmon, "process_max_fds",
            "How many file descriptors netmon may open.";
        PROCESS_START_TIME: Gauge<Unlabelled> = Netmon, "process_start_time" in Seconds,
            "When netmon was started, in seconds since the epoch.";
        PROCESS_THREADS: Gauge<Unlabelled> = Netmon, "process_threads",
            "Threads of netmon.";
    }
}

/// A loss that a namespace's protocols count: the container's family, the node's, and where the figure is.
type Loss = (
    &'static Family<Counter, Container<'static>>,
    &'static Family<Counter, Unlabelled>,
    fn(&Losses) -> u64,
);

/// Every such loss.
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
