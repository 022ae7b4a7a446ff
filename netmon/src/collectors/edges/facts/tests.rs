//! Whose edges are, and what of them is shown.

mod ends;
mod limits;
mod sums;

use std::{net::IpAddr, sync::Arc, time::Instant};

use super::{Former, INGRESS, LOAD_BALANCER, NODE, Names, Naming, OUTSIDE, Party, UNKNOWN};
use crate::model::{
    addresses::Addresses,
    edges::Side,
    inventory::{Container, Endpoint, Identity, Inventory, Network},
    peers::{Member, Members, Peer, Peers},
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn party(name: &str, stack: &str) -> Party {
    Party {
        name: name.into(),
        stack: stack.into(),
    }
}

fn network(name: &str, driver: &str, subnet: &str) -> Network {
    Network {
        id: name.into(),
        name: name.to_owned(),
        driver: driver.to_owned(),
        subnets: vec![subnet.parse().expect("a subnet")],
        ..Network::default()
    }
}

fn container(identity: [&str; 3], running: bool, on: &[(&str, &str)]) -> Container {
    let [container, service, stack] = identity.map(str::to_owned);
    let endpoint = |(network, own): &(&str, &str)| Endpoint {
        network: (*network).into(),
        network_name: (*network).to_owned(),
        mac: None,
        addresses: vec![address(own)],
        ..Endpoint::default()
    };
    Container {
        id: container.as_str().into(),
        identity: Arc::new(Identity {
            container,
            service,
            stack,
        }),
        endpoints: on.iter().map(endpoint).collect(),
        running,
        ..Container::default()
    }
}

/// A node of a Swarm: a stack, a container of nobody's, and networks of several drivers.
fn inventory() -> Inventory {
    let member = |container: &str, service: &str| Member {
        container: container.to_owned(),
        service: service.to_owned(),
        node: None,
    };
    let members = Members {
        endpoints: [
            (address("10.0.1.8"), member("shop_db.1.abc", "shop_db")),
            (address("10.0.1.9"), member("debug", "")),
            (address("10.0.1.10"), member("other_web.1.abc", "other_web")),
        ]
        .into(),
        virtual_ips: [("shop_db".to_owned(), address("10.0.1.2"))].into(),
        load_balancers: [(address("10.0.1.3"), "lb-front".to_owned())].into(),
        ..Members::default()
    };
    let networks = [
        Network {
            stack: "shop".to_owned(),
            ..network("front", "overlay", "10.0.1.0/24")
        },
        Network {
            ingress: true,
            ..network("ingress", "overlay", "10.0.0.0/24")
        },
        network("silent", "overlay", "10.0.5.0/24"),
        network("bridge", "bridge", "172.17.0.0/16"),
        network("lan", "macvlan", "192.168.7.0/24"),
        Network {
            subnets: Vec::new(),
            ..network("odd", "plugin", "10.1.0.0/24")
        },
    ];
    let containers = [
        container(
            ["shop_web.1.xyz", "shop_web", "shop"],
            true,
            &[("front", "10.0.1.5"), ("bridge", "172.17.0.5")],
        ),
        container(["old", "", ""], false, &[("bridge", "172.17.0.6")]),
        container(["one", "", ""], true, &[("bridge", "172.17.0.7")]),
        container(["two", "", ""], true, &[("bridge", "172.17.0.7")]),
    ];
    Inventory {
        networks: networks
            .into_iter()
            .map(|it| (Arc::clone(&it.id), Arc::new(it)))
            .collect(),
        containers: containers
            .into_iter()
            .map(|it| (Arc::clone(&it.id), Arc::new(it)))
            .collect(),
        members: [
            ("front".into(), Some(Arc::new(members))),
            ("ingress".into(), Some(Arc::default())),
            ("silent".into(), None),
        ]
        .into(),
        ..Inventory::default()
    }
}

/// Who is at an address, seen from the server or the client.
fn at(network: &str, own: &str, side: Side) -> Naming {
    let inventory = inventory();
    let addresses = Addresses::of(&inventory);
    let names = Names::new(&addresses, &inventory, [address("172.17.0.1")], Former::default());
    names.at(network, address(own), side)
}

#[test]
fn whoever_has_an_address_gives_the_end_its_name() {
    for (network, own, wanted) in [
        ("front", "10.0.1.5", party("shop_web", "shop")),
        ("bridge", "172.17.0.5", party("shop_web", "shop")),
        ("front", "10.0.1.8", party("shop_db", "shop")),
        ("front", "10.0.1.9", party("debug", "")),
        // Nothing here is of that stack, so it may be a part of the name.
        ("front", "10.0.1.10", party("other_web", "")),
        ("front", "10.0.1.2", party("shop_db", "shop")),
        ("front", "10.0.1.3", Party::word(LOAD_BALANCER)),
        ("bridge", "172.17.0.6", party("old", "")),
        ("bridge", "172.17.0.1", Party::word(NODE)),
        // Two say that they have it.
        ("bridge", "172.17.0.7", Party::word(UNKNOWN)),
        ("bridge", "192.0.2.1", Party::word(OUTSIDE)),
    ] {
        for side in [Side::Client, Side::Server] {
            assert_eq!(
                at(network, own, side),
                Naming::Certain(wanted.clone()),
                "{own} on {network}"
            );
        }
    }
}

#[test]
fn an_address_that_nobody_has_is_waited_for() {
    let both = [Side::Client, Side::Server];
    for (network, own, wanted) in [
        ("front", "10.0.1.77", [UNKNOWN, LOAD_BALANCER]),
        ("ingress", "10.0.0.4", [UNKNOWN, INGRESS]),
        // Its members are not known: this may be a task.
        ("silent", "10.0.5.4", [UNKNOWN, UNKNOWN]),
        ("bridge", "172.17.0.77", [UNKNOWN, UNKNOWN]),
        ("lan", "192.168.7.9", [OUTSIDE, OUTSIDE]),
        ("odd", "10.1.0.9", [UNKNOWN, UNKNOWN]),
        ("", "10.0.1.5", [UNKNOWN, UNKNOWN]),
    ] {
        let naming = both.map(|side| at(network, own, side));
        assert_eq!(
            naming,
            wanted.map(|word| Naming::Late(Party::word(word))),
            "{own} on {network}"
        );
    }
}

#[test]
fn no_container_takes_the_name_of_what_is_none() {
    let container = container(["web", OUTSIDE, ""], true, &[]);
    assert_eq!(super::container(&container.identity), party("web", ""));
}

#[test]
fn a_stack_is_told_by_the_longest_name_that_is_known() {
    let mut inventory = inventory();
    let stack = |name: &str| Network {
        stack: name.to_owned(),
        ..network(name, "overlay", "10.3.0.0/24")
    };
    for name in ["sh", "shop_db"] {
        inventory.networks.insert(name.into(), Arc::new(stack(name)));
    }
    let addresses = Addresses::of(&inventory);
    let names = Names::new(&addresses, &inventory, [], Former::default());
    let at = names.at("front", address("10.0.1.8"), Side::Client);
    assert_eq!(
        at,
        Naming::Certain(party("shop_db", "shop")),
        "the name of a service has two parts"
    );
}

/// The engine forgets the addresses of what has ended.
#[test]
fn who_ended_a_moment_ago_gives_the_end_its_name() {
    let inventory = inventory();
    let addresses = Addresses::of(&inventory);
    let ended = Instant::now();
    let job = container(["shop_job.1.abc", "shop_job", "shop"], false, &[]);
    let other = container(["other", "", ""], false, &[]);
    let mut former = Former::default();
    for own in ["10.0.1.5", "10.0.1.20", "10.0.1.21"] {
        former.add(&"front".into(), address(own), &job.identity, ended);
    }
    former.add(&"front".into(), address("10.0.1.21"), &other.identity, ended);
    // The gossip of other nodes still has this one, and knows it by the container's name.
    let debug = container(["debug", "shell", "tools"], false, &[]);
    former.add(&"front".into(), address("10.0.1.9"), &debug.identity, ended);
    let names = Names::new(&addresses, &inventory, [], former);
    let was = |party| Naming::Former {
        party,
        until: ended,
        late: Party::word(UNKNOWN),
    };
    for (own, wanted) in [
        ("10.0.1.20", was(party("shop_job", "shop"))),
        // Both had it.
        ("10.0.1.21", was(Party::word(UNKNOWN))),
        ("10.0.1.22", Naming::Late(Party::word(UNKNOWN))),
        // A task has it now.
        ("10.0.1.5", Naming::Changed(party("shop_web", "shop"), ended)),
        ("10.0.1.9", Naming::Certain(party("debug", ""))),
    ] {
        assert_eq!(names.at("front", address(own), Side::Client), wanted, "{own}");
    }
}

/// The subnet of an overlay network may have the address of a node in the site's own network.
#[test]
fn a_node_is_named_where_its_address_is_nobody_elses() {
    let mut inventory = inventory();
    let nodes = ["192.0.2.2", "10.0.1.77", "172.17.0.9", "192.168.7.9", "10.1.0.9"];
    let nodes = nodes.map(|node| (address(node), Peer::default()));
    inventory.peers = Arc::new(Peers {
        nodes: nodes.into(),
        ..Peers::default()
    });
    let addresses = Addresses::of(&inventory);
    let own = [address("192.0.2.1"), address("10.0.1.78"), address("172.17.0.1")];
    let names = Names::new(&addresses, &inventory, own, Former::default());
    let certain = |word: &str| Naming::Certain(Party::word(word));
    let late = |word: &str| Naming::Late(Party::word(word));
    for (network, its, naming) in [
        ("front", "192.0.2.1", certain(NODE)),
        ("front", "192.0.2.2", certain(NODE)),
        ("front", "192.0.2.3", certain(OUTSIDE)),
        ("front", "10.0.1.77", late(LOAD_BALANCER)),
        ("front", "10.0.1.78", late(LOAD_BALANCER)),
        ("bridge", "172.17.0.1", certain(NODE)),
        ("bridge", "172.17.0.9", late(UNKNOWN)),
        ("lan", "192.168.7.9", certain(NODE)),
        ("odd", "10.1.0.9", certain(NODE)),
        ("", "192.0.2.2", certain(NODE)),
    ] {
        assert_eq!(
            names.at(network, address(its), Side::Server),
            naming,
            "{network}, {its}"
        );
    }
}
