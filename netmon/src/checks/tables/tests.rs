//! Tests of the forwarding tables' check.

use std::{net::IpAddr, sync::Arc};

use super::look;
use crate::{
    checks::samples::{container, device, facts, network, node},
    model::{
        facts::{CheckFacts, Forwarding, Neighbour, OverlayFacts},
        finding::Finding,
        interface::{Device, DeviceKind, MacAddress},
        inventory::{self, Inventory},
        peers::{Member, Members, Peer, PeerSource, Peers},
    },
};

const OWN: &str = "192.0.2.1";

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 1, last])
}

fn at(node: &str) -> IpAddr {
    node.parse().expect("an address")
}

const fn mac(last: u8) -> MacAddress {
    MacAddress([2, 0x42, 10, 0, 1, last])
}

/// A manager's network with members on these nodes, and with these entries in its tables.
fn seen(members: &[(u8, &str)], entries: &[(u8, &str)]) -> CheckFacts {
    let mut facts = facts([], []);
    let member = |(last, node): &(u8, &str)| {
        let member = Member {
            container: format!("web.{last}"),
            service: "web".to_owned(),
            node: Some(at(node)),
        };
        (address(*last), member)
    };
    let members = Members {
        endpoints: members.iter().map(member).collect(),
        ..Members::default()
    };
    let nodes = [OWN, "192.0.2.2", "192.0.2.3"].map(|node| {
        let peer = Peer {
            hostname: Arc::from(format!("n{}", &node[8..])),
            ..Peer::default()
        };
        (at(node), peer)
    });
    facts.engine = Ok(Arc::new(Inventory {
        node: Some(Arc::new(inventory::Node {
            address: Some(at(OWN)),
            ..inventory::Node::default()
        })),
        networks: [(
            Arc::from("shop"),
            Arc::new(network("shop", "overlay", &["10.0.1.0/24"])),
        )]
        .into(),
        members: [(Arc::from("shop"), Some(Arc::new(members)))].into(),
        peers: Arc::new(Peers {
            source: PeerSource::Manager,
            nodes: nodes.into(),
        }),
        ..Inventory::default()
    }));
    facts.node = Ok(node(|node| node.devices = vec![device("eth0", &[OWN])]));
    let overlay = OverlayFacts {
        devices: vec![Device::new(7, "vxlan0".to_owned(), DeviceKind::Vxlan)],
        forwarding: entries
            .iter()
            .map(|(last, node)| Forwarding {
                ifindex: 7,
                mac: mac(*last),
                node: at(node),
            })
            .collect(),
        neighbours: entries
            .iter()
            .map(|(last, _)| Neighbour {
                ifindex: 7,
                address: address(*last),
                mac: Some(mac(*last)),
                is_permanent: true,
            })
            .collect(),
    };
    facts.overlays.insert(Arc::from("shop"), Ok(overlay));
    facts
}

fn found(facts: &CheckFacts) -> Vec<(String, String)> {
    let pair = |it: Finding| (it.subject.peer.to_string(), it.subject.item.to_string());
    look(facts).expect("it can look").into_iter().map(pair).collect()
}

fn pair(peer: &str, item: &str) -> (String, String) {
    (peer.to_owned(), item.to_owned())
}

#[test]
fn tables_that_agree_with_the_members_are_no_finding() {
    let members = [(2, OWN), (3, "192.0.2.2"), (4, "192.0.2.3")];
    let entries = [(3, "192.0.2.2"), (4, "192.0.2.3")];
    assert!(found(&seen(&members, &entries)).is_empty());
}

#[test]
fn a_member_without_entries_is_missing() {
    let facts = seen(&[(3, "192.0.2.2"), (4, "192.0.2.2")], &[(3, "192.0.2.2")]);
    assert_eq!(found(&facts), [pair("n2", "missing")]);
    let evidence = &look(&facts).expect("it can look")[0].evidence;
    assert!(
        evidence.starts_with("1 of 2 containers on node n2 are not"),
        "{evidence}"
    );
    assert!(evidence.contains("(web.4)"), "{evidence}");
}

#[test]
fn a_neighbour_entry_alone_is_not_enough() {
    let mut facts = seen(&[(3, "192.0.2.2")], &[(3, "192.0.2.2")]);
    let Some(Ok(overlay)) = facts.overlays.get_mut("shop") else {
        panic!("no overlay")
    };
    overlay.forwarding.clear();
    assert_eq!(found(&facts), [pair("n2", "missing")]);
}

