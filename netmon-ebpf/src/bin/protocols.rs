//! The object of [`netmon_ebpf::protocols`].
#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "a call of another function of ours is not portable: see the check of objects in the build"
)]

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::{map, raw_tracepoint},
    maps::{Array, PerCpuArray},
    programs::RawTracePointContext,
};
use netmon_common::protocols::{COUNTERS, Row, TABLES, WINDOWS};
use netmon_ebpf::{
    bpf,
    protocols::{self, Scratch, Shifts},
};

#[map]
static SHIFTS: Array<Shifts> = Array::with_max_entries(1, 0);
#[map]
static ROW: Array<Row> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
#[map]
static NUMBER: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

struct Object;

impl protocols::Object for Object {
    netmon_ebpf::offsets! {
        task_namespaces: TASK_NAMESPACES;
        namespaces_net: NAMESPACES_NET;
        namespace_cookie: NAMESPACE_COOKIE;
        namespace_somaxconn: NAMESPACE_SOMAXCONN;
        namespace_time_wait: NAMESPACE_TIME_WAIT;
        array_pointers: ARRAY_POINTERS;
        namespace_devices: NAMESPACE_DEVICES;
        device_listed: DEVICE_LISTED;
        device_qdisc: DEVICE_QDISC;
        qdisc_operations: QDISC_OPERATIONS;
        operations_id: OPERATIONS_ID;
        namespace_generic: NAMESPACE_GENERIC;
        settings_table: SETTINGS_TABLE;
        namespace_sockets: NAMESPACE_SOCKETS;
        task_files: TASK_FILES;
        files_table: FILES_TABLE;
        table_files: TABLE_FILES;
        file_data: FILE_DATA;
        socket_sock: SOCKET_SOCK;
        sock_protocol: SOCK_PROTOCOL;
        protocol_index: PROTOCOL_INDEX;
    }

    netmon_ebpf::globals! {
        cpus: u32 = CPUS or 0;
    }

    netmon_ebpf::lists! {
        table: MIB_TABLES[TABLES];
        first: MIB_FIRST[WINDOWS];
        words: MIB_WORDS[WINDOWS];
        place: MIB_PLACES[COUNTERS];
    }

    netmon_ebpf::maps! {
        shifts: Array<Shifts> = SHIFTS;
        row: Array<Row> = ROW;
        scratch: Array<Scratch> = SCRATCH;
    }

    #[inline(always)]
    fn current_task(&self) -> u64 {
        bpf::current_task()
    }

    #[inline(always)]
    fn scratch_map(&self) -> u64 {
        bpf::number_of(&raw const SCRATCH, &NUMBER)
    }

    #[inline(always)]
    fn scratch_on(&self, cpu: u32) -> u64 {
        bpf::value_on(&raw const SCRATCH, cpu, &NUMBER)
    }
}

#[raw_tracepoint]
fn protocols_locate(ctx: RawTracePointContext) -> i32 {
    protocols::locate(&Object, ctx);
    0
}

#[raw_tracepoint]
fn protocols_read(ctx: RawTracePointContext) -> i32 {
    protocols::read(&Object, ctx);
    0
}

#[raw_tracepoint]
fn protocols_index(ctx: RawTracePointContext) -> i32 {
    protocols::index(&Object, ctx);
    0
}
