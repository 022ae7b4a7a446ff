//! Counts TCP connections by their two ends: who talks to whom.
//!
//! The programs run when a connection begins, when it ends, and when its socket goes. Nothing runs for a packet or a
//! segment. What a connection sent and received is in the kernel's own counters on its socket. They are read at its end,
//! and for all open connections at once by an iterator over the sockets that have storage.
//!
//! Knows no names. Kernel facts relied on: each is stated where it is used. An edge's counts are the same on all CPUs, and
//! every program only adds to them, atomically (`counter.rs`).

mod adopt;
mod idle;
mod key;
mod storage;
mod totals;

use core::ptr::{self, write_volatile};

use netmon_common::{
    edges::{CLIENT, CLOSED, Clock, Connection, Edge, FAR_OVER, Key, Listener, Live, NONE, OPEN, SERVER},
    notes::{NO_KEY, NO_SHARE},
    refusal,
    share::Share,
};

pub use self::{
    adopt::adopt,
    idle::{note_clock, retransmitted},
    storage::destroyed,
};
use self::{
    key::key,
    storage::{see, track},
    totals::totals,
};
use crate::{
    connection::{CLOSE, ECONNRESET, ESTABLISHED, SYN_RECEIVED, SYN_SENT, Sockets, failure::failure, is_tcp},
    counter::Counter,
    kernel::Arguments,
    maps::{Added, Array, Map, Prefixes, Storage},
    notes, share,
};

/// What the object of edges has: the offsets of what is read, and maps.
pub trait Object: Sockets {
    /// `sock.skc_daddr`.
    fn peer_ipv4_address(&self) -> u32;
    /// `sock.skc_v6_daddr`.
    fn peer_ipv6_address(&self) -> u32;
    /// `sock.skc_dport`.
    fn peer_port(&self) -> u32;
    /// `sock.skc_num`.
    fn socket_port(&self) -> u32;
    /// `sock.skc_flags`.
    fn socket_flags(&self) -> u32;
    /// `tcp_sock.bytes_sent`.
    fn tcp_bytes_sent(&self) -> u32;
    /// `tcp_sock.bytes_retrans`.
    fn tcp_bytes_resent(&self) -> u32;
    /// `tcp_sock.bytes_received`.
    fn tcp_bytes_received(&self) -> u32;
    /// `tcp_sock.rcv_tstamp`.
    fn tcp_heard(&self) -> u32;
    /// `inet_connection_sock.icsk_retransmits`.
    fn tcp_attempts(&self) -> u32;
    /// `rtable.rt_uses_gateway`.
    fn route_ipv4_gateway(&self) -> u32;
    /// `rt6_info.rt6i_flags`. [`crate::kernel::UNSET`] if the kernel has no such field.
    fn route_ipv6_flags(&self) -> u32;

    /// The time in jiffies.
    fn jiffies(&self) -> u64;
    /// The time since boot in nanoseconds.
    fn nanoseconds(&self) -> u64;

    /// The jiffies of an idle second, which the daemon writes.
    fn second(&self) -> &impl Array<u64>;
    /// What time it is, which the daemon reads.
    fn clock(&self) -> &impl Array<Clock>;
    /// What has happened.
    fn edges(&self) -> &impl Map<Key, Edge>;
    /// What is open.
    fn live(&self) -> &impl Map<Key, Live>;
    /// The storage of sockets.
    fn connections(&self) -> &impl Storage<Connection>;
    /// How many sockets of each namespace have storage.
    fn sockets(&self) -> &impl Map<u64, u64>;
    /// The node's namespace, which the daemon writes.
    fn node(&self) -> &impl Array<u64>;
    /// Prefixes of addresses that are kept although they are beyond a gateway, which the daemon writes.
    fn known(&self) -> &impl Prefixes;
    /// How many the iterator finds.
    fn seen(&self) -> &impl Map<u64, u64>;
    /// How many have it in all of them.
    fn tracked(&self) -> &impl Array<u64>;
    /// Ports that somebody listens on.
    fn listeners(&self) -> &impl Map<Listener, u64>;
    /// What found no room, by the cause.
    fn lost(&self) -> &impl Array<u64>;
    /// What each namespace has of the edges.
    fn shares(&self) -> &impl Map<u64, Share>;
}

/// Initial values. They are statics, because a structure built on the stack becomes a call of `memset`.
static NO_EDGE: Edge = Edge::ZERO;
static NO_LIVE: Live = Live::ZERO;

