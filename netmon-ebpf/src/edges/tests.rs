//! Which connections count, as whose, and what of them. The sockets and routes are a test's own structures.

mod adopted;
mod ends;
mod idle;
mod room;
mod world;

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr},
};

use netmon_common::{
    connection::Address,
    edges::{CLIENT, CLOSED, Clock, Connection, Edge, Key, Listener, Live, SERVER},
    share::{STRANGERS, Share},
    tcp::{FAILURE_REFUSED, FAILURE_UNANSWERED},
};

use super::{Object, live, reset_sent, state_changed};
use crate::{
    connection::Sockets,
    testing::{HERE, Structures, Table, causes},
};

const ESTABLISHED: u64 = 1;
const SYN_SENT: u64 = 2;
const SYN_RECEIVED: u64 = 3;
const FIN_WAIT_2: u64 = 5;
const CLOSE: u64 = 7;
const LISTEN: u64 = 10;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

const ECONNRESET: i32 = 104;
const ECONNREFUSED: i32 = 111;
/// `SOCK_DONE` among the flags of a socket.
const DONE: u64 = 1 << 1;

/// The ports of the server and of the client.
const PORT: u16 = 5432;
const EPHEMERAL: u16 = 40_000;
/// The jiffies of a second.
const SECOND: u64 = 250;
/// The device that routes lead through.
const DEVICE: u32 = 7;

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 5));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 9));

struct World {
    kernel: Structures,
    route_ipv6_flags: u32,
    edges: Table<Key, Edge>,
    live: Table<Key, Live>,
    connections: Table<u64, Connection>,
    sockets: Table<u64, u64>,
    node: Table<u32, u64>,
    known: Table<[u8; 16], u8>,
    seen: Table<u64, u64>,
    tracked: Table<u32, u64>,
    listeners: Table<Listener, u64>,
    second: Table<u32, u64>,
    clock: Table<u32, Clock>,
    jiffies: Cell<u64>,
    lost: Table<u32, u64>,
    addresses: Table<Address, u32>,
    shares: Table<u64, Share>,
}

impl World {
    fn new() -> Self {
        let share = |netns| {
            let (keys, room, noted) = (0, 9, 0);
            (netns, Share { keys, room, noted })
        };
        Self {
            kernel: Structures::default(),
            route_ipv6_flags: 148,
            edges: Table::default(),
            live: Table::default(),
            connections: Table::default(),
            sockets: Table::with([(HERE, 0), (STRANGERS, 0)]),
            node: Table::with([(0, 0)]),
            known: Table::default(),
            seen: Table::default(),
            tracked: Table::with([(0, 0)]),
            listeners: Table::default(),
            second: Table::with([(0, SECOND)]),
            clock: Table::with([(0, Clock::default())]),
            jiffies: Cell::new(0),
            lost: causes(),
            addresses: Table::default(),
            shares: Table::with([HERE, STRANGERS].map(share)),
        }
    }

    /// A socket whose ends have these addresses. It has the server's port itself if it is the server.
    fn between(&self, netns: u64, (own, peer): (IpAddr, IpAddr), role: u8) -> u64 {
        let socket = self.kernel.socket(netns);
        let write = |offset, bytes: &[u8]| self.kernel.write(socket, offset, bytes);
        write(self.socket_protocol(), &6_u16.to_ne_bytes());
        match (own, peer) {
            (IpAddr::V4(own), IpAddr::V4(peer)) => {
                write(self.socket_family(), &AF_INET.to_ne_bytes());
                write(self.socket_ipv4_address(), &own.octets());
                write(self.peer_ipv4_address(), &peer.octets());
            }
            (own, peer) => {
                let octets = |address| match address {
                    IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address).octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                write(self.socket_family(), &AF_INET6.to_ne_bytes());
                write(self.socket_ipv6_address(), &octets(own));
                write(self.peer_ipv6_address(), &octets(peer));
            }
        }
        let (own, peer) = if role == SERVER {
            (PORT, EPHEMERAL)
        } else {
            (EPHEMERAL, PORT)
        };
        write(self.socket_port(), &own.to_ne_bytes());
        write(self.peer_port(), &peer.to_be_bytes());
        let route = self.kernel.route(self.kernel.device(netns, DEVICE));
        self.kernel.point(socket, self.socket_route(), route);
        socket
    }

