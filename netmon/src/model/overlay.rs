//! What passes between nodes, as the kernel programs count it on the devices that lead to other nodes.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use netmon_common::overlay::Outer;

use super::counters::Directions;

/// One network's packets to and from one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel {
    /// In the clear or not.
    pub kind: TunnelKind,
    /// The other node's address.
    pub remote: IpAddr,
}

/// How a packet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelKind {
    /// In the clear, with its network's identifier.
    Vxlan {
        /// The identifier.
        vni: u32,
    },
    /// Encrypted: whose network it is cannot be seen.
    Esp,
}

/// What went wrong with encryption in a namespace, by the kernel's name of the reason.
pub type XfrmErrors = BTreeMap<Arc<str>, u64>;

/// Every tunnel's counts.
pub type Tunnels = BTreeMap<Tunnel, Directions<OuterCounts>>;

/// One direction of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OuterCounts {
    /// Packets as on a wire.
    pub packets: u64,
    /// Bytes, with the outer headers.
    pub bytes: u64,
}

impl From<Outer> for OuterCounts {
    fn from(outer: Outer) -> Self {
        let Outer { packets, bytes } = outer;
        Self { packets, bytes }
    }
}

impl std::ops::AddAssign for OuterCounts {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}
