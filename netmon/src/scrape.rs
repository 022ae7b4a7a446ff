//! One scrape, from the kernel to the page: the file to read first.
//!
//! Every device is read during the scrape ([`crate::observe::read`]). Then each collector joins what was read with the
//! engine's last inventory ([`crate::observe::state`]) and makes its rows. The limits sum up what is too much. Only
//! these are carried over to the next scrape: ledgers, limits, decided owners and names, and sums of services and of
//! what was deleted.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tracing::{info, warn};

use crate::{
    collectors::{
        self, Running,
        visit::{Counting, Tools, Visit},
    },
    model::{
        collector::{Collector, Collectors},
        health::{AttachHealth, CollectorRow, DockerHealth, Health},
        inventory::{Identity, Inventory},
        outage::{News, Outage},
    },
    netns::settings::Settings,
    observe::{
        Shared,
        inventories::Inventories,
        read::{ReadReport, protocols::ProtocolsReader, read_all},
        state::State,
    },
    page::{
        limits::{Limits, OVER},
        rows::Rows,
    },
};

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
    /// The kernel programs.
    pub tools: Tools,
    /// What reads the counters of namespaces' protocols.
    pub protocols: Mutex<ProtocolsReader>,
    /// The node's settings.
    pub settings: Mutex<Settings>,
    /// The collectors that are switched on.
    pub wanted: Collectors,
    /// The same, at work.
    pub running: Mutex<Running>,
    /// Which series are shown by themselves, and which are summed up.
    pub limits: Mutex<Limits>,
    /// How often everything was read.
    pub scrapes: AtomicU64,
    /// Scrapes cannot read all namespaces.
    pub no_reading: Mutex<Outage>,
    /// The inventories that the engine has published.
    pub published: Inventories,
    /// Their number when the engine had reported everything that ran at start-up.
    pub first_whole: OnceLock<u64>,
}

impl Sources {
    /// Reads everything, has the collectors make their rows, and applies the limits. Blocks until the kernel has
    /// answered, which takes some ten microseconds for each namespace.
    #[must_use]
    pub fn scrape(&self, docker: &DockerHealth) -> Scraped {
        let (reading, device) = self.read();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.read(&self.shared, &self.tools);
        let mut state = self.shared.lock();
        let is_partial = docker.last_sync.is_none() || !self.is_whole(&state);
        let mut visit = Visit {
            state: &mut state,
            tools: &self.tools,
            engine: docker,
            now: Instant::now(),
            programs: Vec::new(),
            maps: Vec::new(),
            over: Vec::new(),
        };
        let rows = running.collect(&mut visit);
        let Visit {
            programs, maps, over, ..
        } = visit;
        if !self.wants(collectors::overlay::NAME) {
            // Names are kept as long as they are used, and the collector that lists them would have said so.
            state.peer_names.take_used();
        }
        let attach = state.attach_health(Instant::now());
        let overruns = state.overruns();
        let missing = state.missing_namespaces(Instant::now());
        let inventory = Arc::clone(state.inventory());
        drop(state);
        let mut parts = running.tidy(&self.shared, &self.tools);
        drop(running);
        for (need, collector) in collectors::needs(&self.wanted) {
            // It was read with the devices.
            let spent = reading.spent.get(&need).copied().unwrap_or_default();
            for part in parts.iter_mut().filter(|part| part.collector == collector.as_str()) {
                part.duration += spent;
            }
        }
        let missed = collectors::that_need(&reading.missed);
        for part in parts.iter_mut().filter(|part| missed.contains(&part.collector)) {
            part.success = false;
        }
        parts.push(device);
        let health = self.health(Health {
            attach,
            programs,
            maps,
            scrapes: self.scrapes.fetch_add(1, Ordering::Relaxed) + 1,
            collectors: parts,
            unread: reading.unread.len(),
            missing,
            overruns,
            ..Health::default()
        });
        self.limit(rows, health, over, &inventory, is_partial)
    }

