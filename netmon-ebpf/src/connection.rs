//! A TCP socket: the interface that it goes through, its two addresses, and why its connection failed.
//!
//! Knows no counts. Kernel facts relied on: each is stated where it is used.

pub(crate) mod failure;

use netmon_common::connection::Address;

use crate::{
    kernel::{Interface, Kernel, of_device, of_socket},
    maps::Map,
    packet::in_ipv6_form,
};

/// Where the fields of sockets are, and which devices have their addresses. The macro `socket_globals` defines them for
/// an object.
pub trait Sockets: Kernel {
    /// `sock.skc_family`.
    fn socket_family(&self) -> u32;
    /// `sock.skc_rcv_saddr`.
    fn socket_ipv4_address(&self) -> u32;
    /// `sock.skc_v6_rcv_saddr`.
    fn socket_ipv6_address(&self) -> u32;
    /// `sock.sk_protocol`.
    fn socket_protocol(&self) -> u32;
    /// `sock.sk_dst_cache`.
    fn socket_route(&self) -> u32;
    /// `sock.sk_err`.
    fn socket_error(&self) -> u32;
    /// `sock.skc_state`.
    fn socket_state(&self) -> u32;
    /// `tcp_sock.srtt_us`.
    fn tcp_round_trip(&self) -> u32;
    /// `tcp_sock.segs_out`. [`crate::kernel::UNSET`] if the kernel has no such field.
    fn tcp_segments_sent(&self) -> u32;
    /// `tcp_sock.total_retrans`. [`crate::kernel::UNSET`] if the kernel has no such field.
    fn tcp_retransmits(&self) -> u32;
    /// `sock.sk_shutdown`. [`crate::kernel::UNSET`] if the kernel has no such field.
    fn socket_shutdown(&self) -> u32;

    /// The devices of addresses, which the daemon writes.
    fn addresses(&self) -> &impl Map<Address, u32>;
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;

/// States of a TCP socket (`include/net/tcp_states.h`).
/// The connection is established.
pub const ESTABLISHED: i32 = 1;
pub(crate) const SYN_SENT: i32 = 2;
pub(crate) const SYN_RECEIVED: i32 = 3;
pub(crate) const CLOSE: i32 = 7;

pub(crate) const ECONNRESET: i32 = 104;

/// Whether a socket is TCP's: sockets of several protocols have the states of TCP's.
#[inline(always)]
pub(crate) fn is_tcp(object: &impl Sockets, socket: u64) -> bool {
    // SAFETY: every caller passes a `struct sock *` from a tracepoint.
    unsafe { object.field::<u16>(socket, object.socket_protocol()) == IPPROTO_TCP }
}

/// The interface that a connection goes through: that of its route, or that of its address if there is no route
/// yet.
#[inline(always)]
pub(crate) fn of_connection(object: &impl Sockets, socket: u64) -> Interface {
    // SAFETY: every caller passes a `struct sock *` from a tracepoint. The other pointers are read from it, one
    // from the next.
    let route: u64 = unsafe { object.field(socket, object.socket_route()) };
    if route != 0 {
        // SAFETY: as above.
        let device: u64 = unsafe { object.field(route, object.route_device()) };
        // A dead route leads to a device of the node (`blackhole_netdev`) until the socket looks up another
        // route.
        if let Some(interface) = of_device(object, device)
            // SAFETY: as above.
            && interface.netns == unsafe { of_socket(object, socket) }
        {
            return interface;
        }
    }
    of_address(object, socket)
}

/// The device that has the socket's own address, if the daemon has written it to the map. Works for sockets of
/// every kind.
#[inline(always)]
pub(crate) fn of_address(object: &impl Sockets, socket: u64) -> Interface {
    // SAFETY: every caller passes a `struct sock *`, or a `struct request_sock *`, which begins like one.
    let (netns, address) = unsafe {
        let netns = of_socket(object, socket);
        let address = match object.field::<u16>(socket, object.socket_family()) {
            AF_INET => in_ipv6_form(object.field::<u32>(socket, object.socket_ipv4_address()).to_ne_bytes()),
            AF_INET6 => object.field::<u128>(socket, object.socket_ipv6_address()).to_ne_bytes(),
            _ => return Interface { netns, ifindex: 0 },
        };
        (netns, address)
    };
    let found = object.addresses().find(&Address { netns, address });
    // SAFETY: the value exists while the program runs. Only the daemon writes it, and at once.
    let ifindex = found.map_or(0, |found| unsafe { *found });
    Interface { netns, ifindex }
}

/// The two addresses of a socket, in their IPv6 form: as numbers whose highest byte is the address's first.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) local: u128,
    pub(crate) remote: u128,
}

/// The addresses of a socket; `None` if it is of another kind. The offsets are those of the remote address.
#[inline(always)]
pub(crate) fn ends(object: &impl Sockets, socket: u64, peer_ipv4: u32, peer_ipv6: u32) -> Option<Ends> {
    // SAFETY: every caller passes a `struct sock *` from a tracepoint.
    unsafe {
        let ipv4 = |offset: u32| 0xffff << 32 | u128::from(u32::from_be(object.field(socket, offset)));
        let ipv6 = |offset: u32| u128::from_be(object.field(socket, offset));
        match object.field::<u16>(socket, object.socket_family()) {
            AF_INET => Some(Ends {
                local: ipv4(object.socket_ipv4_address()),
                remote: ipv4(peer_ipv4),
            }),
            AF_INET6 => Some(Ends {
                local: ipv6(object.socket_ipv6_address()),
                remote: ipv6(peer_ipv6),
            }),
            _ => None,
        }
    }
}
