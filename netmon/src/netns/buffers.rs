//! Queues, tables and their limits, as procfs shows them to the calling thread's namespace.
//!
//! Values that cannot be read are left out: not every kernel has all of them, and a container may see fewer.

use std::{fs, io};

use super::{
    proc_net::ProcNet,
    rtnetlink::{Client, NetlinkError},
    settings::{self, Settings},
};
use crate::model::{
    buffers::{Backlogs, Conntrack, Neighbours, NodeBuffers, Softnet},
    interface::Device,
};

const SOFTNET: &str = "/proc/thread-self/net/softnet_stat";
const CONNTRACK: &str = "/proc/thread-self/net/stat/nf_conntrack";
/// The same, by its name in [`ProcNet`].
const CONNTRACK_STATISTICS: &str = "stat/nf_conntrack";
const SOCKETS: &str = "/proc/thread-self/net/sockstat";
/// The tables of neighbours: the label of the family, the file with their statistics, and their thresholds. Only the
/// machine's first namespace has these settings.
const NEIGHBOURS: [(&str, &str, [&str; 3]); 2] = [
    (
        "ipv4",
        "/proc/thread-self/net/stat/arp_cache",
        [
            "net.ipv4.neigh.default.gc_thresh1",
            "net.ipv4.neigh.default.gc_thresh2",
            "net.ipv4.neigh.default.gc_thresh3",
        ],
    ),
    (
        "ipv6",
        "/proc/thread-self/net/stat/ndisc_cache",
        [
            "net.ipv6.neigh.default.gc_thresh1",
            "net.ipv6.neigh.default.gc_thresh2",
            "net.ipv6.neigh.default.gc_thresh3",
        ],
    ),
];
const CONNTRACK_ENTRIES: &str = "net.netfilter.nf_conntrack_count";
const CONNTRACK_LIMIT: &str = "net.netfilter.nf_conntrack_max";
const LISTEN_BACKLOG_LIMIT: &str = "net.core.somaxconn";

/// The sysctls that are reported. Each has its label, its sysctl name, and the index of the number to read. In a
/// sysctl with three numbers, the last is the limit.
const SYSCTLS: &[(&str, &str, usize)] = &[
    ("net.core.netdev_max_backlog", "net.core.netdev_max_backlog", 0),
    ("net.core.netdev_budget", "net.core.netdev_budget", 0),
    ("net.core.netdev_budget_usecs", "net.core.netdev_budget_usecs", 0),
    ("net.core.rmem_default", "net.core.rmem_default", 0),
    ("net.core.rmem_max", "net.core.rmem_max", 0),
    ("net.core.wmem_default", "net.core.wmem_default", 0),
    ("net.core.wmem_max", "net.core.wmem_max", 0),
    ("net.core.somaxconn", LISTEN_BACKLOG_LIMIT, 0),
    ("net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_max_syn_backlog", 0),
    ("net.ipv4.tcp_rmem_max", "net.ipv4.tcp_rmem", 2),
    ("net.ipv4.tcp_wmem_max", "net.ipv4.tcp_wmem", 2),
    ("net.ipv4.tcp_mem_max_pages", "net.ipv4.tcp_mem", 2),
    ("net.ipv4.udp_mem_max_pages", "net.ipv4.udp_mem", 2),
    ("net.ipv4.ipfrag_high_thresh", "net.ipv4.ipfrag_high_thresh", 0),
    ("net.ipv4.ip_forward", "net.ipv4.ip_forward", 0),
    // Exists with br_netfilter only.
    (
        "net.bridge.bridge-nf-call-iptables",
        "net.bridge.bridge-nf-call-iptables",
        0,
    ),
    ("net.netfilter.nf_conntrack_max", CONNTRACK_LIMIT, 0),
];

/// Reads the buffers of the node, which has these devices. The backlogs are returned per processor.
///
/// # Errors
/// The kernel does not answer, or shows no backlog.
pub fn node(
    client: &mut Client,
    devices: &[Device],
    settings: &mut Settings,
) -> Result<(NodeBuffers, Backlogs), NetlinkError> {
    let softnet = fs::read_to_string(SOFTNET).map_err(|source| NetlinkError::Socket {
        what: "read /proc/net/softnet_stat",
        source,
    })?;
    let disciplines = client.queues()?;
    let queues = disciplines.into_iter().filter_map(|(ifindex, queue)| {
        let device = devices.iter().find(|device| device.ifindex == ifindex)?;
        Some((device.name.clone(), queue))
    });
    let sockets = fs::read_to_string(SOCKETS).unwrap_or_default();
    let page = rustix::param::page_size() as u64;
    let buffers = NodeBuffers {
        softnet: Softnet::default(),
        queues: queues.collect(),
        conntrack: conntrack(settings),
        neighbours: match neighbours(settings) {
            Some(tables) => tables,
            None => client.neighbours()?,
        },
        tcp_memory_bytes: pages(&sockets, "TCP:").saturating_mul(page),
        udp_memory_bytes: pages(&sockets, "UDP:").saturating_mul(page),
        sysctls: SYSCTLS
            .iter()
            .filter_map(|(name, path, index)| Some((*name, settings.number(path, *index)?)))
            .collect(),
    };
    Ok((buffers, parse_softnet(&softnet)))
}

