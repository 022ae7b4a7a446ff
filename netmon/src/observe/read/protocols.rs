//! Where the counters of a namespace's protocols come from: from a kernel program, or from procfs where there is none.
//!
//! Both have the same counters. The program takes a fiftieth of the time. It proves itself against procfs before it is
//! used, and it is given up for good when it fails several times in a row.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use crate::{
    datapath::{
        DatapathError,
        protocols::{ProtocolsProgram, ProtocolsReading},
    },
    model::{
        health::ProgramRow,
        interface::NetnsId,
        protocols::{Losses, Protocols},
        tcp::Segments,
    },
    netns::{buffers, enter::inside, proc_net::ProcNet, protocols as files, rtnetlink::Client},
};

use super::ReadError;

/// How often the program may differ from procfs before it counts as wrong. The counters are read one after the other, so
/// one that is between two readings of the same value differs only if the program is wrong.
const TRIALS: usize = 3;

/// How many runs of the program may fail one after the other before it is given up. The kernel may have no memory for
/// one.
const FAILURES: u32 = 3;

/// How long after a search for conntrack's count none follows. Namespaces may have one that cannot be found.
const BETWEEN_SEARCHES: Duration = Duration::from_mins(1);

/// What the log says where there is no program.
const FROM_FILES: &str = "the protocols' counters are read from /proc/net, which takes many times as long";

/// Reads the counters of protocols.
#[derive(Debug, Default)]
pub struct ProtocolsReader {
    program: Option<ProtocolsProgram>,
    failures: Failures,
    /// When conntrack's count was last searched for.
    searched: Option<Instant>,
}

/// How many runs of the program have failed since the last one that did not.
#[derive(Debug, Default)]
struct Failures(u32);

impl Failures {
    /// Counts one more. Returns whether the program is given up.
    const fn are_too_many(&mut self) -> bool {
        self.0 += 1;
        self.0 >= FAILURES
    }
}

/// What was read of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) netns: NetnsId,
    pub(super) protocols: Protocols,
    /// How many connections may wait to be accepted. `None` if that was not read.
    pub(super) listen_backlog_limit: Option<u64>,
    /// Whether any device may have a queueing discipline that queues.
    pub(super) may_queue: bool,
    /// How many connections conntrack tracks. `None` if that was not read.
    pub(super) conntrack_entries: Option<u64>,
}

impl ProtocolsReader {
    /// Reads by this program, if what it reads in the node's namespace is what procfs shows there.
    #[must_use]
    pub fn new(program: Result<ProtocolsProgram, DatapathError>, node: &Path) -> Self {
        let proven = match program {
            // What this kernel never had is no fault, and others say it: drops and TCP need the same.
            Err(error) if error.is_lacking() => {
                info!(%error, "{FROM_FILES}");
                return Self::default();
            }
            Err(error) => {
                debug!(?error, "all that the kernel said");
                Err(error.to_string())
            }
            Ok(mut program) => {
                let proven = inside(node, || prove(&mut program)).map_err(|error| error.to_string());
                proven.flatten().map(|()| program)
            }
        };
        match proven {
            Ok(program) => {
                info!("the protocols' counters are read by a kernel program");
                Self {
                    program: Some(program),
                    ..Self::default()
                }
            }
            Err(error) => {
                warn!(error, "{FROM_FILES}");
                Self::default()
            }
        }
    }

    /// The program that reads, if one does.
    #[must_use]
    pub fn program(&self) -> Option<ProgramRow> {
        self.program.is_some().then(ProtocolsProgram::info)
    }