    /// Reads every device, and what the wanted collectors need from the namespaces.
    fn read(&self) -> (ReadReport, CollectorRow) {
        let begin = Instant::now();
        let wanted = collectors::needs(&self.wanted).into_keys().collect();
        let mut protocols = self.protocols.lock().unwrap_or_else(PoisonError::into_inner);
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let read = read_all(&self.shared, &wanted, &mut protocols, &mut settings);
        drop((protocols, settings));
        let reading = read.unwrap_or_else(|error| ReadReport {
            error: Some(error.into()),
            unread: self.shared.lock().namespaces().keys().copied().collect(),
            misses_devices: true,
            missed: wanted,
            ..ReadReport::default()
        });
        let mut outage = self.no_reading.lock().unwrap_or_else(PoisonError::into_inner);
        let news = outage.note(reading.error.is_some(), Instant::now());
        drop(outage);
        match (news, &reading.error) {
            (Some(News::Begins), Some(error)) => warn!(
                namespaces = reading.unread.len(),
                %error,
                "cannot read namespaces that exist; their figures are estimates or from an earlier scrape"
            ),
            (Some(News::Ends), _) => info!("all namespaces can be read again"),
            _ => {}
        }
        let device = CollectorRow {
            collector: "device",
            duration: begin.elapsed().saturating_sub(reading.spent.values().sum()),
            success: !reading.misses_devices,
            supported: true,
        };
        (reading, device)
    }

    /// Sums up what is over the limits, and logs when that begins.
    fn limit(
        &self,
        mut rows: Vec<Rows>,
        mut health: Health,
        over: Vec<(&'static str, usize)>,
        inventory: &Inventory,
        is_partial: bool,
    ) -> Scraped {
        let now = Instant::now();
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        health.limits = limits.apply(&mut rows, &running_containers(inventory), is_partial, now);
        health.limits.over.extend(over);
        for collector in collectors::with_limits(&self.wanted) {
            health.limits.limited.entry(collector).or_default();
        }
        for (limit, over) in limits.news(&health.limits, now) {
            warn!(
                limit,
                over,
                "more than a limit allows: what is over it is summed up as \"{OVER}\"; netmon_over_limit says how much \
                 that is, and docs/settings.md (--limit.*) how to allow more"
            );
        }
        Scraped { rows, health }
    }

    /// Whether this collector is wanted.
    fn wants(&self, collector: Collector) -> bool {
        self.wanted.has(collector)
    }

    /// Why not everything that existed at start-up is read and named; `None` if it is. Must not be called before the
    /// engine has reported everything once.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let state = self.shared.lock();
        if !self.is_whole(&state) {
            return Some("what runs on this node is being looked at".to_owned());
        }
        if state.awaiting_sockets().next().is_some() {
            return Some("TCP connections from before netmon are being counted".to_owned());
        }
        state.misfit().map(|misfit| misfit.to_string())
    }

    fn is_whole(&self, state: &State) -> bool {
        state.is_synced(*self.first_whole.get_or_init(|| self.published.published()))
    }

    /// How many interfaces wait for programs that they can still get.
    #[must_use]
    pub fn waiting(&self) -> usize {
        if self.tools.counting.is_some() {
            self.shared.lock().waiting(Instant::now())
        } else {
            0
        }
    }

    /// Adds the programs on interfaces.
    fn health(&self, mut health: Health) -> Health {
        let protocols = self.protocols.lock().unwrap_or_else(PoisonError::into_inner);
        health.programs.extend(protocols.program());
        drop(protocols);
        if let Some(Counting { maps, programs }) = &self.tools.counting {
            health.maps.extend(maps.rows());
            health.programs.extend(programs.iter().cloned());
        } else {
            // If nothing is attached, zero failures mean nothing. The collector reports that it does not count.
            let AttachHealth {
                waiting,
                longest_wait,
                failures,
                ..
            } = &mut health.attach;
            failures.retain(|_, count| *count > 0);
            *waiting = None;
            *longest_wait = None;
        }
        health
    }
}

/// For each container whether it still runs.
fn running_containers(inventory: &Inventory) -> HashMap<Arc<Identity>, bool> {
    let mut running: HashMap<Arc<Identity>, bool> = HashMap::with_capacity(inventory.containers.len());
    for container in inventory.containers.values() {
        *running.entry(Arc::clone(&container.identity)).or_default() |= container.running;
    }
    running
}
