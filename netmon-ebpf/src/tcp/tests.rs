//! Which events of TCP count, where, and as what. The sockets, packets and devices are a test's own structures.

mod decisions;
mod failures;
mod room;

use netmon_common::{
    connection::Address,
    notes::UNKNOWN_STATE,
    share::{STRANGERS, Share},
    tcp::{FAILURE_REFUSED, Key, STATES, Tcp},
};

use super::{
    Object, count_state, is_sampled, reset_received, reset_sent, retransmitted, retransmitted_syn_ack,
    segment_received, shared, state_changed,
};
use crate::{
    connection::Sockets,
    maps::{Array, Map},
    testing::{HERE, NOWHERE, Structures, THERE, Table, causes, numbers, with_structures},
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

const ESTABLISHED: usize = 1;
const SYN_SENT: usize = 2;
const SYN_RECEIVED: usize = 3;
const FIN_WAIT_1: usize = 4;
const CLOSE: usize = 7;
const LISTEN: usize = 10;

const ECONNRESET: i32 = 104;

/// How many keys a namespace may have.
const ROOM: u32 = 9;

/// The address of every IPv4 socket, and the ifindex of the device that has it.
const IPV4: [u8; 4] = [10, 0, 0, 7];
const OF_IPV4: u32 = 7;
const IPV6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8];
const OF_IPV6: u32 = 8;

struct World {
    kernel: Structures,
    retransmit_arguments: u32,
    tcp_segments_sent: u32,
    tcp_retransmits: u32,
    socket_shutdown: u32,
    counts: Table<Key, Tcp>,
    lost: Table<u32, u64>,
    addresses: Table<Address, u32>,
    shares: Table<u64, Share>,
}

impl World {
    fn new() -> Self {
        let mut mapped = [0; 16];
        (mapped[10], mapped[11]) = (0xff, 0xff);
        mapped[12..].copy_from_slice(&IPV4);
        let address = |address| Address { netns: HERE, address };
        Self {
            kernel: Structures::default(),
            retransmit_arguments: 2,
            tcp_segments_sent: 116,
            tcp_retransmits: 120,
            socket_shutdown: 124,
            counts: Table::default(),
            lost: causes(),
            addresses: Table::with([(address(mapped), OF_IPV4), (address(IPV6), OF_IPV6)]),
            shares: Table::with([HERE, STRANGERS].map(|netns| {
                (
                    netns,
                    Share {
                        keys: 0,
                        room: ROOM,
                        noted: 0,
                    },
                )
            })),
        }
    }

    /// A TCP socket without a route.
    fn socket(&self, netns: u64) -> u64 {
        let socket = self.kernel.socket(netns);
        self.kernel.write(socket, self.socket_protocol(), 6_u16.to_ne_bytes());
        self.kernel.write(socket, self.socket_family(), AF_INET.to_ne_bytes());
        self.kernel.write(socket, self.socket_ipv4_address(), IPV4);
        self.kernel.write(socket, self.socket_ipv6_address(), IPV6);
        socket
    }

    /// A TCP socket whose route leads through this device.
    fn routed(&self, netns: u64, device: u64) -> u64 {
        let socket = self.socket(netns);
        self.kernel
            .point(socket, self.socket_route(), self.kernel.route(device));
        socket
    }

    /// A packet that carries so many segments, and acknowledges this.
    fn packet(&self, segments: u16, acknowledged: u32) -> u64 {
        let packet = self.kernel.structure();
        let control = self.packet_control();
        self.kernel
            .write(packet, control + self.control_segments(), segments.to_ne_bytes());
        self.kernel.write(
            packet,
            control + self.control_acknowledged(),
            acknowledged.to_ne_bytes(),
        );
        packet
    }

    /// The counts of an interface.
    fn of(&self, netns: u64, ifindex: u32) -> Tcp {
        let zero = 0;
        self.counts.get(&Key { netns, ifindex, zero }).unwrap_or_default()
    }

    /// Which interfaces have counts.
    fn interfaces(&self) -> Vec<(u64, u32)> {
        let all = self.counts.all();
        all.into_iter().map(|(key, _)| (key.netns, key.ifindex)).collect()
    }
}

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
        tcp_round_trip = 112;
    }

    fn tcp_segments_sent(&self) -> u32 {
        self.tcp_segments_sent
    }

    fn tcp_retransmits(&self) -> u32 {
        self.tcp_retransmits
    }

    fn socket_shutdown(&self) -> u32 {
        self.socket_shutdown
    }

    fn addresses(&self) -> &impl Map<Address, u32> {
        &self.addresses
    }
}

