//! Counts events of TCP connections by namespace and device: retransmissions, resets, connections established and
//! failed, sockets by state, round-trip times.
//!
//! Owns the map of TCP counts. The programs run on events of the kernel's TCP, not on packets. One tracepoint,
//! `tcp_probe`, fires for every segment received; its program looks closer at only one in several. Knows no names.
//!
//! Kernel facts relied on: each is stated where it is used. The kernel does not run a program within itself on one
//! CPU, so a CPU's counter has no other writer.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[expect(
    unsafe_code,
    reason = "a kernel program is given raw pointers, and its symbols are what the kernel loads"
)]
#[expect(
    clippy::inline_always,
    reason = "a call of another function of ours is not portable: see the check of objects in the build"
)]
mod kernel;

#[cfg(target_arch = "bpf")]
#[expect(
    unsafe_code,
    reason = "a map's value is behind a raw pointer, and its symbol is what the kernel loads"
)]
#[expect(
    clippy::inline_always,
    reason = "a call of another function of ours is not portable: see the check of objects in the build"
)]
mod share;

#[cfg(target_arch = "bpf")]
#[expect(
    unsafe_code,
    reason = "a kernel program is given raw pointers, and its symbols are what the kernel loads"
)]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over by value")]
#[expect(
    clippy::inline_always,
    reason = "a call of another function of ours is not portable: see the check of objects in the build"
)]
#[expect(unreachable_pub, reason = "the entry points are reached through their symbols")]
mod programs {
    use aya_ebpf::{
        Global,
        bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
        helpers::bpf_skc_to_tcp_sock,
        macros::{btf_tracepoint, map},
        maps::{HashMap, PerCpuArray, PerCpuHashMap},
        programs::BtfTracePointContext,
    };
    use netmon_common::tcp::{
        Address, FAILURE_ABORTED, FAILURE_OTHER, FAILURE_REFUSED, FAILURE_RESET, FAILURE_TIMEOUT, FAILURE_UNREACHABLE,
        Key, MAX_ADDRESSES, MAX_ENTRIES, ROUND_TRIP_BOUNDS, ROUND_TRIP_SAMPLING, STATES, Tcp,
    };

    use crate::{
        kernel::{Interface, field, of_device, of_socket, offset},
        share::{self, Room},
    };

    #[unsafe(no_mangle)]
    static SOCKET_FAMILY: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static SOCKET_IPV4_ADDRESS: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static SOCKET_IPV6_ADDRESS: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static SOCKET_STATE: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static SOCKET_PROTOCOL: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static SOCKET_ROUTE: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static SOCKET_ERROR: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_DEVICE: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_CONTROL: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static CONTROL_SEGMENTS: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static CONTROL_ACKNOWLEDGED: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static TCP_UNACKNOWLEDGED: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static TCP_ROUND_TRIP: Global<u32> = offset();
    /// The number of arguments of `tcp_retransmit_skb` on this kernel.
    #[unsafe(no_mangle)]
    static RETRANSMIT_ARGUMENTS: Global<u32> = Global::new(2);

    #[map]
    static TCP: PerCpuHashMap<Key, Tcp> = PerCpuHashMap::with_max_entries(MAX_ENTRIES, BPF_F_NO_PREALLOC);
    #[map]
    static TCP_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
    #[map]
    static ADDRESSES: HashMap<Address, u32> = HashMap::with_max_entries(MAX_ADDRESSES, BPF_F_NO_PREALLOC);

    /// The initial counts of an interface. They are a static, because a structure built on the stack becomes a call
    /// of `memset`.
    static ZERO: Tcp = Tcp::ZERO;

    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    const IPPROTO_TCP: u16 = 6;

    const ESTABLISHED: i32 = 1;
    const SYN_SENT: i32 = 2;
    const SYN_RECEIVED: i32 = 3;
    const CLOSE: i32 = 7;
    const LISTEN: i32 = 10;

