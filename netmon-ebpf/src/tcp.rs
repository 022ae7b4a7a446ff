//! Counts events of TCP connections by namespace and device: retransmissions, resets, connections established and
//! failed, sockets by state, round-trip times.
//!
//! The programs run on events of the kernel's TCP, not on packets. One tracepoint, `tcp_probe`, fires for every
//! segment received; its program looks closer at only one in several. Knows no names.
//!
//! Kernel facts relied on: each is stated where it is used. An interface's counts are the same on all CPUs, and every
//! program only adds to them, atomically (`counter.rs`).

use netmon_common::{
    notes::{NO_KEY, NO_SHARE, UNKNOWN_STATE},
    refusal,
    share::Share,
    tcp::{Key, ROUND_TRIP_BOUNDS, ROUND_TRIP_SAMPLING, Tcp},
};

use crate::{
    connection::{
        CLOSE, ECONNRESET, ESTABLISHED, SYN_RECEIVED, SYN_SENT, Sockets, failure::failure, is_tcp, of_address,
        of_connection,
    },
    counter::Counter,
    kernel::{Arguments, Interface, of_device},
    maps::{Added, Array, Map},
    notes, share,
};

/// What the object of TCP has: the offsets of what is read, what the daemon sets, and maps.
pub trait Object: Sockets {
    /// `sk_buff.dev`.
    fn packet_device(&self) -> u32;
    /// `sk_buff.cb`.
    fn packet_control(&self) -> u32;
    /// `tcp_skb_cb.tcp_gso_segs`.
    fn control_segments(&self) -> u32;
    /// `tcp_skb_cb.ack_seq`.
    fn control_acknowledged(&self) -> u32;
    /// `tcp_sock.snd_una`.
    fn tcp_unacknowledged(&self) -> u32;

    /// The number of arguments of `tcp_retransmit_skb` on this kernel.
    fn retransmit_arguments(&self) -> u32;

    /// The counts.
    fn counts(&self) -> &impl Map<Key, Tcp>;
    /// Events that found no room, by the cause.
    fn lost(&self) -> &impl Array<u64>;
    /// What each namespace has of the counts.
    fn shares(&self) -> &impl Map<u64, Share>;
}

/// The initial counts of an interface. They are a static, because a structure built on the stack becomes a call
/// of `memset`.
static ZERO: Tcp = Tcp::ZERO;
/// What is added for one less: the counts wrap.
const LESS: u64 = u64::MAX;

const LISTEN: i32 = 10;

const EPERM: i32 = 1;
const ENOBUFS: i32 = 105;

/// From this number of arguments on, `tcp_retransmit_skb` also reports failed attempts, with their error.
const WITH_ERROR: u32 = 3;

/// Retransmitted segments (`tcp_retransmit_skb`). The kernel counts them after it has tried to send, and does not
/// count an attempt that failed earlier (`__tcp_retransmit_skb`). Up to 6.16, the tracepoint fires only for segments
/// that were sent.
#[inline(always)]
pub fn retransmitted(object: &impl Object, arguments: impl Arguments) {
    let (socket, packet) = (arguments.pointer(0), arguments.pointer(1));
    if object.retransmit_arguments() >= WITH_ERROR && !was_counted(arguments.signed(2)) {
        return;
    }
    // SAFETY: the second argument is a `struct sk_buff *`. TCP keeps a `struct tcp_skb_cb` in its control block.
    let segments: u16 = unsafe { object.field(packet + u64::from(object.packet_control()), object.control_segments()) };
    with(object, of_connection(object, socket), |tcp| {
        tcp.retransmitted_segments.add(segments.into());
    });
}

/// Whether the kernel had already counted the segments when it failed with this error. It had if the packet was
/// lost on the way to the device: then the code is positive, a filter rejected the packet, or there was no
/// memory.
#[inline(always)]
fn was_counted(error: i32) -> bool {
    error >= 0 || error == -EPERM || error == -ENOBUFS
}

/// A retransmitted answer to a connection request (`tcp_retransmit_synack`). There is no connection yet, and so no
/// route.
#[inline(always)]
pub fn retransmitted_syn_ack(object: &impl Object, arguments: impl Arguments) {
    with(object, of_address(object, arguments.pointer(1)), |tcp| {
        tcp.retransmitted_syn_acks.add(1);
    });
}

