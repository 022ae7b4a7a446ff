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
        mtu::{ESP, VXLAN_OVER_IPV4, overhead},
        place::Place,
    },
    observe::state::{Devices, State},
};

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
            let name = network.bridge_device();
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

fn node_devices(state: &State) -> impl Iterator<Item = &Arc<Device>> {
    let node = state.node().into_iter();
    node.filter_map(|(_, node)| node.devices()).flat_map(Devices::iter)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{OverlayNetworkRow, networks};
    use crate::{
        model::inventory::{Inventory, Network},
        observe::state::{Scope, State},
    };

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
}
