//! The kernel side of netmon. It detects what this host supports, loads the programs, attaches them to devices, and
//! reads their maps.
//!
//! Only this module and its submodules use aya. They know a device by its name and ifindex in the calling thread's
//! namespace. They know nothing of containers, of networks, or of why a device is counted.

mod addresses;
pub mod attach;
mod batch;
pub mod btf;
#[cfg(test)]
mod budget;
mod constants;
mod denial;
pub mod drops;
pub mod edges;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod hook;
pub mod host;
mod iterator;
mod mapped;
mod notes;
pub mod overlay;
mod owner;
pub mod pins;
pub mod protocols;
mod refusals;
mod share;
mod store;
pub mod symbols;
pub mod tcp;
mod tracepoint;
pub mod traffic;
#[cfg(feature = "bench")]
pub mod yardstick;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tracing::{debug, warn};

pub use self::error::DatapathError;
use self::{
    attach::{AttachError, Attacher, Attachment, NotAttached},
    drops::DropsMap,
    edges::EdgesMap,
    host::{Host, Mode},
    overlay::{OverlayMap, programs::OverlayPrograms},
    tcp::TcpMap,
    tracepoint::Kernel,
    traffic::{Slot, TrafficMap},
};
use crate::model::{
    counters::Directions,
    events::LastCounts,
    health::{MapRow, ProgramRow},
    interface::NetnsId,
    outage::Outage,
    programs::{Filter, Others},
};

/// The programs on tracepoints and their counts. They are attached once, for all namespaces.
///
/// A field is `None` if it is not wanted, or if this host does not support it.
#[derive(Debug, Default)]
pub struct Tracepoints {
    /// What this kernel is too old for, or was built without.
    pub lacking: Lacking,
    /// Packets that the kernel dropped.
    pub drops: Option<DropsMap>,
    /// Events of TCP connections.
    pub tcp: Option<TcpMap>,
    /// TCP connections by their two ends.
    pub edges: Option<EdgesMap>,
    /// Connections from before the programs cannot be found.
    no_adoption: Outage,
}

/// Which programs on tracepoints are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedTracepoints {
    /// Those that count drops.
    pub drops: bool,
    /// Those that count TCP events.
    pub tcp: bool,
    /// Those that count TCP connections by their ends.
    pub edges: bool,
}

impl WantedTracepoints {
    /// All of them.
    pub const ALL: Self = Self {
        drops: true,
        tcp: true,
        edges: true,
    };
}

/// What a kernel has nothing of, whatever netmon and its operator do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Reasons for drops.
    pub drops: bool,
    /// The types that programs for TCP events need.
    pub tcp: bool,
    /// The same, for TCP connections by their ends.
    pub edges: bool,
}

impl Tracepoints {
    /// Loads the programs that are wanted and that this host supports. If it does not support some, a warning says why.
    ///
    /// # Errors
    /// netmon lacks a permission. That is never the host's fault, so netmon does not continue without the counts.
    pub fn load(wanted: WantedTracepoints, cpus: u32) -> Result<Self, DatapathError> {
        if wanted == WantedTracepoints::default() {
            return Ok(Self::default());
        }
        let mut loaded = Self::default();
        let mut lacks = false;
        let Some(kernel) = or_none("neither drops nor TCP connections", &mut lacks, Kernel::detect())? else {
            loaded.lacking = Lacking {
                drops: lacks,
                tcp: lacks,
                edges: lacks,
            };
            return Ok(loaded);
        };
        if wanted.drops {
            loaded.drops = or_none("drops", &mut loaded.lacking.drops, DropsMap::load(&kernel, cpus))?;
        }
        if wanted.tcp {
            loaded.tcp = or_none("TCP events", &mut loaded.lacking.tcp, TcpMap::load(&kernel))?;
        }
        if wanted.edges {
            let what = "TCP connections by their two ends";
            loaded.edges = or_none(what, &mut loaded.lacking.edges, EdgesMap::load(&kernel))?;
        }
        Ok(loaded)
    }

    /// Reserves room for a namespace in the maps that all namespaces share.
    ///
    /// If there is no room, the namespace shares that of the unwatched namespaces. This is logged and not returned:
    /// netmon's programs must never get in the way of a container's start.
    pub fn watch(&mut self, netns: NetnsId) {
        let drops = self.drops.as_mut().map(|drops| drops.watch(netns));
        let tcp = self.tcp.as_mut().map(|tcp| tcp.watch(netns));
        let edges = self.edges.as_mut().map(|edges| edges.watch(netns));
        for result in [drops, tcp, edges].into_iter().flatten() {
            if let Err(error) = result {
                debug!(netns = netns.0, %error, "a namespace has no room of its own in a map");
            }
        }
    }

