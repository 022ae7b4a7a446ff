//! The namespaces that the engine creates, and changes of the devices in them.

use std::{path::PathBuf, time::Instant};

use super::{
    counters::{DeviceCounters, Directions},
    interface::Device,
};

/// A file that is a mounted network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetnsFile {
    /// The file's path.
    pub path: PathBuf,
    /// The namespace's inode. It usually differs if another namespace was mounted over the same file.
    pub inode: u64,
    /// The namespace's role, from the file name.
    pub role: Role,
}

/// The use that the engine makes of a namespace, from the file name (libnetwork's sandbox keys, 20.10 to 29).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A container's sandbox. The file name is the sandbox's id.
    Sandbox,
    /// An overlay network on this node, with its bridge, VXLAN devices and the far ends of the containers' veths.
    Overlay {
        /// The first characters of the network's id.
        network: String,
    },
    /// The load balancer of a network's virtual IPs on this node.
    LoadBalancer {
        /// The first characters of the network's id.
        network: String,
    },
    /// The routing mesh's load balancer.
    Ingress,
    /// The node's own namespace.
    Node,
}

impl Role {
    /// Whether the engine gives a file of this role the name of an earlier one. It never does so for a sandbox.
    #[must_use]
    pub const fn reuses_names(&self) -> bool {
        match self {
            Self::Overlay { .. } | Self::LoadBalancer { .. } | Self::Ingress => true,
            Self::Sandbox | Self::Node => false,
        }
    }

    /// Reads the role from a file name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        if name == "default" {
            Self::Node
        } else if name == "ingress_sbox" {
            Self::Ingress
        } else if let Some(network) = name.strip_prefix("lb_") {
            Self::LoadBalancer {
                network: network.to_owned(),
            }
        } else if let Some((_, network)) = name.split_once('-').filter(|(index, _)| is_number(index)) {
            Self::Overlay {
                network: network.to_owned(),
            }
        } else {
            Self::Sandbox
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The contents of the engine's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The directory, as netmon knows it.
    pub directory: PathBuf,
    /// There is no such directory.
    pub is_missing: bool,
    /// The namespaces, sorted by path.
    pub files: Vec<NetnsFile>,
    /// The files that are not mounted namespaces.
    pub strays: Vec<PathBuf>,
}

/// A change of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChange {
    /// The nsid of the device's namespace in ours. `None` for our own.
    pub nsid: Option<i32>,
    /// A lower bound of the time of the change. The kernel may reuse an nsid as soon as it is free. So a message from
    /// before a namespace got its nsid is about another namespace.
    pub after: Instant,
    /// The device, without its addresses: these messages do not contain them.
    pub device: Device,
    /// The device was deleted, or moved to another namespace.
    pub gone: bool,
    /// The counters in the message. A direction is `None` if the driver could no longer read it.
    pub counters: Directions<Option<DeviceCounters>>,
}

impl DeviceChange {
    /// Whether these counters are final: the device was deleted, or set down until it is up again.
    #[must_use]
    pub const fn is_last_word(&self) -> bool {
        self.gone || !self.device.up
    }
}
