//! The members of the overlay networks on any node: what the engine reports, with the nodes' names. Pure.

use std::{net::IpAddr, sync::Arc, time::Instant};

use crate::observe::state::State;

/// The members of the overlay networks that this node takes part in, on all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRows {
    /// The containers.
    pub endpoints: Vec<MemberRow>,
    /// The virtual addresses of services.
    pub services: Vec<VirtualAddressRow>,
    /// There was an answer for every network.
    pub is_whole: bool,
    /// netmon left out some members, because there were too many.
    pub is_cut: bool,
}

/// A container on an overlay network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// The network.
    pub network: Arc<str>,
    /// Its address there.
    pub address: IpAddr,
    /// Its name.
    pub container: String,
    /// Its service; empty if it belongs to none.
    pub service: String,
    /// Its node, by the node's name in labels; empty if the node is unknown.
    pub peer: Arc<str>,
}

/// A service's virtual address on an overlay network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualAddressRow {
    /// The network.
    pub network: Arc<str>,
    /// The service.
    pub service: String,
    /// The address.
    pub address: IpAddr,
}

/// Makes the rows of the networks that this node takes part in. An endpoint is held back while its node's name is not
/// decided.
pub fn rows(state: &mut State, now: Instant) -> MemberRows {
    let inventory = Arc::clone(state.inventory());
    let own = inventory.node.as_ref().filter(|node| !node.hostname.is_empty());
    let mut peer = |address: Option<IpAddr>| match (address, own) {
        (None, _) => Some(Arc::from("")),
        (Some(address), Some(own)) if own.address == Some(address) => Some(Arc::from(&*own.hostname)),
        (Some(address), _) => state.peer_names.name(address, &inventory.peers, now),
    };
    let mut rows = MemberRows {
        is_whole: true,
        ..MemberRows::default()
    };
    for (id, members) in &inventory.members {
        let (Some(network), Some(members)) = (inventory.networks.get(id), members) else {
            rows.is_whole = false;
            continue;
        };
        let network: Arc<str> = Arc::from(&*network.name);
        rows.is_cut |= members.is_cut;
        for (address, member) in &members.endpoints {
            if let Some(peer) = peer(member.node) {
                rows.endpoints.push(MemberRow {
                    network: Arc::clone(&network),
                    address: *address,
                    container: member.container.clone(),
                    service: member.service.clone(),
                    peer,
                });
            }
        }
        let own = own.map_or_else(|| Arc::from(""), |own| Arc::from(&*own.hostname));
        for (address, name) in &members.load_balancers {
            rows.endpoints.push(MemberRow {
                network: Arc::clone(&network),
                address: *address,
                container: name.clone(),
                service: String::new(),
                peer: Arc::clone(&own),
            });
        }
        for (service, address) in &members.virtual_ips {
            rows.services.push(VirtualAddressRow {
                network: Arc::clone(&network),
                service: service.clone(),
                address: *address,
            });
        }
    }
    rows
}
