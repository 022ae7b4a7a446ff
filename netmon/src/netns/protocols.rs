//! The protocol counters of a namespace, from its procfs.
//!
//! Columns are found by name, because they differ between kernels. A missing one counts as zero. The files are read
//! for every container at every scrape, so only the sums are kept.

use std::io;

use super::proc_net::ProcNet;
use crate::model::protocols::Protocols;

/// Two lines for each group: names, then values.
const TABLES: [&str; 2] = ["snmp", "netstat"];
/// A name and a value on each line. Missing without IPv6.
const IPV6: &str = "snmp6";
/// Alternating names and values.
const SOCKETS: &str = "sockstat";
/// The same for IPv6. Missing without it.
const IPV6_SOCKETS: &str = "sockstat6";

/// Reads the counters of the calling thread's namespace. The sockets in use are left out unless they are `wanted`: they
/// take one more file.
///
/// # Errors
/// A file cannot be read. The IPv6 files may be missing.
pub fn read(proc_net: &mut ProcNet, sockets_wanted: bool) -> io::Result<Protocols> {
    let mut protocols = Protocols::default();
    for name in TABLES {
        table(proc_net.read(name)?, &mut protocols);
    }
    if let Some(text) = if_there(proc_net.read(IPV6))? {
        ipv6(text, &mut protocols);
    }
    read_sockets(proc_net, sockets_wanted, &mut protocols)?;
    Ok(protocols)
}

fn read_sockets(proc_net: &mut ProcNet, in_use_wanted: bool, protocols: &mut Protocols) -> io::Result<()> {
    sockets(proc_net.read(SOCKETS)?, protocols);
    if in_use_wanted {
        if let Some(text) = if_there(proc_net.read(IPV6_SOCKETS))? {
            ipv6_sockets(text, protocols);
        }
    } else {
        protocols.sockets_in_use = None;
    }
    Ok(())
}

fn if_there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

pub(super) fn table(text: &str, protocols: &mut Protocols) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let Some((group, names)) = names.split_once(':') else {
            continue;
        };
        let Some(values) = values.strip_prefix(group).and_then(|rest| rest.strip_prefix(':')) else {
            continue;
        };
        let wanted = matches!(group, "Ip" | "Tcp" | "Udp" | "TcpExt");
        if !wanted {
            continue;
        }
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            if let Some(field) = field(group, name, protocols) {
                add(field, value);
            }
        }
    }
}

pub(super) fn ipv6(text: &str, protocols: &mut Protocols) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        let field = if let Some(name) = name.strip_prefix("Udp6") {
            field("Udp", name, protocols)
        } else if let Some(name) = name.strip_prefix("Ip6") {
            field("Ip", name, protocols)
        } else {
            None
        };
        if let Some(field) = field {
            add(field, value);
        }
    }
}

pub(super) fn sockets(text: &str, protocols: &mut Protocols) {
    for (name, value) in pairs(text, "TCP:") {
        match name {
            "tw" => add(&mut protocols.time_wait, value),
            "inuse" => add(protocols.sockets_in_use.get_or_insert_default(), value),
            _ => {}
        }
    }
}

/// Adds the sockets of IPv6 to those of IPv4, if these are known.
pub(super) fn ipv6_sockets(text: &str, protocols: &mut Protocols) {
    let in_use = pairs(text, "TCP6:").find(|(name, _)| *name == "inuse");
    if let (Some(sum), Some((_, value))) = (&mut protocols.sockets_in_use, in_use) {
        add(sum, value);
    }
}

/// The names and values in the line that begins so.
fn pairs<'a>(text: &'a str, begin: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let line = text.lines().find_map(|line| line.strip_prefix(begin));
    let mut words = line.unwrap_or_default().split_ascii_whitespace();
    std::iter::from_fn(move || Some((words.next()?, words.next()?)))
}

