//! Finds the networks of the packets between nodes: joins the programs' counts with the namespaces' tunnels and the
//! engine's networks.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use super::mtu;
use crate::{
    model::{
        counters::Directions,
        overlay::{OuterCounts, Tunnel, TunnelKind, Tunnels, XfrmErrors},
        place::Place,
    },
    observe::state::State,
};

/// Traffic between this node and others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayRows {
    /// The traffic was read. Otherwise the programs are not there, or could not be read.
    pub is_counted: bool,
    /// Unencrypted traffic, by network and node.
    pub clear: Vec<OverlayRow>,
    /// Encrypted traffic, by node.
    pub encrypted: Vec<EncryptedRow>,
    /// The networks themselves.
    pub networks: Vec<OverlayNetworkRow>,
    /// The devices that lead to other nodes.
    pub underlay: Vec<UnderlayRow>,
    /// The other nodes.
    pub peers: Vec<PeerRow>,
    /// Encryption errors on the node; `None` if the kernel does not report them.
    pub xfrm_errors: Option<Arc<XfrmErrors>>,
}

/// An overlay network on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayNetworkRow {
    /// The network.
    pub network: Arc<str>,
    /// The largest packet that its containers may send, in bytes.
    pub mtu_bytes: u32,
    /// How many bytes such a packet grows between nodes.
    pub overhead_bytes: u32,
}

/// A device of the node that leads to other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlayRow {
    /// Its name.
    pub interface: String,
    /// The largest packet on it, in bytes.
    pub mtu_bytes: u32,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRow {
    /// Its name in labels.
    pub peer: Arc<str>,
    /// The address that it sends from.
    pub address: IpAddr,
    /// Its hostname; empty if the engine does not report it.
    pub hostname: Arc<str>,
    /// Its node id; empty if it is unknown.
    pub node_id: Arc<str>,
}

/// The packets of a network to and from another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayRow {
    /// The network.
    pub network: Arc<str>,
    /// The other node: its name, or its address if the name is unknown.
    pub peer: Arc<str>,
    /// The network is configured to encrypt its traffic, so there should be no such packets.
    pub must_be_encrypted: bool,
    /// No network on this node sends to that node. Anyone may have put its address into a packet.
    pub is_stranger: bool,
    /// The counts.
    pub counts: Directions<OuterCounts>,
}

/// Encrypted packets to and from another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedRow {
    /// The other node, as in [`OverlayRow`].
    pub peer: Arc<str>,
    /// As in [`OverlayRow`].
    pub is_stranger: bool,
    /// The counts.
    pub counts: Directions<OuterCounts>,
}

/// A network's VNIs, and the nodes that it sends to.
#[derive(Default)]
struct Reach {
    vnis: BTreeSet<u32>,
    remotes: BTreeSet<IpAddr>,
}

/// The overlay networks and the underlay. If there are programs, also what they counted between nodes, by network and
/// node. A node is listed as long as the network sends to it, and for a while after it passed traffic. A node that
/// sends to this one without being sent to is worth seeing.
///
/// A node whose name is not decided yet is held back.
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
        is_counted: true,
        clear,
        encrypted,
        ..rows
    }
}

/// The other nodes that are shown. Call this after everything that names them has been laid out.
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
    node.node()?.xfrm_errors.clone()
}

/// Whether a network on this node is set up to encrypt its traffic.
#[must_use]
pub fn has_encryption(state: &State) -> bool {
    networks(state)
        .keys()
        .any(|network| mtu::is_encrypted(state.inventory(), network))
}

fn counts(tunnels: &Tunnels, state: &mut State, now: Instant) -> (Vec<OverlayRow>, Vec<EncryptedRow>) {
    state.tunnel_totals.counted(tunnels, now);
    let networks = networks(state);
    let linger = state.linger();
    let mut clear: BTreeMap<(Arc<str>, IpAddr), Directions<OuterCounts>> = BTreeMap::new();
    let mut encrypted: BTreeSet<IpAddr> = BTreeSet::new();
    let reached: BTreeSet<IpAddr> = networks.values().flat_map(|reach| &reach.remotes).copied().collect();
    for (network, reach) in &networks {
        let must_be_encrypted = mtu::is_encrypted(state.inventory(), network);
        let active = state
            .tunnel_totals
            .active(linger, now)
            .filter_map(|tunnel| match tunnel.kind {
                TunnelKind::Vxlan { vni } if reach.vnis.contains(&vni) => Some(tunnel.remote),
                TunnelKind::Vxlan { .. } | TunnelKind::Esp => None,
            });
        let remotes: BTreeSet<IpAddr> = reach.remotes.iter().copied().chain(active).collect();
        for remote in remotes {
            let sum = clear.entry((Arc::clone(network), remote)).or_default();
            for vni in &reach.vnis {
                let kind = TunnelKind::Vxlan { vni: *vni };
                let counts = state.tunnel_totals.counts(&Tunnel { kind, remote }).unwrap_or_default();
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
    let State {
        tunnel_totals,
        peer_names,
        ..
    } = state;
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
            counts: tunnel_totals.counts(&Tunnel { kind, remote }).unwrap_or_default(),
        })
    });
    (clear, encrypted.collect())
}

/// The tunnels that the namespaces on this node send to, whether or not they passed traffic yet.
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

/// The tunnels that can be deleted from the kernel's map: they passed no traffic for a while, and no network here
/// sends to that node. If such a tunnel passes traffic again, its counts start at zero.
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
    let idle = state.tunnel_totals.idle(state.linger(), now);
    idle.filter(|tunnel| !reached(tunnel)).copied().collect()
}

/// Every overlay network on this node, including those that left it a moment ago.
fn networks(state: &State) -> BTreeMap<Arc<str>, Reach> {
    let mut networks: BTreeMap<Arc<str>, Reach> = BTreeMap::new();
    for namespace in state.namespaces().values().chain(state.closed()) {
        if let Some(Place::Overlay { network }) = &namespace.place {
            let reach = networks.entry(Arc::clone(network)).or_default();
            for tunnel in namespace.tunnels() {
                reach.vnis.insert(tunnel.vni);
                reach.remotes.extend(&tunnel.remotes);
            }
        }
    }
    networks
}

#[cfg(test)]
mod tests;
