//! Whose the packets between nodes are: the programs' counts, joined with the tunnels that the namespaces have and with
//! the networks that the engine tells of.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use super::state::{Namespace, State};
use crate::model::{
    counters::Directions,
    inventory::Inventory,
    overlay::{OuterCounts, Tunnel, TunnelKind, Tunnels},
    place::Place,
    snapshot::{EncryptedRow, OverlayRow, OverlayRows},
};

/// A network's identifiers, and the nodes that it sends to.
#[derive(Default)]
struct Reach {
    vnis: BTreeSet<u32>,
    remotes: BTreeSet<IpAddr>,
}

/// Lays a reading out by network and node. A node is in it as long as the network sends to it, and for a while after
/// anything passed: one that sends to us though we do not send to it is worth seeing.
pub fn rows(tunnels: &Tunnels, state: &mut State, now: Instant) -> OverlayRows {
    state.outers.counted(tunnels, now);
    let networks = networks(state);
    let linger = state.linger();
    let mut clear: BTreeMap<(Arc<str>, IpAddr), Directions<OuterCounts>> = BTreeMap::new();
    let mut encrypted: BTreeSet<IpAddr> = BTreeSet::new();
    for (network, reach) in &networks {
        let must_be_encrypted = must_be_encrypted(state.inventory(), network);
        let lively = state.outers.lively(linger, now).filter_map(|tunnel| match tunnel.kind {
            TunnelKind::Vxlan { vni } if reach.vnis.contains(&vni) => Some(tunnel.remote),
            TunnelKind::Vxlan { .. } | TunnelKind::Esp => None,
        });
        let remotes: BTreeSet<IpAddr> = reach.remotes.iter().copied().chain(lively).collect();
        for remote in remotes {
            let sum = clear.entry((Arc::clone(network), remote)).or_default();
            for vni in &reach.vnis {
                let kind = TunnelKind::Vxlan { vni: *vni };
                let counts = state.outers.counts(&Tunnel { kind, remote }).unwrap_or_default();
                *sum = sum.zip(counts, |mut sum, more| {
                    sum += more;
                    sum
                });
            }
            if must_be_encrypted {
                encrypted.insert(remote);
            }
        }
    }
    let inventory = state.inventory();
    OverlayRows {
        clear: clear
            .into_iter()
            .map(|((network, remote), counts)| OverlayRow {
                peer: peer(inventory, remote),
                must_be_encrypted: must_be_encrypted(inventory, &network),
                network,
                counts,
            })
            .collect(),
        encrypted: encrypted
            .into_iter()
            .map(|remote| EncryptedRow {
                peer: peer(inventory, remote),
                counts: state
                    .outers
                    .counts(&Tunnel {
                        kind: TunnelKind::Esp,
                        remote,
                    })
                    .unwrap_or_default(),
            })
            .collect(),
    }
}

/// The tunnels that can be forgotten: nothing passed for a while, and no network here sends to that node any more. What
/// passes there again begins at nothing.
#[must_use]
pub fn forgettable(state: &State, now: Instant) -> BTreeSet<Tunnel> {
    let networks = networks(state);
    let reached = |tunnel: &Tunnel| {
        networks.values().any(|reach| {
            reach.remotes.contains(&tunnel.remote)
                && match tunnel.kind {
                    TunnelKind::Vxlan { vni } => reach.vnis.contains(&vni),
                    TunnelKind::Esp => true,
                }
        })
    };
    let idle = state.outers.idle(state.linger(), now);
    idle.filter(|tunnel| !reached(tunnel)).copied().collect()
}

/// Every overlay network on this node, those that left it a moment ago included.
fn networks(state: &State) -> BTreeMap<Arc<str>, Reach> {
    let mut networks: BTreeMap<Arc<str>, Reach> = BTreeMap::new();
    let departed = state.departed().iter().map(|departed| &departed.namespace);
    for namespace in state.namespaces().values().chain(departed) {
        let Namespace { place, tunnels, .. } = namespace;
        if let Some(Place::Overlay { network }) = place {
            let reach = networks.entry(Arc::clone(network)).or_default();
            for tunnel in tunnels.values() {
                reach.vnis.insert(tunnel.vni);
                reach.remotes.extend(&tunnel.remotes);
            }
        }
    }
    networks
}

fn must_be_encrypted(inventory: &Inventory, network: &str) -> bool {
    let mut named = inventory.networks.values().filter(|known| known.name == network);
    named.any(|known| known.encrypted)
}

/// A node's name where the engine tells it, which only a manager's does; else its address.
fn peer(inventory: &Inventory, address: IpAddr) -> Arc<str> {
    match inventory.peers.get(&address) {
        Some(name) => Arc::clone(name),
        None => Arc::from(address.to_string()),
    }
}

#[cfg(test)]
mod tests;
