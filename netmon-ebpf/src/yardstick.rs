//! Programs that netmon's are measured against: programs that do nothing, and one that looks its interface up.
//!
//! Only the benchmarks load these.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[expect(
    unsafe_code,
    reason = "a kernel program is given raw pointers, and its symbols are what the kernel loads"
)]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over by value")]
#[expect(unreachable_pub, reason = "the entry points are reached through their symbols")]
mod programs {
    use aya_ebpf::{
        bindings::TC_ACT_UNSPEC,
        macros::{btf_tracepoint, classifier, map},
        maps::PerCpuHashMap,
        programs::{BtfTracePointContext, TcContext},
    };
    use netmon_common::traffic::Traffic;

    #[map]
    static BY_IFINDEX: PerCpuHashMap<u32, Traffic> = PerCpuHashMap::with_max_entries(4096, 0);

    /// The least that any program costs per packet.
    #[classifier]
    pub fn empty(_ctx: TcContext) -> i32 {
        TC_ACT_UNSPEC
    }

    /// The least that any program costs per dropped packet.
    #[btf_tracepoint(function = "kfree_skb")]
    pub fn empty_drop(_ctx: BtfTracePointContext) -> i32 {
        0
    }

    /// The least that any program costs per received segment.
    #[btf_tracepoint(function = "tcp_probe")]
    pub fn empty_segment(_ctx: BtfTracePointContext) -> i32 {
        0
    }

    /// Counts packets and bytes by ifindex. This design needs no copies of the program.
    #[classifier]
    pub fn hashed(ctx: TcContext) -> i32 {
        // SAFETY: `skb` is the context that the kernel passed to the program. This program type may read both fields.
        let (ifindex, bytes) = unsafe { ((*ctx.skb.skb).ifindex, u64::from((*ctx.skb.skb).len)) };
        if let Some(counter) = BY_IFINDEX.get_ptr_mut(ifindex) {
            // SAFETY: the value exists while the program runs, and belongs to this CPU alone.
            unsafe {
                (*counter).packets += 1;
                (*counter).bytes += bytes;
            }
        } else {
            let first = Traffic {
                packets: 1,
                bytes,
                segments: 1,
                wire_bytes: bytes,
                tcp_segments: 0,
            };
            // If the map is full, this interface is not counted, which does not matter for a yardstick.
            let _inserted = BY_IFINDEX.insert(ifindex, first, 0);
        }
        TC_ACT_UNSPEC
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
