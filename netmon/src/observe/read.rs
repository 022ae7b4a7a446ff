//! One reading of every watched device: the part of a scrape that asks the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use tracing::{debug, warn};

use super::state::{Namespace, State};
use crate::{
    model::interface::NetnsId,
    netns::{
        buffers,
        discover::Role,
        enter::{EnterError, Traveller, travel},
        protocols::Reader,
        rtnetlink::{Client, NetlinkError},
    },
};

/// Why a namespace was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be entered.
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// The kernel did not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Its procfs cannot be read.
    #[error("cannot read the counters of its protocols: {0}")]
    Protocols(#[from] io::Error),
    /// Another namespace is on its file by now.
    #[error("another namespace has taken its place")]
    Replaced,
}

/// Reads every device. Gives how many namespaces could not be read: those are mostly about to be found gone.
///
/// # Errors
/// No thread could be started.
pub fn read_all(state: &mut State) -> Result<usize, EnterError> {
    travel(|traveller| {
        let with_interfaces: BTreeSet<_> = state.interface_ids().map(|id| id.netns).collect();
        let has_any = |(netns, namespace): &(&NetnsId, &Namespace)| {
            with_interfaces.contains(netns) || has_protocols(&namespace.file.role)
        };
        let namespaces: Vec<_> = state
            .namespaces()
            .iter()
            .filter(has_any)
            .map(|(netns, _)| *netns)
            .collect();
        let mut reader = Reader::default();
        let mut unread = 0;
        for netns in namespaces {
            let read = read_namespace(state, netns, traveller).and_then(|()| read_protocols(state, netns, &mut reader));
            if let Err(error) = read {
                debug!(netns = netns.0, %error, "a namespace was not read");
                unread += 1;
            }
        }
        unread
    })
}

/// Reads the protocols' counters of the namespace that the calling thread has just entered.
fn read_protocols(state: &mut State, netns: NetnsId, reader: &mut Reader) -> Result<(), ReadError> {
    let namespace = state.namespaces().get(&netns);
    if namespace.is_some_and(|namespace| has_protocols(&namespace.file.role)) {
        let is_node = namespace.is_some_and(|namespace| namespace.file.role == Role::Node);
        let protocols = reader.read()?;
        state.counted(netns, protocols);
        if is_node {
            let read = Client::open().and_then(|mut client| buffers::node(&mut client));
            if let Err(error) = &read {
                warn!(%error, "the node's queues and tables are missing from this scrape");
            }
            state.node_bounded(netns, read.ok());
        } else {
            state.bounded(netns, buffers::container());
        }
    }
    Ok(())
}

/// Whether sockets are in a namespace with this role: an overlay and a load balancer only pass packets on.
const fn has_protocols(role: &Role) -> bool {
    match role {
        Role::Sandbox | Role::Node => true,
        Role::Overlay { .. } | Role::LoadBalancer { .. } | Role::Ingress => false,
    }
}

/// Reads the devices of one namespace, on a thread that may enter it.
///
/// # Errors
/// See [`ReadError`]. What was known before stays, and what programs counted since is added to it.
pub fn read_namespace(state: &mut State, netns: NetnsId, traveller: &mut Traveller) -> Result<(), ReadError> {
    let read = try_read(state, netns, traveller);
    if read.is_err() {
        for (_, interface) in state.interfaces_of(netns) {
            interface.presume();
        }
    }
    read
}

fn try_read(state: &mut State, netns: NetnsId, traveller: &mut Traveller) -> Result<(), ReadError> {
    let Some(namespace) = state.namespaces().get(&netns) else {
        return Err(ReadError::Replaced);
    };
    let _file = traveller.enter(&namespace.file.path)?;
    let mut client = Client::open()?;
    if client.netns()? != netns {
        return Err(ReadError::Replaced);
    }
    take_reading(state, netns, &mut client)
}

/// Reads the devices of the namespace that `client` belongs to: the programs' counters, the devices', and the programs'
/// again, as close together as can be.
///
/// # Errors
/// The kernel did not answer.
pub fn take_reading(state: &mut State, netns: NetnsId, client: &mut Client) -> Result<(), ReadError> {
    let before: BTreeMap<_, _> = state
        .interfaces_of(netns)
        .map(|(ifindex, interface)| (ifindex, interface.programs.read()))
        .collect();
    if before.is_empty() {
        return Ok(());
    }
    let statistics = client.statistics()?;
    let mut queues: BTreeMap<_, _> = client.queues()?.into_iter().collect();
    for (ifindex, interface) in state.interfaces_of(netns) {
        interface.queue = queues.remove(&ifindex);
        if let Some((_, counters)) = statistics.iter().find(|(found, _)| *found == ifindex) {
            interface.observe(before.get(&ifindex).copied().flatten(), *counters);
        } else {
            interface.presume();
        }
    }
    Ok(())
}
