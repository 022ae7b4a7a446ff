//! What becomes of connections for which there is no room.

use std::net::Ipv4Addr;

use netmon_common::{
    edges::{CLIENT, Edge, FAR_ADDRESS, FAR_OVER, Key, SOCKETS, SOCKETS_OF_NAMESPACE},
    refusal,
    share::STRANGERS,
};

use super::{super::destroyed, CLOSE, ESTABLISHED, FIN_WAIT_2, HERE, OWN, PEER, SYN_SENT, Table, World};
use crate::{
    maps::{Added, Map as _},
    testing::THERE,
};

#[test]
fn storage_is_counted_until_its_socket_goes() {
    let world = World::new();
    let counts = || {
        [
            world.sockets.get(&HERE),
            world.sockets.get(&STRANGERS),
            world.tracked.get(&0),
        ]
    };
    let (here, there) = (world.opened(), world.between(THERE, (OWN, PEER), CLIENT));
    world.changes(there, SYN_SENT, ESTABLISHED);
    assert_eq!(counts(), [Some(1), Some(1), Some(2)]);
    world.changes(here, ESTABLISHED, CLOSE);
    assert_eq!(
        counts(),
        [Some(1), Some(1), Some(2)],
        "an application may keep its socket"
    );
    // It is watched by now, and does not count among the strangers any more.
    assert_eq!(world.sockets.add(&THERE, &0), Added::Created);
    for socket in [here, there, world.client()] {
        destroyed(&world, &[socket]);
    }
    assert_eq!(counts(), [Some(0), Some(0), Some(0)]);
    assert_eq!(world.sockets.get(&THERE), Some(0));
}

#[test]
fn a_connection_for_which_there_is_no_storage_has_ended_as_far_as_is_known() {
    for (of_netns, of_all) in [(SOCKETS_OF_NAMESPACE.cast_unsigned(), 0), (0, SOCKETS.into())] {
        let world = World::new();
        world.sockets.set(&HERE, of_netns);
        world.tracked.set(&0, of_all);
        let socket = world.opened();
        world.changes(socket, ESTABLISHED, CLOSE);
        let (_, edge) = world.edge();
        assert_eq!((edge.opened, edge.closed, edge.sent_bytes), (1, 1, 0));
        assert_eq!(world.lost.counted(), [(refusal::SHARE, 1)]);
        assert_eq!(world.state(socket), None);
    }
}

#[test]
fn a_namespace_that_has_used_up_its_share_has_one_more_edge_for_each_role() {
    let world = World::new();
    let kept = world.opened();
    world.shares.use_up(HERE);
    for last in 1..=20 {
        let peer = Ipv4Addr::new(10, 9, 9, last).into();
        let socket = world.between(HERE, (OWN, peer), CLIENT);
        world.changes(socket, SYN_SENT, ESTABLISHED);
        world.carries(socket, (10, 0, 0), 0, 0);
        world.changes(socket, ESTABLISHED, CLOSE);
    }
    world.changes(kept, ESTABLISHED, CLOSE);
    let edges = world.edges.all();
    let over = Key {
        netns: HERE,
        role: CLIENT,
        far: FAR_OVER,
        ..Key::default()
    };
    assert_eq!(edges.len(), 2);
    let (_, edge) = edges
        .iter()
        .find(|(key, _)| *key == over)
        .expect("there is one for all others");
    assert_eq!((edge.opened, edge.closed, edge.sent_bytes), (20, 20, 200));
    let (_, edge) = edges
        .iter()
        .find(|(key, _)| key.far == FAR_ADDRESS)
        .expect("the first stays");
    assert_eq!((edge.opened, edge.closed), (1, 1));
}

#[test]
fn what_finds_no_room_at_all_is_counted_by_the_cause() {
    let world = World::new();
    world.edges.room.set(0);
    let socket = world.opened();
    assert_eq!(world.state(socket), None);
    assert_eq!(world.lost.counted(), [(refusal::FULL, 1)]);
    let world = World::new();
    world.shares.use_up(STRANGERS);
    let socket = world.between(THERE, (OWN, PEER), CLIENT);
    world.changes(socket, SYN_SENT, ESTABLISHED);
    assert_eq!(world.lost.counted(), [(refusal::SHARE, 1)]);
    let world = World::new();
    let _open = world.opened();
    world.live.room.set(0);
    assert!(world.adds_up().is_empty());
    assert_eq!(world.lost.counted(), [(refusal::FULL, 1)]);
}

#[test]
fn an_edge_that_was_taken_out_of_the_map_begins_again() {
    let world = World::new();
    let socket = world.opened();
    let key = world.edge().0;
    let world = World {
        edges: Table::default(),
        ..world
    };
    world.carries(socket, (10, 0, 20), 0, 0);
    world.changes(socket, FIN_WAIT_2, CLOSE);
    let edge = Edge {
        closed: 1,
        sent_bytes: 10,
        received_bytes: 20,
        ..Edge::ZERO
    };
    assert_eq!(world.edge(), (key, edge));
}

#[test]
fn sockets_from_before_a_namespace_was_watched_take_no_room_from_later_ones() {
    let world = World::new();
    world.sockets.set(&HERE, u64::MAX);
    let socket = world.opened();
    assert_eq!(world.sockets.get(&HERE), Some(0));
    assert!(world.state(socket).is_some());
}

#[test]
fn a_connection_that_ends_without_room_for_its_edge_is_open_no_more() {
    let world = World::new();
    let socket = world.opened();
    let world = World {
        edges: Table::default(),
        ..world
    };
    world.edges.room.set(0);
    world.changes(socket, FIN_WAIT_2, CLOSE);
    assert!(world.adds_up().is_empty());
    assert_eq!(world.lost.counted(), [(refusal::FULL, 1)]);
}

#[test]
fn a_pass_finds_every_socket_that_has_storage() {
    let world = World::new();
    let closed = world.opened();
    let _open = world.opened();
    let there = world.between(THERE, (OWN, PEER), CLIENT);
    world.changes(there, SYN_SENT, ESTABLISHED);
    world.changes(closed, ESTABLISHED, CLOSE);
    world.adds_up();
    assert_eq!(world.seen.all(), [(STRANGERS, 1), (HERE, 2)]);
}