#[test]
fn an_entry_for_another_node_is_elsewhere() {
    let facts = seen(&[(3, "192.0.2.2")], &[(3, "192.0.2.3")]);
    assert_eq!(found(&facts), [pair("n2", "elsewhere")]);
}

#[test]
fn an_entry_of_nobody_may_be_of_a_task_that_is_not_healthy_yet() {
    assert!(found(&seen(&[], &[(3, "192.0.2.2"), (4, "192.0.2.2")])).is_empty());
}

/// The same as a worker, or another inventory, has it.
fn changed(facts: CheckFacts, change: impl FnOnce(&mut Inventory)) -> CheckFacts {
    let mut inventory = Inventory::clone(facts.engine.as_ref().expect("an inventory"));
    change(&mut inventory);
    CheckFacts {
        engine: Ok(Arc::new(inventory)),
        ..facts
    }
}

#[test]
fn an_entry_of_a_node_that_left_is_stale_where_all_nodes_are_known() {
    let all = [(5, OWN), (6, "192.0.2.2"), (7, "192.0.2.3")];
    let entries = [(3, "192.0.2.9"), (6, "192.0.2.2"), (7, "192.0.2.3")];
    assert_eq!(found(&seen(&all, &entries)), [pair("192.0.2.9", "stale")]);
    let worker = changed(seen(&all, &entries), |inventory| inventory.peers = Arc::default());
    assert!(found(&worker).is_empty(), "a worker does not know all nodes");
    // The third node may be known to the manager by another address than its packets have.
    assert!(found(&seen(&all[..2], &entries[..2])).is_empty());
}

#[test]
fn a_member_of_an_unknown_node_is_lost() {
    let forget = |inventory: &mut Inventory| {
        for members in inventory.members.values_mut().flatten() {
            let mut without = Members::clone(members);
            for member in without.endpoints.values_mut() {
                member.node = None;
            }
            *members = Arc::new(without);
        }
    };
    let facts = changed(seen(&[(3, "192.0.2.2")], &[]), forget);
    assert_eq!(found(&facts), [pair("", "unknown node")]);
    let has_entry = changed(seen(&[(3, "192.0.2.2")], &[(3, "192.0.2.2")]), forget);
    assert!(found(&has_entry).is_empty());
}

#[test]
fn where_nobody_says_who_is_on_a_network_the_check_is_blind() {
    let with = |members: Option<Option<Arc<Members>>>, is_joined: bool| {
        let facts = changed(seen(&[(3, "192.0.2.2")], &[]), |inventory| {
            inventory.members = members
                .into_iter()
                .map(|members| (Arc::from("shop"), members))
                .collect();
            let here = container("web", is_joined, &[("shop", "10.0.1.2")]);
            inventory.containers = [(Arc::clone(&here.id), Arc::new(here))].into();
        });
        look(&facts).map_err(|blind| blind.to_string())
    };
    for (members, is_joined) in [(Some(None), false), (None, true)] {
        let blind = with(members, is_joined).expect_err("nothing to compare with");
        assert!(blind.contains("network shop"), "{blind}");
    }
    assert_eq!(with(None, false), Ok(Vec::new()), "nobody asks for its members");
}

#[test]
fn a_node_by_whose_address_its_own_containers_are_known_is_this_one() {
    let mut facts = changed(seen(&[(2, "203.0.113.7"), (4, "203.0.113.7")], &[]), |inventory| {
        let here = container("web", true, &[("shop", "10.0.1.2")]);
        inventory.containers = [(Arc::clone(&here.id), Arc::new(here))].into();
    });
    assert!(found(&facts).is_empty());
    facts = changed(facts, |inventory| inventory.containers.clear());
    assert_eq!(found(&facts), [pair("203.0.113.7", "missing")]);
}

#[test]
fn a_separate_address_for_data_is_the_nodes_own() {
    let mut facts = seen(&[(2, "198.51.100.1")], &[]);
    facts.node = Ok(node(|node| {
        node.devices = vec![device("eth0", &[OWN]), device("eth1", &["198.51.100.1"])];
    }));
    assert!(found(&facts).is_empty());
}

#[test]
fn a_list_that_is_cut_says_nothing() {
    let mut facts = seen(&[(3, "192.0.2.2")], &[]);
    let Ok(inventory) = &facts.engine else {
        panic!("no inventory")
    };
    let mut cut = Inventory::clone(inventory);
    for members in cut.members.values_mut().flatten() {
        let mut less = Members::clone(members);
        less.is_cut = true;
        *members = Arc::new(less);
    }
    facts.engine = Ok(Arc::new(cut));
    assert!(found(&facts).is_empty());
}
