//! Whose the packets between nodes are: the programs' counts, joined with the tunnels that the namespaces have and with
//! the networks that the engine tells of.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use super::{
    mtu,
    state::{Namespace, State},
};
use crate::model::{
    counters::Directions,
    overlay::{OuterCounts, Tunnel, TunnelKind, Tunnels, XfrmErrors},
    place::Place,
    snapshot::{EncryptedRow, OverlayRow, OverlayRows, PeerRow},
};

/// A network's identifiers, and the nodes that it sends to.
#[derive(Default)]
struct Reach {
    vnis: BTreeSet<u32>,
    remotes: BTreeSet<IpAddr>,
}

/// What there is between nodes, and what the programs counted there, if there are any: by network and node. A node is in it as long as the network sends to it, and for a while after
/// anything passed: one that sends to us though we do not send to it is worth seeing.
///
/// One whose name is not decided yet is held back.
pub fn rows(tunnels: Option<&Tunnels>, state: &mut State, now: Instant) -> OverlayRows {
    let rows = OverlayRows {
        networks: mtu::overlays(state),
        underlay: mtu::underlay(state),
        xfrm_errors: xfrm_errors(state),
        ..OverlayRows::default()
    };
    let Some(tunnels) = tunnels else { return rows };
    let (clear, encrypted) = counts(tunnels, state, now);
    OverlayRows {
        clear,
        encrypted,
        ..rows
    }
}

/// The other nodes that are shown, once everything that names them has been laid out.
pub fn peers(state: &mut State) -> Vec<PeerRow> {
    let shown = state.peer_names.take_used();
    let known = &state.inventory().peers.nodes;
    let row = |(address, peer): (IpAddr, Arc<str>)| {
        let known = known.get(&address).cloned().unwrap_or_default();
        PeerRow {
            peer,
            address,
            hostname: known.hostname,
            node_id: known.node_id,
        }
    };
    shown.into_iter().map(row).collect()
}

fn xfrm_errors(state: &State) -> Option<Arc<XfrmErrors>> {
    let (_, node) = state.node()?;
    node.xfrm_errors.clone()
}

/// Whether a network here was asked to encrypt what it sends.
#[must_use]
pub fn has_encryption(state: &State) -> bool {
    networks(state)
        .keys()
        .any(|network| mtu::is_encrypted(state.inventory(), network))
}

fn counts(tunnels: &Tunnels, state: &mut State, now: Instant) -> (Vec<OverlayRow>, Vec<EncryptedRow>) {
    state.outers.counted(tunnels, now);
    let networks = networks(state);
    let linger = state.linger();
    let mut clear: BTreeMap<(Arc<str>, IpAddr), Directions<OuterCounts>> = BTreeMap::new();
    let mut encrypted: BTreeSet<IpAddr> = BTreeSet::new();
    let reached: BTreeSet<IpAddr> = networks.values().flat_map(|reach| &reach.remotes).copied().collect();
    for (network, reach) in &networks {
        let must_be_encrypted = mtu::is_encrypted(state.inventory(), network);
        let active = state.outers.active(linger, now).filter_map(|tunnel| match tunnel.kind {
            TunnelKind::Vxlan { vni } if reach.vnis.contains(&vni) => Some(tunnel.remote),
            TunnelKind::Vxlan { .. } | TunnelKind::Esp => None,
        });
        let remotes: BTreeSet<IpAddr> = reach.remotes.iter().copied().chain(active).collect();
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
    let inventory = Arc::clone(state.inventory());
    let State { outers, peer_names, .. } = state;
    let mut peer = |remote: IpAddr| peer_names.name(remote, &inventory.peers, now);
    let clear = clear.into_iter().filter_map(|((network, remote), counts)| {
        Some(OverlayRow {
            peer: peer(remote)?,
            must_be_encrypted: mtu::is_encrypted(&inventory, &network),
            is_stranger: !reached.contains(&remote),
            network,
            counts,
        })
    });
    let clear = clear.collect();
    let kind = TunnelKind::Esp;
    let encrypted = encrypted.into_iter().filter_map(|remote| {
        Some(EncryptedRow {
            peer: peer(remote)?,
            is_stranger: !reached.contains(&remote),
            counts: outers.counts(&Tunnel { kind, remote }).unwrap_or_default(),
        })
    });
    (clear, encrypted.collect())
}

/// The tunnels that there are, by what the namespaces here send to, whether or not anything passed yet.
#[must_use]
pub fn known(state: &State) -> BTreeSet<Tunnel> {
    let mut known = BTreeSet::new();
    for reach in networks(state).values() {
        for remote in reach.remotes.iter().copied() {
            let vxlan = reach.vnis.iter().map(|vni| TunnelKind::Vxlan { vni: *vni });
            known.extend(vxlan.chain([TunnelKind::Esp]).map(|kind| Tunnel { kind, remote }));
        }
    }
    known
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
    for namespace in state.namespaces().values().chain(state.departed()) {
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

#[cfg(test)]
mod tests;
