//! Queues and tables that hold packets or connections, and their limits.

use std::{collections::BTreeMap, ops::AddAssign};

/// The queues and tables of the node, as its own network namespace shows them. Some are shared by the whole machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeBuffers {
    /// Received packets that wait to be processed, summed over all processors.
    pub softnet: Softnet,
    /// The queues of the node's devices, each with its device's name.
    pub queues: Vec<(String, Queue)>,
    /// The connection tracking table; `None` if connection tracking is off.
    pub conntrack: Option<Conntrack>,
    /// The neighbour tables, which all namespaces share.
    pub neighbours: Vec<Neighbours>,
    /// Memory used by the buffers of all TCP sockets, in bytes.
    pub tcp_memory_bytes: u64,
    /// Memory used by the buffers of all UDP sockets, in bytes.
    pub udp_memory_bytes: u64,
    /// The kernel settings that limit the above, by name. Settings that could not be read are left out.
    pub sysctls: Vec<(&'static str, u64)>,
}

/// `/proc/net/softnet_stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softnet {
    /// Packets processed.
    pub processed: u64,
    /// Packets dropped because a processor's backlog was full.
    pub dropped: u64,
    /// How often a processor used up its budget while packets were still waiting.
    pub times_squeezed: u64,
}

/// The counts of the processors' backlogs, by processor number. Each has the figures of [`Softnet`], in their order.
/// The kernel counts in 32 bits and shows only processors that are online.
pub type Backlogs = BTreeMap<u32, [u32; 3]>;

/// The sum over all backlogs since the first reading of each. It does not fall when a 32-bit count wraps or a processor
/// goes offline. How often a count wrapped before is not known, so the sum cannot begin with it: it would fall at a
/// restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoftnetLedger {
    last: Backlogs,
    sum: Softnet,
}

impl SoftnetLedger {
    /// Adds a reading and returns the sum.
    pub fn observe(&mut self, backlogs: Backlogs) -> Softnet {
        for (processor, counts) in backlogs {
            let before = self.last.insert(processor, counts).unwrap_or(counts);
            let since = |at: usize| u64::from(counts[at].wrapping_sub(before[at]));
            self.sum.processed += since(0);
            self.sum.dropped += since(1);
            self.sum.times_squeezed += since(2);
        }
        self.sum
    }
}

/// The queueing discipline of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Its kind: `fq_codel`, `tbf`, ...
    pub kind: String,
    /// Packets dropped by it.
    pub drops: u32,
    /// How often it delayed packets.
    pub overlimits: u32,
    /// Bytes waiting in it.
    pub backlog_bytes: u32,
}

/// The connection tracking table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Connections of this namespace in the table.
    pub entries: u64,
    /// The maximum number of connections.
    pub limit: u64,
    /// Packets dropped because the table was full.
    pub drops: u64,
    /// Connections removed early to make room for others.
    pub early_drops: u64,
    /// Connections that could not be inserted, mostly because two packets arrived at the same time.
    pub insert_failures: u64,
}

/// The neighbour table of one address family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// Neighbours in the table.
    pub entries: u64,
    /// `gc_thresh1` to `gc_thresh3`. Below the first, no entry is removed. From the second on, entries may be
    /// removed. At the third, no entry is added.
    pub thresholds: [u64; 3],
    /// How often the table had no room for an entry.
    pub full: u64,
}

/// Entries of the neighbour tables that no threshold bounds: permanent ones, and those learnt by others than the kernel
/// (`neigh_update_gc_list` of net/core/neighbour.c). An engine adds a permanent one for each endpoint on another node.
/// Their thresholds bound only the others, but the kernel tells only how many there are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExemptNeighbours {
    /// Of the table for IPv4.
    pub ipv4: u64,
    /// Of the table for IPv6.
    pub ipv6: u64,
}

impl ExemptNeighbours {
    /// Each table's, by the label of its family.
    #[must_use]
    pub const fn by_family(self) -> [(&'static str, u64); 2] {
        [("ipv4", self.ipv4), ("ipv6", self.ipv6)]
    }
}

impl AddAssign for ExemptNeighbours {
    fn add_assign(&mut self, other: Self) {
        self.ipv4 += other.ipv4;
        self.ipv6 += other.ipv6;
    }
}

/// The tables of a container's namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerBuffers {
    /// Connections tracked in this namespace; `None` if connection tracking is off.
    pub conntrack_entries: Option<u64>,
    /// The maximum number of connections that may wait for accept on a listening socket (`net.core.somaxconn`). It
    /// limits what the application asks for.
    pub listen_backlog_limit: Option<u64>,
}
