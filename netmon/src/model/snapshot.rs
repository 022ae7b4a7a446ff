//! One scrape's worth of facts: what the metrics are made of, and all they are made of.

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
    /// The node, once the engine has told.
    pub node: Option<Arc<Node>>,
    /// Not all that ran when netmon came is in it yet.
    pub is_partial: bool,
    /// Every container, with what netmon does for it.
    pub containers: Vec<ContainerRow>,
    /// Every interface of every container, and those of containers that ended a moment ago.
    pub interfaces: Vec<InterfaceRow>,
    /// What interfaces counted that are long gone, and of which the engine never said whose they were.
    pub unattributed: Directions<Totals>,
    /// Sums over the containers of a service, those long gone included.
    pub services: Vec<ServiceRow>,
    /// Every overlay network's way to the other nodes.
    pub vxlans: Vec<VxlanRow>,
    /// What passes between this node and others.
    pub overlay: OverlayRows,
    /// Who is on the overlay networks, on any node.
    pub members: MemberRows,
    /// Packets that the kernel threw away.
    pub drops: DropRows,
    /// Every container's TCP connections, by network.
    pub tcp: Vec<TcpRow>,
    /// Every container's TCP connections, by state.
    pub connections: Vec<ConnectionsRow>,
    /// What sockets and their buffers lost.
    pub sockets: SocketRows,
    /// Queues and tables, and what bounds them.
    pub buffers: BufferRows,
    /// Every network.
    pub networks: Vec<Arc<Network>>,
    /// How netmon itself is doing.
    pub health: Health,
}

/// What passes between this node and others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayRows {
    /// In the clear, by network and node.
    pub clear: Vec<OverlayRow>,
    /// Encrypted, by node.
    pub encrypted: Vec<EncryptedRow>,
    /// The networks themselves.
    pub networks: Vec<OverlayNetworkRow>,
    /// The devices that lead to other nodes.
    pub underlay: Vec<UnderlayRow>,
    /// The other nodes.
    pub peers: Vec<PeerRow>,
    /// What went wrong with encryption on the node; nothing where the kernel does not tell.
    pub xfrm_errors: Option<Arc<XfrmErrors>>,
}

/// An overlay network on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayNetworkRow {
    /// The network.
    pub network: Arc<str>,
    /// How large its containers' packets may be, in bytes.
    pub mtu_bytes: u32,
    /// How much larger such a packet is between nodes, in bytes.
    pub overhead_bytes: u32,
}

/// A device of the node's that leads to other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlayRow {
    /// Its name.
    pub interface: String,
    /// How large packets on it may be, in bytes.
    pub mtu_bytes: u32,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRow {
    /// What it is called on the page.
    pub peer: Arc<str>,
    /// The address that it sends from.
    pub address: IpAddr,
    /// Its hostname; empty where the engine does not tell.
    pub hostname: Arc<str>,
    /// Its node id; empty where nothing gives it away.
    pub node_id: Arc<str>,
}

/// Who is on the overlay networks that this node has a part in, on any node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRows {
    /// The containers.
    pub endpoints: Vec<MemberRow>,
    /// The virtual addresses of services.
    pub services: Vec<VirtualAddressRow>,
    /// Every network was answered for.
    pub is_whole: bool,
    /// There are more than netmon kept.
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
    /// Its service; empty for a container of none.
    pub service: String,
    /// The node that it is on, as it is called on the page; empty where that is not known.
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

/// A network's packets to and from another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayRow {
    /// The network.
    pub network: Arc<str>,
    /// The other node: its name, or its address where that is not known.
    pub peer: Arc<str>,
    /// The network was asked to encrypt them: there should be none.
    pub must_be_encrypted: bool,
    /// Nothing here sends to that node: anybody may have written its address into a packet.
    pub is_stranger: bool,
    /// How many.
    pub counts: Directions<OuterCounts>,
}

/// Encrypted packets to and from another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedRow {
    /// The other node, as above.
    pub peer: Arc<str>,
    /// As above.
    pub is_stranger: bool,
    /// How many.
    pub counts: Directions<OuterCounts>,
}

/// A container, and what becomes of its interfaces.
#[derive(Clone, Debug)]
pub struct ContainerRow {
    /// The container.
    pub container: Arc<Container>,
    /// What netmon does for it.
    pub state: ContainerState,
    /// The name of the container whose interfaces it uses, where it uses another's.
    pub shares_with: Option<String>,
    /// It is within the limits, and shown by itself.
    pub is_shown: bool,
}

