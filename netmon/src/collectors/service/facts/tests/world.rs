//! Containers of two services, and what the kernel's maps have of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use netmon_common::tcp::Tcp;

use crate::{
    collectors::{drops, tcp},
    model::{
        drops::{Drop, DropKey, Drops},
        events::{EventSums, LastCounts},
        interface::{Device, DeviceKind, InterfaceId, NetnsId},
        inventory::{Container, Endpoint, Identity, Inventory, Network, Sandbox},
        netns::{Listing, NetnsFile, Role},
        tcp::Events,
    },
    observe::state::{Departed, Scope, ServiceKey, State},
};

pub(super) const LINGER: Duration = Duration::from_mins(1);
pub(super) const SERVICES: [&str; 2] = ["web", "jobs"];
/// No device, loopback, and the device on the network.
const DEVICES: [u32; 3] = [0, 1, 7];

/// What the kernel has counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Maps {
    drops: BTreeMap<DropKey, u64>,
    events: BTreeMap<InterfaceId, Tcp>,
}

impl Maps {
    fn drops(&self) -> Vec<Drop> {
        let drops = self.drops.iter();
        drops.map(|(key, packets)| drop_of(*key, *packets)).collect()
    }

    fn events(&self) -> BTreeMap<InterfaceId, Events> {
        self.events
            .iter()
            .map(|(id, counts)| (*id, Events::from(*counts)))
            .collect()
    }

    /// Takes these namespaces' counts out, or some of them.
    fn take(&mut self, gone: &BTreeSet<NetnsId>, is_all: bool) -> LastCounts {
        let mut last = LastCounts::default();
        for (key, packets) in &mut self.drops {
            if gone.contains(&key.0.netns) {
                // Several counts that differ in their place have one key.
                let part = if is_all { *packets } else { packets.div_ceil(2) };
                *packets -= part;
                last.drops.push((drop_of(*key, part), name(key.1).into()));
            }
        }
        self.drops.retain(|_, packets| *packets > 0);
        let taken = self
            .events
            .extract_if(.., |id, _| gone.contains(&id.netns) && (is_all || id.ifindex > 0));
        last.events = Some(taken.map(|(id, counts)| (id, Events::from(counts))).collect());
        last
    }
}

fn drop_of(key: DropKey, packets: u64) -> Drop {
    Drop {
        interface: key.0,
        reason: key.1,
        unplaced: key.2,
        packets,
    }
}

fn name(reason: u32) -> String {
    format!("REASON_{reason}")
}

/// A container that was started.
pub(super) struct Life {
    file: NetnsFile,
    netns: NetnsId,
    service: &'static str,
    is_listed: bool,
    is_named: bool,
}

/// Containers, and what happened to them.
pub(super) struct World {
    pub(super) state: State,
    retired: drops::facts::Retired,
    pub(super) now: Instant,
    pub(super) maps: Maps,
    pub(super) lives: Vec<Life>,
    pub(super) waiting: BTreeMap<NetnsId, Departed>,
    pub(super) read: Option<Maps>,
    pub(super) unattributed: u64,
    /// What happened in all.
    pub(super) truth: BTreeMap<ServiceKey, EventSums>,
}

impl World {
    pub(super) fn new() -> Self {
        let scope = Scope {
            containers: true,
            vxlan: true,
        };
        let mut state = State::new(scope, LINGER);
        state.set_inventory(Arc::new(Inventory::default()));
        let mut world = Self {
            state,
            retired: drops::facts::Retired::default(),
            now: Instant::now(),
            maps: Maps::default(),
            lives: Vec::new(),
            waiting: BTreeMap::new(),
            read: None,
            unattributed: 0,
            truth: BTreeMap::new(),
        };
        world.list();
        // Each service has a container that stays, as any service that is in a crash loop has one that is about to start.
        for service in SERVICES {
            world.start(service);
        }
        world.name();
        world
    }

    pub(super) fn start(&mut self, service: &'static str) {
        let number = self.lives.len() as u64;
        let file = NetnsFile {
            path: PathBuf::from(format!("/netns/{number:012}")),
            inode: number + 1,
            role: Role::Sandbox,
        };
        let netns = NetnsId(100 + number);
        let life = Life {
            file: file.clone(),
            netns,
            service,
            is_listed: true,
            is_named: false,
        };
        self.lives.push(life);
        self.list();
        let device = Device {
            addresses: vec![[10, 0, 1, u8::try_from(number).expect("few")].into()],
            up: true,
            ..Device::new(DEVICES[2], "eth0".to_owned(), DeviceKind::Veth)
        };
        self.state.looked(&file, netns, vec![device], self.now);
    }

    fn list(&mut self) {
        let files = self
            .lives
            .iter()
            .filter(|life| life.is_listed)
            .map(|life| life.file.clone());
        let listing = Listing {
            files: files.collect(),
            ..Listing::default()
        };
        self.state.listed(listing, self.now);
    }

