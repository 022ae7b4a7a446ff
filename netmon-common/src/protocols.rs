//! The counters of a namespace's protocols, which a program reads when the daemon runs it.
//!
//! The kernel keeps them per CPU, in tables that `/proc/net/snmp`, `netstat` and `snmp6` show as text. Which table a
//! counter is in, and its number there, differ between kernels. The daemon sets both from the kernel's types.

use core::ops::Range;

use crate::kernel::{Field, field};

/// The program that finds out where a CPU's memory is. It is run once for each CPU that there may be. Its arguments are
/// the CPU's index in the programs' list, which has no gaps, its number, which may have, and a ticket. A run that did not
/// find it leaves the ticket out of the [`Row`].
pub const PROGRAM_LOCATE: &str = "protocols_locate";
/// The program that reads the namespace of the thread that runs it, into [`MAP_ROW`]. Its arguments are the index of
/// the run's first CPU, a ticket, and those of conntrack: [`CONNTRACK_ID`] and so on.
pub const PROGRAM_READ: &str = "protocols_read";

/// The argument for the number under which namespaces have what is conntrack's (`net->gen->ptr`); 0 if it is unknown. Only
/// conntrack itself knows the number, and another one when it is loaded again.
pub const CONNTRACK_ID: usize = 2;
/// The argument for the offset of its count's address, in the table of its settings.
pub const CONNTRACK_SETTING: usize = 3;
/// The argument for the offset of its count (`struct nf_conntrack_net`, which may be a module's).
pub const CONNTRACK_COUNT: usize = 4;
/// The argument for the offset of its settings.
pub const CONNTRACK_SETTINGS: usize = 5;
/// A value of [`Row::conntrack_entries`]: it was not read.
pub const NO_CONNTRACK: u64 = u64::MAX;
/// The argument for where a CPU's count of TCP's sockets over IPv4 is (`struct prot_inuse`); [`crate::kernel::UNSET`] if it is not
/// wanted.
pub const SOCKETS_IPV4: usize = 6;
/// The same over IPv6.
pub const SOCKETS_IPV6: usize = 7;

/// The program that finds out under which index the protocol of a socket counts its sockets. Its arguments are the
/// socket's file descriptor, and a ticket. The index is then in [`Row::sockets`].
pub const PROGRAM_INDEX: &str = "protocols_index";

/// The map of what was read: one [`Row`].
pub const MAP_ROW: &str = "ROW";

/// How many CPUs one run reads. A verifier walks every round of a loop.
pub const CPUS_A_RUN: u32 = 64;
/// The greatest number of CPUs: a power of 2. On a machine with more the counters are read from `/proc`.
pub const MAX_CPUS: usize = 1024;

/// How many counters are read.
pub const COUNTERS: usize = 15;
/// The enumerators of the counters, in the order of [`Row::counts`]. Their enumerations have no names.
pub const ENUMERATORS: [&str; COUNTERS] = [
    "TCP_MIB_OUTSEGS",
    "TCP_MIB_RETRANSSEGS",
    "TCP_MIB_OUTRSTS",
    "LINUX_MIB_RCVPRUNED",
    "LINUX_MIB_OFOPRUNED",
    "LINUX_MIB_LISTENOVERFLOWS",
    "LINUX_MIB_LISTENDROPS",
    "LINUX_MIB_TCPBACKLOGDROP",
    "LINUX_MIB_TCPRCVQDROP",
    "UDP_MIB_NOPORTS",
    "UDP_MIB_RCVBUFERRORS",
    "UDP_MIB_SNDBUFERRORS",
    "UDP_MIB_CSUMERRORS",
    "IPSTATS_MIB_OUTNOROUTES",
    "IPSTATS_MIB_REASMFAILS",
];

/// How many windows there are: groups of counters that lie near each other in one kind of table.
pub const WINDOWS: usize = 6;
/// The counters of each window. Those of `linux_mib` lie far apart, and what is between them is not worth its cache
/// misses.
pub const COUNTERS_OF: [Range<usize>; WINDOWS] = [0..3, 3..7, 7..8, 8..9, 9..13, 13..COUNTERS];

/// The structures of tables. Each begins with the counters, `mibs`, of eight bytes each.
pub const STRUCTURES: [&str; 4] = ["tcp_mib", "linux_mib", "udp_mib", "ipstats_mib"];

/// How many tables a namespace has.
pub const TABLES: usize = 6;
/// The members of `struct net` that are pointers to tables. A kernel without IPv6 does not have those from
/// [`FIRST_OF_IPV6`] on.
pub const MEMBERS: [&str; TABLES] = [
    "mib.tcp_statistics",
    "mib.net_statistics",
    "mib.udp_statistics",
    "mib.ip_statistics",
    "mib.udp_stats_in6",
    "mib.ipv6_statistics",
];
/// The first table that only IPv6 has.
pub const FIRST_OF_IPV6: usize = 4;
/// What is copied on each CPU: a table, and a window of it.
pub const COPIES: [(usize, usize); 8] = [(0, 0), (1, 1), (1, 2), (1, 3), (2, 4), (3, 5), (4, 4), (5, 5)];