    /// A client's socket.
    fn client(&self) -> u64 {
        self.between(HERE, (OWN, PEER), CLIENT)
    }

    /// Has the socket's route lead to a gateway, as IPv4 and as IPv6 say so.
    fn behind_a_gateway(&self, socket: u64, ipv4: u8, ipv6: u32) {
        let route = self.kernel.route(self.kernel.device(HERE, DEVICE));
        self.kernel.write(route, self.route_ipv4_gateway(), [ipv4]);
        self.kernel.write(route, 148, ipv6.to_ne_bytes());
        self.kernel.point(socket, self.socket_route(), route);
    }

    /// Has the socket have sent and received so much.
    fn carries(&self, socket: u64, (sent, resent, received): (u64, u64, u64), segments: u32, smoothed: u32) {
        let write = |offset, bytes: &[u8]| self.kernel.write(socket, offset, bytes);
        write(self.tcp_bytes_sent(), &sent.to_ne_bytes());
        write(self.tcp_bytes_resent(), &resent.to_ne_bytes());
        write(self.tcp_bytes_received(), &received.to_ne_bytes());
        write(self.tcp_retransmits(), &segments.to_ne_bytes());
        write(self.tcp_round_trip(), &smoothed.to_ne_bytes());
    }

    fn changes(&self, socket: u64, old: u64, new: u64) {
        state_changed(self, &[socket, old, new]);
    }

    /// A client's connection that is open.
    fn opened(&self) -> u64 {
        let socket = self.client();
        self.changes(socket, SYN_SENT, ESTABLISHED);
        socket
    }

    /// The only edge.
    fn edge(&self) -> (Key, Edge) {
        let edges = self.edges.all();
        assert_eq!(edges.len(), 1, "{edges:?}");
        edges[0]
    }

    fn state(&self, socket: u64) -> Option<u32> {
        self.connections.get(&socket).map(|connection| connection.state)
    }

    /// Adds up what is open, as the iterator does.
    fn adds_up(&self) -> Vec<(Key, Live)> {
        for (socket, connection) in self.connections.all() {
            live(self, socket, &connection);
        }
        self.live.all()
    }
}

