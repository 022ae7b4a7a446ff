//! The families of queues and tables, and of their limits.

use crate::{
    collectors::{
        buffers::facts::{BufferRows, QueueRow},
        labels::Container,
    },
    model::buffers::{Conntrack, Neighbours, NodeBuffers, Queue},
    page::{
        key::{Key, Word},
        labels::{Unlabelled, key_labels},
        limits::{CONTAINER_FACTS, CONTAINER_NOW, INTERFACE, SHOWN},
        rows::{Rows, schemas},
    },
};

/// The names of the kernel's three thresholds.
const THRESHOLDS: [&str; 3] = ["gc_thresh1", "gc_thresh2", "gc_thresh3"];

key_labels! {
    /// The queue of a container's interface.
    pub InterfaceQueue { container, service, stack, network, interface = what, kind = detail }
    /// The queue of a node's device.
    pub NodeQueue { interface = what, kind = detail }
    /// An address family.
    pub AddressFamily { family = what }
    /// A limit of a neighbour table.
    pub Threshold { family = what, threshold = detail }
    /// A kernel setting.
    pub Sysctl { name = what }
}

schemas! {
    pub families of super::NAME;
    "Queues and tables" {
        /// The queue of a container's interface.
        INTERFACE_QUEUES(it in Queue) by InterfaceQueue, INTERFACE {
            CONTAINER_QDISC_DROPS: Counter, "netmon_container_qdisc_drops",
                it.drops,
                "Packets that the queueing discipline of the container's own interface dropped. Most interfaces have none.";
        }
        /// A container's connection tracking table.
        CONTAINER_CONNTRACK(it in u64) by Container, CONTAINER_NOW {
            CONTAINER_CONNTRACK_ENTRIES: Gauge, "netmon_container_conntrack_entries",
                *it,
                "Connections that conntrack tracks in the container's namespace.";
        }
        /// A limit of a container's namespace. Limits cannot be added up.
        CONTAINER_LIMITS(it in u64) by Container, CONTAINER_FACTS {
            CONTAINER_LISTEN_BACKLOG_LIMIT: Gauge, "netmon_container_listen_backlog_limit",
                *it,
                "How many connections can wait for accept, whatever backlog the application asks for (net.core.somaxconn of the container's namespace). Read once a minute.";
        }
        /// What the node's processors received.
        SOFTNET(it in NodeBuffers) by Unlabelled, SHOWN {
            NODE_SOFTNET_PROCESSED: Counter, "netmon_node_softnet_processed",
                it.softnet.processed,
                "Packets that the node's CPUs received since netmon started.";
            NODE_SOFTNET_DROPPED: Counter, "netmon_node_softnet_dropped",
                it.softnet.dropped,
                "Packets dropped since netmon started because a CPU's backlog was full. Raise net.core.netdev_max_backlog, or spread the load over CPUs.";
            NODE_SOFTNET_TIMES_SQUEEZED: Counter, "netmon_node_softnet_times_squeezed",
                it.softnet.times_squeezed,
                "How often a CPU used up its receive budget with packets left, since netmon started. If packets are dropped too, raise net.core.netdev_budget and net.core.netdev_budget_usecs.";
        }
        /// The queue of a node's device.
        NODE_QUEUES(it in Queue) by NodeQueue, SHOWN {
            NODE_QDISC_DROPS: Counter, "netmon_node_qdisc_drops",
                it.drops,
                "Packets that the queueing discipline of a device of the node dropped. The device is slower than the traffic it is given.";
            NODE_QDISC_OVERLIMITS: Counter, "netmon_node_qdisc_overlimits",
                it.overlimits,
                "How often the queueing discipline of a device of the node delayed packets.";
            NODE_QDISC_BACKLOG: Gauge, "netmon_node_qdisc_backlog" in Bytes,
                it.backlog_bytes,
                "Bytes queued in the queueing discipline of a device of the node.";
        }
        /// The node's connection tracking table.
        NODE_CONNTRACK(it in Conntrack) by Unlabelled, SHOWN {
            NODE_CONNTRACK_ENTRIES: Gauge, "netmon_node_conntrack_entries",
                it.entries,
                "Connections that conntrack tracks in the node's namespace.";
            NODE_CONNTRACK_LIMIT: Gauge, "netmon_node_conntrack_entries_limit",
                it.limit,
                "How many connections conntrack can track in one namespace (net.netfilter.nf_conntrack_max).";
            NODE_CONNTRACK_DROPS: Counter, "netmon_node_conntrack_drops",
                it.drops,
                "Packets dropped because the conntrack table was full. Raise net.netfilter.nf_conntrack_max.";
            NODE_CONNTRACK_EARLY_DROPS: Counter, "netmon_node_conntrack_early_drops",
                it.early_drops,
                "Connections that conntrack evicted early to make room for others. Raise net.netfilter.nf_conntrack_max.";
            NODE_CONNTRACK_INSERT_FAILURES: Counter, "netmon_node_conntrack_insert_failures",
                it.insert_failures,
                "Connections that conntrack failed to insert. Mostly two packets of one connection raced, such as a resolver's.";
        }
        /// A neighbour table.
        NEIGHBOURS(it in Neighbours) by AddressFamily, SHOWN {
            NODE_NEIGHBOUR_ENTRIES: Gauge, "netmon_node_neighbour_entries",
                it.entries,
                "Entries of the neighbour table (ARP, neighbour discovery). All namespaces of the machine share it.";
            NODE_NEIGHBOUR_TABLE_FULL: Counter, "netmon_node_neighbour_table_full",
                it.full,
                "How often the neighbour table had no room for an entry. Raise gc_thresh3 of net.ipv4.neigh.default or net.ipv6.neigh.default.";
        }
        /// The part of a neighbour table that its limits do not bound.
        EXEMPT_NEIGHBOURS(it in u64) by AddressFamily, SHOWN {
            NODE_NEIGHBOUR_EXEMPT: Gauge, "netmon_node_neighbour_exempt_entries",
                *it,
                "Entries of the neighbour table that its limits do not bound: permanent and externally learnt ones, in the namespaces of the node and of its overlays. The engine adds one for each endpoint on another node.";
        }
        /// The limits of a neighbour table.
        NEIGHBOUR_LIMITS(it in u64) by Threshold, SHOWN {
            NODE_NEIGHBOUR_LIMIT: Gauge, "netmon_node_neighbour_limit",
                *it,
                "Limits of the neighbour table, which all namespaces of the machine share. Below gc_thresh1 nothing is evicted. Above gc_thresh2 entries are evicted soon. gc_thresh3 is the maximum.";
        }
        /// Memory in sockets' buffers.
        MEMORY(it in NodeBuffers) by Unlabelled, SHOWN {
            NODE_TCP_MEMORY: Gauge, "netmon_node_tcp_memory" in Bytes,
                it.tcp_memory_bytes,
                "Memory in the buffers of all TCP sockets of the machine. net.ipv4.tcp_mem bounds it.";
            NODE_UDP_MEMORY: Gauge, "netmon_node_udp_memory" in Bytes,
                it.udp_memory_bytes,
                "Memory in the buffers of all UDP sockets of the machine. net.ipv4.udp_mem bounds it.";
        }
        /// Kernel settings.
        SYSCTLS(it in u64) by Sysctl, SHOWN {
            NODE_SYSCTL: Gauge, "netmon_node_sysctl",
                *it,
                "Kernel settings that bound buffers and queues, or decide whether packets are forwarded and filtered, where they can be read. Of a setting with three numbers the last, which is the limit.";
        }
    }
}

