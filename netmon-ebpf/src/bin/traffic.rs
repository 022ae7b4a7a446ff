//! The object of [`netmon_ebpf::traffic`]. It is loaded once for every interface.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::{classifier, map},
    maps::Array,
    programs::TcContext,
};
use netmon_common::traffic::{RECEIVE, TRANSMIT, Traffic};
use netmon_ebpf::{bpf::cpu, dns, traffic};

/// The daemon sets the number of entries (CPUs x slots x directions) when it creates the map.
#[map]
static TRAFFIC: Array<Traffic> = Array::with_max_entries(1, BPF_F_MMAPABLE);

struct Object;

impl traffic::Object for Object {
    netmon_ebpf::globals! {
        slot: u32 = SLOT or 0;
        slots: u32 = SLOTS or 0;
    }

    netmon_ebpf::maps! {
        counters: Array<Traffic> = TRAFFIC;
    }
}

netmon_ebpf::passes_dns_on!();

#[classifier]
fn traffic_ingress(ctx: TcContext) -> i32 {
    traffic::count(&Object, &ctx, cpu(), RECEIVE);
    pass_on(ctx, dns::arriving)
}

#[classifier]
fn traffic_egress(ctx: TcContext) -> i32 {
    traffic::count(&Object, &ctx, cpu(), TRANSMIT);
    pass_on(ctx, dns::leaving)
}