/// A reset was sent (`tcp_send_reset`), for one of two reasons. Either it answers a packet, whose device is then
/// counted. Or the application closed with unread data, and there is a socket and no packet.
///
/// Before 6.10, the tracepoint fires for an answer only with a full socket. It does not fire for a closed port or
/// a connection in `TIME_WAIT`.
#[inline(always)]
pub fn reset_sent(object: &impl Object, arguments: impl Arguments) {
    let (socket, packet) = (arguments.pointer(0), arguments.pointer(1));
    if packet != 0 {
        if socket != 0 && was_reset(object, socket) {
            with(object, of_connection(object, socket), |tcp| {
                tcp.resets_taken_back.add(1);
            });
        }
        // SAFETY: the second argument is a `struct sk_buff *` or 0.
        let device = unsafe { object.field(packet, object.packet_device()) };
        if let Some(interface) = of_device(object, device) {
            with(object, interface, |tcp| tcp.resets_sent.add(1));
            return;
        }
    }
    if socket != 0 {
        with(object, of_connection(object, socket), |tcp| tcp.resets_sent.add(1));
    }
}

/// Whether this socket, which answers a packet with a reset, was itself reset just now. Then no reset was
/// received.
///
/// Data for an application that has closed ends the connection like a received reset, including tracepoint and
/// error. After that the kernel answers with a reset (`tcp_rcv_state_process`). In no other case does a socket
/// that was reset send an answer, because it gets no packets.
#[inline(always)]
fn was_reset(object: &impl Object, socket: u64) -> bool {
    // SAFETY: `socket` is a `struct sock *`, or points to a structure that begins like one. Those others are
    // never in this state.
    unsafe {
        i32::from(object.field::<u8>(socket, object.socket_state())) == CLOSE
            && object.field::<i32>(socket, object.socket_error()) == ECONNRESET
    }
}

/// A reset was received (`tcp_receive_reset`).
#[inline(always)]
pub fn reset_received(object: &impl Object, arguments: impl Arguments) {
    with(object, of_connection(object, arguments.pointer(0)), |tcp| {
        tcp.resets_received.add(1);
    });
}

/// A socket's state changes (`inet_sock_set_state`). Counts established and failed connections, and sockets by state.
#[inline(always)]
pub fn state_changed(object: &impl Object, arguments: impl Arguments) {
    let socket = arguments.pointer(0);
    let (old, new) = (arguments.signed(1), arguments.signed(2));
    if !is_tcp(object, socket) {
        return;
    }
    let interface = of_connection(object, socket);
    let mut unknown = 0;
    with(object, interface, |tcp| {
        unknown = count_state(tcp, old, new, || failure(object, socket));
    });
    if unknown != 0 {
        notes::once(object, object.shares(), UNKNOWN_STATE, interface.netns, unknown);
    }
}

/// Counts a change of state. Returns a state that no socket has; 0 if there is none. A state is compared only once: the
/// verifier of Linux 6.1 follows a way that two comparisons of one value exclude, and refuses the program there.
#[inline(always)]
fn count_state(tcp: &Tcp<Counter>, old: i32, new: i32, failure: impl FnOnce() -> usize) -> u32 {
    let mut unknown = 0;
    // An incoming connection starts as a copy of the listening socket, which goes on listening
    // (inet_csk_clone_lock). A closed socket is not counted as a connection.
    if old != CLOSE && !(old == LISTEN && new == SYN_RECEIVED) {
        match tcp.states.get(old.cast_unsigned() as usize) {
            Some(count) => count.add(LESS),
            None => unknown = old.cast_unsigned(),
        }
    }
    if new != CLOSE {
        match tcp.states.get(new.cast_unsigned() as usize) {
            Some(count) => count.add(1),
            None => unknown = new.cast_unsigned(),
        }
    }
    match (old, new) {
        (SYN_SENT, ESTABLISHED) => tcp.connects.add(1),
        (SYN_RECEIVED, ESTABLISHED) => tcp.accepts.add(1),
        (SYN_SENT, CLOSE) => tcp.failures[failure()].add(1),
        _ => {}
    }
    unknown
}

