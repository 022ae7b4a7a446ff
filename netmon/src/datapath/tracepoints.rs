//! The programs on tracepoints: which are loaded, and the room that namespaces have in their maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tracing::{debug, warn};

use super::{DatapathError, drops::DropsMap, edges::EdgesMap, or_none, tcp::TcpMap, tracepoint::Kernel};
use crate::model::{events::LastCounts, interface::NetnsId, inventory::Subnet, outage::Outage};

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

    /// Says of which addresses beyond gateways it is known whose they are, the most important first.
    pub fn set_known(&mut self, prefixes: impl IntoIterator<Item = Subnet>) {
        if let Some(edges) = &mut self.edges
            && let Err(error) = edges.set_known(prefixes)
        {
            debug!(%error, "the kernel programs take some nodes for somebody outside");
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
