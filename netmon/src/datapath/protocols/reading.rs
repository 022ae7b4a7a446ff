//! What the program's row says of a namespace. Pure: must not know how the row was read.

use netmon_common::protocols::{NO_CONNTRACK, NO_QUEUES, Row};

use crate::model::{
    interface::NetnsId,
    protocols::{Losses, Protocols},
    tcp::Segments,
};

/// What the program read of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolsReading {
    /// The namespace.
    pub netns: NetnsId,
    /// Its counters.
    pub protocols: Protocols,
    /// How many connections may wait to be accepted.
    pub listen_backlog_limit: u64,
    /// Whether any device may have a queueing discipline that queues.
    pub may_queue: bool,
    /// How many connections conntrack tracks. `None` if that was not read: [`super::ProtocolsProgram::find_conntrack`] may
    /// help.
    pub conntrack_entries: Option<u64>,
}

/// What this row says. It `has_sockets` only if they were wanted.
pub(super) fn reading(row: Row, has_sockets: bool) -> ProtocolsReading {
    let Row {
        ticket: _,
        cookie,
        failures: _,
        somaxconn,
        time_wait,
        queues,
        conntrack_entries,
        sockets,
        counts,
    } = row;
    // The order of `ENUMERATORS`.
    let [
        sent,
        retransmitted,
        resets_sent,
        pruned,
        out_of_order_pruned,
        tcp_listen_overflows,
        tcp_listen_drops,
        tcp_backlog_drops,
        tcp_receive_queue_drops,
        udp_no_ports,
        udp_receive_buffer_errors,
        udp_send_buffer_errors,
        udp_checksum_errors,
        ip_no_routes,
        ip_reassembly_failures,
    ] = counts;
    ProtocolsReading {
        netns: NetnsId(cookie),
        protocols: Protocols {
            segments: Segments {
                sent,
                retransmitted,
                resets_sent,
                ..Segments::default()
            },
            time_wait: time_wait.saturating_sub(1),
            sockets_in_use: has_sockets.then(|| u64::try_from(sockets.cast_signed()).unwrap_or(0)),
            losses: Losses {
                tcp_listen_overflows,
                tcp_listen_drops,
                tcp_backlog_drops,
                tcp_receive_queue_drops,
                tcp_prunes: pruned.wrapping_add(out_of_order_pruned),
                udp_receive_buffer_errors,
                udp_send_buffer_errors,
                udp_checksum_errors,
                udp_no_ports,
                ip_no_routes,
                ip_reassembly_failures,
            },
        },
        listen_backlog_limit: somaxconn,
        may_queue: queues != NO_QUEUES,
        conntrack_entries: (conntrack_entries != NO_CONNTRACK).then_some(conntrack_entries),
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::protocols::ENUMERATORS;

    use super::{NO_CONNTRACK, NetnsId, Row};

    #[test]
    fn each_count_has_its_place_in_the_reading() {
        let row = Row {
            cookie: 4242,
            somaxconn: 4096,
            time_wait: 3,
            counts: std::array::from_fn(|at| 1 << at),
            ..Row::default()
        };
        let reading = super::reading(row, false);
        assert_eq!((reading.netns, reading.listen_backlog_limit), (NetnsId(4242), 4096));
        let it = reading.protocols;
        assert_eq!((it.time_wait, it.sockets_in_use), (2, None));
        let losses = it.losses;
        let shown = [
            ("TCP_MIB_OUTSEGS", it.segments.sent),
            ("TCP_MIB_RETRANSSEGS", it.segments.retransmitted),
            ("TCP_MIB_OUTRSTS", it.segments.resets_sent),
            ("LINUX_MIB_LISTENOVERFLOWS", losses.tcp_listen_overflows),
            ("LINUX_MIB_LISTENDROPS", losses.tcp_listen_drops),
            ("LINUX_MIB_TCPBACKLOGDROP", losses.tcp_backlog_drops),
            ("LINUX_MIB_TCPRCVQDROP", losses.tcp_receive_queue_drops),
            ("UDP_MIB_NOPORTS", losses.udp_no_ports),
            ("UDP_MIB_RCVBUFERRORS", losses.udp_receive_buffer_errors),
            ("UDP_MIB_SNDBUFERRORS", losses.udp_send_buffer_errors),
            ("UDP_MIB_CSUMERRORS", losses.udp_checksum_errors),
            ("IPSTATS_MIB_OUTNOROUTES", losses.ip_no_routes),
            ("IPSTATS_MIB_REASMFAILS", losses.ip_reassembly_failures),
        ];
        for (name, value) in shown {
            let at = ENUMERATORS.iter().position(|it| *it == name).expect("a counter");
            assert_eq!(value, 1 << at, "{name}");
        }
        assert_eq!(losses.tcp_prunes, 1 << 3 | 1 << 4);
        assert!(!reading.may_queue);
        assert_eq!(reading.conntrack_entries, Some(0));
        let other = super::reading(
            Row {
                queues: 1,
                conntrack_entries: NO_CONNTRACK,
                sockets: 5,
                ..row
            },
            true,
        );
        assert_eq!((other.may_queue, other.conntrack_entries), (true, None));
        assert_eq!(other.protocols.sockets_in_use, Some(5));
        // They were read one CPU after the other, and one that ended meanwhile was missed where it began.
        let less_than_none = Row {
            sockets: u64::MAX,
            ..row
        };
        assert_eq!(super::reading(less_than_none, true).protocols.sockets_in_use, Some(0));
        // A kernel that counts no reference of its own.
        assert_eq!(
            super::reading(Row { time_wait: 0, ..row }, false).protocols.time_wait,
            0
        );
    }
}
