//! Whose a network namespace is.
//!
//! What the kernel counts for all namespaces at once (drops, TCP events) carries a namespace, not a name: this is what
//! it is joined with.

use std::sync::Arc;

use super::inventory::Identity;

/// Whose a namespace is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A container's own.
    Container {
        /// What it is called.
        identity: Arc<Identity>,
    },
    /// An overlay network's on this node: its bridge, its VXLAN devices, the containers' far ends.
    Overlay {
        /// The network.
        network: Arc<str>,
    },
    /// Where a network's virtual addresses are shared out among the tasks of a service; the routing mesh is one.
    LoadBalancer {
        /// The network.
        network: Arc<str>,
    },
    /// The node's own: hardware, the bridges of bridge networks, the host's processes.
    Node,
}

/// Where in a namespace something happened, as far as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// In somebody's namespace.
    In {
        /// Whose.
        place: Place,
        /// On which network; empty for loopback, and where the device belongs to none.
        network: Arc<str>,
    },
    /// Nobody can say whose.
    Nowhere(Cause),
}

/// Why something was attributed to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The packet carried neither a device nor a socket.
    NoNamespace,
    /// It happened in a namespace that is none of the engine's, and not the node's.
    ForeignNamespace,
    /// It happened in a namespace of the engine's, and the engine does not say whose.
    Unnamed,
    /// It has no reason, and the kernel hides the place that would tell whether it is a loss.
    NoPlace,
    /// There was no room to count it by namespace.
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
