//! What collectors need from a namespace besides its devices' counters. Who has it, and how it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    ReadError, Shared,
    protocols::{ProtocolsReader, Read},
};
use crate::{
    model::{collector::Need, interface::NetnsId, netns::Role},
    netns::{buffers, proc_net::ProcNet, rtnetlink::Client, settings::Settings, xfrm},
};

/// Whether a namespace with this role has what is needed.
pub(super) fn has(need: Need, role: &Role, wanted: &BTreeSet<Need>) -> bool {
    match (need, role) {
        (Need::Tunnels, Role::Overlay { .. })
        | (Need::Encryption, Role::Node)
        | (Need::Buffers, Role::Sandbox | Role::Overlay { .. } | Role::Node) => true,
        // Reading the buffers also lists the devices.
        (Need::NodeDevices, Role::Node) => !wanted.contains(&Need::Buffers),
        (Need::Protocols, role) => has_protocols(role),
        (
            Need::Encryption | Need::Tunnels | Need::NodeDevices | Need::Buffers,
            Role::Sandbox | Role::Overlay { .. } | Role::LoadBalancer { .. } | Role::Ingress | Role::Node,
        ) => false,
    }
}

/// How often a container's sockets in use are read: in one of so many readings. Each namespace has its own turn. They
/// are counted for each CPU, or in a file where there is no program, and a difference has to last anyway.
const SOCKETS_EVERY: u64 = 4;

/// The namespace that is read.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) netns: NetnsId,
    pub(super) role: &'a Role,
    /// The number of the reading.
    pub(super) reading: u64,
}

impl Place<'_> {
    /// Whether its sockets in use are read this time.
    fn wants_sockets(self) -> bool {
        *self.role == Role::Sandbox && (self.netns.0 % SOCKETS_EVERY) == self.reading % SOCKETS_EVERY
    }
}

/// What a namespace is read with, besides rtnetlink.
pub(super) struct Files<'a> {
    pub(super) proc_net: ProcNet,
    pub(super) protocols: &'a mut ProtocolsReader,
    /// The node's settings.
    pub(super) settings: &'a mut Settings,
    /// The last reading of protocols. It may say more of its namespace.
    pub(super) last: Option<Read>,
}

/// Reads what is needed from the namespace that the calling thread has entered.
pub(super) fn read_need(
    shared: &Shared,
    need: Need,
    place: Place<'_>,
    client: &mut Client,
    files: &mut Files<'_>,
) -> Result<(), ReadError> {
    let Place { netns, role, .. } = place;
    match need {
        Need::Tunnels => {
            let remotes = client.remotes()?;
            shared.lock().set_remotes(netns, remotes);
        }
        Need::Protocols => {
            let read = files
                .protocols
                .read(netns, &mut files.proc_net, place.wants_sockets())?;
            files.last = Some(read);
            shared.lock().counted(netns, read.protocols);
        }
        Need::Encryption => {
            let (errors, failed) = parted(xfrm::errors());
            shared.lock().set_xfrm_errors(netns, errors.flatten());
            failed?;
        }
        // An engine adds a neighbour for each endpoint on another node to the overlay's namespace.
        Need::Buffers if matches!(role, Role::Overlay { .. }) => {
            let exempt = client.exempt_neighbours()?;
            shared.lock().set_exempt_neighbours(netns, exempt);
        }
        Need::Buffers if *role == Role::Node => {
            let devices = client.devices()?.devices;
            let (read, failed) = parted(buffers::node(client, &devices, files.settings));
            let (exempt, no_neighbours) = parted(client.exempt_neighbours());
            let mut state = shared.lock();
            if let Some(exempt) = exempt {
                state.set_exempt_neighbours(netns, exempt);
            }
            state.node_bounded(netns, read);
            state.node_has(netns, &devices, Instant::now());
            failed?;
            no_neighbours?;
        }
        Need::Buffers => read_buffers(shared, place, client, files)?,
        Need::NodeDevices => {
            let devices = client.devices()?.devices;
            shared.lock().node_has(netns, &devices, Instant::now());
        }
    }
    Ok(())
}

/// What was read, and what failed.
fn parted<T, E>(read: Result<T, E>) -> (Option<T>, Result<(), E>) {
    match read {
        Ok(read) => (Some(read), Ok(())),
        Err(error) => (None, Err(error)),
    }
}

/// Reads a container's queues, tables and limits.
fn read_buffers(
    shared: &Shared,
    place: Place<'_>,
    client: &mut Client,
    files: &mut Files<'_>,
) -> Result<(), ReadError> {
    let netns = place.netns;
    let read = files.last.filter(|read| read.netns == netns);
    let conntrack_entries = read
        .and_then(|read| read.conntrack_entries)
        .or_else(|| files.protocols.conntrack_entries(&mut files.proc_net));
    // It may change, but hardly ever does. To open this setting takes longer the more namespaces there are.
    let lacks_limit = || place.wants_sockets() || !shared.lock().knows_listen_backlog_limit(netns);
    let limit = match read.and_then(|read| read.listen_backlog_limit) {
        None if lacks_limit() => buffers::listen_backlog_limit(),
        limit => limit,
    };
    let mut queues = if read.is_some_and(|read| !read.may_queue) {
        BTreeMap::new()
    } else {
        client.queues()?.into_iter().collect()
    };
    let mut state = shared.lock();
    state.set_conntrack_entries(netns, conntrack_entries);
    if limit.is_some() {
        state.set_listen_backlog_limit(netns, limit);
    }
    for (ifindex, interface) in state.interfaces_of(netns) {
        interface.queue = queues.remove(&ifindex);
    }
    Ok(())
}

/// Whether a namespace with this role has sockets. An overlay and a load balancer only forward packets.
pub(super) const fn has_protocols(role: &Role) -> bool {
    match role {
        Role::Sandbox | Role::Node => true,
        Role::Overlay { .. } | Role::LoadBalancer { .. } | Role::Ingress => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::one_container, Client, Files, Need, NetnsId, Place, ProcNet, ProtocolsReader, Role, Settings,
        buffers, read_need,
    };

    #[test]
    fn the_limit_of_a_containers_listeners_is_read_with_its_buffers_alone() {
        let mut client = Client::open().expect("rtnetlink");
        let netns = client.netns().expect("a cookie");
        let shared = one_container(netns);
        let mut files = Files {
            proc_net: ProcNet::default(),
            protocols: &mut ProtocolsReader::default(),
            settings: &mut Settings::default(),
            last: None,
        };
        let place = Place {
            netns,
            role: &Role::Sandbox,
            reading: 1,
        };
        read_need(&shared, Need::Buffers, place, &mut client, &mut files).expect("a reading");
        let state = shared.lock();
        let sandbox = state
            .namespace(netns)
            .and_then(|it| it.sandbox())
            .expect("the container");
        let limit = buffers::listen_backlog_limit();
        assert!(limit.is_some(), "every kernel has it");
        assert_eq!(sandbox.buffers.listen_backlog_limit, limit);
    }

    #[test]
    fn each_containers_sockets_are_read_in_every_fourth_reading() {
        let role = Role::Sandbox;
        for netns in [NetnsId(0), NetnsId(1), NetnsId(4_026_532_007)] {
            let wants = (1..=40).filter(|reading| {
                let reading = *reading;
                let place = Place {
                    netns,
                    role: &role,
                    reading,
                };
                place.wants_sockets()
            });
            assert_eq!(wants.count(), 10);
        }
    }
}
