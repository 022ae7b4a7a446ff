//! MTUs: of networks, as their devices have them, and of the devices that lead to other nodes. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::facts::{OverlayNetworkRow, UnderlayRow};
use crate::{
    model::{
        interface::Device,
        inventory::{Inventory, Network},
        place::Place,
    },
    observe::state::{Devices, State},
};

/// What a tunnel adds to a packet: outer IP, UDP and VXLAN headers, and the inner Ethernet header, which no MTU
/// includes.
const VXLAN_OVER_IPV4: u32 = 20 + 8 + 8 + 14;
const VXLAN_OVER_IPV6: u32 = 40 + 8 + 8 + 14;
/// What encryption adds as Docker sets it up (AES-GCM in ESP's transport mode): ESP header, vector, trailer, check
/// value.
const ESP: u32 = 8 + 8 + 2 + 8;
/// Encrypted data is padded to a multiple of this many bytes.
const ESP_BLOCK: u32 = 4;

/// Every overlay network on this node.
#[must_use]
pub fn overlays(state: &State) -> Vec<OverlayNetworkRow> {
    let mut networks: BTreeMap<Arc<str>, (u32, BTreeSet<IpAddr>)> = BTreeMap::new();
    for namespace in state.namespaces().values() {
        let Some(Place::Overlay { network }) = &namespace.place else {
            continue;
        };
        for tunnel in namespace.tunnels() {
            let (mtu, remotes) = networks
                .entry(Arc::clone(network))
                .or_insert((tunnel.mtu, BTreeSet::new()));
            *mtu = tunnel.mtu.min(*mtu);
            remotes.extend(&tunnel.remotes);
        }
    }
    let row = |(network, (mtu_bytes, remotes)): (Arc<str>, (u32, BTreeSet<IpAddr>))| OverlayNetworkRow {
        overhead_bytes: overhead(
            mtu_bytes,
            remotes.iter().any(IpAddr::is_ipv6),
            is_encrypted(state.inventory(), &network),
        ),
        network,
        mtu_bytes,
    };
    networks.into_iter().map(row).collect()
}

/// The devices that lead to other nodes.
#[must_use]
pub fn underlay(state: &State) -> Vec<UnderlayRow> {
    let row = |device: &Arc<Device>| UnderlayRow {
        interface: device.name.clone(),
        mtu_bytes: device.mtu,
    };
    let devices = node_devices(state).filter(|device| state.underlay.contains(&device.ifindex));
    devices.map(row).collect()
}

/// Every network, with the MTU that its containers get. For an overlay network it is its device's, or follows from
/// its option, which is the MTU outside of the tunnels. For any other network it is its option, or else its bridge's
/// MTU.
#[must_use]
pub fn networks(state: &State, overlays: &[OverlayNetworkRow]) -> Vec<Arc<Network>> {
    let mtu = |network: &Network| match network.driver.as_str() {
        "overlay" => {
            let row = overlays.iter().find(|row| *row.network == *network.name);
            let outside = VXLAN_OVER_IPV4 + if network.encrypted { ESP } else { 0 };
            row.map(|row| row.mtu_bytes)
                .or_else(|| network.mtu.map(|mtu| mtu.saturating_sub(outside)))
        }
        _ if network.mtu.is_some() => network.mtu,
        "bridge" => {
            let usual = || format!("br-{}", network.id.get(..12).unwrap_or_default());
            let name = network.bridge.clone().unwrap_or_else(usual);
            let device = node_devices(state).find(|device| device.name == name);
            device.map(|device| device.mtu)
        }
        _ => None,
    };
    let with_mtu = |network: &Arc<Network>| match mtu(network) {
        known if known == network.mtu => Arc::clone(network),
        found => Arc::new(Network {
            mtu: found,
            ..Network::clone(network)
        }),
    };
    state.inventory().networks.values().map(with_mtu).collect()
}

/// Whether a network of that name is set up to encrypt its traffic.
pub(super) fn is_encrypted(inventory: &Inventory, network: &str) -> bool {
    let mut named = inventory.networks.values().filter(|known| known.name == network);
    named.any(|known| known.encrypted)
}

/// By how many bytes the largest packet grows on its way between nodes.
const fn overhead(mtu: u32, is_ipv6: bool, is_encrypted: bool) -> u32 {
    let vxlan = if is_ipv6 { VXLAN_OVER_IPV6 } else { VXLAN_OVER_IPV4 };
    if !is_encrypted {
        return vxlan;
    }
    // From after the outer IP header to the end of ESP's two-byte trailer.
    let inside = mtu + 8 + 8 + 14 + 2;
    vxlan + ESP + inside.next_multiple_of(ESP_BLOCK) - inside
}

fn node_devices(state: &State) -> impl Iterator<Item = &Arc<Device>> {
    let node = state.node().into_iter();
    node.filter_map(|(_, node)| node.devices()).flat_map(Devices::iter)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{OverlayNetworkRow, networks, overhead};
    use crate::{
        model::inventory::{Inventory, Network},
        observe::state::{Scope, State},
    };

    #[test]
    fn what_docker_leaves_room_for_is_what_a_packet_grows_by() {
        // Docker's own MTUs for a node with an MTU of 1500.
        assert_eq!(1450 + overhead(1450, false, false), 1500);
        assert_eq!(1424 + overhead(1424, false, true), 1500);
        assert_eq!(1430 + overhead(1430, true, false), 1500);
    }

    #[test]
    fn an_overlays_option_is_meant_for_the_outside_of_its_tunnels() {
        let scope = Scope {
            containers: true,
            vxlan: true,
        };
        let mut state = State::new(scope, Duration::ZERO);
        let network = |name: &str, driver: &str, encrypted, mtu| {
            let network = Network {
                id: name.into(),
                name: name.to_owned(),
                driver: driver.to_owned(),
                encrypted,
                mtu,
                ..Network::default()
            };
            (Arc::clone(&network.id), Arc::new(network))
        };
        state.set_inventory(Arc::new(Inventory {
            networks: [
                network("a_here", "overlay", false, Some(9000)),
                network("b_far", "overlay", false, Some(9000)),
                network("c_secret", "overlay", true, Some(1500)),
                network("d_unset", "overlay", false, None),
                network("e_bridge", "bridge", false, Some(9000)),
            ]
            .into(),
            ..Inventory::default()
        }));
        let here = OverlayNetworkRow {
            network: "a_here".into(),
            mtu_bytes: 1450,
            overhead_bytes: 50,
        };
        let shown: Vec<_> = networks(&state, &[here]).iter().map(|network| network.mtu).collect();
        assert_eq!(shown, [Some(1450), Some(8950), Some(1424), None, Some(9000)]);
    }

    #[test]
    fn encryption_fills_up_to_a_boundary() {
        let sizes: Vec<u32> = (1420..1430).map(|mtu| mtu + overhead(mtu, false, true)).collect();
        assert_eq!(sizes, [1496, 1500, 1500, 1500, 1500, 1504, 1504, 1504, 1504, 1508]);
    }
}