/// How many connections conntrack tracks. `None` if it tracks none.
///
/// Read from the statistics if the kernel has them. The sysctl of this name has the same value, but opening a sysctl
/// takes longer the more namespaces there are. The kernel keeps those of one name in one chain (`proc_sys_compare`).
#[must_use]
pub fn conntrack_entries(proc_net: &mut ProcNet) -> Option<u64> {
    // The number is in each processor's line, and there may be hundreds. The names and two lines fit.
    match proc_net.begin(CONNTRACK_STATISTICS, 512) {
        Ok(text) => parse_conntrack_entries(text),
        Err(_) => settings::number(CONNTRACK_ENTRIES, 0),
    }
}

/// How many connections may wait to be accepted. Too slow for every scrape, because it opens a sysctl: see
/// [`conntrack_entries`].
#[must_use]
pub fn listen_backlog_limit() -> Option<u64> {
    settings::number(LISTEN_BACKLOG_LIMIT, 0)
}

/// The tables of neighbours, or `None` if something of them is missing. For rtnetlink's list of them, the kernel walks all
/// devices of all namespaces, and holds RTNL meanwhile (`neightbl_dump_info`).
fn neighbours(settings: &mut Settings) -> Option<Vec<Neighbours>> {
    let mut tables = Vec::new();
    for (family, statistics, thresholds) in NEIGHBOURS {
        let text = match fs::read_to_string(statistics) {
            Ok(text) => text,
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !tables.is_empty() => break,
            Err(_) => return None,
        };
        let [first, second, third] = thresholds.map(|name| settings.number(name, 0));
        tables.push(Neighbours {
            family,
            thresholds: [first?, second?, third?],
            ..parse_neighbours(&text)?
        });
    }
    Some(tables)
}

fn conntrack(settings: &mut Settings) -> Option<Conntrack> {
    let limits = Conntrack {
        entries: settings.number(CONNTRACK_ENTRIES, 0)?,
        limit: settings.number(CONNTRACK_LIMIT, 0)?,
        ..Conntrack::default()
    };
    let counts = fs::read_to_string(CONNTRACK).unwrap_or_default();
    Some(parse_conntrack(&counts, limits))
}

/// The index of the processor's number in a line of the backlogs (since Linux 5.10).
const PROCESSOR: usize = 12;

/// One line of hexadecimal numbers for each online processor.
pub(super) fn parse_softnet(text: &str) -> Backlogs {
    let backlog = |line: &str| {
        let numbers: Vec<u32> = line
            .split_ascii_whitespace()
            .map_while(|number| u32::from_str_radix(number, 16).ok())
            .collect();
        Some((*numbers.get(PROCESSOR)?, [numbers[0], numbers[1], numbers[2]]))
    };
    text.lines().filter_map(backlog).collect()
}

/// A line of names, then a line of hexadecimal numbers for each processor.
pub(super) fn parse_conntrack(text: &str, mut conntrack: Conntrack) -> Conntrack {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    for line in lines {
        for (name, number) in names.iter().zip(line.split_ascii_whitespace()) {
            let field = match *name {
                "drop" => &mut conntrack.drops,
                "early_drop" => &mut conntrack.early_drops,
                "insert_failed" => &mut conntrack.insert_failures,
                _ => continue,
            };
            *field = field.wrapping_add(hexadecimal(number));
        }
    }
    conntrack
}

/// The column `entries`, which is the namespace's total in every processor's line.
pub(super) fn parse_conntrack_entries(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines.next()?.split_ascii_whitespace().position(|it| it == "entries")?;
    let number = lines.next()?.split_ascii_whitespace().nth(column)?;
    u64::from_str_radix(number, 16).ok()
}