/// The field for a counter. `None` if the counter is not used.
fn field<'a>(group: &str, name: &str, protocols: &'a mut Protocols) -> Option<&'a mut u64> {
    let Protocols {
        segments,
        time_wait: _,
        sockets_in_use: _,
        losses,
    } = protocols;
    Some(match (group, name) {
        ("Tcp", "OutSegs") => &mut segments.sent,
        ("Tcp", "RetransSegs") => &mut segments.retransmitted,
        ("Tcp", "OutRsts") => &mut segments.resets_sent,
        ("TcpExt", "ListenOverflows") => &mut losses.tcp_listen_overflows,
        ("TcpExt", "ListenDrops") => &mut losses.tcp_listen_drops,
        ("TcpExt", "TCPBacklogDrop") => &mut losses.tcp_backlog_drops,
        ("TcpExt", "TCPRcvQDrop") => &mut losses.tcp_receive_queue_drops,
        ("TcpExt", "RcvPruned" | "OfoPruned") => &mut losses.tcp_prunes,
        ("Udp", "RcvbufErrors") => &mut losses.udp_receive_buffer_errors,
        ("Udp", "SndbufErrors") => &mut losses.udp_send_buffer_errors,
        ("Udp", "InCsumErrors") => &mut losses.udp_checksum_errors,
        ("Udp", "NoPorts") => &mut losses.udp_no_ports,
        ("Ip", "OutNoRoutes") => &mut losses.ip_no_routes,
        ("Ip", "ReasmFails") => &mut losses.ip_reassembly_failures,
        _ => return None,
    })
}

/// A value that is not an unsigned number counts as zero (`MaxConn` is -1).
fn add(field: &mut u64, value: &str) {
    *field = field.wrapping_add(value.parse().unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::{ipv6, ipv6_sockets, sockets, table};
    use crate::model::protocols::Protocols;

    /// From Linux 6.18, shortened.
    const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives OutNoRoutes ReasmFails
Ip: 2 64 30245 3 1
IcmpMsg: InType3
IcmpMsg: 1
Tcp: RtoAlgorithm MaxConn ActiveOpens OutSegs RetransSegs InErrs OutRsts
Tcp: 1 -1 1976 25526 7 0 23
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors
Udp: 59 4 0 60 5 6 2
UdpLite: InDatagrams NoPorts RcvbufErrors
UdpLite: 9 9 9
";

    type Parse = fn(&str, &mut Protocols);

    fn parsed(texts: &[(Parse, &str)]) -> Protocols {
        let mut protocols = Protocols::default();
        for (parse, text) in texts {
            parse(text, &mut protocols);
        }
        protocols
    }

    #[test]
    fn counters_are_found_by_name() {
        let protocols = parsed(&[(table, SNMP)]);
        assert_eq!(protocols.segments.sent, 25526);
        assert_eq!(protocols.segments.retransmitted, 7);
        assert_eq!(protocols.segments.resets_sent, 23);
        assert_eq!(protocols.losses.udp_receive_buffer_errors, 5);
        assert_eq!(protocols.losses.udp_no_ports, 4);
        assert_eq!(protocols.losses.ip_no_routes, 3);
    }

    #[test]
    fn both_families_of_addresses_are_one_sum() {
        let ipv6_text = "Ip6OutNoRoutes \t10\nUdp6NoPorts   1\nUdp6RcvbufErrors 20\nUdpLite6NoPorts 5\nIcmp6InMsgs 3\n";
        let protocols = parsed(&[(table, SNMP), (ipv6, ipv6_text)]);
        assert_eq!(protocols.losses.udp_receive_buffer_errors, 25);
        assert_eq!(protocols.losses.udp_no_ports, 5);
        assert_eq!(protocols.losses.ip_no_routes, 13);
    }

    #[test]
    fn closed_connections_are_found_among_the_sockets() {
        let text = "sockets: used 13\nTCP: inuse 1 orphan 0 tw 42 alloc 1 mem 169\nUDP: inuse 0 mem 0\n";
        assert_eq!(parsed(&[(sockets, text)]).time_wait, 42);
    }

    #[test]
    fn sockets_in_use_are_those_of_both_families() {
        let text = "sockets: used 13\nTCP: inuse 3 orphan 0 tw 42 alloc 1 mem 169\nUDP: inuse 9 mem 0\n";
        assert_eq!(parsed(&[(sockets, text)]).sockets_in_use, Some(3));
        let text6 = "TCP6: inuse 4\nUDP6: inuse 8\n";
        assert_eq!(
            parsed(&[(sockets, text), (ipv6_sockets, text6)]).sockets_in_use,
            Some(7)
        );
        assert_eq!(
            parsed(&[(ipv6_sockets, text6)]).sockets_in_use,
            None,
            "half of them is no sum"
        );
    }

    #[test]
    fn what_makes_no_sense_counts_nothing() {
        for text in [
            "",
            "Tcp",
            "Tcp: OutSegs",
            "Tcp: OutSegs\nUdp: 1\n",
            "Tcp: OutSegs\nTcp: many\n",
            "Tcp: OutSegs\nTcp:\n",
            "\u{0}\n\n\n",
        ] {
            let nothing = parsed(&[(table, text), (ipv6, text), (sockets, text), (ipv6_sockets, text)]);
            assert_eq!(nothing, Protocols::default(), "{text:?}");
        }
    }
}
