//! The kernel's side of netmon: what this host can do, loading the programs, putting them on devices, reading their maps.
//!
//! The only place that names aya. Knows devices by name and number in the namespace the calling thread is in; knows
//! nothing of containers, networks, or why a device is to be counted.

pub mod attach;
mod batch;
pub mod btf;
pub mod drops;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod hook;
pub mod host;
pub mod overlay;
pub mod pins;
mod share;
pub mod symbols;
pub mod tcp;
mod tracepoint;
pub mod traffic;
#[cfg(feature = "bench")]
pub mod yardstick;

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::EbpfError;
use tracing::{debug, warn};

use self::{
    attach::{AttachError, Attacher, Attachment},
    drops::DropsMap,
    host::{Host, Mode},
    overlay::OverlayMap,
    tcp::TcpMap,
    tracepoint::Kernel,
    traffic::TrafficMap,
};
use crate::model::{
    collector::Collectors,
    interface::NetnsId,
    snapshot::{MapRow, ProgramRow},
};

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
    /// The kernel does not say where its structures' fields are.
    #[error(transparent)]
    Types(#[from] btf::BtfError),
    /// The kernel's structures are not what the programs expect.
    #[error("this kernel's `struct {structure}` has no member {member}")]
    NoField {
        /// The structure.
        structure: &'static str,
        /// The member.
        member: &'static str,
    },
    /// The kernel gives no reasons for drops.
    #[error("this kernel does not say why it drops packets (needs Linux 5.17)")]
    NoReasons,
    /// A map was not read or written.
    #[error("cannot use a map of the kernel programs: {0}")]
    Map(Box<aya::maps::MapError>),
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

    fn map(error: aya::maps::MapError) -> Self {
        Self::Map(Box::new(error))
    }

    /// Whether more rights would help.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self {
            Self::NotAllowed { .. } => true,
            Self::Load(error) => permission(error.as_ref()),
            Self::Map(error) => permission(error.as_ref()),
            Self::Types(error) => permission(error),
            Self::Unsupported { .. } | Self::NoField { .. } | Self::NoReasons | Self::Incomplete(_) => false,
        }
    }
}

/// An error, what caused it, what caused that.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What all of them say: aya leaves out of its own sentence what the kernel answered.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut sentences: Vec<String> = chain(error).map(ToString::to_string).collect();
    // One that only passes its cause on says the same.
    sentences.dedup();
    sentences.join(": ")
}

/// Whether the kernel's "operation not permitted" is at the root of an error.
fn permission(error: &(dyn Error + 'static)) -> bool {
    chain(error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// The programs on tracepoints and their counts: attached once, for all namespaces. Each noun without which this host has
/// to do is missing.
#[derive(Debug, Default)]
pub struct Tracepoints {
    /// Packets that the kernel threw away.
    pub drops: Option<DropsMap>,
    /// What happens to TCP connections.
    pub tcp: Option<TcpMap>,
}

impl Tracepoints {
    /// Loads what is wanted and can be had; of what cannot, one warning says why.
    ///
    /// # Errors
    /// netmon is not allowed to: that is never the host's fault, and is not degraded silently.
    pub fn load(wanted: Collectors, cpus: u32) -> Result<Self, DatapathError> {
        if !wanted.drops && !wanted.tcp {
            return Ok(Self::default());
        }
        let Some(kernel) = or_none("neither drops nor TCP events", Kernel::detect())? else {
            return Ok(Self::default());
        };
        let drops = || or_none("drops", DropsMap::load(&kernel, cpus));
        let tcp = || or_none("TCP events", TcpMap::load(&kernel, cpus));
        let loaded = Self {
            drops: if wanted.drops { drops()? } else { None },
            tcp: if wanted.tcp { tcp()? } else { None },
        };
        Ok(loaded)
    }

    /// Gives a namespace room of its own in the maps that all share. One that gets none shares with those that are not
    /// watched: no program of ours is worth a container's start.
    pub fn watch(&mut self, netns: NetnsId) {
        let drops = self.drops.as_mut().map(|drops| drops.watch(netns));
        let tcp = self.tcp.as_mut().map(|tcp| tcp.watch(netns));
        for result in [drops, tcp].into_iter().flatten() {
            if let Err(error) = result {
                debug!(netns = netns.0, %error, "a namespace has no room of its own in a map");
            }
        }
    }

    /// Forgets what was counted in namespaces that are gone.
    pub fn forget(&mut self, gone: impl Fn(NetnsId) -> bool) {
        let drops = self.drops.as_mut().map(|drops| drops.forget(&gone));
        let tcp = self.tcp.as_mut().map(|tcp| tcp.forget(&gone));
        for result in [drops, tcp].into_iter().flatten() {
            if let Err(error) = result {
                warn!(%error, "cannot delete the counts of removed namespaces from the kernel map");
            }
        }
    }
}

fn or_none<T>(what: &str, loaded: Result<T, DatapathError>) -> Result<Option<T>, DatapathError> {
    match loaded {
        Err(error) if !error.is_permission() => {
            warn!(%error, "{what} are not counted on this host");
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// The same, shared by the scrapes that read and the loop that forgets.
#[derive(Clone, Debug, Default)]
pub struct SharedTracepoints(Arc<Mutex<Tracepoints>>);

impl SharedTracepoints {
    /// Shares them.
    #[must_use]
    pub fn new(tracepoints: Tracepoints) -> Self {
        Self(Arc::new(Mutex::new(tracepoints)))
    }

    /// Takes them, for as long as a reading takes.
    pub fn lock(&self) -> MutexGuard<'_, Tracepoints> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    /// Loads the programs that count what passes between nodes, which are attached in the same way; nothing, with a
    /// warning, if this kernel does not take them.
    ///
    /// # Errors
    /// More rights are needed.
    pub fn load_overlay(&self) -> Result<Option<OverlayMap>, DatapathError> {
        or_none("packets between nodes", OverlayMap::load(self.mode, self.host.cpus))
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
