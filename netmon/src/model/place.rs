//! The owner of a network namespace.
//!
//! The kernel counts drops and TCP events for all namespaces at once, by namespace and not by name. These types join
//! the counts with names.

use std::sync::Arc;

use super::inventory::Identity;

/// The owner of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A container.
    Container {
        /// The container's labels.
        identity: Arc<Identity>,
    },
    /// An overlay network. Its namespace on this node holds its bridge, its vxlan devices, and the other ends of the
    /// containers' veths.
    Overlay {
        /// The network.
        network: Arc<str>,
    },
    /// A network's load balancer, which spreads a service's virtual addresses over its tasks. The routing mesh has
    /// one, too.
    LoadBalancer {
        /// The network.
        network: Arc<str>,
    },
    /// The node. Its namespace holds the hardware, the bridges of bridge networks, and the host's processes.
    Node,
}

/// Where something happened, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// In a namespace with a known owner.
    In {
        /// The owner.
        place: Place,
        /// The network. Empty for loopback, and for a device that belongs to no network.
        network: Arc<str>,
    },
    /// Unattributed: the owner cannot be known.
    Nowhere(Cause),
}

/// Why something is unattributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The packet carried neither a device nor a socket.
    NoNamespace,
    /// It happened in a namespace that belongs neither to the engine nor to the node.
    ForeignNamespace,
    /// It happened in one of the engine's namespaces, but the engine does not say which container or network owns it.
    Unnamed,
    /// It has no reason. The kernel hides its symbols, so netmon cannot find out whether it is a loss.
    NoPlace,
    /// The map had no room to count it by namespace.
    MapFull,
}

impl Cause {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoNamespace => "no_namespace",
            Self::ForeignNamespace => "foreign_namespace",
            Self::Unnamed => "unnamed",
            Self::NoPlace => "no_place",
            Self::MapFull => "map_full",
        }
    }
}
