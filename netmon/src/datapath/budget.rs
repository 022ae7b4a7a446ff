//! How much kernel memory the programs' maps take once they are full, and on a node with a thousand containers, by the
//! number of CPUs that there may be. That memory is charged to netmon's control group, and strangers can fill a part of
//! each map.
//!
//! Kernel facts relied on (kernel/bpf/hashtab.c, kernel/bpf/arraymap.c): a hash map made with `BPF_F_NO_PREALLOC` allocates
//! an element when its key is created, of 48 bytes, the key, and the value or a pointer to one for every possible CPU.
//! kernel/bpf/memalloc.c puts a pointer before it, and rounds up to a size that the slab allocator has. A bucket takes 16
//! bytes. The allocator of per-CPU memory adds two bytes for each byte of a value (`pcpu_obj_full_size`). An array exists
//! as a whole.

use std::{collections::BTreeMap, fs, path::PathBuf};

use aya_obj::{Object, generated::bpf_map_type};
use netmon_common::{dns, edges, traffic};

use super::{
    dns::{ENTRIES, WAITING_ENTRIES, slots_for},
    host::Host,
    slots::SLOTS,
    traffic::TrafficMap,
};

/// The default of `--limit.interfaces`.
const INTERFACES: u32 = 4096;
/// What all maps may take where there may be 64 CPUs.
const BUDGET: u64 = 140 * MIB;
/// What netmon's own memory may become: more than was ever measured (docs/costs.md).
const RESIDENT: u64 = 96 * MIB;
const MIB: u64 = 1 << 20;
/// What all maps may take on a node with [`CONTAINERS`], in bytes.
const NODE_BUDGET: u64 = 40_000_000;
/// The containers of that node, each on two networks, with drops for three reasons on each interface.
const CONTAINERS: u32 = 1000;
/// The keys that they make.
const KEYS: [(&str, u32); 10] = [
    ("OVERLAY", 2 * CONTAINERS),
    ("DROPS", 3 * 2 * CONTAINERS),
    ("TCP", 2 * CONTAINERS),
    ("ADDRESSES", 2 * CONTAINERS),
    ("SHARES", CONTAINERS),
    ("EDGES", 4 * CONTAINERS),
    ("EDGES_LIVE", 4 * CONTAINERS),
    ("EDGE_SOCKETS", CONTAINERS),
    ("EDGE_KNOWN", CONTAINERS),
    ("CONNECTIONS", 10 * CONTAINERS),
];
/// The arrays of slots of namespaces, and their entries.
const OF_NAMESPACES: [(&str, u32); 3] = [(dns::MAP, ENTRIES), (dns::WAITING, WAITING_ENTRIES), (dns::PROGRAMS, 1)];
/// The maps that several objects have together.
const SHARED: [&str; 2] = [dns::PROGRAMS, dns::FOUND];
/// The numbers of CPUs of the table in docs/costs.md.
const CPUS: [u32; 5] = [2, 16, 64, 128, 240];

/// The sizes that the slab allocator has (`mm/slab_common.c`).
const SLABS: [u64; 12] = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096];
const ELEMENT: u64 = 48;
/// A node of a trie of prefixes, without its key and value (`kernel/bpf/lpm_trie.c`).
const TRIE_NODE: u64 = 40;
const POINTER: u64 = 8;
const BUCKET: u64 = 16;
/// A bucket of a map of socket storage: a list and a lock (`kernel/bpf/bpf_local_storage.c`).
const LIST: u64 = 16;
const PAGE: u64 = 4096;

fn in_words(bytes: u32) -> u64 {
    u64::from(bytes).next_multiple_of(8)
}

fn in_slab(bytes: u64) -> u64 {
    SLABS.into_iter().find(|slab| bytes <= *slab).unwrap_or(bytes)
}

/// The bytes of a map with that many entries, and so many keys of them. An array has all of its entries.
fn taken(map: &aya_obj::Map, entries: u32, keys: u32, cpus: u32) -> u64 {
    let (key, value) = (in_words(map.key_size()), in_words(map.value_size()));
    let (all, keys, cpus) = (u64::from(entries), u64::from(keys), u64::from(cpus));
    let buckets = BUCKET * u64::from(entries.next_power_of_two());
    match map.map_type() {
        kind if kind == bpf_map_type::BPF_MAP_TYPE_HASH as u32 => {
            keys * in_slab(ELEMENT + key + value + POINTER) + buckets
        }
        kind if kind == bpf_map_type::BPF_MAP_TYPE_PERCPU_HASH as u32 => {
            let values = value * (cpus + 2) + 2 * POINTER;
            keys * (in_slab(ELEMENT + key + 2 * POINTER) + values) + buckets
        }
        kind if kind == bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY as u32 => all * (value * (cpus + 2) + POINTER),
        kind if kind == bpf_map_type::BPF_MAP_TYPE_ARRAY as u32 => (all * value).next_multiple_of(PAGE),
        kind if kind == bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as u32 => {
            keys * edges::CONNECTION_BYTES + LIST * cpus.next_power_of_two()
        }
        // A node between two prefixes has no value, and there is at most one for each.
        kind if kind == bpf_map_type::BPF_MAP_TYPE_LPM_TRIE as u32 => {
            2 * keys * in_slab(TRIE_NODE + key + value + POINTER)
        }
        kind if kind == bpf_map_type::BPF_MAP_TYPE_PROG_ARRAY as u32 => (all * POINTER).next_multiple_of(PAGE),
        // Two pages, and twice the buffer's addresses, but the buffer once.
        kind if kind == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32 => all + 3 * PAGE,
        kind => panic!("how much does a map of type {kind} take?"),
    }
}

