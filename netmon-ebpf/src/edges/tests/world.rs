//! Where the fields of a test's structures are, and its maps.

use netmon_common::{
    connection::Address,
    edges::{Clock, Connection, Edge, Key, Listener, Live},
    share::Share,
};

use super::World;
use crate::{
    connection::Sockets,
    edges::Object,
    maps::{Array, Map, Prefixes, Storage},
    testing::{numbers, with_structures},
};

with_structures!(World: kernel);

impl Sockets for World {
    numbers! {
        socket_family = 64;
        socket_ipv4_address = 68;
        socket_ipv6_address = 72;
        socket_protocol = 92;
        socket_route = 96;
        socket_error = 104;
        socket_state = 90;
        tcp_round_trip = 196;
        tcp_segments_sent = 116;
        tcp_retransmits = 120;
        socket_shutdown = 124;
    }

    fn addresses(&self) -> &impl Map<Address, u32> {
        &self.addresses
    }
}

impl Object for World {
    numbers! {
        peer_ipv4_address = 128;
        peer_ipv6_address = 132;
        peer_port = 150;
        socket_port = 152;
        socket_flags = 160;
        tcp_bytes_sent = 168;
        tcp_bytes_resent = 176;
        tcp_bytes_received = 184;
        tcp_heard = 200;
        tcp_attempts = 204;
        route_ipv4_gateway = 140;
    }

    fn route_ipv6_flags(&self) -> u32 {
        self.route_ipv6_flags
    }

    fn jiffies(&self) -> u64 {
        self.jiffies.get()
    }

    fn nanoseconds(&self) -> u64 {
        1_000
    }

    fn second(&self) -> &impl Array<u64> {
        &self.second
    }

    fn clock(&self) -> &impl Array<Clock> {
        &self.clock
    }

    fn edges(&self) -> &impl Map<Key, Edge> {
        &self.edges
    }

    fn live(&self) -> &impl Map<Key, Live> {
        &self.live
    }

    fn connections(&self) -> &impl Storage<Connection> {
        &self.connections
    }

    fn sockets(&self) -> &impl Map<u64, u64> {
        &self.sockets
    }

    fn node(&self) -> &impl Array<u64> {
        &self.node
    }

    fn known(&self) -> &impl Prefixes {
        &self.known
    }

    fn seen(&self) -> &impl Map<u64, u64> {
        &self.seen
    }

    fn tracked(&self) -> &impl Array<u64> {
        &self.tracked
    }

    fn listeners(&self) -> &impl Map<Listener, u64> {
        &self.listeners
    }

    fn lost(&self) -> &impl Array<u64> {
        &self.lost
    }

    fn shares(&self) -> &impl Map<u64, Share> {
        &self.shares
    }
}
