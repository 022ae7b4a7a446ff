//! What this host supports. This is detected by asking the kernel, not from its version, because distributions
//! backport.
//!
//! Facts come first ([`Host::detect`]), then the decision ([`Host::mode`]). So a test can take one fact away and
//! check the decision.

use std::{fs, io};

use aya::programs::{SchedClassifier, TcAttachType};

use super::DatapathError;

/// A device that every namespace has.
const LOOPBACK: &str = "lo";

/// The file in which the kernel lists the CPUs that there may be.
const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

/// No kernel has a CPU with this number or a higher one (`NR_CPUS`).
const LARGEST_CPU: u32 = 1 << 16;

/// What the host supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Programs can be attached by tcx links (Linux 6.6).
    pub tcx: bool,
    /// The number of possible CPUs. The value of a per-CPU map has room for each.
    pub cpus: u32,
    /// Their numbers.
    pub possible: Vec<u32>,
    /// What is above the numbers of all possible CPUs. The numbers may have gaps (`0,2-3`), so it may be more than their
    /// count. What is indexed by a CPU's number needs room for so many.
    pub cpu_ids: u32,
}

/// How programs are attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By a tcx link, before all other programs. It ends with the device, and with netmon.
    Tcx,
    /// By a filter on the clsact queueing discipline. It remains if netmon is killed, so it must be removed later.
    Clsact,
}

impl Mode {
    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

impl Host {
    /// Detects what the kernel supports.
    ///
    /// # Errors
    /// The number of CPUs cannot be determined, because there is no sysfs.
    pub fn detect() -> Result<Self, DatapathError> {
        let failed = |error| {
            DatapathError::of(
                "report how many CPUs there may be (/sys/devices/system/cpu/possible)",
                error,
            )
        };
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| failed(error))?;
        let listed = fs::read_to_string(POSSIBLE_CPUS).map_err(failed)?;
        let possible = cpu_list(&listed).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
        Ok(Self {
            // A kernel without tcx does not know this query: EINVAL (bpf_prog_query).
            tcx: SchedClassifier::query_tcx(LOOPBACK, TcAttachType::Ingress).is_ok(),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            cpu_ids: cpu_ids(&possible),
            possible,
        })
    }

    /// The best way to attach programs on this host.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        if self.tcx { Mode::Tcx } else { Mode::Clsact }
    }
}

/// The numbers of a list of CPUs, as the kernel writes it: `0,2-3`.
fn cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= LARGEST_CPU {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// What is above the numbers of a list.
fn cpu_ids(possible: &[u32]) -> u32 {
    possible.iter().max().map_or(0, |highest| highest + 1)
}

#[cfg(test)]
mod tests {
    use netmon_common::traffic::{TRANSMIT, index};

    use super::{Host, Mode, cpu_ids, cpu_list};
    use crate::datapath::{slots::SLOTS, traffic::TrafficMap};

    const CAPABLE: Host = Host {
        tcx: true,
        cpus: 2,
        cpu_ids: 2,
        possible: Vec::new(),
    };

    #[test]
    fn a_host_with_tcx_uses_it() {
        assert_eq!(CAPABLE.mode(), Mode::Tcx);
    }

    #[test]
    fn a_host_without_tcx_falls_back_to_clsact() {
        assert_eq!(Host { tcx: false, ..CAPABLE }.mode(), Mode::Clsact);
    }

    #[test]
    fn where_numbers_of_cpus_have_gaps_the_highest_has_counters_too() {
        let host = Host {
            cpus: 3,
            cpu_ids: cpu_ids(&cpu_list("0,2-3\n").expect("a list")),
            ..CAPABLE
        };
        let last = index(3, SLOTS, SLOTS - 1, TRANSMIT);
        assert_eq!(TrafficMap::entries_on(&host), last + 1);
    }

    #[test]
    fn numbers_of_cpus_are_those_of_the_list() {
        let all: Vec<u32> = (0..64).collect();
        for (list, numbers) in [
            ("0\n", &[0][..]),
            ("0-63\n", &all),
            ("0,2-3\n", &[0, 2, 3]),
            ("0-1,7\n", &[0, 1, 7]),
        ] {
            assert_eq!(cpu_list(list).as_deref(), Some(numbers), "{list}");
        }
        for list in ["", "\n", "0-", "many", "0-4294967295", "65536"] {
            assert_eq!(cpu_list(list), None, "{list}");
        }
        assert_eq!((cpu_ids(&[0, 2, 3]), cpu_ids(&[])), (4, 0));
    }
}
