//! One scrape, from the kernel to the page: the file to read first.
//!
//! Every device is read during the scrape ([`crate::observe::read`]). The readings are joined with the engine's last
//! inventory ([`crate::observe::state`]) and laid out as a [`Snapshot`], from which the metrics make a page. Only
//! these are carried over to the next scrape: ledgers, limits, decided owners and names, and sums of what was deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tracing::warn;

use crate::{
    datapath::{
        SharedTracepoints,
        drops::DropsMap,
        overlay::{OverlayMap, SharedOverlay},
        tcp::TcpMap,
        traffic::TrafficMap,
    },
    model::{
        collector::{Collector, Collectors},
        counters::{Directions, Totals},
        interface::Device,
        inventory::{Container, ContainerId, Inventory, Sandbox},
        limits::{Limits, OVER},
        place::Place,
        snapshot::{
            AttachHealth, BufferRows, CollectorRow, ConnectionsRow, ContainerRow, ContainerState, DockerHealth,
            DropRows, Health, HttpHealth, InterfaceRow, LimitHealth, MapRow, MemberRows, OverlayRows, ProgramRow,
            QueueRow, ServiceRow, Snapshot, SocketRows, TcpRow, VxlanRow,
        },
    },
    observe::{
        Shared, drops, members, mtu, overlay,
        read::read_all,
        state::{Owner, State},
        tcp,
    },
};

/// How many containers may each share the next one's namespace before netmon stops following them.
const SHARING_DEPTH: usize = 8;

/// The part of the data path that a scrape reads.
#[derive(Debug)]
pub struct Counting {
    /// The counters.
    pub traffic: Arc<TrafficMap>,
    /// The programs that write them.
    pub programs: Vec<ProgramRow>,
}

/// What a scrape is made from.
#[derive(Debug)]
pub struct Sources {
    /// The registry.
    pub shared: Shared,
    /// The data path; `None` if the host has none, or it is switched off.
    pub counting: Option<Counting>,
    /// The configuration asks for programs.
    pub counting_wanted: bool,
    /// The programs on tracepoints.
    pub tracepoints: SharedTracepoints,
    /// The programs that count traffic between nodes.
    pub overlay: SharedOverlay,
    /// The collectors that are switched on.
    pub collectors: Collectors,
    /// Drop counts that the kernel's map no longer holds.
    pub retired: Mutex<drops::Retired>,
    /// Which series are shown by themselves, and which are summed up.
    pub limits: Mutex<Limits>,
    /// How many inventories the engine has published.
    pub published: Arc<AtomicU64>,
    /// The value of `published` when the engine had reported everything that ran at start-up.
    pub first_whole: OnceLock<u64>,
}

impl Sources {
    /// Takes a snapshot: reads every device and lays out the rows. Blocks until the kernel has answered, which takes
    /// some ten microseconds for each namespace.
    #[must_use]
    pub fn snapshot(&self, docker: DockerHealth) -> Snapshot {
        let begin = Instant::now();
        let read = read_all(&self.shared, self.collectors);
        if let Err(error) = &read {
            warn!(%error, "cannot read devices; this scrape repeats the last reading");
        }
        let reading = read.as_ref().copied().unwrap_or_default();
        let device = CollectorRow {
            collector: "device",
            duration: begin.elapsed().saturating_sub(reading.protocols + reading.buffers),
            success: read.is_ok(),
        };

        let mut state = self.shared.lock();
        let is_partial = docker.last_sync.is_none() || !self.is_whole(&state);
        let mut collectors = vec![device];
        let mut maps = Vec::new();
        let mut programs = Vec::new();
        let drops = self.drops(&mut state, &mut collectors, &mut maps, &mut programs);
        let (tcp, connections) = self.tcp(&mut state, &mut collectors, &mut maps, &mut programs);

        let mut overlay = self.overlay(&mut state, &mut collectors, &mut maps, &mut programs);
        let members = self.members(&mut state, &mut collectors);
        let peers = overlay::peers(&mut state);
        if self.collectors.overlay {
            overlay.peers = peers;
        }

        let sockets = sockets(&state);
        let buffers = if self.collectors.buffers {
            buffers(&state)
        } else {
            BufferRows::default()
        };
        if self.collectors.sockets {
            collectors.push(CollectorRow {
                collector: Collector::Sockets.as_str(),
                duration: reading.protocols,
                success: sockets.node.is_some() || !sockets.containers.is_empty(),
            });
        }
        if self.collectors.buffers {
            collectors.push(CollectorRow {
                collector: Collector::Buffers.as_str(),
                duration: reading.buffers,
                success: buffers.node.is_some(),
            });
        }

        let begin = Instant::now();
        let inventory = Arc::clone(state.inventory());
        let (interfaces, vxlans) = rows(&state);
        let services = services(&state);
        let unattributed = state.unattributed();
        let containers = containers(&inventory, &state);
        let networks = mtu::networks(&state, &mtu::overlays(&state));
        let attach = state.attach_health(begin);
        drop(state);
        if self.counting_wanted {
            let success = self.counting.is_some();
            collectors.push(CollectorRow {
                collector: "traffic",
                duration: begin.elapsed(),
                success,
            });
        }
        let health = self.health(docker, attach, collectors, maps, programs);
        let mut snapshot = Snapshot {
            node: inventory.node.clone(),
            is_partial,
            containers,
            interfaces,
            unattributed,
            services,
            vxlans,
            overlay,
            members,
            drops,
            tcp,
            connections,
            sockets,
            buffers,
            networks,
            health,
        };
        self.limit(&mut snapshot);
        snapshot
    }

