//! Counts the packets that the kernel drops, by namespace, device and the kernel's own reason.
//!
//! Owns the map of drops. The program runs only when a packet is freed as dropped, in any namespace. The daemon sets
//! which reasons are no loss. Knows no names.
//!
//! Kernel facts relied on:
//!
//! - `kfree_skb` has a reason since 5.17.
//! - `skb_iif` is the device that the packet last arrived on, in the namespace that it arrived in.
//! - `skb->sk` of a received packet is the *sender's* socket. So a socket counts only where there is no device.
//! - A packet whose `protocol` is 0 belongs to no network protocol (Unix and netlink sockets).
//! - The kernel does not run a program within itself on one CPU. So a CPU's counter has no other writer.
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
        bindings::BPF_F_NO_PREALLOC,
        helpers::bpf_probe_read_kernel,
        macros::{btf_tracepoint, map},
        maps::{PerCpuArray, PerCpuHashMap},
        programs::BtfTracePointContext,
    };
    use netmon_common::drops::{Key, LOST_REASONS, MAX_ENTRIES};

    use crate::{
        kernel::{
            DEVICE_IFINDEX, DEVICE_NAMESPACE, Interface, NAMESPACE_COOKIE, ROUTE_DEVICE, field, of_device, of_socket,
            offset,
        },
        share::{self, Room},
    };

    #[unsafe(no_mangle)]
    static PACKET_DEVICE: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_SOCKET: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_ARRIVED_ON: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_PROTOCOL: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_TYPE: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_ROUTE: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_HEAD: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_END: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_NETWORK_HEADER: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_TRANSPORT_HEADER: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static PACKET_LENGTH: Global<u32> = offset();
    #[unsafe(no_mangle)]
    static SHARED_SEGMENTS: Global<u32> = offset();

    /// The number of the tracepoint's arguments on this kernel.
    #[unsafe(no_mangle)]
    static ARGUMENTS: Global<u32> = Global::new(3);
    /// The reasons that are no loss, as bit sets.
    #[unsafe(no_mangle)]
    static HARMLESS_0: Global<u64> = Global::new(0);
    #[unsafe(no_mangle)]
    static HARMLESS_1: Global<u64> = Global::new(0);
    #[unsafe(no_mangle)]
    static HARMLESS_2: Global<u64> = Global::new(0);
    #[unsafe(no_mangle)]
    static HARMLESS_3: Global<u64> = Global::new(0);
    /// The reasons that are no loss of a broadcast or multicast frame.
    #[unsafe(no_mangle)]
    static UNWANTED_0: Global<u64> = Global::new(0);
    #[unsafe(no_mangle)]
    static UNWANTED_1: Global<u64> = Global::new(0);
    #[unsafe(no_mangle)]
    static UNWANTED_2: Global<u64> = Global::new(0);
    #[unsafe(no_mangle)]
    static UNWANTED_3: Global<u64> = Global::new(0);
    /// The reason `NOT_SPECIFIED`.
    #[unsafe(no_mangle)]
    static NOT_SPECIFIED: Global<u32> = Global::new(u32::MAX);
    /// The reason "no socket".
    #[unsafe(no_mangle)]
    static NO_SOCKET: Global<u32> = Global::new(u32::MAX);
    /// The reason "a socket's filter rejected it".
    #[unsafe(no_mangle)]
    static SOCKET_FILTER: Global<u32> = Global::new(u32::MAX);
    /// The reason "a listener, or this connection, does not expect such TCP flags".
    #[unsafe(no_mangle)]
    static TCP_FLAGS: Global<u32> = Global::new(u32::MAX);
    /// The reason "the connection is closed".
    #[unsafe(no_mangle)]
    static TCP_CLOSE: Global<u32> = Global::new(u32::MAX);

    #[map]
    static DROPS: PerCpuHashMap<Key, u64> = PerCpuHashMap::with_max_entries(MAX_ENTRIES, BPF_F_NO_PREALLOC);
    #[map]
    static DROPS_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_REASONS, 0);

    /// `ETH_P_IP` and `ETH_P_IPV6`, in the byte order of the packet.
    const IPV4: u16 = 0x0800_u16.to_be();
    const IPV6: u16 = 0x86dd_u16.to_be();
    /// The offset of the field in the IP header that names the protocol inside.
    const IPV4_PROTOCOL: u32 = 9;
    const IPV6_NEXT_HEADER: u32 = 6;
    const PACKET_BROADCAST: u8 = 1;
    const PACKET_MULTICAST: u8 = 2;
    const PACKET_LOOPBACK: u8 = 5;
    const ICMP: u8 = 1;
    const ICMPV6: u8 = 58;
    const TCP: u8 = 6;
    /// The offset of the word in a TCP header that has its length and its flags. The length is in the upper four
    /// bits, in units of four bytes.
    const TCP_LENGTH_AND_FLAGS: u32 = 12;
    const TCP_LENGTH_SHIFT: u32 = 12;
    const TCP_LENGTH_UNIT: u32 = 4;
    const TCP_SYN: u16 = 0x02;
    const TCP_RST: u16 = 0x04;
    const TCP_ACK: u16 = 0x10;
    /// The lowest bit of a packet's route means that it holds no reference. The other bits are the address.
    const ROUTE_FLAG: u64 = 1;
    /// From this number of arguments on (6.11), the tracepoint reports which socket was to receive the packet.
    const WITH_RECEIVER: u32 = 4;

    #[btf_tracepoint(function = "kfree_skb")]
    pub fn drops_kfree_skb(ctx: BtfTracePointContext) -> i32 {
        let reason: u32 = ctx.arg(2);
        if is_among(reason, [&HARMLESS_0, &HARMLESS_1, &HARMLESS_2, &HARMLESS_3]) {
            return 0;
        }
        let packet: u64 = ctx.arg(0);
        // SAFETY: the first argument of the tracepoint is a `struct sk_buff *`.
        let protocol: u16 = unsafe { field(packet, &PACKET_PROTOCOL) };
        if protocol == 0 || is_unneeded(packet, protocol, reason) {
            return 0;
        }
        if is_among(reason, [&UNWANTED_0, &UNWANTED_1, &UNWANTED_2, &UNWANTED_3]) && is_for_everybody(packet) {
            return 0;
        }
        // The verifier knows this constant. On a kernel without the argument, it never looks at the read.
        let receiver: u64 = if ARGUMENTS.load() >= WITH_RECEIVER {
            ctx.arg(3)
        } else {
            0
        };
        let Interface { netns, ifindex } = place(packet, receiver);
        let location = if reason == NOT_SPECIFIED.load() { ctx.arg(1) } else { 0 };
        let key = Key {
            netns,
            location,
            ifindex,
            reason,
        };
        count(key, segments(packet));
        0
    }

    #[inline(always)]
    fn is_among(reason: u32, [first, second, third, fourth]: [&Global<u64>; 4]) -> bool {
        let reasons = match reason / u64::BITS {
            0 => first.load(),
            1 => second.load(),
            2 => third.load(),
            3 => fourth.load(),
            _ => 0,
        };
        (reasons >> (reason % u64::BITS)) & 1 == 1
    }

    /// Whether the frame was received as a broadcast or a multicast, or is the sender's own copy of one.
    #[inline(always)]
    fn is_for_everybody(packet: u64) -> bool {
        // SAFETY: `packet` is a `struct sk_buff *`.
        let byte: u8 = unsafe { field(packet, &PACKET_TYPE) };
        // A bit field of three bits, the first in its byte.
        let kind = if cfg!(target_endian = "little") {
            byte & 0b111
        } else {
            byte >> 5
        };
        kind == PACKET_BROADCAST || kind == PACKET_MULTICAST || kind == PACKET_LOOPBACK
    }

    /// Where the packet was dropped. The receiving socket is the best source, then the device. If the packet has not
    /// reached a device yet, the sending socket is used.
    #[inline(always)]
    fn place(packet: u64, receiver: u64) -> Interface {
        // SAFETY: `packet` is the tracepoint's `struct sk_buff *`, and `receiver` is a `struct sock *` or 0. Every
        // pointer read from them is used with its own type.
        unsafe {
            if receiver != 0 {
                return Interface {
                    netns: of_socket(receiver),
                    ifindex: field(packet, &PACKET_ARRIVED_ON),
                };
            }
            if let Some(interface) = of_device(field(packet, &PACKET_DEVICE)) {
                return interface;
            }
            let sender: u64 = field(packet, &PACKET_SOCKET);
            if sender == 0 {
                return Interface { netns: 0, ifindex: 0 };
            }
            let netns = of_socket(sender);
            let route = field::<u64>(packet, &PACKET_ROUTE) & !ROUTE_FLAG;
            Interface {
                netns,
                ifindex: of_route(route, netns),
            }
        }
    }

    /// The ifindex of the device that a route leads through, if that device is in this namespace. To the verifier,
    /// the route is a plain number.
    #[inline(always)]
    fn of_route(route: u64, netns: u64) -> u32 {
        let ifindex = || {
            let device: u64 = probe(route, ROUTE_DEVICE.load())?;
            let namespace: u64 = probe(device, DEVICE_NAMESPACE.load())?;
            let cookie: u64 = probe(namespace, NAMESPACE_COOKIE.load())?;
            if cookie == netns {
                probe(device, DEVICE_IFINDEX.load())
            } else {
                None
            }
        };
        if route == 0 { 0 } else { ifindex().unwrap_or(0) }
    }

    /// Reads a field through a number that may be a pointer; `None` if it is not.
    #[inline(always)]
    fn probe<T: Copy>(base: u64, offset: u32) -> Option<T> {
        // SAFETY: the helper checks the address, and reads nothing if it is invalid. Any bytes are a valid `T`,
        // because only integers are read.
        unsafe { bpf_probe_read_kernel((base as *const u8).wrapping_add(offset as usize).cast()) }.ok()
    }

    /// The number of packets that this would have been on the wire.
    #[inline(always)]
    fn segments(packet: u64) -> u64 {
        // SAFETY: `packet` is a `struct sk_buff *`. `skb_shared_info` begins at the end of the data
        // (skb_end_pointer).
        let shared = unsafe { field::<u64>(packet, &PACKET_HEAD) + u64::from(field::<u32>(packet, &PACKET_END)) };
        match probe::<u16>(shared, SHARED_SEGMENTS.load()) {
            Some(segments) if segments > 1 => u64::from(segments),
            _ => 1,
        }
    }

    /// Whether a packet that no socket wanted is no loss.
    ///
    /// Every raw socket gets a copy of an answer to a ping, and its filter rejects answers to others. The answer
    /// itself is then dropped because there is no ping socket (`ping_rcv`). That makes one drop per ping.
    ///
    /// A TCP segment without data may arrive when its connection is over. After a reset, this is the other end's last
    /// acknowledgement or its own reset. It finds no socket, or a listener, or a socket that is just being closed. A
    /// segment that opens a connection, brings data, or makes no sense counts.
    #[inline(always)]
    fn is_unneeded(packet: u64, protocol: u16, reason: u32) -> bool {
        let no_socket = reason == NO_SOCKET.load();
        let may_be_ping = no_socket || reason == SOCKET_FILTER.load();
        let may_be_over = no_socket || reason == TCP_FLAGS.load() || reason == TCP_CLOSE.load();
        if !may_be_ping && !may_be_over {
            return false;
        }
        // SAFETY: `packet` is a `struct sk_buff *`.
        let (head, network, transport, length) = unsafe {
            (
                field::<u64>(packet, &PACKET_HEAD),
                field::<u16>(packet, &PACKET_NETWORK_HEADER),
                field::<u16>(packet, &PACKET_TRANSPORT_HEADER),
                field::<u32>(packet, &PACKET_LENGTH),
            )
        };
        let header = head + u64::from(network);
        let (inside, icmp) = match protocol {
            IPV4 => (probe::<u8>(header, IPV4_PROTOCOL), ICMP),
            IPV6 => (probe::<u8>(header, IPV6_NEXT_HEADER), ICMPV6),
            _ => return false,
        };
        if inside == Some(icmp) {
            return may_be_ping;
        }
        if !may_be_over || inside != Some(TCP) {
            return false;
        }
        // For these reasons the kernel drops a segment before it removes the TCP header.
        match probe::<u16>(head + u64::from(transport), TCP_LENGTH_AND_FLAGS) {
            Some(word) => {
                let word = u16::from_be(word);
                word & TCP_SYN == 0
                    && word & (TCP_ACK | TCP_RST) != 0
                    && length <= u32::from(word >> TCP_LENGTH_SHIFT) * TCP_LENGTH_UNIT
            }
            None => false,
        }
    }

    /// Adds to a count. If a namespace has used up its share of the map, its new keys do not distinguish devices.
    #[inline(always)]
    #[expect(
        clippy::needless_borrows_for_generic_args,
        reason = "handed over by value it would be copied to the stack, by a call"
    )]
    fn count(mut key: Key, segments: u64) {
        let mut found = DROPS.get_ptr_mut(&key);
        if found.is_none() {
            let room = share::take(key.netns);
            if room == Room::WithoutDevice {
                key.ifindex = 0;
                found = DROPS.get_ptr_mut(&key);
            }
            // If two CPUs get here for the same key, each sets its own counter.
            if found.is_none() && room != Room::None && DROPS.insert(&key, segments, 0).is_ok() {
                return;
            }
        }
        let counter = match found {
            Some(counter) => counter,
            None => match DROPS_LOST.get_ptr_mut(key.reason % LOST_REASONS) {
                Some(counter) => counter,
                None => return,
            },
        };
        // SAFETY: the value exists while the program runs. This CPU's counter has no other writer (see the module).
        unsafe { *counter += segments };
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
