//! How large packets may be: of networks, as their devices have it, and of what lies below them. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::state::State;
use crate::{
    model::{
        interface::Device,
        inventory::{Inventory, Network},
        place::Place,
        snapshot::{OverlayNetworkRow, UnderlayRow},
    },
    netns::discover::Role,
};

/// What a tunnel puts around a packet: outer IP, UDP and VXLAN headers, and the inner Ethernet header, which no MTU
/// counts.
const VXLAN_OVER_IPV4: u32 = 20 + 8 + 8 + 14;
const VXLAN_OVER_IPV6: u32 = 40 + 8 + 8 + 14;
/// What encryption adds as Docker sets it up (AES-GCM in ESP's transport mode): ESP header, vector, trailer, check value.
const ESP: u32 = 8 + 8 + 2 + 8;
/// What is encrypted ends on a boundary of so many bytes.
const ESP_BLOCK: u32 = 4;

/// Every overlay network here.
pub fn overlays(state: &State) -> Vec<OverlayNetworkRow> {
    let mut networks: BTreeMap<Arc<str>, (u32, BTreeSet<IpAddr>)> = BTreeMap::new();
    for namespace in state.namespaces().values() {
        let Some(Place::Overlay { network }) = &namespace.place else {
            continue;
        };
        for tunnel in namespace.tunnels.values() {
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
pub fn underlay(state: &State) -> Vec<UnderlayRow> {
    let row = |device: &Arc<Device>| UnderlayRow {
        interface: device.name.clone(),
        mtu_bytes: device.mtu,
    };
    let devices = node_devices(state).filter(|device| state.underlay.contains(&device.ifindex));
    devices.map(row).collect()
}

/// Every network, with the MTU that its device has where none was set.
pub fn networks(state: &State, overlays: &[OverlayNetworkRow]) -> Vec<Arc<Network>> {
    let mtu = |network: &Network| match network.driver.as_str() {
        "overlay" => {
            let row = overlays.iter().find(|row| *row.network == *network.name);
            row.map(|row| row.mtu_bytes)
        }
        "bridge" => {
            let usual = || format!("br-{}", network.id.get(..12).unwrap_or_default());
            let name = network.bridge.clone().unwrap_or_else(usual);
            let device = node_devices(state).find(|device| device.name == name);
            device.map(|device| device.mtu)
        }
        _ => None,
    };
    let with_mtu = |network: &Arc<Network>| match (network.mtu, mtu(network)) {
        (None, Some(found)) => Arc::new(Network {
            mtu: Some(found),
            ..Network::clone(network)
        }),
        (Some(_), _) | (None, None) => Arc::clone(network),
    };
    state.inventory().networks.values().map(with_mtu).collect()
}

/// Whether a network of that name was asked to encrypt what it sends.
pub(super) fn is_encrypted(inventory: &Inventory, network: &str) -> bool {
    let mut named = inventory.networks.values().filter(|known| known.name == network);
    named.any(|known| known.encrypted)
}

/// How much larger the largest packet is on its way between nodes.
const fn overhead(mtu: u32, is_ipv6: bool, is_encrypted: bool) -> u32 {
    let vxlan = if is_ipv6 { VXLAN_OVER_IPV6 } else { VXLAN_OVER_IPV4 };
    if !is_encrypted {
        return vxlan;
    }
    // From behind the outer IP header to the end of ESP's trailer of two bytes.
    let inside = mtu + 8 + 8 + 14 + 2;
    vxlan + ESP + inside.next_multiple_of(ESP_BLOCK) - inside
}

fn node_devices(state: &State) -> impl Iterator<Item = &Arc<Device>> {
    let mut namespaces = state.namespaces().values();
    let node = namespaces.find(|namespace| namespace.file.role == Role::Node);
    node.into_iter().flat_map(|node| node.devices.values())
}

#[cfg(test)]
mod tests {
    use super::overhead;

    #[test]
    fn what_docker_leaves_room_for_is_what_a_packet_grows_by() {
        // Docker's own MTUs for a node with 1500.
        assert_eq!(1450 + overhead(1450, false, false), 1500);
        assert_eq!(1424 + overhead(1424, false, true), 1500);
        assert_eq!(1430 + overhead(1430, true, false), 1500);
    }

    #[test]
    fn encryption_fills_up_to_a_boundary() {
        let sizes: Vec<u32> = (1420..1430).map(|mtu| mtu + overhead(mtu, false, true)).collect();
        assert_eq!(sizes, [1496, 1500, 1500, 1500, 1500, 1504, 1504, 1504, 1504, 1508]);
    }
}
