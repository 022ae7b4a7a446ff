//! Counts the packets of an interface in both directions, and lets every packet pass.
//!
//! Owns the map of counters. Knows no addresses, no names and no other interface. The daemon loads one copy for every
//! interface, with the slot as a constant. Every way of looking up the interface at run time costs more than the
//! counting itself: a hash lookup costs about twenty times as much as the two additions.
//!
//! Kernel facts relied on:
//!
//! - `__sk_buff.gso_segs` (5.1) is 0 for an ordinary packet.
//! - `wire_len` is the length after segmentation on egress only.
//! - The hooks run with bottom halves off. So no other packet of the same interface and direction interrupts a CPU
//!   between the load and the store of a counter.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

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
        bindings::{BPF_F_MMAPABLE, TC_ACT_UNSPEC},
        helpers::bpf_get_smp_processor_id,
        macros::{classifier, map},
        maps::Array,
        programs::TcContext,
    };
    use netmon_common::traffic::{RECEIVE, TRANSMIT, Traffic, index};

    /// The slot that this copy counts into.
    #[unsafe(no_mangle)]
    static SLOT: Global<u32> = Global::new(0);
    /// The number of slots of each CPU.
    #[unsafe(no_mangle)]
    static SLOTS: Global<u32> = Global::new(0);

    /// The daemon sets the number of entries (CPUs x slots x directions) when it creates the map.
    #[map]
    static TRAFFIC: Array<Traffic> = Array::with_max_entries(1, BPF_F_MMAPABLE);

    /// The packet goes on to the other attached programs: with tcx this is `TCX_NEXT`, with clsact "no verdict".
    const PASS: i32 = TC_ACT_UNSPEC;

    /// `ETH_P_IP` and `ETH_P_IPV6`, in the byte order of the packet.
    const IPV4: u32 = 0x0800_u16.to_be() as u32;
    const IPV6: u32 = 0x86dd_u16.to_be() as u32;
    const ETHERNET_HEADER: usize = 14;
    /// The offset of the field in the IP header that names the protocol inside.
    const IPV4_PROTOCOL: usize = 9;
    const IPV6_NEXT_HEADER: usize = 6;
    const TCP: u8 = 6;

    #[classifier]
    pub fn traffic_ingress(ctx: TcContext) -> i32 {
        count(&ctx, RECEIVE);
        PASS
    }

    #[classifier]
    pub fn traffic_egress(ctx: TcContext) -> i32 {
        count(&ctx, TRANSMIT);
        PASS
    }

    #[inline(always)]
    fn count(ctx: &TcContext, direction: u32) {
        // SAFETY: the helper has no preconditions.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        let Some(counter) = TRAFFIC.get_ptr_mut(index(cpu, SLOTS.load(), SLOT.load(), direction)) else {
            return;
        };
        // SAFETY: `skb` is the context that the kernel passed to the program. It is valid for the call, and this
        // program type may read these fields. `counter` points into the map's value, which lives as long as the map.
        // No other CPU writes there, because the CPU is part of the index. On this CPU, the hook is not re-entered.
        unsafe {
            let skb = ctx.skb.skb;
            let bytes = u64::from((*skb).len);
            let segments = (*skb).gso_segs;
            (*counter).packets += 1;
            (*counter).bytes += bytes;
            let segments = if segments > 1 { u64::from(segments) } else { 1 };
            (*counter).segments += segments;
            if direction == TRANSMIT {
                (*counter).wire_bytes += u64::from((*skb).wire_len);
                if is_own_tcp(ctx) {
                    (*counter).tcp_segments += segments;
                }
            } else {
                (*counter).wire_bytes += bytes;
            }
        }
    }

    /// Whether a local socket sends this packet over TCP. A forwarded packet no longer has a socket (`ip_rcv_core`).
    #[inline(always)]
    fn is_own_tcp(ctx: &TcContext) -> bool {
        // SAFETY: as in `count`. The header is only read within the packet's linear part, which the verifier
        // enforces. IPv6 extension headers are not followed, because the kernel's TCP sends none.
        unsafe {
            let skb = ctx.skb.skb;
            let protocol_at = match (*skb).protocol {
                IPV4 => IPV4_PROTOCOL,
                IPV6 => IPV6_NEXT_HEADER,
                _ => return false,
            };
            if (*skb).__bindgen_anon_2.sk.is_null() {
                return false;
            }
            let protocol = ctx.data() + ETHERNET_HEADER + protocol_at;
            protocol < ctx.data_end() && *(protocol as *const u8) == TCP
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
