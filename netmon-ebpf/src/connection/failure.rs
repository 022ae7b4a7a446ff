//! Why a connection to another host was not established.

use netmon_common::tcp::{
    FAILURE_ABORTED, FAILURE_LOCAL, FAILURE_OTHER, FAILURE_REFUSED, FAILURE_RESET, FAILURE_TIMEOUT, FAILURE_UNANSWERED,
    FAILURE_UNREACHABLE,
};

use super::{ECONNRESET, Sockets};
use crate::kernel::UNSET;

const ENETDOWN: i32 = 100;
const ENETUNREACH: i32 = 101;
const ETIMEDOUT: i32 = 110;
const ECONNREFUSED: i32 = 111;
const EHOSTDOWN: i32 = 112;
const EHOSTUNREACH: i32 = 113;

/// The reason of a socket that closes while it waits for the answer to its SYN. The error is set before the state
/// (`tcp_reset`, `tcp_write_err`, `tcp_v4_err`).
#[inline(always)]
pub(crate) fn failure(object: &impl Sockets, socket: u64) -> usize {
    // SAFETY: the caller passes a `struct sock *` from a tracepoint.
    match unsafe { object.field::<i32>(socket, object.socket_error()) } {
        0 => given_up(object, socket),
        error => of_error(error),
    }
}

#[inline(always)]
pub(crate) fn of_error(error: i32) -> usize {
    match error {
        ECONNREFUSED => FAILURE_REFUSED,
        ETIMEDOUT => FAILURE_TIMEOUT,
        EHOSTUNREACH | ENETUNREACH | EHOSTDOWN | ENETDOWN => FAILURE_UNREACHABLE,
        ECONNRESET => FAILURE_RESET,
        _ => FAILURE_OTHER,
    }
}

/// Why a connection failed whose socket has no error: the application closed it, or `connect` itself failed
/// (`tcp_v4_connect`), which then sent no SYN. Its port does not tell, because `tcp_set_state` takes the port away
/// before the tracepoint. The fields are cleared when a socket is used again (`tcp_disconnect`).
#[inline(always)]
fn given_up(object: &impl Sockets, socket: u64) -> usize {
    let tcp = object.tcp_socket(socket);
    if tcp == 0 {
        return FAILURE_ABORTED;
    }
    // SAFETY: `tcp` is a `struct tcp_sock *`.
    let is_none = |offset: u32| unsafe { object.field::<u32>(tcp, offset) } == 0;
    let (sent, again) = (object.tcp_segments_sent(), object.tcp_retransmits());
    if sent != UNSET && is_none(sent) && !is_shut(object, socket) {
        FAILURE_LOCAL
    } else if again != UNSET && !is_none(again) {
        FAILURE_UNANSWERED
    } else {
        FAILURE_ABORTED
    }
}

/// Whether the application has closed the socket. This is noted before the state changes (`__tcp_close`). With Fast Open,
/// the SYN waits for the first data (`tcp_fastopen_defer_connect`), so an application may give up before it.
#[inline(always)]
fn is_shut(object: &impl Sockets, socket: u64) -> bool {
    let shutdown = object.socket_shutdown();
    // SAFETY: the caller passes a `struct sock *` from a tracepoint.
    shutdown != UNSET && unsafe { object.field::<u8>(socket, shutdown) } != 0
}