    const EPERM: i32 = 1;
    const ECONNRESET: i32 = 104;
    const ENOBUFS: i32 = 105;
    const ETIMEDOUT: i32 = 110;
    const ECONNREFUSED: i32 = 111;
    const EHOSTDOWN: i32 = 112;
    const EHOSTUNREACH: i32 = 113;
    const ENETDOWN: i32 = 100;
    const ENETUNREACH: i32 = 101;

    /// From this number of arguments on, `tcp_retransmit_skb` also reports failed attempts, with their error.
    const WITH_ERROR: u32 = 3;

    /// Retransmitted segments. The kernel counts them after it has tried to send, and does not count an attempt that
    /// failed earlier (`__tcp_retransmit_skb`). Up to 6.16, the tracepoint fires only for segments that were sent.
    #[btf_tracepoint(function = "tcp_retransmit_skb")]
    pub fn tcp_retransmit(ctx: BtfTracePointContext) -> i32 {
        let (socket, packet): (u64, u64) = (ctx.arg(0), ctx.arg(1));
        if RETRANSMIT_ARGUMENTS.load() >= WITH_ERROR && !was_counted(ctx.arg(2)) {
            return 0;
        }
        // SAFETY: the second argument is a `struct sk_buff *`. TCP keeps a `struct tcp_skb_cb` in its control block.
        let segments: u16 = unsafe { field(packet + u64::from(PACKET_CONTROL.load()), &CONTROL_SEGMENTS) };
        with(of_connection(socket), |tcp| {
            tcp.retransmitted_segments += u64::from(segments);
        });
        0
    }

    /// Whether the kernel had already counted the segments when it failed with this error. It had if the packet was
    /// lost on the way to the device: then the code is positive, a filter rejected the packet, or there was no
    /// memory.
    #[inline(always)]
    fn was_counted(error: i32) -> bool {
        error >= 0 || error == -EPERM || error == -ENOBUFS
    }

    /// A retransmitted answer to a connection request. There is no connection yet, and so no route.
    #[btf_tracepoint(function = "tcp_retransmit_synack")]
    pub fn tcp_retransmit_syn_ack(ctx: BtfTracePointContext) -> i32 {
        with(of_address(ctx.arg(1)), |tcp| tcp.retransmitted_segments += 1);
        0
    }

    /// A reset was sent, for one of two reasons. Either it answers a packet, whose device is then counted. Or the
    /// application closed with unread data, and there is a socket and no packet.
    ///
    /// Before 6.10, the tracepoint fires for an answer only with a full socket. It does not fire for a closed port or
    /// a connection in `TIME_WAIT`.
    #[btf_tracepoint(function = "tcp_send_reset")]
    pub fn tcp_reset_sent(ctx: BtfTracePointContext) -> i32 {
        let (socket, packet): (u64, u64) = (ctx.arg(0), ctx.arg(1));
        if packet != 0 {
            if socket != 0 && was_reset(socket) {
                with(of_connection(socket), |tcp| {
                    tcp.resets_received = tcp.resets_received.wrapping_sub(1);
                });
            }
            // SAFETY: the second argument is a `struct sk_buff *` or 0.
            if let Some(interface) = of_device(unsafe { field(packet, &PACKET_DEVICE) }) {
                with(interface, |tcp| tcp.resets_sent += 1);
                return 0;
            }
        }
        if socket != 0 {
            with(of_connection(socket), |tcp| tcp.resets_sent += 1);
        }
        0
    }

    /// Whether this socket, which answers a packet with a reset, was itself reset just now. Then no reset was
    /// received.
    ///
    /// Data for an application that has closed ends the connection like a received reset, including tracepoint and
    /// error. After that the kernel answers with a reset (`tcp_rcv_state_process`). In no other case does a socket
    /// that was reset send an answer, because it gets no packets.
    #[inline(always)]
    fn was_reset(socket: u64) -> bool {
        // SAFETY: `socket` is a `struct sock *`, or points to a structure that begins like one. Those others are
        // never in this state.
        unsafe {
            i32::from(field::<u8>(socket, &SOCKET_STATE)) == CLOSE && field::<i32>(socket, &SOCKET_ERROR) == ECONNRESET
        }
    }