/// In `CLOSE_WAIT`, a reset leaves this error (`tcp_reset`).
const EPIPE: i32 = 32;
/// A socket's state changes (`inet_sock_set_state`).
#[inline(always)]
pub fn state_changed(object: &impl Object, arguments: impl Arguments) {
    let socket = arguments.pointer(0);
    let (old, new) = (arguments.signed(1), arguments.signed(2));
    if !is_tcp(object, socket) {
        return;
    }
    if new == ESTABLISHED {
        // A fast open has data before it, and the same states.
        let role = match old {
            SYN_SENT => CLIENT,
            SYN_RECEIVED => SERVER,
            _ => return,
        };
        opened(object, socket, role);
    } else if new == CLOSE {
        if old == SYN_SENT {
            failed(object, socket);
        } else {
            closed(object, socket, old);
        }
    }
}

/// This end sent a reset (`tcp_send_reset`). One that answers a packet has a socket only if there is one for that packet.
#[inline(always)]
pub fn reset_sent(object: &impl Object, arguments: impl Arguments) {
    let socket = arguments.pointer(0);
    if socket == 0 {
        return;
    }
    if let Some(connection) = object.connections().of(socket) {
        was_reset(object, connection);
    }
}

/// Adds an open connection to the sums of its edge. The iterator passes every socket that has storage, of all namespaces.
#[inline(always)]
pub fn live(object: &impl Object, socket: u64, connection: &Connection) {
    see(object, connection.counted_under);
    if connection.state != OPEN {
        return;
    }
    let Some(totals) = totals(object, socket) else { return };
    let totals = totals.since(connection);
    let key = connection.key;
    let all = object.live();
    let mut found = all.find(&key);
    let mut cause = refusal::OTHER;
    if found.is_none() {
        cause = all.add(&key, &NO_LIVE).cause();
        found = all.find(&key);
    }
    let Some(found) = found else {
        return lose(object, cause);
    };
    // SAFETY: the value exists while the program runs. Only this program writes it, and the daemon has one pass made after
    // the other. So plain additions do, which are faster than those that all CPUs see.
    unsafe {
        (*found).connections += 1;
        (*found).adopted += connection.is_adopted;
        (*found).sent_bytes += totals.sent_bytes;
        (*found).received_bytes += totals.received_bytes;
        (*found).retransmitted_segments += totals.retransmitted_segments;
        if totals.round_trip != 0 {
            (*found).round_trips += 1;
            (*found).round_trip_microseconds += totals.round_trip;
        }
    }
}

/// A connection begins.
#[inline(always)]
fn opened(object: &impl Object, socket: u64, role: u8) {
    let Some(mut key) = key(object, socket, role) else {
        return;
    };
    let Some(edge) = edge(object, &mut key) else {
        return;
    };
    edge.opened.add(1);
    let Some(connection) = track(object, socket, key.netns) else {
        // Nobody will tell how it ends.
        edge.closed.add(1);
        return lose(object, refusal::SHARE);
    };
    // SAFETY: the value exists while the program runs. A socket's state changes under its lock, and the iterator passes
    // one over whose state it does not find open. The kernel counts from 0 again on a socket that connects again
    // (`tcp_disconnect`).
    unsafe {
        write(&raw mut (*connection).key, &key);
        write(&raw mut (*connection).sent_before, &0_u64);
        write(&raw mut (*connection).received_before, &0_u64);
        write(&raw mut (*connection).retransmitted_before, &0_u64);
        write(&raw mut (*connection).is_adopted, &0_u64);
        (*connection).was_reset = 0;
        (*connection).idle = 0;
        (*connection).state = OPEN;
    }
}

/// A connection to another host was not established.
#[inline(always)]
fn failed(object: &impl Object, socket: u64) {
    let Some(mut key) = key(object, socket, CLIENT) else {
        return;
    };
    let reason = failure(object, socket);
    if let Some(edge) = edge(object, &mut key)
        && let Some(count) = edge.failures.get(reason)
    {
        count.add(1);
    }
}