/// The objects that the daemon loads, each once.
fn objects() -> Vec<Vec<u8>> {
    let files = fs::read_dir(env!("OUT_DIR")).expect("the build made a folder");
    let paths = files.map(|file| file.expect("the folder can be read").path());
    let is_loaded = |path: &PathBuf| path.extension() == Some("o".as_ref()) && !path.ends_with("yardstick.o");
    let objects: Vec<_> = paths.filter(is_loaded).collect();
    assert!(objects.len() >= 4, "the build made {objects:?}");
    objects
        .iter()
        .map(|path| fs::read(path).expect("the object can be read"))
        .collect()
}

/// The bytes of all maps of a name, by name, once they are full.
fn of(cpus: u32) -> BTreeMap<String, u64> {
    with(cpus, [INTERFACES, slots_for(INTERFACES)], |_, entries| entries)
}

/// The same with programs on that many interfaces in that many namespaces, and so many keys in a map of a name and a size.
fn with(cpus: u32, [interfaces, namespaces]: [u32; 2], keys: impl Fn(&str, u32) -> u32) -> BTreeMap<String, u64> {
    let host = Host {
        tcx: true,
        cpus,
        cpu_ids: cpus,
        possible: (0..cpus).collect(),
    };
    let mut all = BTreeMap::new();
    for object in objects() {
        let object = Object::parse(&object).expect("the object is the build's");
        for (name, map) in &object.maps {
            let bytes = if name == traffic::MAP {
                let (arrays, entries) = (u64::from(interfaces.div_ceil(SLOTS)), TrafficMap::entries_on(&host));
                arrays * taken(map, entries, entries, cpus)
            } else if let Some((_, entries)) = OF_NAMESPACES.into_iter().find(|(shared, _)| shared == name) {
                u64::from(namespaces.div_ceil(SLOTS)) * taken(map, entries, entries, cpus)
            } else {
                // What each socket has is bounded by the programs.
                let is_of_sockets = map.map_type() == bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as u32;
                let entries = if is_of_sockets {
                    edges::SOCKETS
                } else {
                    map.max_entries()
                };
                taken(map, entries, keys(name, entries), cpus)
            };
            if !(SHARED.contains(&name.as_str()) && all.contains_key(name)) {
                *all.entry(name.clone()).or_default() += bytes;
            }
        }
    }
    all
}

fn document(name: &str) -> String {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/{}"), name);
    fs::read_to_string(path).expect("the document is there")
}

#[test]
fn with_sixty_four_cpus_full_maps_leave_netmon_room_in_its_control_group() {
    let maps = of(64);
    let all: u64 = maps.values().sum();
    assert!(all <= BUDGET, "{} MiB: {maps:?}", all / MIB);
    let stack = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/stack.yml"));
    let stack = stack.expect("the stack is there");
    let limit = stack
        .split_once("${NETMON_MEMORY:-")
        .and_then(|(_, rest)| rest.split_once("M}"));
    let limit: u64 = limit.and_then(|(limit, _)| limit.parse().ok()).expect("a limit in MiB");
    assert!(
        all + RESIDENT <= limit * MIB,
        "{} of {limit} MiB",
        (all + RESIDENT) / MIB
    );
}

#[test]
fn with_sixty_four_cpus_the_maps_of_a_thousand_containers_take_at_most_forty_megabytes() {
    let keys = |name: &str, entries: u32| {
        let known = KEYS.into_iter().find(|(map, _)| *map == name);
        known.map_or(entries, |(_, keys)| keys.min(entries))
    };
    let mut maps = with(64, [2 * CONTAINERS, CONTAINERS], keys);
    for (name, _) in KEYS {
        assert!(maps.contains_key(name), "there is no map {name}: {maps:?}");
    }
    // Each copy of the programs has a map of its constants (`bpf_array` and one value): two interfaces, and loopback.
    maps.insert("constants".to_owned(), u64::from(3 * CONTAINERS) * in_slab(320));
    let all: u64 = maps.values().sum();
    assert!(all <= NODE_BUDGET, "{all} bytes: {maps:?}");
    let figure = format!("{} MB where there may be 64", all / 1_000_000);
    assert!(document("scale.md").contains(&figure), "docs/scale.md lacks {figure:?}");
}

#[test]
fn the_table_of_kernel_memory_is_that_of_the_objects() {
    let all = CPUS.map(of);
    let document = document("costs.md");
    let row = |name: &str, of: &dyn Fn(&BTreeMap<String, u64>) -> u64| {
        let figures = all.iter().map(|maps| format!(" {:.1} |", of(maps) as f64 / MIB as f64));
        format!("| {name} |{}", figures.collect::<String>())
    };
    let shown = [
        "TRAFFIC",
        "OVERLAY",
        "DROPS",
        "TCP",
        "EDGES",
        "EDGES_LIVE",
        "CONNECTIONS",
        "ADDRESSES",
        "SHARES",
        "DNS",
        "DNS_WAITING",
    ];
    let mut rows: Vec<String> = shown
        .iter()
        .map(|name| row(&format!("`{name}`"), &|maps| maps[*name]))
        .collect();
    rows.push(row("all", &|maps| maps.values().sum()));
    let missing: Vec<_> = rows.iter().filter(|row| !document.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/costs.md lacks:\n{missing:#?}");
}

#[test]
fn a_key_of_tcp_takes_the_same_memory_whatever_the_number_of_cpus() {
    let tcp = |cpus| of(cpus).remove("TCP");
    assert_eq!(tcp(2), tcp(240));
}
