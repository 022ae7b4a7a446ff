//! Facts for the tests of checks.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{
    facts::{CheckFacts, Moved, NodeFacts},
    interface::{Device, DeviceKind},
    inventory::{Container, Endpoint, Identity, Inventory, Network},
};

/// The facts of a node with these networks and containers, on which nothing is wrong.
pub(super) fn facts(
    networks: impl IntoIterator<Item = Network>,
    containers: impl IntoIterator<Item = Container>,
) -> CheckFacts {
    let networks = networks.into_iter();
    let containers = containers.into_iter();
    CheckFacts {
        engine: Ok(Arc::new(Inventory {
            networks: networks.map(|it| (Arc::clone(&it.id), Arc::new(it))).collect(),
            containers: containers.map(|it| (Arc::clone(&it.id), Arc::new(it))).collect(),
            ..Inventory::default()
        })),
        node: Ok(node(|_| {})),
        overlays: BTreeMap::new(),
        balancers: BTreeMap::new(),
        containers: BTreeMap::new(),
        moved: Ok(Moved::default()),
        unseen: None,
    }
}

/// A node that forwards, changed like this.
pub(super) fn node(change: impl FnOnce(&mut NodeFacts)) -> NodeFacts {
    let mut node = NodeFacts {
        forwards_ipv4: Some(true),
        forwards_ipv6: Some(true),
        routes: Some(Vec::new()),
        ..NodeFacts::default()
    };
    change(&mut node);
    node
}

/// A network whose id is its name.
pub(super) fn network(name: &str, driver: &str, subnets: &[&str]) -> Network {
    Network {
        id: Arc::from(name),
        name: name.to_owned(),
        driver: driver.to_owned(),
        subnets: subnets.iter().map(|subnet| subnet.parse().expect("a subnet")).collect(),
        ..Network::default()
    }
}

/// A container with these networks and addresses.
pub(super) fn container(name: &str, running: bool, on: &[(&str, &str)]) -> Container {
    let endpoint = |(network, address): &(&str, &str)| Endpoint {
        network: Arc::from(*network),
        network_name: (*network).to_owned(),
        mac: None,
        addresses: vec![address.parse().expect("an address")],
        ..Endpoint::default()
    };
    Container {
        id: Arc::from(name),
        identity: Arc::new(Identity {
            container: name.to_owned(),
            ..Identity::default()
        }),
        endpoints: on.iter().map(endpoint).collect(),
        running,
        ..Container::default()
    }
}

/// A device with these addresses.
pub(super) fn device(name: &str, addresses: &[&str]) -> Device {
    Device {
        addresses: addresses.iter().map(|it| it.parse().expect("an address")).collect(),
        ..Device::new(2, name.to_owned(), DeviceKind::Other)
    }
}
