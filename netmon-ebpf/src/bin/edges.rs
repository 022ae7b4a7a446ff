//! The object of [`netmon_ebpf::edges`].
#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "a call of another function of ours is not portable: see the check of objects in the build"
)]

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::SkStorage,
    macros::{btf_map, btf_tracepoint, map},
    maps::{Array, HashMap, LpmTrie, PerCpuArray},
    programs::BtfTracePointContext,
};
use netmon_common::{
    edges::{Clock, Connection, Edge, Key, Listener, Live, MAX_ENTRIES, MAX_KNOWN, MAX_LISTENERS},
    refusal::CAUSES,
    share,
};
use netmon_ebpf::{bpf, edges};

#[map]
static EDGES: HashMap<Key, Edge> = HashMap::with_max_entries(MAX_ENTRIES, BPF_F_NO_PREALLOC);
#[map]
static EDGES_LIVE: HashMap<Key, Live> = HashMap::with_max_entries(MAX_ENTRIES, BPF_F_NO_PREALLOC);
#[btf_map]
static CONNECTIONS: SkStorage<Connection> = SkStorage::new();
#[map]
static EDGE_SOCKETS: HashMap<u64, u64> = HashMap::with_max_entries(share::MAX_ENTRIES, BPF_F_NO_PREALLOC);
#[map]
static EDGE_NODE: Array<u64> = Array::with_max_entries(1, 0);
#[map]
static EDGE_KNOWN: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(MAX_KNOWN, 0);
#[map]
static EDGE_SEEN: HashMap<u64, u64> = HashMap::with_max_entries(share::MAX_ENTRIES, BPF_F_NO_PREALLOC);
#[map]
static EDGE_SECOND: Array<u64> = Array::with_max_entries(1, 0);
#[map]
static EDGE_CLOCK: Array<Clock> = Array::with_max_entries(1, 0);
#[map]
static EDGE_TRACKED: Array<u64> = Array::with_max_entries(1, 0);
#[map]
static EDGE_LISTENERS: HashMap<Listener, u64> = HashMap::with_max_entries(MAX_LISTENERS, BPF_F_NO_PREALLOC);
#[map]
static EDGES_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(CAUSES, 0);
#[map]
static SHARES: HashMap<u64, share::Share> = HashMap::with_max_entries(share::MAX_ENTRIES, BPF_F_NO_PREALLOC);

struct Object;

netmon_ebpf::notes!(Object);

netmon_ebpf::kernel_globals!(Object);

netmon_ebpf::socket_globals!(Object);

impl edges::Object for Object {
    netmon_ebpf::offsets! {
        peer_ipv4_address: PEER_IPV4_ADDRESS;
        peer_ipv6_address: PEER_IPV6_ADDRESS;
        peer_port: PEER_PORT;
        socket_port: SOCKET_PORT;
        socket_flags: SOCKET_FLAGS;
        tcp_bytes_sent: TCP_BYTES_SENT;
        tcp_bytes_resent: TCP_BYTES_RESENT;
        tcp_bytes_received: TCP_BYTES_RECEIVED;
        tcp_heard: TCP_HEARD;
        tcp_attempts: TCP_ATTEMPTS;
        route_ipv4_gateway: ROUTE_IPV4_GATEWAY;
        route_ipv6_flags: ROUTE_IPV6_FLAGS;
    }

    netmon_ebpf::maps! {
        second: Array<u64> = EDGE_SECOND;
        clock: Array<Clock> = EDGE_CLOCK;
        edges: Map<Key, Edge> = EDGES;
        live: Map<Key, Live> = EDGES_LIVE;
        connections: Storage<Connection> = CONNECTIONS;
        sockets: Map<u64, u64> = EDGE_SOCKETS;
        node: Array<u64> = EDGE_NODE;
        known: Prefixes = EDGE_KNOWN;
        seen: Map<u64, u64> = EDGE_SEEN;
        tracked: Array<u64> = EDGE_TRACKED;
        listeners: Map<Listener, u64> = EDGE_LISTENERS;
        lost: Array<u64> = EDGES_LOST;
        shares: Map<u64, share::Share> = SHARES;
    }

    #[inline(always)]
    fn jiffies(&self) -> u64 {
        bpf::jiffies()
    }

    #[inline(always)]
    fn nanoseconds(&self) -> u64 {
        bpf::nanoseconds()
    }
}

#[btf_tracepoint(function = "inet_sock_set_state")]
fn edge_state(ctx: BtfTracePointContext) -> i32 {
    edges::state_changed(&Object, ctx);
    0
}

#[btf_tracepoint(function = "tcp_send_reset")]
fn edge_reset_sent(ctx: BtfTracePointContext) -> i32 {
    edges::reset_sent(&Object, ctx);
    0
}

#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn edge_retransmit(ctx: BtfTracePointContext) -> i32 {
    edges::retransmitted(&Object, ctx);
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn edge_destroyed(ctx: BtfTracePointContext) -> i32 {
    edges::destroyed(&Object, ctx);
    0
}

netmon_ebpf::over_storage!(
    edge_live over CONNECTIONS: |socket, connection| edges::live(&Object, socket, connection);
    edges::note_clock(&Object)
);

netmon_ebpf::over_sockets!(edge_adopt: |socket| edges::adopt(&Object, socket));