/// The same kind of table: the number of neighbours is in every processor's line, and each counts its own failures.
pub(super) fn parse_neighbours(text: &str) -> Option<Neighbours> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let column = |name| names.iter().position(|it| *it == name);
    let (entries, full) = (column("entries")?, column("table_fulls")?);
    let mut neighbours = None;
    for line in lines {
        let numbers: Vec<_> = line.split_ascii_whitespace().collect();
        let number = |column: usize| u64::from_str_radix(numbers.get(column)?, 16).ok();
        let table: &mut Neighbours = neighbours.get_or_insert_default();
        table.entries = number(entries)?;
        table.full += number(full)?;
    }
    neighbours
}

fn hexadecimal(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or(0)
}

/// How many pages of memory a protocol's sockets use.
pub(super) fn pages(sockets: &str, protocol: &str) -> u64 {
    let line = sockets.lines().find_map(|line| line.strip_prefix(protocol));
    let mut words = line.unwrap_or_default().split_ascii_whitespace();
    words.find(|word| *word == "mem");
    words.next().and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{pages, parse_conntrack, parse_conntrack_entries, parse_neighbours, parse_softnet};
    use crate::model::buffers::{Conntrack, Softnet, SoftnetLedger};

    #[test]
    fn the_backlog_is_summed_over_processors_and_never_falls() {
        let line = |counts: &str, processor: &str| format!("{counts} {} {processor}", "00000000 ".repeat(9));
        let first = line("0000552d 00000001 00000000", "00000000");
        let third = line("fffffffe 00000002 0000000a", "00000002 00000000 00000000");
        let mut ledger = SoftnetLedger::default();
        let mut sum = |lines: &[&str]| {
            let Softnet {
                processed,
                dropped,
                times_squeezed,
            } = ledger.observe(parse_softnet(&lines.join("\n")));
            (processed, dropped, times_squeezed)
        };
        // It begins at 0, whatever the kernel has counted before: the counts may have overflowed any number of times.
        assert_eq!(sum(&[&first, &third, "", "nonsense", "1 2 3"]), (0, 0, 0));
        // The third processor goes offline and has no line. Later it is online again, and its 32-bit counter has
        // overflowed.
        let first = line("0000552e 00000002 00000000", "00000000");
        assert_eq!(sum(&[&first]), (1, 1, 0));
        let third = line("00000001 00000002 0000000b", "00000002");
        assert_eq!(sum(&[&first, &third]), (4, 1, 1));
        // A processor that comes online for the first time has a past, too.
        let fourth = line("00000100 00000100 00000100", "00000003");
        assert_eq!(sum(&[&first, &third, &fourth]), (4, 1, 1));
    }

    #[test]
    fn connections_are_found_by_the_name_of_the_column() {
        // Linux 6.1 and 6.18 have different columns.
        for text in [
            "entries  clashres found insert_failed drop early_drop\n0a 00 00 01 02 03\n0a 00 00 01 00 00\n",
            "early_drop drop insert_failed\n03 02 02\n",
        ] {
            let conntrack = parse_conntrack(text, Conntrack::default());
            assert_eq!(
                (conntrack.drops, conntrack.early_drops, conntrack.insert_failures),
                (2, 3, 2)
            );
        }
        assert_eq!(parse_conntrack("", Conntrack::default()), Conntrack::default());
    }

    #[test]
    fn the_entries_are_those_of_any_processors_line() {
        let text = "entries  clashres found\n0000001f 00000000 00000000\n0000001f 00000000 00000000\n";
        assert_eq!(parse_conntrack_entries(text), Some(31));
        for text in ["", "entries\n", "found\n1\n", "entries\nmany\n"] {
            assert_eq!(parse_conntrack_entries(text), None, "{text}");
        }
    }

    #[test]
    fn a_table_of_neighbours_is_one_for_all_processors_and_its_failures_are_theirs() {
        let text = "entries  allocs   table_fulls\n0000002a 00000001 00000002\n0000002a 00000003 00000001\n";
        let table = parse_neighbours(text).expect("a table");
        assert_eq!((table.entries, table.full), (42, 3));
        // A kernel that does not count them; nothing; nonsense.
        for text in [
            "entries\n00000001\n",
            "",
            "entries table_fulls\n",
            "entries table_fulls\n1\n",
            "entries table_fulls\nx 1\n",
        ] {
            assert!(parse_neighbours(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_memory_of_sockets_is_found_among_their_numbers() {
        let text = "sockets: used 13\nTCP: inuse 1 orphan 0 tw 42 alloc 1 mem 169\nUDP: inuse 0 mem 7\n";
        assert_eq!(
            (pages(text, "TCP:"), pages(text, "UDP:"), pages(text, "RAW:")),
            (169, 7, 0)
        );
    }
}