/// A segment was received on a connection (`tcp_probe`). If it acknowledges something new, the connection sends data,
/// and its round-trip time is fresh. A connection that only receives keeps the time of its handshake for ever. The
/// tracepoint fires before the acknowledgement is processed (`tcp_rcv_established`).
#[inline(always)]
pub fn segment_received(object: &impl Object, arguments: impl Arguments) {
    let (socket, packet) = (arguments.pointer(0), arguments.pointer(1));
    // SAFETY: the second argument is a `struct sk_buff *`. TCP keeps a `struct tcp_skb_cb` in its control block.
    let acknowledged: u32 = unsafe {
        object.field(
            packet + u64::from(object.packet_control()),
            object.control_acknowledged(),
        )
    };
    if !is_sampled(acknowledged) {
        return;
    }
    let tcp = object.tcp_socket(socket);
    if tcp == 0 {
        return;
    }
    // SAFETY: `tcp` is a `struct tcp_sock *`.
    let (unacknowledged, smoothed) = unsafe {
        (
            object.field::<u32>(tcp, object.tcp_unacknowledged()),
            object.field::<u32>(tcp, object.tcp_round_trip()),
        )
    };
    let microseconds = round_trip(smoothed);
    if !is_new(acknowledged, unacknowledged) || microseconds == 0 {
        return;
    }
    with(object, of_connection(object, socket), |tcp| {
        tcp.round_trips[bucket(microseconds)].add(1);
        tcp.round_trip_microseconds.add(microseconds.into());
    });
}

/// Samples one acknowledgement in several without a counter: the top bits of a product are as good as random.
#[inline(always)]
fn is_sampled(acknowledged: u32) -> bool {
    acknowledged.wrapping_mul(0x9e37_79b1) >> (u32::BITS - ROUND_TRIP_SAMPLING.ilog2()) == 0
}

/// Whether a sequence number acknowledges something that was not acknowledged before. These numbers wrap.
#[inline(always)]
fn is_new(acknowledged: u32, unacknowledged: u32) -> bool {
    unacknowledged.wrapping_sub(acknowledged).cast_signed() < 0
}

/// A round-trip time in microseconds. The kernel stores eight times as much.
#[inline(always)]
fn round_trip(smoothed: u32) -> u32 {
    smoothed >> 3
}

/// The bucket of a round-trip time. A bound belongs to the bucket below it.
#[inline(always)]
fn bucket(microseconds: u32) -> usize {
    let mut bucket = 0;
    for bound in ROUND_TRIP_BOUNDS {
        bucket += usize::from(microseconds > bound);
    }
    bucket
}

/// Calls `change` with the interface's counts. If a namespace has used up its share of the map, its
/// new keys do not distinguish devices.
#[inline(always)]
fn with(object: &impl Object, interface: Interface, change: impl FnOnce(&Tcp<Counter>)) {
    let Interface { netns, ifindex } = interface;
    let mut key = Key {
        netns,
        ifindex,
        zero: 0,
    };
    let all = object.counts();
    let mut counts = all.find(&key);
    let mut cause = refusal::SHARE;
    if counts.is_none()
        && let Some(room) = share::look(object.shares(), netns)
    {
        if !room.has_device {
            key.ifindex = 0;
            notes::once(object, object.shares(), NO_SHARE, netns, 0);
        }
        // Another of these programs may have run in between. Its counts must not be overwritten.
        let added = all.add(&key, &ZERO);
        if added == Added::Created {
            room.take();
        }
        cause = added.cause();
        counts = all.find(&key);
    }
    if counts.is_none() {
        notes::once(object, object.shares(), NO_KEY, netns, cause);
    }
    match counts {
        // SAFETY: the value exists while the program runs, and only these programs write it.
        Some(counts) => change(unsafe { shared(counts) }),
        None => {
            if let Some(lost) = object.lost().at(cause) {
                // SAFETY: as above.
                unsafe { Counter::at(lost) }.add(1);
            }
        }
    }
}

/// The counts at this place, as the programs see them.
///
/// # Safety
/// As for [`Counter::at`], for all of them.
#[inline(always)]
const unsafe fn shared<'a>(counts: *mut Tcp) -> &'a Tcp<Counter> {
    const { assert!(size_of::<Tcp>() == size_of::<Tcp<Counter>>() && align_of::<Tcp>() == align_of::<Tcp<Counter>>()) };
    // SAFETY: a counter has the layout of a number. The rest is as promised by the caller.
    unsafe { &*counts.cast() }
}

#[cfg(test)]
mod tests;
