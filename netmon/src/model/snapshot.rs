//! All data of one scrape. The metrics are made of this and of nothing else.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use super::{
    buffers::{ContainerBuffers, NodeBuffers, Queue},
    collector::Collector,
    counters::{Directions, Totals},
    interface::Device,
    inventory::{Container, Identity, Network, Node},
    overlay::{OuterCounts, XfrmErrors},
    place::Cause,
    protocols::Losses,
    tcp::{Events, Segments},
};

/// Everything one scrape exposes, taken at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The node; `None` before the engine's first answer.
    pub node: Option<Arc<Node>>,
    /// Some of what existed at start-up is not included yet.
    pub is_partial: bool,
    /// All containers, with what netmon does for each.
    pub containers: Vec<ContainerRow>,
    /// All interfaces of containers, including containers that ended a moment ago.
    pub interfaces: Vec<InterfaceRow>,
    /// The counts of interfaces that were deleted long ago, and whose owner the engine never reported.
    pub unattributed: Directions<Totals>,
    /// Sums over the containers of each service, including containers that ended long ago.
    pub services: Vec<ServiceRow>,
    /// The vxlan devices, which connect the overlay networks to the other nodes.
    pub vxlans: Vec<VxlanRow>,
    /// Traffic between this node and others.
    pub overlay: OverlayRows,
    /// The members of the overlay networks, on all nodes.
    pub members: MemberRows,
    /// Packets that the kernel dropped.
    pub drops: DropRows,
    /// The TCP connections of every container, by network.
    pub tcp: Vec<TcpRow>,
    /// The TCP connections of every container, by state.
    pub connections: Vec<ConnectionsRow>,
    /// Losses of sockets and their buffers.
    pub sockets: SocketRows,
    /// Queues and tables, and their limits.
    pub buffers: BufferRows,
    /// All networks.
    pub networks: Vec<Arc<Network>>,
    /// The state of netmon itself.
    pub health: Health,
}

/// Traffic between this node and others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayRows {
    /// Unencrypted traffic, by network and node.
    pub clear: Vec<OverlayRow>,
    /// Encrypted traffic, by node.
    pub encrypted: Vec<EncryptedRow>,
    /// The networks themselves.
    pub networks: Vec<OverlayNetworkRow>,
    /// The devices that lead to other nodes.
    pub underlay: Vec<UnderlayRow>,
    /// The other nodes.
    pub peers: Vec<PeerRow>,
    /// Encryption errors on the node; `None` if the kernel does not report them.
    pub xfrm_errors: Option<Arc<XfrmErrors>>,
}

/// An overlay network on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayNetworkRow {
    /// The network.
    pub network: Arc<str>,
    /// The largest packet that its containers may send, in bytes.
    pub mtu_bytes: u32,
    /// How many bytes such a packet grows between nodes.
    pub overhead_bytes: u32,
}

/// A device of the node that leads to other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlayRow {
    /// Its name.
    pub interface: String,
    /// The largest packet on it, in bytes.
    pub mtu_bytes: u32,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRow {
    /// Its name in labels.
    pub peer: Arc<str>,
    /// The address that it sends from.
    pub address: IpAddr,
    /// Its hostname; empty if the engine does not report it.
    pub hostname: Arc<str>,
    /// Its node id; empty if it is unknown.
    pub node_id: Arc<str>,
}

/// The members of the overlay networks that this node takes part in, on all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRows {
    /// The containers.
    pub endpoints: Vec<MemberRow>,
    /// The virtual addresses of services.
    pub services: Vec<VirtualAddressRow>,
    /// There was an answer for every network.
    pub is_whole: bool,
    /// netmon left out some members, because there were too many.
    pub is_cut: bool,
}

/// A container on an overlay network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// The network.
    pub network: Arc<str>,
    /// Its address there.
    pub address: IpAddr,
    /// Its name.
    pub container: String,
    /// Its service; empty if it belongs to none.
    pub service: String,
    /// Its node, by the node's name in labels; empty if the node is unknown.
    pub peer: Arc<str>,
}