/// A socket closes. It is an end of an edge if it has storage, and its connection is open.
#[inline(always)]
fn closed(object: &impl Object, socket: u64, old: i32) {
    let Some(connection) = object.connections().of(socket) else {
        return;
    };
    // SAFETY: the value exists while the program runs. A socket's state changes under its lock.
    let before = unsafe { *connection };
    if before.state != OPEN {
        return;
    }
    let Some(totals) = totals(object, socket) else { return };
    let totals = totals.since(&before);
    let mut key = before.key;
    // Before its counts are added: the iterator must not add them, too.
    // SAFETY: as above.
    unsafe { (*connection).state = CLOSED };
    let Some(edge) = edge(object, &mut key) else {
        return;
    };
    if before.is_adopted == 0 {
        edge.closed.add(1);
    }
    add(&edge.sent_bytes, totals.sent_bytes);
    add(&edge.received_bytes, totals.received_bytes);
    add(&edge.retransmitted_segments, totals.retransmitted_segments);
    if totals.round_trip != 0 {
        edge.round_trips.add(1);
        edge.round_trip_microseconds.add(totals.round_trip);
    }
    // A reset that is received leaves its error before the state changes (`tcp_reset`).
    // SAFETY: `socket` is a `struct sock *` from a tracepoint.
    let error: i32 = unsafe { object.field(socket, object.socket_error()) };
    let is_reset = error == ECONNRESET || error == EPIPE;
    if let Some(bucket) = idle::broke(object, socket, &before, old, is_reset)
        && let Some(count) = edge.idle_breaks.get(bucket)
    {
        count.add(1);
    }
    if is_reset {
        was_reset(object, connection);
    }
}

/// A reset has ended a connection. It may be heard of twice: one that answers a packet follows one that was received
/// (`tcp_rcv_state_process`).
#[inline(always)]
fn was_reset(object: &impl Object, connection: *mut Connection) {
    // SAFETY: the value exists while the program runs. A connection's resets are sent and received under its lock.
    let (was_reset, state, mut key) = unsafe { ((*connection).was_reset, (*connection).state, (*connection).key) };
    if was_reset != 0 || state == NONE {
        return;
    }
    // SAFETY: as above.
    unsafe { (*connection).was_reset = 1 };
    if let Some(edge) = edge(object, &mut key) {
        edge.resets.add(1);
    }
}

/// The counts of an edge. If a namespace has used up its share of the map, its new keys say no more than the interface and
/// the role, and `key` is changed to that.
#[inline(always)]
fn edge<'a>(object: &impl Object, key: &mut Key) -> Option<&'a Edge<Counter>> {
    let all = object.edges();
    let mut found = all.find(key);
    let mut cause = refusal::SHARE;
    if found.is_none()
        && let Some(room) = share::look(object.shares(), key.netns)
    {
        if !room.has_device {
            key.far = FAR_OVER;
            key.port = 0;
            key.ifindex = 0;
            // SAFETY: the key is this function's own for now.
            unsafe { write(&raw mut key.remote, &[0_u64; 2]) };
            notes::once(object, object.shares(), NO_SHARE, key.netns, 0);
        }
        let added = all.add(key, &NO_EDGE);
        if added == Added::Created {
            room.take();
        }
        cause = added.cause();
        found = all.find(key);
    }
    let Some(found) = found else {
        notes::once(object, object.shares(), NO_KEY, key.netns, cause);
        lose(object, cause);
        return None;
    };
    const { assert!(size_of::<Edge>() == size_of::<Edge<Counter>>() && align_of::<Edge>() == align_of::<Edge<Counter>>()) };
    // SAFETY: the value exists while the program runs, and only these programs write it. A counter has the layout of a
    // number.
    Some(unsafe { &*found.cast() })
}

/// Adds to a count, unless there is nothing to add: an addition that all CPUs see takes longer than the question.
#[inline(always)]
fn add(count: &Counter, more: u64) {
    if more != 0 {
        count.add(more);
    }
}

/// Writes a value word by word. What the compiler makes of a long assignment is a call of a loop over its bytes, which takes
/// longer than all else that is done for a connection, and which the verifier walks round by round.
///
/// # Safety
/// The place can be written, and both are aligned to words.
#[inline(always)]
unsafe fn write<T, V>(place: *mut T, value: &V) {
    const { assert!(size_of::<T>() == size_of::<V>() && size_of::<V>().is_multiple_of(8)) };
    let (to, from) = (place.cast::<u64>(), ptr::from_ref(value).cast::<u64>());
    for word in 0..size_of::<V>() / 8 {
        // SAFETY: as promised by the caller. Both have so many words.
        unsafe { write_volatile(to.add(word), from.add(word).read()) };
    }
}

/// Counts something that found no room.
#[inline(always)]
fn lose(object: &impl Object, cause: u32) {
    if let Some(lost) = object.lost().at(cause) {
        // SAFETY: the value exists while the program runs, and only these programs write it.
        unsafe { Counter::at(lost) }.add(1);
    }
}

#[cfg(test)]
mod tests;