    /// The engine says whose they are.
    pub(super) fn name(&mut self) {
        let mut inventory = Inventory::default();
        let network = Network {
            id: "n1".into(),
            name: "front".into(),
            driver: "bridge".into(),
            ..Network::default()
        };
        inventory.networks.insert("n1".into(), Arc::new(network));
        for (number, life) in self.lives.iter_mut().enumerate() {
            life.is_named = true;
            let identity = Identity {
                container: format!("{}.{number}", life.service),
                service: life.service.to_owned(),
                stack: "shop".to_owned(),
            };
            let id: Arc<str> = format!("{number:012}").into();
            let container = Container {
                id: Arc::clone(&id),
                identity: Arc::new(identity),
                sandbox: Sandbox::Own(life.file.path.clone()),
                endpoints: vec![Endpoint {
                    network: "n1".into(),
                    network_name: "front".to_owned(),
                    mac: None,
                    addresses: vec![[10, 0, 1, u8::try_from(number).expect("few")].into()],
                    ..Endpoint::default()
                }],
                running: life.is_listed,
                ..Container::default()
            };
            inventory.containers.insert(id, Arc::new(container));
        }
        self.state.set_inventory(Arc::new(inventory));
    }

    /// What happened to a container on one of its devices.
    fn truth(&mut self, at: usize, device: usize) -> Option<(InterfaceId, &mut EventSums)> {
        let at = at % self.lives.len();
        let life = &self.lives[at];
        let id = InterfaceId {
            netns: life.netns,
            ifindex: DEVICES[device],
        };
        let is_there = self.state.namespace(life.netns).is_some() || self.waiting.contains_key(&life.netns);
        let key = ServiceKey {
            service: life.service.to_owned(),
            stack: "shop".to_owned(),
            network: if device == 2 { "front".into() } else { "".into() },
        };
        is_there.then(|| (id, self.truth.entry(key).or_default()))
    }

    pub(super) fn lose(&mut self, at: usize, device: usize, reason: u32, packets: u64) {
        if let Some((id, truth)) = self.truth(at, device) {
            *truth.drops.entry(name(reason).into()).or_default() += packets;
            *self.maps.drops.entry((id, reason, false)).or_default() += packets;
        }
    }

    pub(super) fn connect(&mut self, at: usize, device: usize, connects: u64) {
        if let Some((id, truth)) = self.truth(at, device) {
            let made = truth.made.get_or_insert_default();
            made.connects += connects;
            made.failures[1] += 1;
            truth.segments.get_or_insert_default().retransmitted += 2;
            let counts = self.maps.events.entry(id).or_insert(Tcp::ZERO);
            counts.connects += connects;
            counts.failures[1] += 1;
            counts.retransmitted_segments += 1;
            counts.retransmitted_syn_acks += 1;
        }
    }

    pub(super) fn end(&mut self, at: usize) {
        let at = at % self.lives.len();
        if at >= SERVICES.len() {
            self.lives[at].is_listed = false;
            self.list();
        }
    }

    /// What a scrape reads, and what it makes of that.
    pub(super) fn join(&mut self, read: &Maps) {
        let passed = tcp::facts::passed(&self.state);
        let drops = Drops {
            counted: read.drops(),
            ..Drops::default()
        };
        let rows = drops::facts::rows(&drops, &mut self.retired, &mut self.state, self.now, name);
        self.retired.let_go(&self.state);
        self.unattributed = rows.unattributed.iter().map(|row| row.packets).sum();
        tcp::facts::rows(
            passed,
            Some(&read.events().into_iter().collect::<Vec<_>>()),
            &mut self.state,
            self.now,
        );
    }

    pub(super) fn expire(&mut self, works: bool) {
        self.state.expire(self.now);
        self.waiting.extend(self.state.take_forgotten());
        let last = self.maps.take(&self.waiting.keys().copied().collect(), works);
        self.state.count_last(&last, &mut self.waiting, works);
        if works {
            self.waiting.clear();
        }
    }

    /// The sums, without what is 0.
    pub(super) fn sums(sums: &BTreeMap<ServiceKey, EventSums>) -> BTreeMap<(ServiceKey, String), u64> {
        let mut all = BTreeMap::new();
        for (key, its) in sums {
            let made = its.made.unwrap_or_default();
            let retransmitted = its.segments.unwrap_or_default().retransmitted;
            let tcp = [
                ("made", made.connects),
                ("failed", made.failures[1]),
                ("again", retransmitted),
            ];
            let tcp = tcp.map(|(what, count)| (what.to_owned(), count));
            let drops = its.drops.iter().map(|(reason, count)| (reason.to_string(), *count));
            all.extend(drops.chain(tcp).map(|(what, count)| ((key.clone(), what), count)));
        }
        all.retain(|_, count| *count > 0);
        all
    }
}
