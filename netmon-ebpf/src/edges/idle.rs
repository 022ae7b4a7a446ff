//! Connections that broke after an idle time: mostly something on the way had forgotten them, such as a load balancer's
//! table. The next segment is then answered by a reset, or not at all.
//!
//! The kernel notes when it last took in an acknowledgement (`rcv_tstamp`, in jiffies). A segment that is sent in between
//! does not change it, and neither does a reset that is received.

use netmon_common::edges::{Clock, Connection, IDLE_BOUNDS};

use super::Object;
use crate::{
    connection::ESTABLISHED,
    kernel::Arguments,
    maps::{Array as _, Storage as _},
};

/// The other end has sent its last byte (`include/net/tcp_states.h`).
const CLOSE_WAIT: i32 = 8;

/// A segment is sent again (`tcp_retransmit_skb`). The first time after an idle time, the storage keeps that in mind: whether
/// the other end is heard again is known at the connection's end.
///
/// The kernel counts its attempts before this. The first may be a probe for a lost tail, which is none of them.
#[inline(always)]
pub fn retransmitted(object: &impl Object, arguments: impl Arguments) {
    let socket = arguments.pointer(0);
    let second = second(object);
    let tcp = object.tcp_socket(socket);
    if tcp == 0 || second == 0 {
        return;
    }
    // SAFETY: `tcp` is a `struct tcp_sock *`, which begins with the socket.
    let (state, attempts, heard) = unsafe {
        (
            i32::from(object.field::<u8>(tcp, object.socket_state())),
            object.field::<u8>(tcp, object.tcp_attempts()),
            object.field::<u32>(tcp, object.tcp_heard()),
        )
    };
    if attempts > 1 || !may_idle(state) {
        return;
    }
    let idle = since(object, heard);
    if bucket(idle, second).is_none() {
        return;
    }
    let Some(connection) = object.connections().of(socket) else {
        return;
    };
    // SAFETY: the value exists while the program runs. A connection sends under its lock.
    unsafe {
        if (*connection).idle == 0 || (*connection).heard != heard {
            (*connection).heard = heard;
            (*connection).idle = idle;
        }
    }
}

/// After which idle time a connection broke that ends now; `None` if it did not. It had this state, and a reset ends it or
/// not.
#[inline(always)]
pub(super) fn broke(
    object: &impl Object,
    socket: u64,
    connection: &Connection,
    old: i32,
    was_reset: bool,
) -> Option<usize> {
    let second = second(object);
    let tcp = object.tcp_socket(socket);
    if tcp == 0 || second == 0 {
        return None;
    }
    // SAFETY: `tcp` is a `struct tcp_sock *`.
    let heard: u32 = unsafe { object.field(tcp, object.tcp_heard()) };
    if was_reset && may_idle(old) {
        // The segment that is answered by the reset may have been sent again before.
        return bucket(since(object, heard), second);
    }
    if connection.idle == 0 || connection.heard != heard {
        return None;
    }
    bucket(connection.idle, second)
}

/// Notes what time it is, for the daemon.
#[inline(always)]
pub fn note_clock(object: &impl Object) {
    if let Some(clock) = object.clock().at(0) {
        let now = Clock {
            jiffies: object.jiffies(),
            nanoseconds: object.nanoseconds(),
        };
        // SAFETY: the value exists while the program runs, and only this program writes it, one pass after the other.
        unsafe { *clock = now };
    }
}

/// Whether a connection in this state can wait for something to do.
#[inline(always)]
const fn may_idle(state: i32) -> bool {
    state == ESTABLISHED || state == CLOSE_WAIT
}

/// How long ago that was, in jiffies. These wrap.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the kernel keeps the lower half, too")]
fn since(object: &impl Object, heard: u32) -> u32 {
    (object.jiffies() as u32).wrapping_sub(heard)
}

/// The jiffies of an idle second; 0 while they are not known.
#[inline(always)]
fn second(object: &impl Object) -> u64 {
    // SAFETY: the value exists while the program runs. Only the daemon writes it, and at once.
    object.second().at(0).map_or(0, |second| unsafe { *second })
}

/// The bucket of an idle time; `None` if it is too short.
#[inline(always)]
fn bucket(jiffies: u32, second: u64) -> Option<usize> {
    let mut bucket = None;
    for (at, bound) in IDLE_BOUNDS.into_iter().enumerate() {
        if u64::from(jiffies) >= bound * second {
            bucket = Some(at);
        }
    }
    bucket
}