impl Object for World {
    numbers! {
        packet_device = 112;
        packet_control = 120;
        control_segments = 4;
        control_acknowledged = 8;
        tcp_unacknowledged = 108;
    }

    fn retransmit_arguments(&self) -> u32 {
        self.retransmit_arguments
    }

    fn counts(&self) -> &impl Map<Key, Tcp> {
        &self.counts
    }

    fn lost(&self) -> &impl Array<u64> {
        &self.lost
    }

    fn shares(&self) -> &impl Map<u64, Share> {
        &self.shares
    }
}

/// A signed number, as the kernel passes it.
fn signed(number: i32) -> u64 {
    i64::from(number).cast_unsigned()
}

/// What a socket's way through these states changes, if this is why it fails.
fn after(states: &[usize], reason: usize) -> Tcp {
    let mut tcp = Tcp::ZERO;
    go(&mut tcp, states, reason);
    tcp
}

/// Counts a socket's way through these states.
fn go(tcp: &mut Tcp, states: &[usize], reason: usize) {
    // SAFETY: the counts exist, and nobody else has them.
    let tcp = unsafe { shared(tcp) };
    for pair in states.windows(2) {
        let [old, new] = [pair[0], pair[1]].map(|it| i32::try_from(it).expect("a state is small"));
        count_state(tcp, old, new, || reason);
    }
}

#[test]
fn a_connection_counts_at_its_routes_device() {
    let world = World::new();
    let socket = world.routed(HERE, world.kernel.device(HERE, 5));
    retransmitted(&world, &[socket, world.packet(3, 0)]);
    retransmitted(&world, &[socket, world.packet(1, 0)]);
    assert_eq!(world.interfaces(), [(HERE, 5)]);
    assert_eq!(world.of(HERE, 5).retransmitted_segments, 4);
    assert_eq!(world.shares.keys(HERE), Some(1));
}

#[test]
fn a_connection_without_a_route_of_its_own_counts_at_its_address() {
    let world = World::new();
    // None; a dead one, which leads to another namespace's device; one that leads nowhere.
    for socket in [
        world.socket(HERE),
        world.routed(HERE, world.kernel.device(THERE, 5)),
        world.routed(HERE, NOWHERE),
    ] {
        reset_received(&world, &[socket]);
    }
    assert_eq!(world.interfaces(), [(HERE, OF_IPV4)]);
    assert_eq!(world.of(HERE, OF_IPV4).resets_received, 3);
}

#[test]
fn an_address_is_looked_up_in_its_own_family_and_namespace() {
    let world = World::new();
    let of_family = |netns, family: u16| {
        let socket = world.socket(netns);
        world.kernel.write(socket, world.socket_family(), family.to_ne_bytes());
        reset_received(&world, &[socket]);
    };
    of_family(HERE, AF_INET6);
    assert_eq!(world.interfaces(), [(HERE, OF_IPV6)]);
    of_family(HERE, AF_UNIX);
    of_family(THERE, AF_INET);
    assert_eq!(world.interfaces(), [(HERE, 0), (HERE, OF_IPV6), (THERE, 0)]);
}

#[test]
fn a_kernel_that_reports_failed_attempts_says_which_were_counted() {
    let world = World {
        retransmit_arguments: 3,
        ..World::new()
    };
    let (socket, packet) = (world.socket(HERE), world.packet(2, 0));
    for error in [-113, 0, -105] {
        retransmitted(&world, &[socket, packet, signed(error)]);
    }
    assert_eq!(world.of(HERE, OF_IPV4).retransmitted_segments, 4);
}

#[test]
fn a_retransmitted_answer_to_a_request_counts_at_its_address() {
    let world = World::new();
    // The listening socket is somewhere else.
    retransmitted_syn_ack(&world, &[world.socket(THERE), world.socket(HERE)]);
    assert_eq!(world.interfaces(), [(HERE, OF_IPV4)]);
    assert_eq!(world.of(HERE, OF_IPV4).retransmitted_syn_acks, 1);
}

