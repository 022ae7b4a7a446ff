//! Connections from before the programs.

use netmon_common::edges::{CLIENT, CLOSED, Edge, FAR_ADDRESS, Live, OPEN, SERVER};

use super::{
    super::{adopt, destroyed},
    CLOSE, ESTABLISHED, FIN_WAIT_2, HERE, LISTEN, OWN, PEER, SYN_SENT, World,
};
use crate::connection::Sockets as _;

impl World {
    /// A socket in this state, which the iterator passes.
    fn is_found(&self, role: u8, state: u64) -> u64 {
        let socket = self.between(HERE, (OWN, PEER), role);
        let state = u8::try_from(state).expect("a state");
        self.kernel.write(socket, self.socket_state(), [state]);
        self.carries(socket, (5000, 1000, 800), 7, 8 * 300);
        adopt(self, socket);
        socket
    }
}

#[test]
fn a_connection_from_before_the_programs_counts_from_now_on() {
    let world = World::new();
    let socket = world.is_found(CLIENT, ESTABLISHED);
    let (key, edge) = world.edge();
    assert_eq!(
        (key.role, key.far, edge),
        (CLIENT, FAR_ADDRESS, Edge::ZERO),
        "nobody heard it begin"
    );
    adopt(&world, socket);
    assert_eq!(world.sockets.get(&HERE), Some(1), "it is found once");
    world.carries(socket, (5500, 1100, 1000), 9, 8 * 300);
    let open = Live {
        connections: 1,
        adopted: 1,
        sent_bytes: 400,
        received_bytes: 200,
        retransmitted_segments: 2,
        round_trips: 1,
        round_trip_microseconds: 300,
    };
    assert_eq!(world.adds_up(), [(key, open)]);
    world.changes(socket, FIN_WAIT_2, CLOSE);
    let ended = Edge {
        sent_bytes: 400,
        received_bytes: 200,
        retransmitted_segments: 2,
        round_trips: 1,
        round_trip_microseconds: 300,
        ..Edge::ZERO
    };
    assert_eq!(world.edge(), (key, ended));
    adopt(&world, socket);
    assert_eq!(world.state(socket), Some(CLOSED), "it has ended");
    destroyed(&world, &[socket]);
    assert_eq!(world.tracked.get(&0), Some(0));
}

#[test]
fn whoever_listens_on_the_port_is_the_server() {
    let world = World::new();
    let _listens = world.is_found(SERVER, LISTEN);
    assert!(world.edges.all().is_empty());
    let socket = world.is_found(SERVER, ESTABLISHED);
    assert_eq!(world.edge().0.role, SERVER);
    assert_eq!(world.state(socket), Some(OPEN));
}

#[test]
fn what_is_no_connection_any_more_or_not_yet_is_left_alone() {
    // `TIME_WAIT`, a request, a closed socket.
    for state in [0, SYN_SENT, 3, 6, CLOSE, 12] {
        let world = World::new();
        let socket = world.is_found(CLIENT, state);
        assert!(world.edges.all().is_empty() && world.state(socket).is_none(), "{state}");
    }
    for state in [4, 5, 8, 9, 11] {
        let world = World::new();
        let socket = world.is_found(CLIENT, state);
        assert_eq!(world.state(socket), Some(OPEN), "{state}");
    }
}

#[test]
fn a_connection_that_was_heard_is_not_found_again() {
    let world = World::new();
    let socket = world.opened();
    world.kernel.write(socket, world.socket_state(), [1]);
    adopt(&world, socket);
    let (_, edge) = world.edge();
    assert_eq!((edge.opened, world.adds_up()[0].1.adopted), (1, 0));
}

#[test]
fn a_socket_that_connects_again_is_no_older_than_the_programs() {
    let world = World::new();
    let socket = world.is_found(CLIENT, ESTABLISHED);
    world.changes(socket, ESTABLISHED, CLOSE);
    world.carries(socket, (0, 0, 0), 0, 0);
    world.changes(socket, SYN_SENT, ESTABLISHED);
    world.carries(socket, (10, 0, 20), 0, 0);
    world.changes(socket, ESTABLISHED, CLOSE);
    let (_, edge) = world.edge();
    assert_eq!(
        (edge.opened, edge.closed, edge.sent_bytes, edge.received_bytes),
        (1, 1, 10, 20)
    );
}
