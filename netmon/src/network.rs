//! Docker's networks and their devices: which network an interface of a container belongs to, and which devices get
//! BPF programs. One file for each of the engine's network drivers.
//!
//! Pure: it takes the engine's data and the kernel's data, and returns answers. It knows no metrics and no BPF
//! programs.

mod bridge;
mod host;
mod ipvlan;
mod macvlan;
mod none;
mod overlay;
mod plugin;

use std::{net::IpAddr, sync::Arc};

use crate::model::{
    interface::{Device, DeviceKind},
    inventory::{Container, Endpoint, GATEWAY_BRIDGE, Inventory, Network},
};

pub use bridge::network_of_bridge;
pub use overlay::{network_of_namespace, routing_mesh};

/// The network of containers that name none.
const DEFAULT_BRIDGE: &str = "bridge";

/// The behaviour of one of the engine's network drivers on a node.
pub trait Driver: Sync {
    /// The engine's name for the driver.
    fn name(&self) -> &'static str;

    /// Whether the driver gives containers devices of this kind.
    fn makes(&self, kind: DeviceKind) -> bool;

    /// Why containers on such a network have no interface of their own. `None` if they have one.
    fn no_interface(&self) -> Option<&'static str> {
        None
    }
}

/// The driver of that name. An unknown name is a plugin, whose devices may be of any kind.
#[must_use]
pub fn driver_for(name: &str) -> &'static dyn Driver {
    match name {
        "bridge" => &bridge::Bridge,
        "overlay" => &overlay::Overlay,
        "macvlan" => &macvlan::Macvlan,
        "ipvlan" => &ipvlan::Ipvlan,
        "host" => &host::Host,
        "null" => &none::None,
        _ => &plugin::Plugin,
    }
}

/// The network that a device inside a container belongs to. `None` for loopback, and for devices that the container
/// created itself.
///
/// Never decided by name or order: a task's interfaces are numbered in the order in which they were attached. The
/// hardware address is compared first, because the engine knows it from the start. Then the IP address. Then the
/// subnet, because the engine forgets a container's addresses when the container ends. A container's networks do not
/// overlap, so none of these can match two networks.
#[must_use]
pub fn network_of(device: &Device, container: &Container, inventory: &Inventory) -> Option<Arc<str>> {
    if device.kind == DeviceKind::Loopback {
        return None;
    }
    let endpoints = || {
        container
            .endpoints
            .iter()
            .filter(|endpoint| may_have(endpoint, device, inventory))
    };
    let by_mac = || only(endpoints().filter(|endpoint| endpoint.mac.is_some() && endpoint.mac == device.mac));
    let by_address = || {
        only(endpoints().filter(|endpoint| {
            endpoint
                .addresses
                .iter()
                .any(|address| device.addresses.contains(address))
        }))
    };
    let by_subnet = || {
        only(endpoints().filter(|endpoint| {
            inventory
                .networks
                .get(&endpoint.network)
                .is_some_and(|network| is_in(&device.addresses, network))
        }))
    };
    by_mac()
        .or_else(by_address)
        .or_else(by_subnet)
        .map(|endpoint| Arc::from(endpoint.network_name.as_str()))
        .or_else(|| gateway(device, inventory))
}

/// The network on which this container has, or had, exactly this device. Decided by hardware or IP address only,
/// because the device may belong to another container.
#[must_use]
pub fn network_by_address(device: &Device, container: &Container, inventory: &Inventory) -> Option<Arc<str>> {
    let is_it = |endpoint: &&Endpoint| {
        let same_mac = endpoint.mac.is_some() && endpoint.mac == device.mac;
        let same_address = endpoint.addresses.iter().any(|it| device.addresses.contains(it));
        may_have(endpoint, device, inventory) && (same_mac || same_address)
    };
    only(container.endpoints.iter().filter(is_it)).map(|endpoint| Arc::from(endpoint.network_name.as_str()))
}

/// Whether the engine's resolver answers on this network, which is a container's. It does on all networks but the default
/// bridge (`needResolver` of libnetwork), where containers ask the node's resolvers. Devices of a container's own are on no
/// network.
#[must_use]
pub fn has_resolver(network: &str) -> bool {
    !network.is_empty() && network != DEFAULT_BRIDGE
}

/// Whether to attach BPF programs to a device of this kind that belongs to a network.
#[must_use]
pub fn is_counted(kind: DeviceKind) -> bool {
    match kind {
        DeviceKind::Veth | DeviceKind::Vxlan | DeviceKind::Macvlan | DeviceKind::Ipvlan | DeviceKind::Other => true,
        DeviceKind::Loopback | DeviceKind::Bridge => false,
    }
}

/// Whether the endpoint's network gives its containers devices of this kind. True if the network is unknown.
fn may_have(endpoint: &Endpoint, device: &Device, inventory: &Inventory) -> bool {
    let network = inventory.networks.get(&endpoint.network);
    network.is_none_or(|network| driver_for(&network.driver).makes(device.kind))
}

/// The only candidate. `None` if there are several or none.
fn only<'a>(mut candidates: impl Iterator<Item = &'a Endpoint>) -> Option<&'a Endpoint> {
    let first = candidates.next()?;
    candidates.next().is_none().then_some(first)
}

/// The interface on the gateway bridge, by subnet: no container's description lists it.
fn gateway(device: &Device, inventory: &Inventory) -> Option<Arc<str>> {
    let network = inventory
        .networks
        .values()
        .find(|network| network.name == GATEWAY_BRIDGE)?;
    let is_leg = driver_for(&network.driver).makes(device.kind) && is_in(&device.addresses, network);
    is_leg.then(|| Arc::from(network.name.as_str()))
}