    /// Sums up what is over the limits, and logs when that begins.
    fn limit(&self, snapshot: &mut Snapshot) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        for (limit, over) in limits.apply(snapshot, Instant::now()) {
            warn!(
                limit,
                over,
                "more than a limit allows: what is over it is summed up as \"{OVER}\"; netmon_over_limit says how much \
                 that is, and docs/settings.md (--limit.*) how to allow more"
            );
        }
    }

    /// True once every namespace that existed at start-up has been read and named. Must not be called before the
    /// engine has reported everything once.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.is_whole(&self.shared.lock())
    }

    fn is_whole(&self, state: &State) -> bool {
        let told = || self.published.load(Ordering::Relaxed);
        state.is_synced(*self.first_whole.get_or_init(told))
    }

    /// How many interfaces wait for programs that they can still get.
    #[must_use]
    pub fn waiting(&self) -> usize {
        if self.counting.is_some() {
            self.shared.lock().waiting(Instant::now())
        } else {
            0
        }
    }

    /// Packets that the kernel dropped.
    fn drops(
        &self,
        state: &mut State,
        collectors: &mut Vec<CollectorRow>,
        maps: &mut Vec<MapRow>,
        programs: &mut Vec<ProgramRow>,
    ) -> DropRows {
        if !self.collectors.drops || !self.counting_wanted {
            return DropRows::default();
        }
        let begin = Instant::now();
        let mut tracepoints = self.tracepoints.lock();
        let mut rows = None;
        if let Some(map) = &mut tracepoints.drops {
            programs.push(map.program());
            match map.read() {
                Ok(drops) => {
                    let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
                    rows = Some(drops::rows(&drops, &mut retired, state, begin, |reason| {
                        map.reason(reason)
                    }));
                    maps.push(DropsMap::row(
                        drops.entries,
                        drops.lost.iter().map(|(_, packets)| packets).sum(),
                    ));
                    let devices = retired.take_devices(&drops, state, begin);
                    if !devices.is_empty()
                        && let Err(error) = map.forget_devices(&devices)
                    {
                        warn!(%error, "cannot delete drops of removed devices from the kernel map");
                    }
                    if drops.strangers > DropsMap::MANY_STRANGERS {
                        let foreign = retired.take_over(&drops, state, begin);
                        if let Err(error) = map.forget(|netns| foreign.binary_search(&netns).is_ok()) {
                            warn!(%error, "cannot delete drops of unknown namespaces from the kernel map");
                        }
                    }
                }
                Err(error) => warn!(%error, "cannot read drops; this scrape is without them"),
            }
        }
        collectors.push(CollectorRow {
            collector: Collector::Drops.as_str(),
            duration: begin.elapsed(),
            success: rows.is_some(),
        });
        rows.unwrap_or_default()
    }

    /// What happened to TCP connections.
    fn tcp(
        &self,
        state: &mut State,
        collectors: &mut Vec<CollectorRow>,
        maps: &mut Vec<MapRow>,
        programs: &mut Vec<ProgramRow>,
    ) -> (Vec<TcpRow>, Vec<ConnectionsRow>) {
        if !self.collectors.tcp {
            return (Vec::new(), Vec::new());
        }
        let begin = Instant::now();
        let mut tracepoints = self.tracepoints.lock();
        let mut events = None;
        let mut strangers = 0;
        let mut is_whole = false;
        if let Some(map) = &mut tracepoints.tcp {
            programs.extend(map.programs());
            let read = map.read();
            match read.and_then(|events| Ok((map.settle(&events)?, events, map.lost()?))) {
                Ok((others, read, lost)) => {
                    strangers = others;
                    maps.extend(map.rows(read.len() as u64, lost));
                    is_whole = map.is_whole();
                    events = Some(read);
                }
                Err(error) => warn!(%error, "cannot read TCP events; this scrape is without them"),
            }
        }
        let rows = tcp::rows(events.as_ref(), state, begin);
        if let (Some(map), Some(events)) = (&mut tracepoints.tcp, &events)
            && strangers > TcpMap::MANY_STRANGERS
        {
            let foreign = tcp::foreign(events, state, begin);
            if let Err(error) = map.forget(|netns| foreign.contains(&netns)) {
                warn!(%error, "cannot delete TCP events of unknown namespaces from the kernel map");
            }
        }
        collectors.push(CollectorRow {
            collector: Collector::Tcp.as_str(),
            duration: begin.elapsed(),
            success: is_whole || !self.counting_wanted,
        });
        rows
    }

    /// The overlay networks between this node and others, and what they pass.
    fn overlay(
        &self,
        state: &mut State,
        collectors: &mut Vec<CollectorRow>,
        maps: &mut Vec<MapRow>,
        programs: &mut Vec<ProgramRow>,
    ) -> OverlayRows {
        if !self.collectors.overlay {
            return OverlayRows::default();
        }
        let begin = Instant::now();
        let mut map = self.overlay.lock();
        let mut tunnels = None;
        if let Some(map) = &mut *map {
            programs.extend(map.programs());
            if let Err(error) = map.know(overlay::known(state)) {
                warn!(%error, "cannot reserve map entries for tunnels; they share those of unknown tunnels");
            }
            let read = map.read();
            match read.and_then(|tunnels| Ok((tunnels, map.lost()?))) {
                Ok((read, lost)) => {
                    maps.push(OverlayMap::row(read.len() as u64, lost));
                    tunnels = Some(read);
                }
                Err(error) => warn!(%error, "cannot read traffic between nodes; this scrape is without it"),
            }
        }
        let rows = overlay::rows(tunnels.as_ref(), state, begin);
        if let (Some(map), Some(_)) = (&mut *map, &tunnels) {
            let idle = overlay::forgettable(state, begin);
            if !idle.is_empty()
                && let Err(error) = map.forget(|tunnel| idle.contains(tunnel))
            {
                warn!(%error, "cannot delete removed tunnels from the kernel map");
            }
        }
        // If nothing is encrypted, no figure is missing when the kernel does not report encryption errors.
        let is_told = rows.xfrm_errors.is_some() || !overlay::has_encryption(state);
        collectors.push(CollectorRow {
            collector: Collector::Overlay.as_str(),
            duration: begin.elapsed(),
            success: is_told && (tunnels.is_some() || !self.counting_wanted),
        });
        rows
    }

    /// The members of the overlay networks, on any node.
    fn members(&self, state: &mut State, collectors: &mut Vec<CollectorRow>) -> MemberRows {
        if !self.collectors.members {
            return MemberRows::default();
        }
        let begin = Instant::now();
        let rows = members::rows(state, begin);
        collectors.push(CollectorRow {
            collector: Collector::Members.as_str(),
            duration: begin.elapsed(),
            success: rows.is_whole,
        });
        rows
    }

    fn health(
        &self,
        docker: DockerHealth,
        mut attach: AttachHealth,
        collectors: Vec<CollectorRow>,
        mut maps: Vec<MapRow>,
        mut programs: Vec<ProgramRow>,
    ) -> Health {
        if let Some(Counting {
            traffic,
            programs: of_traffic,
        }) = &self.counting
        {
            maps.push(traffic.row());
            programs.extend(of_traffic.iter().cloned());
        } else {
            // If nothing is attached, zero failures mean nothing. The collector reports that it does not count.
            attach.failures.retain(|_, count| *count > 0);
            attach.waiting = None;
        }
        Health {
            docker,
            attach,
            programs,
            maps,
            limits: LimitHealth::default(),
            http: HttpHealth::default(),
            collectors,
            workers: Vec::new(),
            web_config: None,
            process: None,
        }
    }
}

