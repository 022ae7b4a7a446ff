//! What this host offers, found out by asking the kernel and not by its version: distributions backport.
//!
//! Facts first ([`Host::detect`]), then the decision ([`Host::mode`]), so that every decision can be tested with one fact
//! taken away.

use aya::programs::{SchedClassifier, TcAttachType};

use super::DatapathError;

/// Every namespace has it, whatever else is missing.
const LOOPBACK: &str = "lo";

/// What the host offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Programs can be attached by tcx links (6.6).
    pub tcx: bool,
    /// CPUs that there may ever be: per-CPU counters need a place for each.
    pub cpus: u32,
}

/// How programs are put on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By a link of their own, first in line: ends with the device, and with us.
    Tcx,
    /// By a filter on the clsact queueing discipline: stays when we are killed, and must be swept.
    Clsact,
}

impl Mode {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

impl Host {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The number of CPUs cannot be found out: there is no sysfs.
    pub fn detect() -> Result<Self, DatapathError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| {
            DatapathError::of(
                "tell how many CPUs there may be (/sys/devices/system/cpu/possible)",
                error,
            )
        })?;
        Ok(Self {
            // A kernel without tcx does not know this query: EINVAL (bpf_prog_query).
            tcx: SchedClassifier::query_tcx(LOOPBACK, TcAttachType::Ingress).is_ok(),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        })
    }

    /// The best way to attach that this host has.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        if self.tcx { Mode::Tcx } else { Mode::Clsact }
    }
}

#[cfg(test)]
mod tests {
    use super::{Host, Mode};

    const CAPABLE: Host = Host { tcx: true, cpus: 2 };

    #[test]
    fn a_host_with_tcx_uses_it() {
        assert_eq!(CAPABLE.mode(), Mode::Tcx);
    }

    #[test]
    fn a_host_without_tcx_falls_back_to_clsact() {
        assert_eq!(Host { tcx: false, ..CAPABLE }.mode(), Mode::Clsact);
    }
}