fn is_in(addresses: &[IpAddr], network: &Network) -> bool {
    addresses
        .iter()
        .any(|address| network.subnets.iter().any(|subnet| subnet.contains(*address)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{driver_for, network_of};
    use crate::model::{
        interface::{Device, DeviceKind, MacAddress},
        inventory::{Container, Endpoint, Identity, Inventory, Network, Sandbox},
    };

    fn network(id: &str, name: &str, driver: &str, subnet: &str) -> (Arc<str>, Arc<Network>) {
        let subnets = vec![subnet.parse().expect("a subnet")];
        let network = Network {
            id: id.into(),
            name: name.into(),
            driver: driver.into(),
            subnets,
            ..Network::default()
        };
        (id.into(), Arc::new(network))
    }

    fn inventory() -> Inventory {
        Inventory {
            networks: [
                network("o1", "shop_front", "overlay", "10.0.1.0/24"),
                network("o2", "shop_back", "overlay", "10.0.2.0/24"),
                network("g1", "docker_gwbridge", "bridge", "172.18.0.0/16"),
                network("m1", "lan", "macvlan", "192.168.7.0/24"),
            ]
            .into(),
            ..Inventory::default()
        }
    }

    fn mac(last: u8) -> MacAddress {
        MacAddress([2, 0x42, 10, 0, 1, last])
    }

    fn endpoint(network: &str, name: &str, mac: Option<MacAddress>, address: Option<&str>) -> Endpoint {
        let addresses = address
            .map(|address| address.parse().expect("an address"))
            .into_iter()
            .collect();
        Endpoint {
            network: network.into(),
            network_name: name.into(),
            mac,
            addresses,
            ..Endpoint::default()
        }
    }

    fn container(endpoints: Vec<Endpoint>) -> Container {
        Container {
            id: "c1".into(),
            identity: Arc::new(Identity::default()),
            image: String::new(),
            task_id: String::new(),
            task_slot: String::new(),
            network_mode: "default".into(),
            sandbox: Sandbox::Absent,
            endpoints,
            started: None,
            running: true,
        }
    }

    fn device(kind: DeviceKind, mac: Option<MacAddress>, address: &str) -> Device {
        let addresses = if address.is_empty() {
            Vec::new()
        } else {
            vec![address.parse().expect("an address")]
        };
        Device {
            mac,
            addresses,
            ..Device::new(7, "eth0".to_owned(), kind)
        }
    }

    fn name(device: &Device, container: &Container) -> Option<String> {
        network_of(device, container, &inventory()).map(|name| name.to_string())
    }

    #[test]
    fn an_interface_is_known_by_its_hardware_address() {
        let container = container(vec![
            endpoint("o1", "shop_front", Some(mac(1)), Some("10.0.1.2")),
            endpoint("o2", "shop_back", Some(mac(2)), Some("10.0.2.2")),
        ]);
        assert_eq!(
            name(&device(DeviceKind::Veth, Some(mac(2)), ""), &container).as_deref(),
            Some("shop_back")
        );
    }

    #[test]
    fn two_endpoints_with_one_hardware_address_are_told_apart_by_their_addresses() {
        let container = container(vec![
            endpoint("o1", "shop_front", Some(mac(1)), Some("10.0.1.2")),
            endpoint("o2", "shop_back", Some(mac(1)), Some("10.0.2.2")),
        ]);
        assert_eq!(
            name(&device(DeviceKind::Veth, Some(mac(1)), "10.0.2.2"), &container).as_deref(),
            Some("shop_back")
        );
    }

    #[test]
    fn a_container_that_has_ended_is_known_by_the_subnets_of_its_networks() {
        let container = container(vec![
            endpoint("o1", "shop_front", None, None),
            endpoint("o2", "shop_back", None, None),
        ]);
        assert_eq!(
            name(&device(DeviceKind::Veth, Some(mac(9)), "10.0.1.9"), &container).as_deref(),
            Some("shop_front")
        );
    }

    #[test]
    fn the_leg_that_no_description_lists_is_the_gateway_bridges() {
        let container = container(vec![endpoint("o1", "shop_front", Some(mac(1)), Some("10.0.1.2"))]);
        let leg = device(DeviceKind::Veth, Some(mac(9)), "172.18.0.3");
        assert_eq!(name(&leg, &container).as_deref(), Some("docker_gwbridge"));
    }

    #[test]
    fn a_device_that_the_container_made_itself_belongs_to_no_network() {
        let container = container(vec![endpoint("o1", "shop_front", Some(mac(1)), Some("10.0.1.2"))]);
        assert_eq!(name(&device(DeviceKind::Other, None, "10.8.0.2"), &container), None);
        assert_eq!(name(&device(DeviceKind::Loopback, None, "127.0.0.1"), &container), None);
    }

    #[test]
    fn a_device_of_a_kind_that_the_driver_does_not_make_is_not_taken_for_its_own() {
        let container = container(vec![endpoint("m1", "lan", Some(mac(1)), Some("192.168.7.2"))]);
        assert_eq!(
            name(&device(DeviceKind::Macvlan, Some(mac(1)), ""), &container).as_deref(),
            Some("lan")
        );
        assert_eq!(name(&device(DeviceKind::Veth, Some(mac(1)), ""), &container), None);
    }

    #[test]
    fn drivers_without_interfaces_say_why() {
        for (driver, has_reason) in [
            ("bridge", false),
            ("overlay", false),
            ("host", true),
            ("null", true),
            ("weave", false),
        ] {
            assert_eq!(driver_for(driver).no_interface().is_some(), has_reason, "{driver}");
        }
    }
}
