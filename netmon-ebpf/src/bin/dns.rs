//! The object of [`netmon_ebpf::dns`]: the program on loopback, loaded once for every namespace, and the one that looks into
//! messages, loaded once for every array of slots.
#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "a call of another function of ours is not portable: see the check of objects in the build"
)]

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::{classifier, map},
    maps::Array,
    programs::TcContext,
};
use netmon_common::dns::{Dns, Ways};
use netmon_ebpf::{
    bpf::{PASS, nanoseconds, told},
    dns::{self, Found},
};

/// The daemon sets the number of entries (slots x resolvers, and slots x sets) when it creates the maps.
#[map]
static DNS: Array<Dns> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static DNS_WAITING: Array<Ways> = Array::with_max_entries(1, BPF_F_MMAPABLE);

struct Object;

impl dns::Object for Object {
    netmon_ebpf::maps! {
        dns: Array<Dns> = DNS;
        dns_waiting: Array<Ways> = DNS_WAITING;
    }

    #[inline(always)]
    fn nanoseconds(&self) -> u64 {
        nanoseconds()
    }
}

netmon_ebpf::passes_dns_on!();

#[classifier]
fn dns_loopback(ctx: TcContext) -> i32 {
    pass_on(ctx, dns::on_loopback)
}

#[classifier]
fn dns_message(ctx: TcContext) -> i32 {
    if let Some(found) = Found::of_word(told(&DNS_FOUND)) {
        dns::message(&Object, ctx, found);
    }
    PASS
}
