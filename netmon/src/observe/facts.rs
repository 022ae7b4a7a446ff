//! Reads what the checks look at: the engine's last word, and what the kernel has in the namespaces of the node and of its
//! overlay networks. Must not know what is a fault.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use super::Shared;
use crate::{
    model::{
        facts::{CheckFacts, NodeFacts, OverlayFacts, Unread},
        health::DockerHealth,
        netns::Role,
        place::Place,
    },
    netns::{
        enter::{EnterError, NetnsThread, on_netns_thread},
        rtnetlink::{Client, NetlinkError},
        settings,
    },
};

/// Why a namespace was not read.
#[derive(Debug, thiserror::Error)]
enum NotRead {
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("the devices change too fast to be listed")]
    Restless,
}

impl NotRead {
    /// Whether the namespace was removed since it was listed.
    fn is_gone(&self) -> bool {
        match self {
            Self::Enter(EnterError::Open { source, .. }) => source.kind() == io::ErrorKind::NotFound,
            Self::Enter(EnterError::NoNamespace { .. }) => true,
            Self::Enter(EnterError::Refused { .. } | EnterError::Thread(_)) | Self::Netlink(_) | Self::Restless => {
                false
            }
        }
    }
}

impl From<NotRead> for Unread {
    fn from(error: NotRead) -> Self {
        Self(error.to_string())
    }
}

/// Reads everything. A namespace that cannot be read is missing in the facts, with the reason.
#[must_use]
pub fn read(shared: &Shared, engine: &DockerHealth) -> CheckFacts {
    let (inventory, node, overlays) = {
        let state = shared.lock();
        let overlays: BTreeMap<Arc<str>, _> = state
            .namespaces()
            .values()
            .filter_map(|namespace| match (&namespace.place, &namespace.file.role) {
                (Some(Place::Overlay { network }), Role::Overlay { .. }) => {
                    Some((Arc::clone(network), namespace.file.path.clone()))
                }
                _ => None,
            })
            .collect();
        let node = state.node().map(|(_, node)| node.file.path.clone());
        (Arc::clone(state.inventory()), node, overlays)
    };
    let engine = match engine {
        DockerHealth { last_sync: None, .. } => Err("the engine has not answered yet"),
        DockerHealth { up: false, .. } => Err("the engine does not answer"),
        DockerHealth { .. } if inventory.node.is_none() => Err("the engine has not described the node yet"),
        DockerHealth { .. } => Ok(inventory),
    };
    let read = on_netns_thread(|thread| {
        let node = node.ok_or_else(|| Unread("no namespace is the node's".to_owned()));
        let node = node.and_then(|path| Ok(read_node(thread, &path)?));
        let overlays = overlays.iter().filter_map(|(network, path)| {
            let read = read_overlay(thread, path);
            // A network that was removed meanwhile is none that could not be read.
            let is_gone = read.as_ref().is_err_and(NotRead::is_gone);
            (!is_gone).then(|| (Arc::clone(network), read.map_err(Unread::from)))
        });
        (node, overlays.collect())
    });
    let (node, overlays) = read.unwrap_or_else(|error| (Err(Unread(error.to_string())), BTreeMap::new()));
    CheckFacts {
        engine: engine.map_err(|reason| Unread(reason.to_owned())),
        node,
        overlays,
    }
}

fn read_node(thread: &mut NetnsThread, path: &Path) -> Result<NodeFacts, NotRead> {
    let _file = thread.enter(path)?;
    let listed = Client::open()?.devices()?;
    let [forwards_ipv4, forwards_ipv6] = settings::forwards();
    Ok(NodeFacts {
        devices: listed.is_whole.then_some(listed.devices).ok_or(NotRead::Restless)?,
        forwards_ipv4,
        forwards_ipv6,
    })
}

fn read_overlay(thread: &mut NetnsThread, path: &Path) -> Result<OverlayFacts, NotRead> {
    let _file = thread.enter(path)?;
    let mut client = Client::open()?;
    let listed = client.devices()?;
    Ok(OverlayFacts {
        devices: listed.is_whole.then_some(listed.devices).ok_or(NotRead::Restless)?,
        forwarding: client.forwarding()?,
        neighbours: client.neighbour_entries()?,
    })
}
