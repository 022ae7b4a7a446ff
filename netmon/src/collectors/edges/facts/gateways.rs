//! Whose an address on `docker_gwbridge` is. No container's description lists it, so the containers' own devices say it. Only the
//! node sees these addresses: on that network containers do not reach each other.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

use super::{Party, container};
use crate::{
    model::{
        edges::{EdgeId, Far},
        inventory::GATEWAY_BRIDGE,
    },
    observe::state::{Owner, State},
};

/// The containers by their addresses on that network; `None` if several have one.
#[derive(Debug, Default)]
pub struct GatewayEndpoints(HashMap<IpAddr, Option<Party>>);

impl GatewayEndpoints {
    /// The containers of this node, if any of these edges leads to that network.
    pub fn of(state: &State, mut edges: impl Iterator<Item = EdgeId>) -> Self {
        let networks = state.inventory().networks.values();
        let bridges: Vec<_> = networks.filter(|network| &*network.name == GATEWAY_BRIDGE).collect();
        let subnets = bridges.iter().flat_map(|network| &network.subnets);
        let leads_there = |edge: EdgeId| match edge.far {
            Far::Address(address) => subnets.clone().any(|subnet| subnet.contains(address)),
            Far::Outside | Far::Over => false,
        };
        let mut endpoints = Self::default();
        if !edges.any(leads_there) {
            return endpoints;
        }
        for interface in state.interfaces() {
            if let Some(Owner::Container { identity, network, .. }) = &interface.owner
                && &**network == GATEWAY_BRIDGE
            {
                for address in &interface.device.addresses {
                    endpoints.add(*address, container(identity));
                }
            }
        }
        endpoints
    }

    /// Adds a container that has this address.
    pub(super) fn add(&mut self, address: IpAddr, party: Party) {
        match self.0.entry(address) {
            Entry::Vacant(entry) => {
                entry.insert(Some(party));
            }
            Entry::Occupied(mut entry) => {
                entry.insert(None);
            }
        }
    }

    /// Who has this address on that network, if one has.
    pub(super) fn at(&self, network: &str, address: IpAddr) -> Option<&Party> {
        if network == GATEWAY_BRIDGE {
            self.0.get(&address)?.as_ref()
        } else {
            None
        }
    }
}
