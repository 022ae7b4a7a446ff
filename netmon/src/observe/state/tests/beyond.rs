//! Addresses beyond gateways of which it is known whose they are.

use std::{sync::Arc, time::Instant};

use super::{LINGER, SCOPE, device, inventory};
use crate::{
    model::{
        interface::{Device, NetnsId},
        inventory::{Inventory, Network},
        netns::{NetnsFile, Role},
        peers::{Member, Members, Peer},
    },
    observe::state::State,
};

#[test]
fn nodes_and_overlays_with_several_subnets_are_known_beyond_gateways() {
    let mut state = State::new(SCOPE, LINGER);
    let mut all = Inventory::clone(&inventory("web.1", "aaaaaaaaaaaa"));
    for (id, driver, subnets) in [
        ("one", "overlay", &["10.1.0.0/24", "fd01::/64"][..]),
        ("two", "overlay", &["10.2.0.0/24", "fd02::/64", "10.3.0.0/24"]),
        ("lan", "macvlan", &["10.4.0.0/24", "10.5.0.0/24"]),
    ] {
        let subnets = subnets.iter().map(|subnet| subnet.parse().expect("a subnet"));
        let network = Network {
            id: id.into(),
            name: id.into(),
            driver: driver.into(),
            subnets: subnets.collect(),
            ..Network::default()
        };
        all.networks.insert(id.into(), Arc::new(network));
    }
    let peer = "192.0.2.2".parse().expect("an address");
    Arc::make_mut(&mut all.peers).nodes.insert(peer, Peer::default());
    let mut members = Members::default();
    for (own, node) in [("10.2.0.8", "192.0.2.2"), ("10.2.0.9", "::ffff:192.0.2.3")] {
        let member = Member {
            container: String::new(),
            service: String::new(),
            node: node.parse().ok(),
        };
        members.endpoints.insert(own.parse().expect("an address"), member);
    }
    all.members.insert("two".into(), Some(Arc::new(members)));
    state.set_inventory(Arc::new(all));
    let node = NetnsFile {
        path: "/proc/1/ns/net".into(),
        inode: 2,
        role: Role::Node,
    };
    let addresses = ["127.0.0.1", "::1", "192.0.2.1", "169.254.0.3", "fe80::1", "2001:db8::1"];
    let uplink = Device {
        addresses: addresses.map(|address| address.parse().expect("an address")).to_vec(),
        ..device(2, "eth0")
    };
    state.looked(&node, NetnsId(1), vec![uplink], Instant::now());
    let known: Vec<_> = state.known_beyond_gateways().map(|prefix| prefix.to_string()).collect();
    let wanted = [
        "192.0.2.1/32",
        "2001:db8::1/128",
        "192.0.2.2/32",
        "192.0.2.3/32",
        "10.2.0.0/24",
        "10.3.0.0/24",
    ];
    assert_eq!(known, wanted);
}
