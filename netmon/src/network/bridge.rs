//! `bridge`: a veth whose far end is a port of a bridge in the node's namespace. Used by the default network, by user
//! networks, and by the gateway bridge of a Swarm.

use std::sync::Arc;

use super::Driver;
use crate::model::{
    interface::DeviceKind,
    inventory::{Inventory, Network},
};

/// The driver.
pub(super) struct Bridge;

impl Driver for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn makes(&self, kind: DeviceKind) -> bool {
        kind == DeviceKind::Veth
    }
}

/// The prefix of the bridge's name if the network has none set. The first characters of the network's id follow.
const BRIDGE_PREFIX: &str = "br-";

/// The network of a bridge device in the node's namespace.
#[must_use]
pub fn network_of_bridge(device: &str, inventory: &Inventory) -> Option<Arc<str>> {
    let is_it = |network: &&Arc<Network>| match &network.bridge {
        Some(name) => name == device,
        None => device
            .strip_prefix(BRIDGE_PREFIX)
            .is_some_and(|id| !id.is_empty() && network.id.starts_with(id)),
    };
    inventory
        .networks
        .values()
        .filter(|network| network.driver == Bridge.name())
        .find(is_it)
        .map(|network| Arc::from(network.name.as_str()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::network_of_bridge;
    use crate::model::inventory::{Inventory, Network};

    #[test]
    fn a_bridge_is_known_by_its_name_or_by_the_beginning_of_its_networks_id() {
        let network = |id: &str, name: &str, bridge: Option<&str>| {
            let network = Network {
                id: id.into(),
                name: name.to_owned(),
                driver: "bridge".to_owned(),
                bridge: bridge.map(ToOwned::to_owned),
                ..Network::default()
            };
            (Arc::from(id), Arc::new(network))
        };
        let inventory = Inventory {
            networks: [
                network("aa11bb22cc33dd44", "front", None),
                network("1234567890abcdef", "bridge", Some("docker0")),
            ]
            .into(),
            ..Inventory::default()
        };
        let named = |device| network_of_bridge(device, &inventory);
        assert_eq!(named("br-aa11bb22cc33").as_deref(), Some("front"));
        assert_eq!(named("docker0").as_deref(), Some("bridge"));
        for other in ["br-1234567890ab", "br-", "eth0", "br-ffff"] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
