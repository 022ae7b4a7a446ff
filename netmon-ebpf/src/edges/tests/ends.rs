//! Whose a connection is.

use std::net::{IpAddr, Ipv6Addr};

use netmon_common::{
    connection::Address,
    edges::{CLIENT, Edge, FAR_ADDRESS, FAR_OUTSIDE, Key, OPEN, SERVER},
};

use super::{
    CLOSE, DEVICE, ESTABLISHED, HERE, OWN, PEER, PORT, SYN_RECEIVED, SYN_SENT, Sockets as _, World, in_ipv6_form,
};
use crate::{
    kernel::UNSET,
    maps::{Added, Map as _},
    testing::THERE,
};

#[test]
fn a_connection_is_known_by_its_interface_its_role_the_servers_port_and_the_other_end() {
    for (role, before) in [(CLIENT, SYN_SENT), (SERVER, SYN_RECEIVED)] {
        let ipv6 = (
            "fd00::5".parse().expect("an address"),
            "fd00::9".parse().expect("an address"),
        );
        for ends in [(OWN, PEER), ipv6] {
            let world = World::new();
            let socket = world.between(HERE, ends, role);
            world.changes(socket, before, ESTABLISHED);
            let (key, edge) = world.edge();
            let wanted = Key {
                netns: HERE,
                ifindex: DEVICE,
                port: PORT,
                role,
                far: FAR_ADDRESS,
                remote: in_ipv6_form(ends.1),
            };
            assert_eq!(key, wanted);
            assert_eq!(
                edge,
                Edge {
                    opened: 1,
                    ..Edge::ZERO
                }
            );
            let connection = world.connections.get(&socket).expect("it has storage");
            assert_eq!((connection.key, connection.state), (key, OPEN));
        }
    }
}

#[test]
fn an_ipv4_address_is_the_same_whichever_kind_of_socket_has_it() {
    let world = World::new();
    let mapped = |address: IpAddr| IpAddr::V6(Ipv6Addr::from(in_ipv6_form(address)));
    for ends in [(OWN, PEER), (mapped(OWN), mapped(PEER))] {
        let socket = world.between(HERE, ends, CLIENT);
        world.changes(socket, SYN_SENT, ESTABLISHED);
    }
    assert_eq!(world.edge().1.opened, 2);
}

#[test]
fn what_stays_in_a_namespace_is_no_edge() {
    for (own, peer) in [
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.1.5", "127.3.2.1"),
        // A rule sent it to a proxy in the same namespace.
        ("127.0.0.1", "10.0.1.5"),
        ("::1", "::1"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.9"),
        ("10.0.1.5", "10.0.1.5"),
        ("fd00::5", "fd00::5"),
    ] {
        let world = World::new();
        let ends = [own, peer].map(|address| address.parse().expect("an address"));
        for (role, before) in [(CLIENT, SYN_SENT), (SERVER, SYN_RECEIVED)] {
            let socket = world.between(HERE, ends.into(), role);
            world.changes(socket, before, ESTABLISHED);
            world.changes(socket, ESTABLISHED, CLOSE);
            world.changes(socket, SYN_SENT, CLOSE);
            assert_eq!(world.state(socket), None, "it needs no storage");
        }
        assert!(world.edges.all().is_empty(), "{own} to {peer}");
    }
}

#[test]
fn other_protocols_have_the_same_states_and_are_no_edges() {
    let world = World::new();
    let socket = world.client();
    world
        .kernel
        .write(socket, world.socket_protocol(), 132_u16.to_ne_bytes());
    world.changes(socket, SYN_SENT, ESTABLISHED);
    assert!(world.edges.all().is_empty());
}

#[test]
fn whoever_is_beyond_a_gateway_is_outside_and_has_no_address() {
    let ipv6 = (
        "fd00::5".parse().expect("an address"),
        "2001:db8::9".parse().expect("an address"),
    );
    // `RTF_UP` is set in any route.
    for (ends, gateway, far) in [
        ((OWN, PEER), (1, 0), FAR_OUTSIDE),
        ((OWN, PEER), (0, 2), FAR_ADDRESS),
        (ipv6, (0, 3), FAR_OUTSIDE),
        (ipv6, (1, 1), FAR_ADDRESS),
    ] {
        let world = World::new();
        let socket = world.between(HERE, ends, SERVER);
        world.behind_a_gateway(socket, gateway.0, gateway.1);
        world.changes(socket, SYN_RECEIVED, ESTABLISHED);
        let (key, _) = world.edge();
        let remote = if far == FAR_OUTSIDE {
            [0; 16]
        } else {
            in_ipv6_form(ends.1)
        };
        assert_eq!((key.far, key.remote), (far, remote), "{ends:?} {gateway:?}");
    }
    let world = World {
        route_ipv6_flags: UNSET,
        ..World::new()
    };
    let socket = world.between(HERE, ipv6, SERVER);
    world.behind_a_gateway(socket, 0, 3);
    world.changes(socket, SYN_RECEIVED, ESTABLISHED);
    assert_eq!(world.edge().0.far, FAR_ADDRESS, "this kernel does not say so");
}

#[test]
fn whoever_is_known_keeps_the_address_beyond_a_gateway_but_is_no_edge_of_the_node() {
    for (known, node, other_end) in [
        (PEER, THERE, Some((FAR_ADDRESS, in_ipv6_form(PEER)))),
        (OWN, THERE, Some((FAR_OUTSIDE, [0; 16]))),
        (PEER, HERE, None),
    ] {
        let world = World::new();
        world.node.set(&0, node);
        assert_eq!(world.known.add(&in_ipv6_form(known), &0), Added::Created);
        let socket = world.client();
        world.behind_a_gateway(socket, 1, 0);
        world.changes(socket, SYN_SENT, ESTABLISHED);
        let edges = world.edges.all();
        let shown = edges.first().map(|(key, _)| (key.far, key.remote));
        assert_eq!(shown, other_end, "{known}, {node:#x}");
    }
}

#[test]
fn a_socket_without_a_route_is_found_by_its_address() {
    let world = World::new();
    let address = in_ipv6_form(OWN);
    let added = world.addresses.add(&Address { netns: HERE, address }, &3);
    assert_eq!(added, Added::Created);
    let socket = world.client();
    world.kernel.point(socket, world.socket_route(), 0);
    world.changes(socket, SYN_SENT, CLOSE);
    let (key, _) = world.edge();
    assert_eq!((key.ifindex, key.far), (3, FAR_ADDRESS));
}

#[test]
fn what_the_node_has_to_do_with_the_world_is_no_edge() {
    for (node, gateway, edges) in [(HERE, 1, 0), (HERE, 0, 1), (THERE, 1, 1)] {
        let world = World::new();
        world.node.set(&0, node);
        let socket = world.client();
        world.behind_a_gateway(socket, gateway, 0);
        world.changes(socket, SYN_SENT, ESTABLISHED);
        assert_eq!(world.edges.all().len(), edges, "{node:#x} {gateway}");
        assert_eq!(world.state(socket).is_some(), edges == 1);
    }
}
