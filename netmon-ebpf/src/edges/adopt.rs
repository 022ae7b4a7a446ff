//! Connections from before the programs: found among the sockets of a namespace.

use netmon_common::{
    edges::{CLIENT, Listener, NONE, OPEN, SERVER},
    refusal,
};

use super::{Object, edge, key::key, lose, totals, track};
use crate::{
    connection::ESTABLISHED,
    kernel::of_socket,
    maps::{Map as _, Storage as _},
};

/// States of a socket whose connection was established, and has not ended (`include/net/tcp_states.h`).
const FIN_WAIT_1: u8 = 4;
const FIN_WAIT_2: u8 = 5;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;
const LISTEN: u8 = 10;

/// Takes up a connection whose beginning no program heard. The iterator passes the sockets of a namespace that listen
/// before all others, and holds each one's lock (`bpf_iter_tcp_seq_show`). Whoever listens on a connection's port is its
/// server.
#[inline(always)]
pub fn adopt(object: &impl Object, socket: u64) {
    // SAFETY: the caller passes what an iterator has: a `struct sock_common *`, which every socket begins with.
    let (netns, state, port) = unsafe {
        (
            of_socket(object, socket),
            object.field::<u8>(socket, object.socket_state()),
            u64::from(object.field::<u16>(socket, object.socket_port())),
        )
    };
    let listener = Listener { netns, port };
    if state == LISTEN {
        // A variable, because a reference to a constant would become one more section of read-only data, and so a map.
        let nothing = 0;
        // If there is no room, some servers are taken for clients.
        let _added = object.listeners().add(&listener, &nothing);
        return;
    }
    let is_open = i32::from(state) == ESTABLISHED
        || state == FIN_WAIT_1
        || state == FIN_WAIT_2
        || state == CLOSE_WAIT
        || state == LAST_ACK
        || state == CLOSING;
    let socket = if is_open { object.tcp_socket(socket) } else { 0 };
    if socket == 0 {
        return;
    }
    if let Some(connection) = object.connections().of(socket) {
        // SAFETY: the value exists while the program runs.
        if unsafe { (*connection).state } != NONE {
            return;
        }
    }
    let role = if object.listeners().find(&listener).is_some() {
        SERVER
    } else {
        CLIENT
    };
    let Some(mut key) = key(object, socket, role) else {
        return;
    };
    let Some(totals) = totals(object, socket) else { return };
    if edge(object, &mut key).is_none() {
        return;
    }
    let Some(connection) = track(object, socket, key.netns) else {
        return lose(object, refusal::SHARE);
    };
    // SAFETY: the value exists while the program runs. The iterator holds the socket's lock, under which its state changes.
    unsafe {
        (*connection).key = key;
        (*connection).sent_before = totals.sent_bytes;
        (*connection).received_before = totals.received_bytes;
        (*connection).retransmitted_before = totals.retransmitted_segments;
        (*connection).is_adopted = 1;
        (*connection).state = OPEN;
    }
}
