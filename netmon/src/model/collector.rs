//! Names of collectors, and which of them the operator wants.

use std::collections::BTreeSet;

/// The name of a collector. It is the value of the label `collector`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Collector(pub &'static str);

impl Collector {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// What a collector needs from the namespaces, beside their devices' counters. It is read during the scrape, in this
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The protocols' counters, of containers and of the node.
    Protocols,
    /// The node's errors of encryption.
    Encryption,
    /// The nodes that overlay networks send to.
    Tunnels,
    /// The node's devices: what was dropped on one of them belongs to its network.
    NodeDevices,
    /// Queues, tables and their limits, of containers and of the node.
    Buffers,
}

/// The collectors that are wanted: all but those that are switched off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collectors {
    off: BTreeSet<Collector>,
}

impl Collectors {
    /// All but these.
    #[must_use]
    pub fn all_but(off: impl IntoIterator<Item = Collector>) -> Self {
        Self {
            off: off.into_iter().collect(),
        }
    }

    /// Whether this collector is wanted.
    #[must_use]
    pub fn has(&self, collector: Collector) -> bool {
        !self.off.contains(&collector)
    }
}
