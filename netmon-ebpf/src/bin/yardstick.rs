//! Programs that netmon's are measured against: programs that do nothing, and one that looks its interface up.
//!
//! Only the benchmarks load these.
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "a kernel program is given raw pointers, and a map's value is behind one"
)]

use aya_ebpf::{
    btf_maps::SkStorage,
    macros::{btf_map, btf_tracepoint, classifier, map},
    maps::PerCpuHashMap,
    programs::{BtfTracePointContext, TcContext},
};
use netmon_common::{edges::Connection, traffic::Traffic};
use netmon_ebpf::{
    bpf::{PASS, nanoseconds},
    connection::ESTABLISHED,
    kernel::Arguments as _,
    maps::Storage as _,
};

#[map]
static BY_IFINDEX: PerCpuHashMap<u32, Traffic> = PerCpuHashMap::with_max_entries(4096, 0);

#[btf_map]
static CONNECTIONS: SkStorage<Connection> = SkStorage::new();

/// The least that any program costs per packet.
#[classifier]
fn empty(_ctx: TcContext) -> i32 {
    PASS
}

/// The least that any program costs per packet that has to know the time.
#[classifier]
fn clock(_ctx: TcContext) -> i32 {
    // Almost always so, which the compiler does not know.
    if nanoseconds() == 0 { PASS + 1 } else { PASS }
}

/// The least that any program costs per dropped packet.
#[btf_tracepoint(function = "kfree_skb")]
fn empty_drop(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// The least that any program costs per received segment.
#[btf_tracepoint(function = "tcp_probe")]
fn empty_segment(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// The least that any program costs per connection that keeps something on its socket.
#[btf_tracepoint(function = "inet_sock_set_state")]
#[expect(clippy::needless_pass_by_value, reason = "this is how a program gets its context")]
fn stored(ctx: BtfTracePointContext) -> i32 {
    if ctx.signed(2) == ESTABLISHED {
        let _created = CONNECTIONS.create(ctx.pointer(0));
    }
    0
}

/// Counts packets and bytes by ifindex. This design needs no copies of the program.
#[classifier]
fn hashed(ctx: TcContext) -> i32 {
    let TcContext { skb } = ctx;
    // SAFETY: `skb` is the context that the kernel passed to the program. This program type may read both fields.
    let (ifindex, bytes) = unsafe { ((*skb.skb).ifindex, u64::from((*skb.skb).len)) };
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
    PASS
}