    #[btf_tracepoint(function = "tcp_receive_reset")]
    pub fn tcp_reset_received(ctx: BtfTracePointContext) -> i32 {
        with(of_connection(ctx.arg(0)), |tcp| tcp.resets_received += 1);
        0
    }

    /// A socket's state changes. Counts established and failed connections, and sockets by state.
    #[btf_tracepoint(function = "inet_sock_set_state")]
    pub fn tcp_state(ctx: BtfTracePointContext) -> i32 {
        let socket: u64 = ctx.arg(0);
        let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
        // SAFETY: the first argument is a `struct sock *`, of any protocol that has these states.
        if unsafe { field::<u16>(socket, &SOCKET_PROTOCOL) } != IPPROTO_TCP {
            return 0;
        }
        // SAFETY: as above.
        let error: i32 = unsafe { field(socket, &SOCKET_ERROR) };
        with(of_connection(socket), |tcp| {
            // An incoming connection starts as a copy of the listening socket, which goes on listening
            // (inet_csk_clone_lock). A closed socket is not counted as a connection.
            if old != CLOSE && !(old == LISTEN && new == SYN_RECEIVED) {
                let count = &mut tcp.states[old.cast_unsigned() as usize % STATES];
                *count = count.wrapping_sub(1);
            }
            if new != CLOSE {
                let count = &mut tcp.states[new.cast_unsigned() as usize % STATES];
                *count = count.wrapping_add(1);
            }
            match (old, new) {
                (SYN_SENT, ESTABLISHED) => tcp.connects += 1,
                (SYN_RECEIVED, ESTABLISHED) => tcp.accepts += 1,
                // The error is set before the state (tcp_reset, tcp_write_err, tcp_v4_err). No error means close().
                (SYN_SENT, CLOSE) => tcp.failures[failure(error)] += 1,
                _ => {}
            }
        });
        0
    }

    #[inline(always)]
    fn failure(error: i32) -> usize {
        match error {
            0 => FAILURE_ABORTED,
            ECONNREFUSED => FAILURE_REFUSED,
            ETIMEDOUT => FAILURE_TIMEOUT,
            EHOSTUNREACH | ENETUNREACH | EHOSTDOWN | ENETDOWN => FAILURE_UNREACHABLE,
            ECONNRESET => FAILURE_RESET,
            _ => FAILURE_OTHER,
        }
    }

    /// A segment was received on a connection. If it acknowledges something new, the connection sends data, and its
    /// round-trip time is fresh. A connection that only receives keeps the time of its handshake for ever. The
    /// tracepoint fires before the acknowledgement is processed (`tcp_rcv_established`).
    #[btf_tracepoint(function = "tcp_probe")]
    pub fn tcp_round_trip(ctx: BtfTracePointContext) -> i32 {
        let (socket, packet): (u64, u64) = (ctx.arg(0), ctx.arg(1));
        // SAFETY: the second argument is a `struct sk_buff *`. TCP keeps a `struct tcp_skb_cb` in its control block.
        let acknowledged: u32 = unsafe { field(packet + u64::from(PACKET_CONTROL.load()), &CONTROL_ACKNOWLEDGED) };
        // Samples one in several without a counter: the top bits of a product are as good as random.
        if acknowledged.wrapping_mul(0x9e37_79b1) >> (u32::BITS - ROUND_TRIP_SAMPLING.ilog2()) != 0 {
            return 0;
        }
        // SAFETY: the helper returns null if this is not a TCP socket. Otherwise it returns a `struct tcp_sock *`.
        let tcp = unsafe { bpf_skc_to_tcp_sock(socket as *mut _) } as u64;
        if tcp == 0 {
            return 0;
        }
        // SAFETY: `tcp` is a `struct tcp_sock *`.
        let (unacknowledged, smoothed) = unsafe {
            (
                field::<u32>(tcp, &TCP_UNACKNOWLEDGED),
                field::<u32>(tcp, &TCP_ROUND_TRIP),
            )
        };
        let is_new = unacknowledged.wrapping_sub(acknowledged).cast_signed() < 0;
        // The kernel stores eight times the round-trip time.
        let microseconds = smoothed >> 3;
        if !is_new || microseconds == 0 {
            return 0;
        }
        with(of_connection(socket), |tcp| {
            let mut bucket = 0;
            for bound in ROUND_TRIP_BOUNDS {
                bucket += usize::from(microseconds > bound);
            }
            tcp.round_trips[bucket] += 1;
            tcp.round_trip_microseconds += u64::from(microseconds);
        });
        0
    }

