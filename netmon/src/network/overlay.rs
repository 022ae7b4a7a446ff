//! `overlay`: a veth whose far end is a port of a bridge in the network's own namespace on this node. Each of the
//! network's subnets has a VXLAN device, which is another port of that bridge and leads to the other nodes.

use std::sync::Arc;

use super::Driver;
use crate::model::{interface::DeviceKind, inventory::Inventory};

/// The driver.
pub(super) struct Overlay;

impl Driver for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn makes(&self, kind: DeviceKind) -> bool {
        kind == DeviceKind::Veth
    }
}

/// The network with this id prefix, which is part of the name of a namespace file (`1-...`, or `lb_...` for its load
/// balancer).
#[must_use]
pub fn network_of_namespace(prefix: &str, inventory: &Inventory) -> Option<Arc<str>> {
    let named = |id: &str| !prefix.is_empty() && id.starts_with(prefix);
    inventory
        .networks
        .values()
        .find(|network| named(&network.id))
        .map(|network| Arc::from(network.name.as_str()))
}

/// The network of the routing mesh (ingress), which publishes ports on every node.
#[must_use]
pub fn routing_mesh(inventory: &Inventory) -> Option<Arc<str>> {
    inventory
        .networks
        .values()
        .find(|network| network.ingress)
        .map(|network| Arc::from(network.name.as_str()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::network_of_namespace;
    use crate::model::inventory::{Inventory, Network};

    #[test]
    fn a_namespace_is_known_by_the_beginning_of_its_networks_id() {
        let id: Arc<str> = "tmhelb35nqp6cv9fmjdqcxlwy".into();
        let network = Network {
            id: Arc::clone(&id),
            name: "shop_front".into(),
            ..Network::default()
        };
        let inventory = Inventory {
            networks: [(id, Arc::new(network))].into(),
            ..Inventory::default()
        };
        assert_eq!(
            network_of_namespace("tmhelb35nq", &inventory).as_deref(),
            Some("shop_front")
        );
        assert_eq!(network_of_namespace("xmhelb35nq", &inventory), None);
        assert_eq!(network_of_namespace("", &inventory), None);
    }
}