/// What netmon does for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerState {
    /// Its interfaces are counted.
    Observed,
    /// It runs, but its interfaces were not found yet, or its namespace cannot be entered.
    Pending,
    /// It uses another container's interfaces: they are counted there.
    Shared,
    /// It uses the node's interfaces: none is its own.
    Host,
    /// It has no interface but loopback.
    Isolated,
    /// It ended a moment ago; its last values linger.
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
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// The Docker network it belongs to; empty for a device that no network of the container's accounts for.
    pub network: Arc<str>,
    /// The device.
    pub device: Arc<Device>,
    /// What it counted.
    pub totals: Directions<Totals>,
}

/// A service's share of a network on this node.
#[derive(Clone, Debug)]
pub struct ServiceRow {
    /// The service.
    pub service: String,
    /// Its stack.
    pub stack: String,
    /// The network.
    pub network: Arc<str>,
    /// What its containers counted there.
    pub totals: Directions<Totals>,
}

/// The VXLAN device of an overlay network (one for each of its subnets).
#[derive(Clone, Debug)]
pub struct VxlanRow {
    /// The overlay network.
    pub network: Arc<str>,
    /// The device.
    pub device: Arc<Device>,
    /// What it counted: `receive` came from other nodes.
    pub totals: Directions<Totals>,
}

/// Packets that the kernel threw away, by whose they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropRows {
    /// In containers.
    pub containers: Vec<(Arc<Identity>, DropRow)>,
    /// In overlay networks' namespaces.
    pub overlays: Vec<DropRow>,
    /// In load balancers.
    pub load_balancers: Vec<DropRow>,
    /// In the node's namespace.
    pub node: Vec<DropRow>,
    /// Nobody's.
    pub unattributed: Vec<UnattributedRow>,
}

/// Packets that the kernel threw away for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropRow {
    /// On which network; empty where the device belongs to none.
    pub network: Arc<str>,
    /// The running kernel's name of the reason.
    pub reason: Arc<str>,
    /// How many.
    pub packets: u64,
}

/// Packets that the kernel threw away, and nobody can say whose they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnattributedRow {
    /// The running kernel's name of the reason.
    pub reason: Arc<str>,
    /// Why nobody can say.
    pub cause: Cause,
    /// How many.
    pub packets: u64,
}

/// What sockets and their buffers lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketRows {
    /// In containers.
    pub containers: Vec<(Arc<Identity>, Losses)>,
    /// In the node's namespace, where it is known.
    pub node: Option<Losses>,
}

/// Queues and tables, and what bounds them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BufferRows {
    /// Of containers.
    pub containers: Vec<(Arc<Identity>, ContainerBuffers)>,
    /// The queues of containers' interfaces.
    pub queues: Vec<QueueRow>,
    /// Of the node, where its namespace is known and could be read.
    pub node: Option<Arc<NodeBuffers>>,
}

/// The queue of a container's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// Whose.
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
    /// Whose.
    pub identity: Arc<Identity>,
    /// On which network; empty for loopback, and for what no network is known of.
    pub network: Arc<str>,
    /// What the kernel counts, this network's share of it.
    pub segments: Segments,
    /// What the programs count; nothing where there are none.
    pub events: Option<Events>,
}

/// A container's TCP connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionsRow {
    /// Whose.
    pub identity: Arc<Identity>,
    /// How many are in a state.
    pub states: Vec<(&'static str, u64)>,
}

/// How netmon itself is doing.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The engine's connection.
    pub docker: DockerHealth,
    /// Attaching the programs.
    pub attach: AttachHealth,
    /// The programs in use.
    pub programs: Vec<ProgramRow>,
    /// The kernel maps in use.
    pub maps: Vec<MapRow>,
    /// What is over a limit.
    pub limits: LimitHealth,
    /// Who asks for pages.
    pub http: HttpHealth,
    /// What each collector took, and whether it gave everything it should.
    pub collectors: Vec<CollectorRow>,
    /// netmon's workers, and how long ago each one's last turn ended.
    pub workers: Vec<(&'static str, Duration)>,
    /// Whether the web configuration in force is its file's; none where there is no file.
    pub web_config: Option<bool>,
    /// The process itself, as the kernel sees it; none where it could not be read.
    pub process: Option<ProcessHealth>,
}

