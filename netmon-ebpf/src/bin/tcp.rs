//! The object of [`netmon_ebpf::tcp`].
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::{btf_tracepoint, map},
    maps::{HashMap, PerCpuArray},
    programs::BtfTracePointContext,
};
use netmon_common::{
    refusal::CAUSES,
    share,
    tcp::{Key, MAX_ENTRIES, Tcp},
};
use netmon_ebpf::tcp;

#[map]
static TCP: HashMap<Key, Tcp> = HashMap::with_max_entries(MAX_ENTRIES, BPF_F_NO_PREALLOC);
#[map]
static TCP_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(CAUSES, 0);
#[map]
static SHARES: HashMap<u64, share::Share> = HashMap::with_max_entries(share::MAX_ENTRIES, BPF_F_NO_PREALLOC);

struct Object;

netmon_ebpf::notes!(Object);

netmon_ebpf::kernel_globals!(Object);

netmon_ebpf::socket_globals!(Object);

impl tcp::Object for Object {
    netmon_ebpf::offsets! {
        packet_device: PACKET_DEVICE;
        packet_control: PACKET_CONTROL;
        control_segments: CONTROL_SEGMENTS;
        control_acknowledged: CONTROL_ACKNOWLEDGED;
        tcp_unacknowledged: TCP_UNACKNOWLEDGED;
    }

    netmon_ebpf::globals! {
        retransmit_arguments: u32 = RETRANSMIT_ARGUMENTS or 2;
    }

    netmon_ebpf::maps! {
        counts: Map<Key, Tcp> = TCP;
        lost: Array<u64> = TCP_LOST;
        shares: Map<u64, share::Share> = SHARES;
    }
}

#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit(ctx: BtfTracePointContext) -> i32 {
    tcp::retransmitted(&Object, ctx);
    0
}

#[btf_tracepoint(function = "tcp_retransmit_synack")]
fn tcp_retransmit_syn_ack(ctx: BtfTracePointContext) -> i32 {
    tcp::retransmitted_syn_ack(&Object, ctx);
    0
}

#[btf_tracepoint(function = "tcp_send_reset")]
fn tcp_reset_sent(ctx: BtfTracePointContext) -> i32 {
    tcp::reset_sent(&Object, ctx);
    0
}

#[btf_tracepoint(function = "tcp_receive_reset")]
fn tcp_reset_received(ctx: BtfTracePointContext) -> i32 {
    tcp::reset_received(&Object, ctx);
    0
}

#[btf_tracepoint(function = "inet_sock_set_state")]
fn tcp_state(ctx: BtfTracePointContext) -> i32 {
    tcp::state_changed(&Object, ctx);
    0
}

#[btf_tracepoint(function = "tcp_probe")]
fn tcp_round_trip(ctx: BtfTracePointContext) -> i32 {
    tcp::segment_received(&Object, ctx);
    0
}