fn in_ipv6_form(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[test]
fn what_a_connection_did_is_in_one_of_the_two_sums() {
    let world = World::new();
    let socket = world.opened();
    world.carries(socket, (1000, 100, 501), 2, 8 * 300);
    let (key, edge) = world.edge();
    assert_eq!(
        edge,
        Edge {
            opened: 1,
            ..Edge::ZERO
        }
    );
    let open = Live {
        connections: 1,
        adopted: 0,
        sent_bytes: 900,
        received_bytes: 501,
        retransmitted_segments: 2,
        round_trips: 1,
        round_trip_microseconds: 300,
    };
    assert_eq!(world.adds_up(), [(key, open)]);
    // A FIN was received, which the kernel counts as a byte.
    world.carries(socket, (1200, 200, 502), 3, 8 * 400);
    world.kernel.write(socket, world.socket_flags(), DONE.to_ne_bytes());
    world.changes(socket, FIN_WAIT_2, CLOSE);
    let ended = Edge {
        opened: 1,
        closed: 1,
        sent_bytes: 1000,
        received_bytes: 501,
        retransmitted_segments: 3,
        round_trips: 1,
        round_trip_microseconds: 400,
        ..Edge::ZERO
    };
    assert_eq!(world.edge(), (key, ended));
    assert_eq!(world.state(socket), Some(CLOSED));
    assert_eq!(world.adds_up(), [(key, open)], "nothing is added");
    world.changes(socket, FIN_WAIT_2, CLOSE);
    assert_eq!(world.edge(), (key, ended), "it ends once");
}

#[test]
fn who_sent_nothing_has_measured_no_round_trip() {
    let world = World::new();
    let socket = world.opened();
    world.carries(socket, (0, 0, 70_000), 0, 8 * 300);
    let (key, open) = world.adds_up()[0];
    assert_eq!(
        (key, open.round_trips, open.received_bytes),
        (world.edge().0, 0, 70_000)
    );
    world.changes(socket, FIN_WAIT_2, CLOSE);
    assert_eq!((world.edge().1.round_trips, world.edge().1.received_bytes), (0, 70_000));
}

#[test]
fn a_connection_that_fails_has_a_reason_and_no_storage() {
    let world = World::new();
    for (error, again, reason) in [(ECONNREFUSED, 0_u32, FAILURE_REFUSED), (0, 1, FAILURE_UNANSWERED)] {
        let before = world.edges.all().first().map_or(Edge::ZERO, |(_, edge)| *edge);
        let socket = world.client();
        world.kernel.write(socket, world.socket_error(), error.to_ne_bytes());
        world
            .kernel
            .write(socket, world.tcp_segments_sent(), 2_u32.to_ne_bytes());
        world.kernel.write(socket, world.tcp_retransmits(), again.to_ne_bytes());
        world.changes(socket, SYN_SENT, CLOSE);
        let (key, edge) = world.edge();
        assert_eq!(key.role, CLIENT);
        assert_eq!(edge.failures[reason], before.failures[reason] + 1);
        assert_eq!(edge.opened, 0);
        assert_eq!(world.state(socket), None);
    }
}

#[test]
fn a_reset_ends_a_connection_once_whoever_sent_it() {
    let world = World::new();
    let received = world.opened();
    world
        .kernel
        .write(received, world.socket_error(), ECONNRESET.to_ne_bytes());
    world.changes(received, ESTABLISHED, CLOSE);
    assert_eq!(world.edge().1.resets, 1);
    // It answers what made it end so.
    reset_sent(&world, &[received, 1]);
    assert_eq!(world.edge().1.resets, 1, "it was counted");
    let sent = world.opened();
    world.changes(sent, ESTABLISHED, CLOSE);
    reset_sent(&world, &[sent, 0]);
    assert_eq!(world.edge().1.resets, 2);
    for stranger in [0, world.client()] {
        reset_sent(&world, &[stranger, 0]);
    }
    assert_eq!(world.edge().1.resets, 2, "they are no connections");
}

#[test]
fn a_socket_that_connects_again_is_another_connection() {
    let world = World::new();
    let socket = world.opened();
    world
        .kernel
        .write(socket, world.socket_error(), ECONNRESET.to_ne_bytes());
    world.changes(socket, ESTABLISHED, CLOSE);
    world.kernel.write(socket, world.socket_error(), 0_i32.to_ne_bytes());
    let other = Ipv4Addr::new(10, 0, 1, 77);
    world.kernel.write(socket, world.peer_ipv4_address(), other.octets());
    world.changes(socket, SYN_SENT, ESTABLISHED);
    assert_eq!(world.sockets.get(&HERE), Some(1), "its storage is the same");
    world.changes(socket, ESTABLISHED, CLOSE);
    let edges = world.edges.all();
    let of = |address: IpAddr| edges.iter().find(|(key, _)| key.remote == in_ipv6_form(address));
    let counts =
        [PEER, other.into()].map(|address| of(address).map(|(_, edge)| (edge.opened, edge.closed, edge.resets)));
    assert_eq!(counts, [Some((1, 1, 1)), Some((1, 1, 0))]);
}

#[test]
fn a_listener_and_a_request_are_no_connections() {
    let world = World::new();
    let socket = world.between(HERE, (OWN, PEER), SERVER);
    for (old, new) in [
        (CLOSE, LISTEN),
        (LISTEN, SYN_RECEIVED),
        (SYN_RECEIVED, CLOSE),
        (LISTEN, CLOSE),
    ] {
        world.changes(socket, old, new);
    }
    assert!(world.edges.all().is_empty() && world.state(socket).is_none());
}