    /// Reads the counters of the calling thread's namespace, which is this one.
    pub(super) fn read(
        &mut self,
        netns: NetnsId,
        proc_net: &mut ProcNet,
        wants_sockets: bool,
    ) -> Result<Read, ReadError> {
        if let Some(program) = &mut self.program {
            match checked(program.read(wants_sockets), netns) {
                Ok(reading) => {
                    self.failures = Failures::default();
                    return Ok(Read {
                        netns,
                        protocols: reading.protocols,
                        listen_backlog_limit: Some(reading.listen_backlog_limit),
                        may_queue: reading.may_queue,
                        conntrack_entries: reading.conntrack_entries,
                    });
                }
                Err(error) => self.failed(&error),
            }
        }
        Ok(Read {
            netns,
            protocols: files::read(proc_net, wants_sockets)?,
            listen_backlog_limit: None,
            may_queue: true,
            conntrack_entries: None,
        })
    }

    /// A run has failed: this once, or once too often.
    fn failed(&mut self, error: &str) {
        if !self.failures.are_too_many() {
            debug!(
                error,
                "the program that reads the protocols' counters failed; /proc/net is read"
            );
            return;
        }
        warn!(
            error,
            "the program that reads the protocols' counters failed {FAILURES} times in a row and is given up; they are \
             read from /proc/net from now on"
        );
        self.program = None;
    }

    /// How many connections conntrack tracks in the calling thread's namespace, as procfs shows it. If it tracks any there,
    /// later readings of the program have it, too.
    pub(super) fn conntrack_entries(&mut self, proc_net: &mut ProcNet) -> Option<u64> {
        let entries = buffers::conntrack_entries(proc_net);
        let now = Instant::now();
        let is_due = self
            .searched
            .is_none_or(|at| now.saturating_duration_since(at) >= BETWEEN_SEARCHES);
        if let (Some(program), true, true) = (&mut self.program, entries.is_some(), is_due) {
            self.searched = Some(now);
            match program.find_conntrack() {
                Ok(true) => debug!("a kernel program reads how many connections conntrack tracks"),
                Ok(false) => debug!("conntrack's count was not found; it is read from /proc/net"),
                Err(error) => debug!(%error, "conntrack's count was not searched for; it is read from /proc/net"),
            }
        }
        entries
    }
}

/// What the program read in this namespace. The thread is in no other one, so a program that says so is wrong.
fn checked(read: Result<ProtocolsReading, DatapathError>, netns: NetnsId) -> Result<ProtocolsReading, String> {
    let reading = read.map_err(|error| error.to_string())?;
    if reading.netns == netns {
        Ok(reading)
    } else {
        Err("the kernel program reads another namespace than that of its thread".to_owned())
    }
}

/// Compares the program with procfs, in the calling thread's namespace.
fn prove(program: &mut ProtocolsProgram) -> Result<(), String> {
    let netns = Client::open().and_then(|client| client.netns());
    let netns = netns.map_err(|error| error.to_string())?;
    let mut proc_net = ProcNet::default();
    let mut last = String::new();
    for _ in 0..TRIALS {
        let mut read = || files::read(&mut proc_net, true).map_err(|error| format!("cannot read /proc/net: {error}"));
        let before = read()?;
        let between = checked(program.read(true), netns)?;
        let after = read()?;
        let limit = buffers::listen_backlog_limit();
        let differing = differing(&before, &between.protocols, &after).or_else(|| {
            limit
                .is_some_and(|limit| limit != between.listen_backlog_limit)
                .then_some("net.core.somaxconn")
        });
        let differing = differing.or_else(|| {
            // Others may open and close sockets meanwhile.
            let [before, between, after] = [&before, &between.protocols, &after].map(|it| it.sockets_in_use);
            (before == after && between != before).then_some("number of TCP's sockets in use")
        });
        match differing {
            None => return Ok(()),
            Some(it) => last = format!("the kernel program reads another {it} than /proc shows"),
        }
    }
    Err(last)
}

/// A counter that is not between its values of before and after. Counters may overflow.
fn differing(before: &Protocols, between: &Protocols, after: &Protocols) -> Option<&'static str> {
    let (before, between, after) = (counters(before), counters(between), counters(after));
    let is_between = |at: usize| {
        let growth = |counts: &[(&str, u64)]| counts[at].1.wrapping_sub(before[at].1);
        growth(&between) <= growth(&after)
    };
    (0..before.len()).find(|at| !is_between(*at)).map(|at| before[at].0)
}