/// A service's virtual address on an overlay network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualAddressRow {
    /// The network.
    pub network: Arc<str>,
    /// The service.
    pub service: String,
    /// The address.
    pub address: IpAddr,
}

/// The packets of a network to and from another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayRow {
    /// The network.
    pub network: Arc<str>,
    /// The other node: its name, or its address if the name is unknown.
    pub peer: Arc<str>,
    /// The network is configured to encrypt its traffic, so there should be no such packets.
    pub must_be_encrypted: bool,
    /// No network on this node sends to that node. Anyone may have put its address into a packet.
    pub is_stranger: bool,
    /// The counts.
    pub counts: Directions<OuterCounts>,
}

/// Encrypted packets to and from another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedRow {
    /// The other node, as in [`OverlayRow`].
    pub peer: Arc<str>,
    /// As in [`OverlayRow`].
    pub is_stranger: bool,
    /// The counts.
    pub counts: Directions<OuterCounts>,
}

/// A container, and what netmon does with its interfaces.
#[derive(Clone, Debug)]
pub struct ContainerRow {
    /// The container.
    pub container: Arc<Container>,
    /// What netmon does for it.
    pub state: ContainerState,
    /// The container whose interfaces it uses, by name; `None` if it uses its own.
    pub shares_with: Option<String>,
}

/// What netmon does for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerState {
    /// Its interfaces are counted.
    Observed,
    /// It runs, but its interfaces are not found yet, or its namespace cannot be entered.
    Pending,
    /// It uses another container's interfaces, which are counted for that container.
    Shared,
    /// It uses the node's interfaces and has none of its own.
    Host,
    /// It has only loopback.
    Isolated,
    /// It ended a moment ago, and its last values linger.
    Ended,
}

impl ContainerState {
    /// Every state, in the order of the metrics.
    pub const ALL: [Self; 6] = [
        Self::Observed,
        Self::Pending,
        Self::Shared,
        Self::Host,
        Self::Isolated,
        Self::Ended,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Pending => "pending",
            Self::Shared => "shared",
            Self::Host => "host",
            Self::Isolated => "isolated",
            Self::Ended => "ended",
        }
    }
}

/// An interface of a container.
#[derive(Clone, Debug)]
pub struct InterfaceRow {
    /// The labels of its container.
    pub identity: Arc<Identity>,
    /// Its Docker network. Empty for a device that belongs to none of the container's networks.
    pub network: Arc<str>,
    /// The device.
    pub device: Arc<Device>,
    /// Its counts.
    pub totals: Directions<Totals>,
}

/// A service's traffic on a network, on this node.
#[derive(Clone, Debug)]
pub struct ServiceRow {
    /// The service.
    pub service: String,
    /// Its stack.
    pub stack: String,
    /// The network.
    pub network: Arc<str>,
    /// The counts of its containers there.
    pub totals: Directions<Totals>,
}

/// A vxlan device of an overlay network. The network has one for each of its subnets.
#[derive(Clone, Debug)]
pub struct VxlanRow {
    /// The overlay network.
    pub network: Arc<str>,
    /// The device.
    pub device: Arc<Device>,
    /// Its counts: `receive` came from other nodes.
    pub totals: Directions<Totals>,
}

/// Dropped packets, by owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropRows {
    /// Containers'.
    pub containers: Vec<(Arc<Identity>, DropRow)>,
    /// Overlay networks'.
    pub overlays: Vec<DropRow>,
    /// Load balancers'.
    pub load_balancers: Vec<DropRow>,
    /// The node's.
    pub node: Vec<DropRow>,
    /// Those without a known owner.
    pub unattributed: Vec<UnattributedRow>,
}

/// Packets that the kernel dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropRow {
    /// The network. Empty if the device belongs to none.
    pub network: Arc<str>,
    /// The running kernel's name of the reason.
    pub reason: Arc<str>,
    /// The number of packets.
    pub packets: u64,
}

