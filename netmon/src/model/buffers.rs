//! Queues and tables in which packets wait or are remembered, and what bounds them.

use std::collections::BTreeMap;

/// Of the node, or of the machine that it is: what its own namespace shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeBuffers {
    /// Packets on their way up from the hardware, all processors together.
    pub softnet: Softnet,
    /// The queues of the node's devices, by the device's name.
    pub queues: Vec<(String, Queue)>,
    /// The table of connections that the packet filter follows; nothing where it follows none.
    pub conntrack: Option<Conntrack>,
    /// The tables of neighbours, which all namespaces share.
    pub neighbours: Vec<Neighbours>,
    /// Memory of the buffers of all TCP sockets, in bytes.
    pub tcp_memory_bytes: u64,
    /// Memory of the buffers of all UDP sockets, in bytes.
    pub udp_memory_bytes: u64,
    /// Settings of the kernel that bound the above, by name, as far as they can be read.
    pub sysctls: Vec<(&'static str, u64)>,
}

/// `/proc/net/softnet_stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softnet {
    /// Packets taken in.
    pub processed: u64,
    /// Packets for which a processor's backlog had no room.
    pub dropped: u64,
    /// How often a processor ran out of its budget with packets left.
    pub times_squeezed: u64,
}

/// What the processors' backlogs counted, by the processor's number: [`Softnet`]'s figures in their order. The kernel has
/// 32 bits for each, and shows only processors that are on.
pub type Backlogs = BTreeMap<u32, [u32; 3]>;

/// The backlogs' sum, as a counter that does not fall when one of them is full or its processor is off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoftnetLedger {
    last: Backlogs,
    sum: Softnet,
}

impl SoftnetLedger {
    /// Takes in a reading, and gives the sum.
    pub fn observe(&mut self, backlogs: Backlogs) -> Softnet {
        for (processor, counts) in backlogs {
            let before = self.last.insert(processor, counts).unwrap_or_default();
            let since = |at: usize| u64::from(counts[at].wrapping_sub(before[at]));
            self.sum.processed += since(0);
            self.sum.dropped += since(1);
            self.sum.times_squeezed += since(2);
        }
        self.sum
    }
}

/// A device's queueing discipline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Its kind: `fq_codel`, `tbf`, ...
    pub kind: String,
    /// Packets that it dropped.
    pub drops: u32,
    /// How often it held packets back.
    pub overlimits: u32,
    /// Bytes that wait in it.
    pub backlog_bytes: u32,
}

/// The table of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Connections in it, of this namespace.
    pub entries: u64,
    /// How many it may have.
    pub limit: u64,
    /// Packets that were dropped because it was full.
    pub drops: u64,
    /// Connections that were forgotten early to make room.
    pub early_drops: u64,
    /// Connections that could not be entered: mostly two packets at once.
    pub insert_failures: u64,
}

/// The table of neighbours of one family of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// Neighbours in it.
    pub entries: u64,
    /// From how many on nothing is thrown out, something may be, and no more are taken in (`gc_thresh1` to `3`).
    pub thresholds: [u64; 3],
    /// How often there was no room.
    pub full: u64,
}

/// Of a container's namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerBuffers {
    /// Connections that the packet filter follows; nothing where it follows none.
    pub conntrack_entries: Option<u64>,
    /// How many connections may wait to be accepted, whatever the application asks for (`net.core.somaxconn`).
    pub listen_backlog_limit: Option<u64>,
}