/// What the protocols of each namespace lost.
fn sockets(state: &State) -> SocketRows {
    let mut rows = SocketRows::default();
    for (place, netns) in state.standing() {
        let Some(protocols) = state.namespace(netns).and_then(|namespace| namespace.protocols) else {
            continue;
        };
        match place {
            Place::Container { identity } => rows.containers.push((Arc::clone(identity), protocols.losses)),
            Place::Node => rows.node = Some(protocols.losses),
            Place::Overlay { .. } | Place::LoadBalancer { .. } => {}
        }
    }
    rows
}

/// Queues and tables of the containers' namespaces and of the node's namespace.
fn buffers(state: &State) -> BufferRows {
    let mut rows = BufferRows::default();
    for (place, netns) in state.standing() {
        let Some(namespace) = state.namespace(netns) else {
            continue;
        };
        match place {
            Place::Container { identity } => rows.containers.push((Arc::clone(identity), namespace.buffers)),
            Place::Node => rows.node.clone_from(&namespace.node_buffers),
            Place::Overlay { .. } | Place::LoadBalancer { .. } => {}
        }
    }
    rows.queues = state
        .interfaces()
        .filter_map(|interface| match (&interface.owner, &interface.queue) {
            (Some(Owner::Container { identity, network, .. }), Some(queue)) => Some(QueueRow {
                identity: Arc::clone(identity),
                network: Arc::clone(network),
                interface: interface.device.name.clone(),
                queue: queue.clone(),
            }),
            _ => None,
        })
        .collect();
    rows
}