/// Packets that the kernel dropped, and whose owner is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnattributedRow {
    /// The running kernel's name of the reason.
    pub reason: Arc<str>,
    /// Why the owner is unknown.
    pub cause: Cause,
    /// The number of packets.
    pub packets: u64,
}

/// Losses of sockets and their buffers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketRows {
    /// Of containers.
    pub containers: Vec<(Arc<Identity>, Losses)>,
    /// Of the node; `None` while its namespace is unknown.
    pub node: Option<Losses>,
}

/// Queues and tables, and their limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BufferRows {
    /// Of containers.
    pub containers: Vec<(Arc<Identity>, ContainerBuffers)>,
    /// The queues of containers' interfaces.
    pub queues: Vec<QueueRow>,
    /// Of the node; `None` if its namespace is unknown or could not be read.
    pub node: Option<Arc<NodeBuffers>>,
}

/// The queue of a container's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// The labels of its container.
    pub identity: Arc<Identity>,
    /// The network that the interface is on.
    pub network: Arc<str>,
    /// The interface's name.
    pub interface: String,
    /// The queue.
    pub queue: Queue,
}

/// A container's TCP connections on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpRow {
    /// The labels of the container.
    pub identity: Arc<Identity>,
    /// The network. Empty for loopback, and for traffic whose network is unknown.
    pub network: Arc<str>,
    /// This network's share of the kernel's counts.
    pub segments: Segments,
    /// The programs' counts; `None` without programs.
    pub events: Option<Events>,
}

/// A container's TCP connections, by state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionsRow {
    /// The labels of the container.
    pub identity: Arc<Identity>,
    /// The number of connections in each state.
    pub states: Vec<(&'static str, u64)>,
}

/// The state of netmon itself.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The connection to the engine.
    pub docker: DockerHealth,
    /// How attaching goes.
    pub attach: AttachHealth,
    /// The programs in use.
    pub programs: Vec<ProgramRow>,
    /// The kernel maps in use.
    pub maps: Vec<MapRow>,
    /// What is over a limit, and summed up.
    pub limits: LimitHealth,
    /// The HTTP server's clients.
    pub http: HttpHealth,
    /// Each collector's duration and success.
    pub collectors: Vec<CollectorRow>,
    /// netmon's workers, and how long ago each one's last turn ended.
    pub workers: Vec<(&'static str, Duration)>,
    /// Whether the web configuration in force is the one in the file; `None` without a file.
    pub web_config: Option<bool>,
    /// The operator wants the build and the process on the page.
    pub shows_exporter: bool,
    /// The process, as the kernel reports it; `None` if it is not wanted or could not be read.
    pub process: Option<ProcessHealth>,
}

/// The connection to the engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DockerHealth {
    /// The engine answers and its event stream is open.
    pub up: bool,
    /// When the last complete listing was received, in seconds since the epoch; `None` before the first.
    pub last_sync: Option<f64>,
    /// Events received, by type (`container`, `network`, ...).
    pub events: BTreeMap<String, u64>,
    /// How often the event stream was reopened after it broke.
    pub reconnects: u64,
    /// Answers and events that were skipped because they could not be decoded.
    pub decode_errors: u64,
}

/// How attaching goes.
#[derive(Clone, Debug, Default)]
pub struct AttachHealth {
    /// The time from an interface's first sight until its programs are attached.
    pub delay: Histogram,
    /// Interfaces that wait for programs and have had no failed attach. `None` if no programs are attached at all.
    pub waiting: Option<usize>,
    /// Interfaces that remained without programs, by reason.
    pub failures: BTreeMap<AttachFailure, u64>,
}

/// Why an interface remained without programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttachFailure {
    /// The kernel refused to attach them.
    Attach,
    /// Somebody detached them.
    Detached,
    /// No slot is left.
    Full,
    /// The interface was deleted before they were attached.
    Gone,
    /// The kernel refused to load them.
    Load,
    /// Its container has more interfaces than netmon watches.
    TooManyDevices,
}

