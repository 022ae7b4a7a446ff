//! Which edge a socket belongs to: its interface, its role, the server's port, and the other end.

use netmon_common::edges::{FAR_ADDRESS, FAR_OUTSIDE, Key, SERVER};

use super::Object;
use crate::{
    connection::{Ends, ends, of_connection},
    kernel::{Interface, UNSET},
    maps::{Array as _, Prefixes as _},
};

/// `RTF_GATEWAY` in a route's flags (`include/uapi/linux/route.h`).
const RTF_GATEWAY: u32 = 2;

/// The key of a socket's edge; `None` if it is the node's, and leads to no container, or if its ends are in one namespace, or it has no addresses.
#[inline(always)]
pub(super) fn key(object: &impl Object, socket: u64, role: u8) -> Option<Key> {
    let Ends { local, remote } = ends(object, socket, object.peer_ipv4_address(), object.peer_ipv6_address())?;
    if is_loopback(local) || is_loopback(remote) || local == remote {
        return None;
    }
    let Interface { netns, ifindex } = of_connection(object, socket);
    // SAFETY: `socket` is a `struct sock *` from a tracepoint.
    let port = unsafe {
        if role == SERVER {
            object.field::<u16>(socket, object.socket_port())
        } else {
            u16::from_be(object.field::<u16>(socket, object.peer_port()))
        }
    };
    let is_beyond = has_gateway(object, socket, is_ipv4(remote));
    if is_beyond && is_node(object, netns) {
        return None;
    }
    // Nodes are there, and the other subnets of a network that has several.
    let is_outside = is_beyond && !object.known().has(remote.to_be_bytes());
    Some(Key {
        netns,
        ifindex,
        port,
        role,
        far: if is_outside { FAR_OUTSIDE } else { FAR_ADDRESS },
        remote: if is_outside { 0 } else { remote }.to_be_bytes(),
    })
}

/// Whether this is the node's namespace.
#[inline(always)]
fn is_node(object: &impl Object, netns: u64) -> bool {
    // SAFETY: the value exists while the program runs. Only the daemon writes it, and at once.
    object.node().at(0).is_some_and(|node| unsafe { *node } == netns)
}

/// Whether an address is an IPv4 one in its IPv6 form.
#[inline(always)]
fn is_ipv4(address: u128) -> bool {
    address >> 32 == 0xffff
}

/// Whether an address is in 127.0.0.0/8, or the loopback address of IPv6.
#[inline(always)]
fn is_loopback(address: u128) -> bool {
    address >> 24 == 0x00ff_ff7f || address == 1
}

/// Whether a socket's route leads to a gateway. Without a route, it is not known to. Of a connection that was accepted, the
/// route is known before the state changes (`tcp_v4_syn_recv_sock`).
#[inline(always)]
fn has_gateway(object: &impl Object, socket: u64, is_ipv4: bool) -> bool {
    // SAFETY: every caller passes a `struct sock *` from a tracepoint.
    let route: u64 = unsafe { object.field(socket, object.socket_route()) };
    if route == 0 {
        return false;
    }
    if is_ipv4 {
        return object.probe::<u8>(route, object.route_ipv4_gateway()).unwrap_or(0) != 0;
    }
    let flags = object.route_ipv6_flags();
    flags != UNSET && object.probe::<u32>(route, flags).unwrap_or(0) & RTF_GATEWAY != 0
}