/// The rows of a scrape.
pub(crate) fn rows(buffers: &BufferRows) -> Vec<Rows> {
    let BufferRows {
        containers,
        queues,
        node,
        exempt_neighbours,
    } = buffers;
    let entries = containers
        .iter()
        .filter_map(|(identity, its)| Some((Key::of(identity), its.conntrack_entries?)));
    let limits = containers
        .iter()
        .filter_map(|(identity, its)| Some((Key::of(identity), its.listen_backlog_limit?)));
    let queue = |row: &QueueRow| {
        Key::of(&row.identity)
            .on(&row.network)
            .what(Word::told(&row.interface))
            .detail(Word::told(&row.queue.kind))
    };
    let mut rows = vec![
        INTERFACE_QUEUES.rows(queues.iter().map(|row| (queue(row), &row.queue))),
        CONTAINER_CONNTRACK.rows(entries),
        CONTAINER_LIMITS.rows(limits),
    ];
    if let Some(node) = node {
        let exempt = exempt_neighbours.by_family().into_iter();
        let exempt = exempt.map(|(family, entries)| (Key::default().what(family), entries));
        rows.extend(of_node(node));
        rows.push(EXEMPT_NEIGHBOURS.rows(exempt));
    }
    rows
}

fn of_node(node: &NodeBuffers) -> Vec<Rows> {
    let queues = node.queues.iter().map(|(interface, queue)| {
        let key = Key::default()
            .what(Word::told(interface))
            .detail(Word::told(&queue.kind));
        (key, queue)
    });
    let family = |table: &Neighbours| Key::default().what(table.family);
    let limits = node.neighbours.iter().flat_map(|table| {
        let limits = THRESHOLDS.into_iter().zip(table.thresholds);
        limits.map(move |(threshold, limit)| (family(table).detail(threshold), limit))
    });
    let sysctls = node.sysctls.iter();
    let mut rows = vec![
        SOFTNET.row(node),
        NODE_QUEUES.rows(queues),
        NEIGHBOURS.rows(node.neighbours.iter().map(|table| (family(table), table))),
        NEIGHBOUR_LIMITS.rows(limits),
        MEMORY.row(node),
        SYSCTLS.rows(sysctls.map(|(name, value)| (Key::default().what(*name), *value))),
    ];
    rows.extend(node.conntrack.as_ref().map(|conntrack| NODE_CONNTRACK.row(conntrack)));
    rows
}