#[test]
fn a_reset_that_answers_a_packet_counts_at_the_packets_device() {
    let world = World::new();
    let packet = world.packet(0, 0);
    world
        .kernel
        .point(packet, world.packet_device(), world.kernel.device(THERE, 9));
    // To a closed port, there is no socket.
    reset_sent(&world, &[0, packet]);
    reset_sent(&world, &[world.socket(HERE), packet]);
    assert_eq!(world.interfaces(), [(THERE, 9)]);
    assert_eq!(world.of(THERE, 9).resets_sent, 2);
}

#[test]
fn a_reset_without_a_packet_or_its_device_counts_at_the_connection() {
    let world = World::new();
    let socket = world.socket(HERE);
    reset_sent(&world, &[socket, 0]);
    reset_sent(&world, &[socket, world.packet(0, 0)]);
    reset_sent(&world, &[0, world.packet(0, 0)]);
    assert_eq!(world.interfaces(), [(HERE, OF_IPV4)]);
    assert_eq!(world.of(HERE, OF_IPV4).resets_sent, 2);
}

#[test]
fn a_socket_that_answers_with_a_reset_was_not_reset_by_the_other_end() {
    let world = World::new();
    let socket = world.socket(HERE);
    let packet = world.packet(0, 0);
    let answers = |state: usize, error: i32| {
        let state = u8::try_from(state).expect("a state is small");
        world.kernel.write(socket, world.socket_state(), [state]);
        world.kernel.write(socket, world.socket_error(), error.to_ne_bytes());
        reset_sent(&world, &[socket, packet]);
        world.of(HERE, OF_IPV4).resets_taken_back
    };
    assert_eq!(answers(LISTEN, ECONNRESET), 0);
    assert_eq!(answers(CLOSE, 0), 0);
    assert_eq!(answers(CLOSE, ECONNRESET), 1);
    assert_eq!(world.of(HERE, OF_IPV4).resets_sent, 3);
}

#[test]
fn states_of_tcp_count_and_those_of_other_protocols_do_not() {
    let world = World::new();
    let socket = world.socket(HERE);
    let refused = 111_i32;
    world.kernel.write(socket, world.socket_error(), refused.to_ne_bytes());
    state_changed(&world, &[socket, CLOSE as u64, SYN_SENT as u64]);
    state_changed(&world, &[socket, SYN_SENT as u64, CLOSE as u64]);
    assert_eq!(
        world.of(HERE, OF_IPV4),
        after(&[CLOSE, SYN_SENT, CLOSE], FAILURE_REFUSED)
    );
    let sctp = 132_u16;
    world.kernel.write(socket, world.socket_protocol(), sctp.to_ne_bytes());
    state_changed(&world, &[socket, CLOSE as u64, LISTEN as u64]);
    assert_eq!(world.of(HERE, OF_IPV4).states[LISTEN], 0);
}

#[test]
fn a_state_that_no_kernel_has_is_noted_once() {
    let world = World::new();
    let socket = world.socket(HERE);
    for _ in 0..3 {
        state_changed(&world, &[socket, CLOSE as u64, STATES as u64]);
    }
    assert_eq!(world.kernel.notes.take(), [(UNKNOWN_STATE, HERE, 12)]);
}

/// The bucket that counts, and the microseconds, if this is acknowledged on a connection that has stored a time.
fn counted(acknowledged: u32, unacknowledged: u32, smoothed: u32) -> Option<(usize, u64)> {
    let world = World::new();
    let socket = world.socket(HERE);
    let write = |offset, field: u32| world.kernel.write(socket, offset, field.to_ne_bytes());
    write(world.tcp_unacknowledged(), unacknowledged);
    write(world.tcp_round_trip(), smoothed);
    segment_received(&world, &[socket, world.packet(1, acknowledged)]);
    let tcp = world.of(HERE, OF_IPV4);
    let bucket = tcp.round_trips.iter().position(|count| *count > 0)?;
    Some((bucket, tcp.round_trip_microseconds))
}

#[test]
fn a_round_trip_counts_if_it_is_sampled_and_fresh() {
    let sampled = (1..1000).find(|it| is_sampled(*it)).expect("one in several is");
    let other = (1..1000).find(|it| !is_sampled(*it)).expect("most are not");
    assert_eq!(counted(sampled, sampled - 1, 2_400), Some((2, 300)));
    assert_eq!(counted(other, other - 1, 2_400), None, "not sampled");
    assert_eq!(counted(sampled, sampled, 2_400), None, "nothing new");
    assert_eq!(counted(sampled, sampled - 1, 7), None, "no time");
}
