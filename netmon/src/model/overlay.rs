//! Traffic between nodes, as the kernel programs count it on the devices that lead to other nodes.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use netmon_common::overlay::Outer;

use super::counters::Directions;

/// The packets of one network to and from one other node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel {
    /// Encrypted or not.
    pub kind: TunnelKind,
    /// The other node's address.
    pub remote: IpAddr,
}

/// How a packet travels between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelKind {
    /// Unencrypted, with the network's VNI.
    Vxlan {
        /// The VNI.
        vni: u32,
    },
    /// Encrypted. The network cannot be seen.
    Esp,
}

/// Encryption errors of a namespace, by the kernel's name of the reason.
pub type XfrmErrors = BTreeMap<Arc<str>, u64>;

/// The counts of every tunnel.
pub type Tunnels = BTreeMap<Tunnel, Directions<OuterCounts>>;

/// The counts of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OuterCounts {
    /// Packets, as on the wire.
    pub packets: u64,
    /// Bytes, including the outer headers.
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
