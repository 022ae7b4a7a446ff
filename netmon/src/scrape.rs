//! One scrape, from the kernel to the page: the file to read first.
//!
//! Every device is read during the scrape ([`crate::observe::read`]). The readings are joined with the engine's last
//! inventory ([`crate::observe::state`]) and laid out as a [`Snapshot`], from which the metrics make a page. Only
//! these are carried over to the next scrape: ledgers, limits, decided owners and names, and sums of what was deleted.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tracing::warn;

use crate::{
    collectors,
    datapath::{
        SharedTracepoints,
        drops::DropsMap,
        overlay::{OverlayMap, SharedOverlay},
        tcp::TcpMap,
        traffic::TrafficMap,
    },
    model::{
        collector::{Collector, Collectors},
        snapshot::{
            AttachHealth, BufferRows, CollectorRow, ConnectionsRow, DockerHealth, DropRows, Health, HttpHealth,
            LimitHealth, MapRow, MemberRows, OverlayRows, ProgramRow, Snapshot, TcpRow,
        },
    },
    observe::{
        Shared,
        read::{Wanted, read_all},
        state::State,
    },
    page::{
        limits::{Limits, OVER},
        rows::Rows,
    },
};

/// The part of the data path that a scrape reads.
#[derive(Debug)]
pub struct Counting {
    /// The counters.
    pub traffic: Arc<TrafficMap>,
    /// The programs that write them.
    pub programs: Vec<ProgramRow>,
}

/// What a scrape found.
#[derive(Debug)]
pub struct Scraped {
    /// The rows of all collectors but netmon's own.
    pub rows: Vec<Rows>,
    /// The state of netmon itself.
    pub health: Health,
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
    pub retired: Mutex<collectors::drops::facts::Retired>,
    /// Which series are shown by themselves, and which are summed up.
    pub limits: Mutex<Limits>,
    /// How many inventories the engine has published.
    pub published: Arc<AtomicU64>,
    /// The value of `published` when the engine had reported everything that ran at start-up.
    pub first_whole: OnceLock<u64>,
}

impl Sources {
    /// Reads everything, lays out the rows and applies the limits. Blocks until the kernel has answered, which takes
    /// some ten microseconds for each namespace.
    #[must_use]
    pub fn scrape(&self, docker: DockerHealth) -> Scraped {
        let mut snapshot = self.snapshot(docker);
        let mut rows = collectors::rows(&snapshot, &self.collectors);
        let running = collectors::running(&snapshot);
        let now = Instant::now();
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let health = limits.apply(&mut rows, &running, snapshot.is_partial, now);
        for (limit, over) in limits.news(&health, now) {
            warn!(
                limit,
                over,
                "more than a limit allows: what is over it is summed up as \"{OVER}\"; netmon_over_limit says how much \
                 that is, and docs/settings.md (--limit.*) how to allow more"
            );
        }
        snapshot.health.limits = health;
        Scraped {
            rows,
            health: snapshot.health,
        }
    }

    /// Whether this collector is wanted.
    fn wants(&self, collector: Collector) -> bool {
        self.collectors.has(collector)
    }

