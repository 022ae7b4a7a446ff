//! The object of [`netmon_ebpf::drops`].
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::{btf_tracepoint, map},
    maps::{HashMap, PerCpuArray, PerCpuHashMap},
    programs::BtfTracePointContext,
};
use netmon_common::{
    drops::{Key, LOST_ENTRIES, MAX_ENTRIES},
    refusal::CAUSES,
    share,
};
use netmon_ebpf::drops;

#[map]
static DROPS: PerCpuHashMap<Key, u64> = PerCpuHashMap::with_max_entries(MAX_ENTRIES, BPF_F_NO_PREALLOC);
#[map]
static DROPS_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_ENTRIES, 0);
#[map]
static DROPS_REFUSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(CAUSES, 0);
#[map]
static SHARES: HashMap<u64, share::Share> = HashMap::with_max_entries(share::MAX_ENTRIES, BPF_F_NO_PREALLOC);

struct Object;

netmon_ebpf::notes!(Object);

netmon_ebpf::kernel_globals!(Object);

impl drops::Object for Object {
    netmon_ebpf::offsets! {
        packet_device: PACKET_DEVICE;
        packet_socket: PACKET_SOCKET;
        packet_arrived_on: PACKET_ARRIVED_ON;
        packet_protocol: PACKET_PROTOCOL;
        packet_type: PACKET_TYPE;
        packet_route: PACKET_ROUTE;
        packet_head: PACKET_HEAD;
        packet_end: PACKET_END;
        packet_network_header: PACKET_NETWORK_HEADER;
        packet_transport_header: PACKET_TRANSPORT_HEADER;
        packet_length: PACKET_LENGTH;
        shared_segments: SHARED_SEGMENTS;
    }

    netmon_ebpf::globals! {
        arguments: u32 = ARGUMENTS or 3;
        not_specified: u32 = NOT_SPECIFIED or u32::MAX;
        no_socket: u32 = NO_SOCKET or u32::MAX;
        socket_filter: u32 = SOCKET_FILTER or u32::MAX;
        tcp_flags: u32 = TCP_FLAGS or u32::MAX;
        tcp_close: u32 = TCP_CLOSE or u32::MAX;
    }

    netmon_ebpf::bit_set!(harmless: HARMLESS_0, HARMLESS_1, HARMLESS_2, HARMLESS_3);
    netmon_ebpf::bit_set!(unwanted: UNWANTED_0, UNWANTED_1, UNWANTED_2, UNWANTED_3);

    netmon_ebpf::maps! {
        drops: Map<Key, u64> = DROPS;
        lost: Array<u64> = DROPS_LOST;
        refused: Array<u64> = DROPS_REFUSED;
        shares: Map<u64, share::Share> = SHARES;
    }
}

#[btf_tracepoint(function = "kfree_skb")]
fn drops_kfree_skb(ctx: BtfTracePointContext) -> i32 {
    drops::dropped(&Object, ctx);
    0
}