    /// The interface that a connection goes through: that of its route, or that of its address if there is no route
    /// yet.
    #[inline(always)]
    fn of_connection(socket: u64) -> Interface {
        // SAFETY: every caller passes a `struct sock *` from a tracepoint. The other pointers are read from it, one
        // from the next.
        let route: u64 = unsafe { field(socket, &SOCKET_ROUTE) };
        if route != 0 {
            // SAFETY: as above.
            let device: u64 = unsafe { field(route, &crate::kernel::ROUTE_DEVICE) };
            // A dead route leads to a device of the node (`blackhole_netdev`) until the socket looks up another
            // route.
            if let Some(interface) = of_device(device)
                // SAFETY: as above.
                && interface.netns == unsafe { of_socket(socket) }
            {
                return interface;
            }
        }
        of_address(socket)
    }

    /// The device that has the socket's own address, if the daemon has written it to the map. Works for sockets of
    /// every kind.
    #[inline(always)]
    fn of_address(socket: u64) -> Interface {
        // SAFETY: every caller passes a `struct sock *`, or a `struct request_sock *`, which begins like one.
        unsafe {
            let netns = of_socket(socket);
            let address = match field::<u16>(socket, &SOCKET_FAMILY) {
                AF_INET => {
                    let [a, b, c, d] = field::<u32>(socket, &SOCKET_IPV4_ADDRESS).to_ne_bytes();
                    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
                }
                AF_INET6 => field::<u128>(socket, &SOCKET_IPV6_ADDRESS).to_ne_bytes(),
                _ => return Interface { netns, ifindex: 0 },
            };
            let ifindex = ADDRESSES.get_ptr(Address { netns, address }).map_or(0, |found| *found);
            Interface { netns, ifindex }
        }
    }

    /// Calls `change` with the interface's counts on this CPU. If a namespace has used up its share of the map, its
    /// new keys do not distinguish devices.
    #[inline(always)]
    #[expect(
        clippy::needless_borrows_for_generic_args,
        reason = "handed over by value it would be copied to the stack, by a call"
    )]
    fn with(interface: Interface, change: impl FnOnce(&mut Tcp)) {
        let Interface { netns, ifindex } = interface;
        let mut key = Key {
            netns,
            ifindex,
            zero: 0,
        };
        let mut counts = TCP.get_ptr_mut(&key);
        if counts.is_none() {
            let room = share::take(netns);
            if room == Room::WithoutDevice {
                key.ifindex = 0;
            }
            if room != Room::None {
                // Another of these programs may have run in between, on this CPU, too. Its counts must not be
                // overwritten.
                let _ = TCP.insert(&key, &ZERO, u64::from(BPF_NOEXIST));
                counts = TCP.get_ptr_mut(&key);
            }
        }
        // SAFETY: the value exists while the program runs. This CPU's value has no other writer (see the module).
        unsafe {
            if let Some(counts) = counts {
                change(&mut *counts);
            } else if let Some(lost) = TCP_LOST.get_ptr_mut(0) {
                *lost += 1;
            }
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

/// On the host this is an empty program, so that the crate stays a workspace member that every tool can check.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
