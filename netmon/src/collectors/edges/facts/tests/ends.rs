//! Which edges of the node are of interest, and what an edge is without an address.

use std::sync::Arc;

use super::{Former, NODE, Names, Naming, OUTSIDE, Party, UNKNOWN, address, inventory, party};
use crate::{
    collectors::edges::facts::{
        Near, OTHER, Who,
        account::{End, who},
    },
    model::{
        addresses::Addresses,
        edges::{EdgeId, Far, Side},
        interface::{InterfaceId, NetnsId},
    },
};

/// Between whom an edge is, from this end on this network to that one.
fn between(near: &Party, network: &str, far: Far) -> Who {
    let inventory = inventory();
    let addresses = Addresses::of(&inventory);
    let names = Names::new(&addresses, &inventory, [address("172.17.0.1")], Former::default());
    let id = EdgeId {
        interface: InterfaceId {
            netns: NetnsId(1),
            ifindex: 2,
        },
        side: Side::Client,
        port: 80,
        far,
    };
    let near = Near {
        party: near.clone(),
        network: Arc::from(network),
    };
    who(id, End::Near(near), &names)
}

fn with(near: &Party, network: &str, naming: Naming) -> Who {
    let near = Near {
        party: near.clone(),
        network: Arc::from(network),
    };
    Who::Both(near, naming)
}

#[test]
fn the_node_has_edges_with_containers_only() {
    let node = Party::word(NODE);
    let web = address("172.17.0.5");
    for far in [
        Far::Outside,
        Far::Address(address("192.0.2.1")),
        Far::Address(address("172.17.0.1")),
    ] {
        assert_eq!(between(&node, "bridge", far), Who::Nobody, "{far:?}");
    }
    // One of the node's own devices leads there.
    assert_eq!(between(&node, "", Far::Address(address("192.168.0.9"))), Who::Nobody);
    let shown = between(&node, "bridge", Far::Address(web));
    assert_eq!(shown, with(&node, "bridge", Naming::Certain(party("shop_web", "shop"))));
    // Some of it may be containers'.
    let over = between(&node, "", Far::Over);
    assert_eq!(over, with(&node, "", Naming::Certain(Party::word(OTHER))));
}

#[test]
fn a_containers_edges_lead_anywhere() {
    let web = party("shop_web", "shop");
    for (network, far, naming) in [
        ("bridge", Far::Outside, Naming::Certain(Party::word(OUTSIDE))),
        ("bridge", Far::Over, Naming::Certain(Party::word(OTHER))),
        (
            "",
            Far::Address(address("10.0.1.8")),
            Naming::Late(Party::word(UNKNOWN)),
        ),
        (
            "bridge",
            Far::Address(address("172.17.0.1")),
            Naming::Certain(Party::word(NODE)),
        ),
    ] {
        assert_eq!(between(&web, network, far), with(&web, network, naming), "{far:?}");
    }
}