    /// Reads every device and joins the readings with who they belong to.
    fn snapshot(&self, docker: DockerHealth) -> Snapshot {
        let begin = Instant::now();
        let wanted = Wanted {
            drops: self.wants(collectors::drops::NAME),
            tcp: self.wants(collectors::tcp::NAME),
            sockets: self.wants(collectors::sockets::NAME),
            buffers: self.wants(collectors::buffers::NAME),
            overlay: self.wants(collectors::overlay::NAME),
        };
        let read = read_all(&self.shared, wanted);
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
        let mut parts = vec![device];
        let mut maps = Vec::new();
        let mut programs = Vec::new();
        let drops = self.drops(&mut state, &mut parts, &mut maps, &mut programs);
        let (tcp, connections) = self.tcp(&mut state, &mut parts, &mut maps, &mut programs);

        let mut overlay = self.overlay(&mut state, &mut parts, &mut maps, &mut programs);
        let members = self.members(&mut state, &mut parts);
        let peers = collectors::overlay::facts::peers(&mut state);
        if self.wants(collectors::overlay::NAME) {
            overlay.peers = peers;
        }

        let sockets = collectors::sockets::facts::rows(&state);
        let buffers = if self.wants(collectors::buffers::NAME) {
            collectors::buffers::facts::rows(&state)
        } else {
            BufferRows::default()
        };
        if self.wants(collectors::sockets::NAME) {
            parts.push(CollectorRow {
                collector: collectors::sockets::NAME.as_str(),
                duration: reading.protocols,
                success: sockets.node.is_some() || !sockets.containers.is_empty(),
            });
        }
        if self.wants(collectors::buffers::NAME) {
            parts.push(CollectorRow {
                collector: collectors::buffers::NAME.as_str(),
                duration: reading.buffers,
                success: buffers.node.is_some(),
            });
        }

        let begin = Instant::now();
        let inventory = Arc::clone(state.inventory());
        let (interfaces, vxlans) = collectors::traffic::facts::rows(&state);
        let services = collectors::service::facts::rows(&state);
        let unattributed = state.unattributed();
        let containers = collectors::docker::facts::rows(&inventory, &state);
        let networks = collectors::overlay::mtu::networks(&state, &collectors::overlay::mtu::overlays(&state));
        let attach = state.attach_health(begin);
        drop(state);
        if self.counting_wanted {
            let success = self.counting.is_some();
            parts.push(CollectorRow {
                collector: "traffic",
                duration: begin.elapsed(),
                success,
            });
        }
        let health = self.health(docker, attach, parts, maps, programs);
        Snapshot {
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
        parts: &mut Vec<CollectorRow>,
        maps: &mut Vec<MapRow>,
        programs: &mut Vec<ProgramRow>,
    ) -> DropRows {
        if !self.wants(collectors::drops::NAME) || !self.counting_wanted {
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
                    rows = Some(collectors::drops::facts::rows(
                        &drops,
                        &mut retired,
                        state,
                        begin,
                        |reason| map.reason(reason),
                    ));
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
        parts.push(CollectorRow {
            collector: collectors::drops::NAME.as_str(),
            duration: begin.elapsed(),
            success: rows.is_some(),
        });
        rows.unwrap_or_default()
    }

    /// What happened to TCP connections.
    fn tcp(
        &self,
        state: &mut State,
        parts: &mut Vec<CollectorRow>,
        maps: &mut Vec<MapRow>,
        programs: &mut Vec<ProgramRow>,
    ) -> (Vec<TcpRow>, Vec<ConnectionsRow>) {
        if !self.wants(collectors::tcp::NAME) {
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
        let rows = collectors::tcp::facts::rows(events.as_ref(), state, begin);
        if let (Some(map), Some(events)) = (&mut tracepoints.tcp, &events)
            && strangers > TcpMap::MANY_STRANGERS
        {
            let foreign = collectors::tcp::facts::foreign(events, state, begin);
            if let Err(error) = map.forget(|netns| foreign.contains(&netns)) {
                warn!(%error, "cannot delete TCP events of unknown namespaces from the kernel map");
            }
        }
        parts.push(CollectorRow {
            collector: collectors::tcp::NAME.as_str(),
            duration: begin.elapsed(),
            success: is_whole || !self.counting_wanted,
        });
        rows
    }

    /// The overlay networks between this node and others, and what they pass.
    fn overlay(
        &self,
        state: &mut State,
        parts: &mut Vec<CollectorRow>,
        maps: &mut Vec<MapRow>,
        programs: &mut Vec<ProgramRow>,
    ) -> OverlayRows {
        if !self.wants(collectors::overlay::NAME) {
            return OverlayRows::default();
        }
        let begin = Instant::now();
        let mut map = self.overlay.lock();
        let mut tunnels = None;
        if let Some(map) = &mut *map {
            programs.extend(map.programs());
            if let Err(error) = map.know(collectors::overlay::facts::known(state)) {
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
        let rows = collectors::overlay::facts::rows(tunnels.as_ref(), state, begin);
        if let (Some(map), Some(_)) = (&mut *map, &tunnels) {
            let idle = collectors::overlay::facts::forgettable(state, begin);
            if !idle.is_empty()
                && let Err(error) = map.forget(|tunnel| idle.contains(tunnel))
            {
                warn!(%error, "cannot delete removed tunnels from the kernel map");
            }
        }
        // If nothing is encrypted, no figure is missing when the kernel does not report encryption errors.
        let is_told = rows.xfrm_errors.is_some() || !collectors::overlay::facts::has_encryption(state);
        parts.push(CollectorRow {
            collector: collectors::overlay::NAME.as_str(),
            duration: begin.elapsed(),
            success: is_told && (tunnels.is_some() || !self.counting_wanted),
        });
        rows
    }

    /// The members of the overlay networks, on any node.
    fn members(&self, state: &mut State, parts: &mut Vec<CollectorRow>) -> MemberRows {
        if !self.wants(collectors::members::NAME) {
            return MemberRows::default();
        }
        let begin = Instant::now();
        let rows = collectors::members::facts::rows(state, begin);
        parts.push(CollectorRow {
            collector: collectors::members::NAME.as_str(),
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
            shows_exporter: false,
            process: None,
        }
    }
}
