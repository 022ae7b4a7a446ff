//! What this host supports. This is detected by asking the kernel, not from its version, because distributions
//! backport.
//!
//! Facts come first ([`Host::detect`]), then the decision ([`Host::mode`]). So a test can take one fact away and
//! check the decision.

use aya::programs::{SchedClassifier, TcAttachType};

use super::DatapathError;

/// A device that every namespace has.
const LOOPBACK: &str = "lo";

/// What the host supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Programs can be attached by tcx links (Linux 6.6).
    pub tcx: bool,
    /// The number of possible CPUs. Per-CPU counters need room for each.
    pub cpus: u32,
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
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| {
            DatapathError::of(
                "report how many CPUs there may be (/sys/devices/system/cpu/possible)",
                error,
            )
        })?;
        Ok(Self {
            // A kernel without tcx does not know this query: EINVAL (bpf_prog_query).
            tcx: SchedClassifier::query_tcx(LOOPBACK, TcAttachType::Ingress).is_ok(),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        })
    }

    /// The best way to attach programs on this host.
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