/// What never falls.
fn counters(protocols: &Protocols) -> [(&'static str, u64); 14] {
    let Protocols {
        segments,
        time_wait: _,
        sockets_in_use: _,
        losses,
    } = protocols;
    let Segments {
        sent,
        retransmitted,
        resets_sent,
        resets_received: _,
    } = *segments;
    let Losses {
        tcp_listen_overflows,
        tcp_listen_drops,
        tcp_backlog_drops,
        tcp_receive_queue_drops,
        tcp_prunes,
        udp_receive_buffer_errors,
        udp_send_buffer_errors,
        udp_checksum_errors,
        udp_no_ports,
        ip_no_routes,
        ip_reassembly_failures,
    } = *losses;
    [
        ("Tcp: OutSegs", sent),
        ("Tcp: RetransSegs", retransmitted),
        ("Tcp: OutRsts", resets_sent),
        ("TcpExt: ListenOverflows", tcp_listen_overflows),
        ("TcpExt: ListenDrops", tcp_listen_drops),
        ("TcpExt: TCPBacklogDrop", tcp_backlog_drops),
        ("TcpExt: TCPRcvQDrop", tcp_receive_queue_drops),
        ("TcpExt: RcvPruned, OfoPruned", tcp_prunes),
        ("Udp: RcvbufErrors", udp_receive_buffer_errors),
        ("Udp: SndbufErrors", udp_send_buffer_errors),
        ("Udp: InCsumErrors", udp_checksum_errors),
        ("Udp: NoPorts", udp_no_ports),
        ("Ip: OutNoRoutes", ip_no_routes),
        ("Ip: ReasmFails", ip_reassembly_failures),
    ]
}

#[cfg(test)]
mod tests {
    use super::{DatapathError, Failures, Losses, NetnsId, Protocols, ProtocolsReading, Segments, checked, differing};

    fn sent(sent: u64) -> Protocols {
        Protocols {
            segments: Segments {
                sent,
                ..Segments::default()
            },
            ..Protocols::default()
        }
    }

    #[test]
    fn a_program_that_fails_or_reads_another_namespace_is_wrong() {
        let reading = ProtocolsReading {
            netns: NetnsId(7),
            protocols: sent(1),
            listen_backlog_limit: 4096,
            may_queue: true,
            conntrack_entries: None,
        };
        assert_eq!(checked(Ok(reading), NetnsId(7)), Ok(reading));
        assert!(checked(Ok(reading), NetnsId(8)).is_err());
        assert!(checked(Err(DatapathError::Unread), NetnsId(7)).is_err());
    }

    #[test]
    fn a_program_is_given_up_when_it_fails_three_times_in_a_row() {
        let mut failures = Failures::default();
        assert_eq!([(); 3].map(|()| failures.are_too_many()), [false, false, true]);
        failures = Failures::default();
        assert!(!failures.are_too_many(), "a run that succeeds forgives those before it");
    }

    #[test]
    fn a_program_is_right_if_all_that_it_reads_is_between_two_readings_of_procfs() {
        for (before, between, after) in [
            (3, 3, 3),
            (3, 4, 5),
            (3, 5, 5),
            (u64::MAX, 0, 1),
            (u64::MAX, u64::MAX, 1),
        ] {
            assert_eq!(differing(&sent(before), &sent(between), &sent(after)), None);
        }
        for (before, between, after) in [(3, 2, 3), (3, 4, 3), (3, 6, 5), (u64::MAX, 2, 1)] {
            assert_eq!(
                differing(&sent(before), &sent(between), &sent(after)),
                Some("Tcp: OutSegs")
            );
        }
        let wrong = Protocols {
            losses: Losses {
                udp_no_ports: 1,
                ..Losses::default()
            },
            ..sent(4)
        };
        assert_eq!(differing(&sent(3), &wrong, &sent(5)), Some("Udp: NoPorts"));
    }
}