/// Every interface with an owner: those that exist, then those that linger, the latest first. If two have the same
/// labels, the first one is shown: a new container replaces a lingering one of the same name.
fn rows(state: &State) -> (Vec<InterfaceRow>, Vec<VxlanRow>) {
    let living = state
        .interfaces()
        .map(|interface| (interface.owner.as_ref(), &interface.device, interface.ledger.totals()));
    let lingering = state
        .ended()
        .map(|ended| (ended.owner.as_ref(), &ended.device, ended.totals));
    let mut taken = BTreeSet::new();
    let (mut interfaces, mut vxlans) = (Vec::new(), Vec::new());
    for (owner, device, totals) in living.chain(lingering) {
        let Some(owner) = owner else { continue };
        let container = match owner {
            Owner::Container { identity, .. } => identity.container.as_str(),
            Owner::Overlay { .. } => "",
        };
        let (Owner::Container { network, .. } | Owner::Overlay { network }) = owner;
        if taken.insert((container, network.as_ref(), device.name.as_str())) {
            lay_out(owner, device, totals, &mut interfaces, &mut vxlans);
        }
    }
    (interfaces, vxlans)
}

fn lay_out(
    owner: &Owner,
    device: &Arc<Device>,
    totals: Directions<Totals>,
    interfaces: &mut Vec<InterfaceRow>,
    vxlans: &mut Vec<VxlanRow>,
) {
    let device = Arc::clone(device);
    match owner {
        Owner::Container { identity, network, .. } => {
            let (identity, network) = (Arc::clone(identity), Arc::clone(network));
            interfaces.push(InterfaceRow {
                identity,
                network,
                device,
                totals,
            });
        }
        Owner::Overlay { network } => vxlans.push(VxlanRow {
            network: Arc::clone(network),
            device,
            totals,
        }),
    }
}

fn services(state: &State) -> Vec<ServiceRow> {
    state
        .services()
        .into_iter()
        .map(|(key, totals)| ServiceRow {
            service: key.service,
            stack: key.stack,
            network: key.network,
            totals,
        })
        .collect()
}

/// Every container, and how netmon observes it.
fn containers(inventory: &Inventory, state: &State) -> Vec<ContainerRow> {
    let observed: BTreeSet<_> = state
        .interfaces()
        .filter_map(|interface| match interface.owner.as_ref()? {
            Owner::Container { id, .. } => Some(Arc::clone(id)),
            Owner::Overlay { .. } => None,
        })
        .collect();
    let row = |container: &Arc<Container>| {
        let state = match &container.sandbox {
            _ if !container.running => ContainerState::Ended,
            Sandbox::Own(_) if observed.contains(&container.id) => ContainerState::Observed,
            Sandbox::Own(_) | Sandbox::Absent => ContainerState::Pending,
            Sandbox::Shared(_) => ContainerState::Shared,
            Sandbox::Host => ContainerState::Host,
            Sandbox::Isolated => ContainerState::Isolated,
        };
        let shares_with = sharer(&container.sandbox, &inventory.containers);
        ContainerRow {
            container: Arc::clone(container),
            state,
            shares_with,
            is_shown: true,
        }
    };
    inventory.containers.values().map(row).collect()
}

/// The container at the end of a chain of `--network container:X`.
fn sharer(sandbox: &Sandbox, containers: &BTreeMap<ContainerId, Arc<Container>>) -> Option<String> {
    let mut sandbox = sandbox;
    let mut name = None;
    for _ in 0..SHARING_DEPTH {
        let Sandbox::Shared(id) = sandbox else { break };
        let container = containers.get(id)?;
        name = Some(container.identity.container.clone());
        sandbox = &container.sandbox;
    }
    name
}
