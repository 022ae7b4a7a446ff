//! The members of the overlay networks on any node: what the engine reports, with the nodes' names. Pure.

use std::{net::IpAddr, sync::Arc, time::Instant};

use crate::{
    model::snapshot::{MemberRow, MemberRows, VirtualAddressRow},
    observe::state::State,
};

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