/// The engine's connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DockerHealth {
    /// The engine answers and its event stream is open.
    pub up: bool,
    /// Seconds since the epoch of the last complete listing; none before the first.
    pub last_sync: Option<f64>,
    /// Events taken in, by their type (`container`, `network`, ...).
    pub events: BTreeMap<String, u64>,
    /// How often the event stream was opened again after it broke.
    pub reconnects: u64,
    /// Answers and events that were skipped because they made no sense.
    pub decode_errors: u64,
}

/// Attaching the programs.
#[derive(Clone, Debug, Default)]
pub struct AttachHealth {
    /// Time from an interface's first sight to programs on it.
    pub delay: Histogram,
    /// Interfaces that wait for programs and were never refused them; nothing where nobody attaches any.
    pub waiting: Option<usize>,
    /// Interfaces that stayed without programs, by reason.
    pub failures: BTreeMap<AttachFailure, u64>,
}

/// Why an interface stayed without programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttachFailure {
    /// The kernel did not attach them.
    Attach,
    /// Somebody took them off.
    Detached,
    /// No slot is left.
    Full,
    /// The interface went while it was to get them.
    Gone,
    /// The kernel did not take them.
    Load,
    /// Its container has more interfaces than are watched.
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

/// Who asks for pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpHealth {
    /// Connections that are open.
    pub connections: usize,
    /// How often somebody was turned away, by reason.
    pub turned_away: Vec<(&'static str, u64)>,
}

/// What is over a limit, and so summed up instead of shown by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitHealth {
    /// How many: containers that are over that of series, interfaces and reasons of drops over that of a container,
    /// services, nodes that nothing here sends to.
    pub over: [(&'static str, usize); 4],
    /// Of each collector, whether it sums anything up.
    pub limited: [(Collector, bool); 8],
}

impl Default for LimitHealth {
    fn default() -> Self {
        Self {
            over: ["series", "container_series", "services", "peers"].map(|limit| (limit, 0)),
            limited: [
                Collector::Traffic,
                Collector::Drops,
                Collector::Tcp,
                Collector::Sockets,
                Collector::Buffers,
                Collector::Service,
                Collector::Overlay,
                Collector::Docker,
            ]
            .map(|collector| (collector, false)),
        }
    }
}

/// Observations in buckets. Bounds are upper bounds, in the metric's unit; the last one is infinity.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Upper bound and number of observations in the bucket (not cumulative).
    pub buckets: Vec<(f64, u64)>,
    /// Sum of the observations.
    pub sum: f64,
    /// Number of the observations.
    pub count: u64,
}

impl Histogram {
    /// An empty histogram with these upper bounds, and infinity behind them.
    #[must_use]
    pub fn new(bounds: &[f64]) -> Self {
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        Self {
            buckets: bounds.map(|bound| (bound, 0)).collect(),
            sum: 0.0,
            count: 0,
        }
    }

    /// Takes an observation in.
    pub fn observe(&mut self, value: f64) {
        if let Some((_, count)) = self.buckets.iter_mut().find(|(bound, _)| value <= *bound) {
            *count += 1;
        }
        self.sum += value;
        self.count += 1;
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
    /// By which mechanism: `tcx`, `clsact` or `tp_btf`.
    pub mode: &'static str,
    /// How often the kernel left out a run of it, as one was under way on that CPU; nothing where that cannot be, or
    /// the kernel does not tell (before 5.12).
    pub missed_runs: Option<u64>,
}

/// A kernel map in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRow {
    /// The map's name.
    pub map: &'static str,
    /// Entries in use.
    pub entries: u64,
    /// Entries there is room for.
    pub max_entries: u64,
    /// How often something did not fit.
    pub update_failures: u64,
}

/// One collector's part of a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorRow {
    /// Its name.
    pub collector: &'static str,
    /// How long it took.
    pub duration: Duration,
    /// Whether it gave everything it should.
    pub success: bool,
}

/// What the kernel says of netmon's own process.
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
    /// How many file descriptors it may open; none where there is no limit.
    pub max_fds: Option<u64>,
    /// When it was started, in seconds since the epoch.
    pub start_time_seconds: f64,
    /// Its threads.
    pub threads: u64,
    /// What its threads may do, all of them together, as `CAP_...`.
    pub capabilities: Vec<String>,
}
