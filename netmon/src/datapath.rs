//! The kernel's side of netmon: what this host can do, loading the programs, putting them on devices, reading their maps.
//!
//! The only place that names aya. Knows devices by name and number in the namespace the calling thread is in; knows
//! nothing of containers, networks, or why a device is to be counted.

pub mod attach;
pub mod host;
pub mod pins;
pub mod traffic;
#[cfg(feature = "bench")]
pub mod yardstick;

use std::{io, sync::Arc};

use aya::EbpfError;

use self::{
    attach::{AttachError, Attacher, Attachment},
    host::{Host, Mode},
    traffic::TrafficMap,
};
use crate::model::snapshot::{MapRow, ProgramRow};

/// Why there is no data path.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The kernel refused for want of rights.
    #[error(
        "the kernel does not allow netmon to {what}: {source}; run it as root, or give it CAP_SYS_ADMIN and CAP_NET_ADMIN"
    )]
    NotAllowed {
        /// What was tried.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel cannot do what is needed.
    #[error("this kernel cannot {what}: {source}")]
    Unsupported {
        /// What was tried.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The programs were not loaded.
    #[error("cannot load the kernel programs: {0}")]
    Load(Box<EbpfError>),
    /// The programs that were built in are not what the daemon expects.
    #[error("the kernel programs that netmon was built with have no {0}; build netmon again")]
    Incomplete(&'static str),
}

impl DatapathError {
    fn of(what: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::PermissionDenied {
            Self::NotAllowed { what, source }
        } else {
            Self::Unsupported { what, source }
        }
    }

    /// Whether more rights would help.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self {
            Self::NotAllowed { .. } => true,
            Self::Load(error) => permission(error.as_ref()),
            Self::Unsupported { .. } | Self::Incomplete(_) => false,
        }
    }
}

/// Whether the kernel's "operation not permitted" is at the root of an error.
fn permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The loaded data path.
#[derive(Debug)]
pub struct Datapath {
    host: Host,
    mode: Mode,
    attacher: Attacher,
    traffic: Arc<TrafficMap>,
}

impl Datapath {
    /// Loads the programs, with room for so many interfaces.
    ///
    /// # Errors
    /// See [`DatapathError`]. Nothing stays behind in the kernel.
    pub fn load(host: Host, mode: Mode, interfaces: u32) -> Result<Self, DatapathError> {
        let (attacher, traffic) = Attacher::load(&host, mode, interfaces)?;
        Ok(Self {
            host,
            mode,
            attacher,
            traffic: Arc::new(traffic),
        })
    }

    /// What the host was found to offer.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// How programs are attached.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The counters.
    #[must_use]
    pub fn traffic(&self) -> Arc<TrafficMap> {
        Arc::clone(&self.traffic)
    }

    /// Attaches programs to a device of the namespace that the calling thread is in.
    ///
    /// # Errors
    /// See [`AttachError`]. Nothing stays attached.
    pub fn attach(&mut self, name: &str, ifindex: u32) -> Result<Attachment, AttachError> {
        let slot = self.traffic.allocate().ok_or(AttachError::Full)?;
        self.attacher.attach(slot, name, ifindex)
    }

    /// Which programs are in use.
    #[must_use]
    pub fn programs(&self) -> Vec<ProgramRow> {
        attach::programs(self.mode)
    }

    /// How full the maps are.
    #[must_use]
    pub fn maps(&self) -> Vec<MapRow> {
        vec![self.traffic.row()]
    }
}