/// The global for the offset of each of [`MEMBERS`]: numbers of 32 bits.
pub const GLOBAL_TABLES: &str = "MIB_TABLES";
/// The global for the first counter of each window.
pub const GLOBAL_FIRST: &str = "MIB_FIRST";
/// The global for how many counters each window has.
pub const GLOBAL_WORDS: &str = "MIB_WORDS";
/// The global for where each counter is in its window.
pub const GLOBAL_PLACES: &str = "MIB_PLACES";
/// The global for the number of CPUs.
pub const GLOBAL_CPUS: &str = "CPUS";

/// How many counters a window can have. The widest has fifteen in Linux 6.18.
pub const WIDEST: usize = 64;

/// The fields that the programs read.
pub const FIELDS: &[Field] = &[
    field("TASK_NAMESPACES", "task_struct", "nsproxy"),
    field("NAMESPACES_NET", "nsproxy", "net_ns"),
    field("NAMESPACE_COOKIE", "net", "net_cookie"),
    field("NAMESPACE_SOMAXCONN", "net", "core.sysctl_somaxconn"),
    field("NAMESPACE_TIME_WAIT", "net", "ipv4.tcp_death_row.tw_refcount"),
    field("ARRAY_POINTERS", "bpf_array", "pptrs"),
    field("NAMESPACE_DEVICES", "net", "dev_base_head"),
    field("DEVICE_LISTED", "net_device", "dev_list"),
    field("DEVICE_QDISC", "net_device", "qdisc"),
    field("QDISC_OPERATIONS", "Qdisc", "ops"),
    field("OPERATIONS_ID", "Qdisc_ops", "id"),
    field("NAMESPACE_GENERIC", "net", "gen"),
    field("SETTINGS_TABLE", "ctl_table_header", "ctl_table"),
    field("NAMESPACE_SOCKETS", "net", "core.prot_inuse"),
    field("TASK_FILES", "task_struct", "files"),
    field("FILES_TABLE", "files_struct", "fdt"),
    field("TABLE_FILES", "fdtable", "fd"),
    field("FILE_DATA", "file", "private_data"),
    field("SOCKET_SOCK", "socket", "sk"),
    field("SOCK_PROTOCOL", "sock", "__sk_common.skc_prot"),
    field("PROTOCOL_INDEX", "proto", "inuse_idx"),
];

/// How many devices of a namespace are looked at. If there are more, some may queue.
pub const DEVICES: u32 = 64;
/// A value of [`Row::queues`]: no device has a queueing discipline that queues.
pub const NO_QUEUES: u64 = 0;
/// A value of [`Row::queues`]: a device may have one.
pub const MAY_QUEUE: u64 = 1;

/// What one run of [`PROGRAM_READ`] read of a namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The ticket of the run. It is written last, so a run that ended early leaves another one.
    pub ticket: u64,
    /// The namespace's cookie.
    pub cookie: u64,
    /// Not 0 if a table could not be read on a CPU of the run.
    pub failures: u64,
    /// How many connections may wait to be accepted.
    pub somaxconn: u64,
    /// Sockets in the state `TIME_WAIT`, and 1: the kernel's count of references.
    pub time_wait: u64,
    /// Whether any device may queue: [`NO_QUEUES`] or [`MAY_QUEUE`].
    pub queues: u64,
    /// How many connections conntrack tracks, or [`NO_CONNTRACK`].
    pub conntrack_entries: u64,
    /// TCP's sockets in use, added up over the CPUs of the run; a number with a sign. 0 if they were not wanted.
    pub sockets: u64,
    /// The counters of [`ENUMERATORS`], added up over the CPUs of the run and over both families of addresses.
    pub counts: [u64; COUNTERS],
}

/// How many words a [`Row`] has.
pub const ROW_WORDS: usize = 8 + COUNTERS;

const _: () = assert!(size_of::<Row>() == 8 * ROW_WORDS && align_of::<Row>() == 8);

impl Row {
    /// The row of these words, as they lie in the map.
    #[must_use]
    pub fn of(words: &[u64; ROW_WORDS]) -> Self {
        let [
            ticket,
            cookie,
            failures,
            somaxconn,
            time_wait,
            queues,
            conntrack_entries,
            sockets,
            counts @ ..,
        ] = *words;
        Self {
            ticket,
            cookie,
            failures,
            somaxconn,
            time_wait,
            queues,
            conntrack_entries,
            sockets,
            counts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{COPIES, COUNTERS, COUNTERS_OF, ENUMERATORS, MEMBERS, WINDOWS};

    #[test]
    fn every_counter_is_in_one_window() {
        let all: [usize; COUNTERS] = core::array::from_fn(|at| at);
        assert!(COUNTERS_OF.into_iter().flatten().eq(all));
    }

    #[test]
    fn every_window_is_copied_from_each_table_that_has_its_counters() {
        let prefixes = ["TCP_", "LINUX_", "UDP_", "IPSTATS_", "UDP_", "IPSTATS_"];
        let mut wanted = prefixes
            .into_iter()
            .zip(MEMBERS)
            .enumerate()
            .flat_map(|(table, (prefix, _))| {
                (0..WINDOWS).filter_map(move |window| {
                    let names = &ENUMERATORS[COUNTERS_OF[window].clone()];
                    let are_its = names.iter().all(|name| name.starts_with(prefix));
                    assert!(
                        are_its || !names.iter().any(|name| name.starts_with(prefix)),
                        "{names:?}"
                    );
                    are_its.then_some((table, window))
                })
            });
        for copy in COPIES {
            assert_eq!(Some(copy), wanted.next());
        }
        assert_eq!(wanted.next(), None);
    }
}