impl AttachFailure {
    /// Every reason, in the order of the metrics.
    pub const ALL: [Self; 6] = [
        Self::Attach,
        Self::Detached,
        Self::Full,
        Self::Gone,
        Self::Load,
        Self::TooManyDevices,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Detached => "detached",
            Self::Full => "full",
            Self::Gone => "gone",
            Self::Load => "load",
            Self::TooManyDevices => "too_many_devices",
        }
    }
}

/// The HTTP server's clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpHealth {
    /// Open connections.
    pub connections: usize,
    /// Rejected requests and connections, by reason.
    pub turned_away: Vec<(&'static str, u64)>,
}

/// What is over a limit, and therefore summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitHealth {
    /// How many are over each limit.
    pub over: Vec<(&'static str, usize)>,
    /// For each collector with a limit, whether any of its rows are summed up or left out.
    pub limited: Vec<(Collector, bool)>,
}

/// Observations in buckets. The bounds are upper bounds, in seconds. The last one is infinity.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bound and number of observations in the bucket (not cumulative).
    pub buckets: Vec<(f64, u64)>,
    /// Sum of the observations, in microseconds.
    pub sum_microseconds: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Histogram {
    /// An empty histogram with these upper bounds, and infinity as the last one.
    #[must_use]
    pub fn new(bounds: &[f64]) -> Self {
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        Self {
            buckets: bounds.map(|bound| (bound, 0)).collect(),
            sum_microseconds: 0,
        }
    }

    /// Adds an observation.
    pub fn observe(&mut self, value: Duration) {
        let seconds = value.as_secs_f64();
        if let Some((_, count)) = self.buckets.iter_mut().find(|(bound, _)| seconds <= *bound) {
            *count += 1;
        }
        self.sum_microseconds += u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    }

    /// The number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Combines each figure with the other's by `f`. Both have the same bounds.
    pub fn combine(&mut self, other: &Self, f: impl Fn(u64, u64) -> u64) {
        for ((_, one), (_, other)) in self.buckets.iter_mut().zip(&other.buckets) {
            *one = f(*one, *other);
        }
        self.sum_microseconds = f(self.sum_microseconds, other.sum_microseconds);
    }

    /// Whether no figure is smaller than in `earlier`.
    #[must_use]
    pub fn follows(&self, earlier: &Self) -> bool {
        let mut buckets = self.buckets.iter().zip(&earlier.buckets);
        buckets.all(|((_, now), (_, before))| now >= before) && self.sum_microseconds >= earlier.sum_microseconds
    }
}

/// A kernel program in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRow {
    /// The program's name.
    pub program: &'static str,
    /// Its type, as the kernel calls it.
    pub kind: &'static str,
    /// Where it is attached.
    pub attach_point: &'static str,
    /// The mechanism: `tcx`, `clsact` or `tp_btf`.
    pub mode: &'static str,
    /// How often the kernel skipped a run because the program was already running on that CPU. `None` if that cannot
    /// happen, or the kernel does not report it (before 5.12).
    pub missed_runs: Option<u64>,
}

/// A kernel map in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRow {
    /// The map's name.
    pub map: &'static str,
    /// Entries in use.
    pub entries: u64,
    /// The maximum number of entries.
    pub max_entries: u64,
    /// How often an entry did not fit.
    pub update_failures: u64,
}

/// One collector's part of a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorRow {
    /// Its name.
    pub collector: &'static str,
    /// How long it took.
    pub duration: Duration,
    /// Whether it read everything it should.
    pub success: bool,
}

/// netmon's own process, as the kernel reports it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessHealth {
    /// User and system time it has used, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_memory_bytes: u64,
    /// Virtual memory, in bytes.
    pub virtual_memory_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The maximum number of open file descriptors; `None` if there is no limit.
    pub max_fds: Option<u64>,
    /// When it started, in seconds since the epoch.
    pub start_time_seconds: f64,
    /// Its threads.
    pub threads: u64,
    /// The capabilities of all its threads together, as `CAP_...`.
    pub capabilities: Vec<String>,
}
