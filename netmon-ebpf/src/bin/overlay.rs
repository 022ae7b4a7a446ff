//! The object of [`netmon_ebpf::overlay`].
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::{classifier, map},
    maps::{Array, PerCpuArray, PerCpuHashMap},
    programs::TcContext,
};
use netmon_common::{
    overlay::{Key, MAX_ENTRIES, Outer},
    refusal::CAUSES,
    traffic::{RECEIVE, TRANSMIT},
};
use netmon_ebpf::{bpf::PASS, overlay};

#[map]
static OVERLAY: PerCpuHashMap<Key, Outer> = PerCpuHashMap::with_max_entries(MAX_ENTRIES, BPF_F_NO_PREALLOC);
#[map]
static OVERLAY_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(CAUSES, 0);
#[map]
static OVERLAY_STRANGERS: Array<u32> = Array::with_max_entries(1, 0);
#[map]
static PORT: Array<u32> = Array::with_max_entries(1, 0);

struct Object;

impl overlay::Object for Object {
    netmon_ebpf::maps! {
        tunnels: Map<Key, Outer> = OVERLAY;
        lost: Array<u64> = OVERLAY_LOST;
        strangers: Array<u32> = OVERLAY_STRANGERS;
        port: Array<u32> = PORT;
    }
}

#[classifier]
fn overlay_ingress(ctx: TcContext) -> i32 {
    overlay::count(&Object, ctx, RECEIVE);
    PASS
}

#[classifier]
fn overlay_egress(ctx: TcContext) -> i32 {
    overlay::count(&Object, ctx, TRANSMIT);
    PASS
}