    /// Takes back the room of a namespace that could not be looked into. Its counts stay: it may be watched again.
    pub fn unwatch(&mut self, netns: NetnsId) {
        let drops = self.drops.as_mut().map(|drops| drops.unwatch(|it| it == netns));
        let tcp = self.tcp.as_mut().map(|tcp| tcp.unwatch(|it| it == netns));
        let edges = self.edges.as_mut().map(|edges| edges.unwatch(|it| it == netns));
        for result in [drops, tcp, edges].into_iter().flatten() {
            if let Err(error) = result {
                debug!(netns = netns.0, %error, "a namespace keeps its room in a map");
            }
        }
    }

    /// Gives the programs the addresses that a namespace's devices have now.
    pub fn set_addresses(&mut self, netns: NetnsId, addresses: &[(IpAddr, u32)]) {
        let all = || addresses.iter().copied();
        let tcp = self.tcp.as_mut().map(|tcp| tcp.set_addresses(netns, all()));
        let edges = self.edges.as_mut().map(|edges| edges.set_addresses(netns, all()));
        for result in [tcp, edges].into_iter().flatten() {
            if let Err(error) = result {
                debug!(netns = netns.0, %error, "the kernel programs do not know all addresses");
            }
        }
    }

    /// Gives a watched namespace, the node's or a network's, room by its number of devices.
    pub fn give_room(&mut self, netns: NetnsId, devices: usize) {
        if let Some(drops) = &mut self.drops {
            drops.give_room(netns, devices);
        }
        if let Some(edges) = &mut self.edges {
            edges.give_room(netns, devices);
        }
    }

    /// Says which namespace is the node's.
    pub fn set_node(&mut self, netns: NetnsId) {
        if let Some(edges) = &mut self.edges
            && let Err(error) = edges.set_node(netns)
        {
            debug!(netns = netns.0, %error, "connections of the node to the world take room in a map");
        }
    }

    /// Takes up the TCP connections of the calling thread's namespace that began before the programs.
    pub fn adopt(&mut self) {
        let Some(edges) = &mut self.edges else { return };
        let adopted = edges.adopt();
        let begins = self.no_adoption.begins(adopted.is_err(), Instant::now());
        if let (Err(error), true) = (adopted, begins) {
            warn!(%error, "TCP connections from before netmon are not among those by their two ends");
        }
    }

    /// Takes the counts of the namespaces that are `gone` out of the maps, and takes back their room. After an error it
    /// goes on with what else there is, so that the next call has less to do. The second result is the first error:
    /// the kernel refuses, and something of these namespaces is left.
    pub fn forget(&mut self, gone: &BTreeSet<NetnsId>) -> (LastCounts, Result<(), DatapathError>) {
        let mut last = LastCounts::default();
        let drops = self.drops.as_mut().map(|drops| drops.forget(gone, &mut last.drops));
        let tcp = self
            .tcp
            .as_mut()
            .map(|tcp| tcp.forget(gone, last.events.insert(BTreeMap::new())));
        let edges = self.edges.as_mut().map(|edges| edges.forget(gone, &mut last.edges));
        (
            last,
            [drops, tcp, edges].into_iter().flatten().fold(Ok(()), Result::and),
        )
    }
}

/// Tells in `lacks` whether there is nothing because the kernel lacks it.
fn or_none<T>(what: &str, lacks: &mut bool, loaded: Result<T, DatapathError>) -> Result<Option<T>, DatapathError> {
    match loaded {
        Err(error) if !error.is_permission() => {
            *lacks = error.is_lacking();
            warn!(%error, "{what} are not counted on this host");
            debug!(?error, "all that the kernel said");
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// [`Tracepoints`], shared by the scrapes and the control loop.
#[derive(Clone, Debug, Default)]
pub struct SharedTracepoints(Arc<Mutex<Tracepoints>>);

impl SharedTracepoints {
    /// Wraps them for sharing.
    #[must_use]
    pub fn new(tracepoints: Tracepoints) -> Self {
        Self(Arc::new(Mutex::new(tracepoints)))
    }

    /// Locks them for as long as a reading takes.
    pub fn lock(&self) -> MutexGuard<'_, Tracepoints> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loaded programs on interfaces, and their counters.
#[derive(Debug)]
pub struct Datapath {
    host: Host,
    attacher: Attacher,
    traffic: Arc<TrafficMap>,
}

impl Datapath {
    /// Loads the programs, with room for this number of interfaces. `others` are the other netmons of this node. They
    /// matter only for [`Mode::Clsact`].
    ///
    /// # Errors
    /// See [`DatapathError`]. Nothing remains in the kernel.
    pub fn load(host: Host, mode: Mode, interfaces: u32, others: Others) -> Result<Self, DatapathError> {
        let mut attacher = Attacher::load(&host, mode, others)?;
        let traffic = Arc::new(TrafficMap::new(&host, interfaces));
        // A kernel that gives no memory for counters is found out at start.
        drop(traffic.allocate(|number| attacher.array(number))?);
        Ok(Self {
            host,
            attacher,
            traffic,
        })
    }

    /// What the host supports.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// How programs are attached.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.attacher.way().mode
    }

    /// The counters.
    #[must_use]
    pub fn traffic(&self) -> Arc<TrafficMap> {
        Arc::clone(&self.traffic)
    }

    /// Attaches programs to a device of the namespace that the calling thread is in. `filters` are those of the device.
    /// They matter only for [`Mode::Clsact`]: some may have been left behind.
    ///
    /// # Errors
    /// See [`AttachError`]. Nothing stays attached, but the slot may have to rest.
    pub fn attach(
        &mut self,
        name: &str,
        ifindex: u32,
        filters: &Directions<Vec<Filter>>,
    ) -> Result<Attachment, Box<NotAttached>> {
        let slot = self.allocate()?;
        self.attacher.attach(slot, name, ifindex, filters)
    }

    /// Takes a slot for the counters of an interface.
    ///
    /// # Errors
    /// All are taken, or there is no memory for more.
    pub fn allocate(&mut self) -> Result<Slot, AttachError> {
        let slot = self.traffic.allocate(|number| self.attacher.array(number));
        slot.map_err(|error| AttachError::Room(Box::new(error)))?
            .ok_or(AttachError::Full)
    }

    /// Loads the programs that count traffic between nodes. They are attached by the same [`Mode`].
    ///
    /// Returns `None`, after a warning, if this kernel does not support them.
    ///
    /// # Errors
    /// netmon lacks a permission.
    pub fn load_overlay(&self) -> Result<Option<(OverlayMap, OverlayPrograms)>, DatapathError> {
        // Every kernel has what these need.
        let mut lacks = false;
        or_none(
            "packets between nodes",
            &mut lacks,
            overlay::load(self.attacher.way().clone(), self.host.cpus),
        )
    }

    /// Which programs are in use.
    #[must_use]
    pub fn programs(&self) -> Vec<ProgramRow> {
        attach::programs(self.mode())
    }

    /// How full the maps are.
    #[must_use]
    pub fn maps(&self) -> Vec<MapRow> {
        vec![self.traffic.row()]
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{DatapathError, btf::BtfError, or_none};

    /// Whether the collector is given up, and whether that is no fault.
    fn outcome(error: DatapathError) -> Option<bool> {
        let mut lacks = false;
        let loaded: Result<Option<()>, _> = or_none("drops", &mut lacks, Err(error));
        loaded.ok().map(|_| lacks)
    }

    #[test]
    fn what_a_kernel_never_had_is_no_fault_and_what_netmon_does_not_understand_is() {
        let missing = |kind: io::ErrorKind| DatapathError::from(BtfError::Missing(kind.into()));
        for lacking in [DatapathError::NoReasons, missing(io::ErrorKind::NotFound)] {
            assert_eq!(outcome(lacking), Some(true));
        }
        for fault in [
            missing(io::ErrorKind::InvalidData),
            BtfError::UnknownKind(99).into(),
            DatapathError::NoField {
                structure: "sk_buff",
                member: "dev",
            },
            DatapathError::of("load it", io::Error::from_raw_os_error(libc::ENOMEM)),
        ] {
            assert_eq!(outcome(fault), Some(false));
        }
        assert_eq!(outcome(missing(io::ErrorKind::PermissionDenied)), None);
    }
}
