//! Who talks to whom over TCP: the counts of connections by their two ends.
//!
//! What ended is in a map. What is open is added up by an iterator over the sockets, at each reading. The two together are
//! exact if the map is read first: what ends in between is in neither, until the next reading. In the other order it would
//! be in both.
//!
//! This module does not know to which container a namespace belongs, nor whose an address is.

mod clock;
mod convert;
mod drift;
mod known;
mod taking;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use aya::maps::{Array, MapData};
use netmon_common::{
    connection::{FIELDS as FIELDS_OF_SOCKETS, FIELDS_OF_REASONS, MAP_ADDRESSES, MAX_ADDRESSES},
    edges::{
        ADOPT, Clock, Edge, FIELDS, FIELDS_OF_IPV6, ITERATOR, ITERATOR_OF_SOCKETS, Key, LIVE, Listener, Live, MAP,
        MAP_CLOCK, MAP_CONNECTIONS, MAP_KNOWN, MAP_LISTENERS, MAP_LIVE, MAP_LOST, MAP_NODE, MAP_SECOND, MAP_SEEN,
        MAP_SOCKETS, MAP_TRACKED, MAX_ENTRIES, MAX_KNOWN, PROGRAMS,
    },
    refusal,
    share::{MAP as MAP_SHARES, OF_STRANGERS, STRANGERS},
};

use tracing::debug;

use self::{convert::reading, drift::Drift, known::Known};
use super::{
    DatapathError,
    addresses::Addresses,
    batch,
    iterator::SocketIterator,
    refusals::refusals,
    share::Shares,
    store::Store,
    tracepoint::{AttachedObject, Globals, Kernel, OpenObject, descriptor},
};
use crate::model::{
    edges::EdgeReading,
    health::{MapRow, ProgramRow, Refusals},
    interface::NetnsId,
};

/// The programs, as built with this daemon.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/edges.o"));

/// What is done with [`MAP`], for errors.
const READING: &str = "read the counts of TCP connections by their ends";
/// `BPF_NOEXIST`: a key that exists keeps its value.
const NO_EXIST: u64 = 1;

/// The running programs and their counts.
#[derive(Debug)]
pub struct EdgesMap {
    attached: AttachedObject,
    /// Runs the program for each socket that has storage.
    sockets: SocketIterator,
    /// Runs the program for each socket of a namespace.
    adopts: SocketIterator,
    shares: Shares,
    addresses: Addresses,
    /// The sums of open connections may have something of an earlier reading, which failed.
    has_remains: bool,
    /// Connections of edges that were taken out of the map, without those that have ended.
    unended: u64,
    /// How wrong the numbers of sockets with storage are.
    drift: Drift,
    known: Known,
    /// How long an idle second is, until the programs know.
    second: Option<Duration>,
}

/// A reading of all edges.
#[derive(Debug, Default)]
pub struct EdgesRead {
    /// The edges.
    pub edges: Vec<EdgeReading>,
    /// How many of them unwatched namespaces have.
    pub strangers: u32,
    /// Connections that are not open any more, and whose end no program heard. Those that ended during the reading are among
    /// them, and those that began during it are subtracted.
    pub unheard: i64,
}

impl EdgesMap {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// The kernel has no type information, or does not accept the programs.
    pub(super) fn load(kernel: &Kernel) -> Result<Self, DatapathError> {
        let types = &kernel.types;
        let mut globals = Globals::offsets(types, FIELDS_OF_SOCKETS.iter().chain(FIELDS))?;
        // The kernel refuses the programs without one of these, of which edges also have a count.
        globals.optional(types, FIELDS_OF_REASONS);
        globals.optional(types, FIELDS_OF_IPV6);
        let mut open = OpenObject::open(OBJECT, &globals, kernel)?;
        let mut sockets = open.hash::<u64, u64>(MAP_SOCKETS)?;
        sockets.write(STRANGERS, 0)?;
        open.load_iterator(LIVE, ITERATOR)?;
        open.load_iterator(ADOPT, ITERATOR_OF_SOCKETS)?;
        for program in PROGRAMS {
            open.attach(program.name, program.tracepoint)?;
        }
        let attached = open.ready("edges");
        let sockets = attached.iterator(LIVE, Some(MAP_CONNECTIONS))?;
        let adopts = attached.iterator(ADOPT, None)?;
        attached.shared_hash(MAP_LISTENERS)?;
        attached.shared_hash(MAP)?;
        attached.shared_hash(MAP_LIVE)?;
        attached.map(MAP_LOST)?;
        attached.map(MAP_ADDRESSES)?;
        let mut edges = Self {
            attached,
            sockets,
            adopts,
            shares: Shares::default(),
            addresses: Addresses::default(),
            has_remains: false,
            unended: 0,
            drift: Drift::default(),
            known: Known::default(),
            second: None,
        };
        // A kernel that cannot do it is found out at start.
        edges.read()?;
        Ok(edges)
    }

    /// What the kernel's clocks said at the last reading.
    fn now(&self) -> Result<Clock, DatapathError> {
        let map = self.attached.map(MAP_CLOCK)?;
        let map: Array<&MapData, Clock> = map.try_into().map_err(DatapathError::map)?;
        map.get(&0, 0).map_err(DatapathError::map)
    }

    /// Says how long an idle second is. Before this nothing is idle.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_second(&mut self, second: Duration) -> Result<(), DatapathError> {
        self.second = Some(second);
        self.tell_second()
    }

    /// Tells the programs how many jiffies an idle second has. Five minutes after boot that is not known for a moment.
    fn tell_second(&mut self) -> Result<(), DatapathError> {
        let Some(second) = self.second else { return Ok(()) };
        let Some(jiffies) = clock::jiffies_in_a_second(self.now()?) else {
            return Ok(());
        };
        let jiffies = u128::from(jiffies) * second.as_millis() / 1000;
        self.write(MAP_SECOND, u64::try_from(jiffies).unwrap_or(u64::MAX).max(1))?;
        self.second = None;
        Ok(())
    }

    /// If unwatched namespaces have more edges than this, those are deleted from the map.
    pub const MANY_STRANGERS: u32 = OF_STRANGERS / 2;

    /// Reserves room for a namespace in the maps.
    ///
    /// # Errors
    /// The kernel refuses, or there are too many.
    pub fn watch(&mut self, netns: NetnsId) -> Result<(), DatapathError> {
        if !self.shares.has(netns) {
            // It may have been watched before, and have sockets from then.
            let added = self
                .attached
                .hash::<u64, u64>(MAP_SOCKETS)?
                .insert(netns.0, 0, NO_EXIST);
            debug!(
                netns = netns.0,
                is_new = added.is_ok(),
                "sockets of a namespace are counted"
            );
        }
        self.shares.watch(&mut self.attached.hash(MAP_SHARES)?, netns)
    }

    /// Gives the node's namespace room by its number of devices, which are the engine's choice.
    pub fn give_room(&mut self, netns: NetnsId, devices: usize) {
        self.shares.give(netns, devices);
    }

    /// Says which namespace is the node's: what leads from there to the world is no edge.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_node(&mut self, netns: NetnsId) -> Result<(), DatapathError> {
        self.write(MAP_NODE, netns.0)
    }

    /// Writes a map of one number.
    fn write(&mut self, name: &'static str, number: u64) -> Result<(), DatapathError> {
        let map = self.attached.map_mut(name)?;
        let mut map: Array<&mut MapData, u64> = map.try_into().map_err(DatapathError::map)?;
        map.set(0, number, 0).map_err(DatapathError::map)
    }

    /// Takes up the connections of the calling thread's namespace whose beginning no program heard. The kernel walks all
    /// connections of the machine for that, which takes some milliseconds.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn adopt(&self) -> Result<(), DatapathError> {
        let failed = |error| DatapathError::of("find the TCP connections from before netmon", error);
        self.adopts.run().map_err(failed)?;
        let map = descriptor(self.attached.shared_hash(MAP_LISTENERS)?);
        batch::drain(map, |_: Listener, _: &u64| {}).map_err(failed)
    }

    /// Reads every edge. Also counts the edges of every namespace. Some readings correct the programs' numbers by them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn read(&mut self) -> Result<EdgesRead, DatapathError> {
        self.attached.read_notes();
        let before = self.shares.corrects().then(|| self.attached.shares()).transpose()?;
        let mut edges: BTreeMap<Key, (Edge, Live)> = BTreeMap::new();
        self.attached.each(MAP, READING, |key, edge| {
            edges.insert(key, (*edge, Live::ZERO));
        })?;
        let mut keys: BTreeMap<NetnsId, u32> = BTreeMap::new();
        for key in edges.keys() {
            *keys.entry(NetnsId(key.netns)).or_default() += 1;
        }
        self.each_live(|key, live| edges.entry(key).or_insert((Edge::ZERO, Live::ZERO)).1 = *live)?;
        self.tell_second()?;
        if let Some(before) = before {
            let mut map = self.attached.hash(MAP_SHARES)?;
            self.shares.settle(&mut map, &before, &keys)?;
        }
        // What others do may find no room to be counted.
        let watched = edges
            .iter()
            .filter(|(key, _)| self.shares.is_watched(NetnsId(key.netns)));
        let unended = watched.fold(self.unended, |sum, (_, (edge, live))| {
            let open = live.connections.wrapping_sub(live.adopted);
            sum.wrapping_add(edge.opened)
                .wrapping_sub(edge.closed)
                .wrapping_sub(open)
        });
        Ok(EdgesRead {
            edges: edges
                .iter()
                .map(|(key, (edge, live))| reading(key, edge, live))
                .collect(),
            strangers: self.shares.strangers(&keys),
            unheard: unended.cast_signed(),
        })
    }

    /// Adds up what is open.
    fn each_live(&mut self, mut each: impl FnMut(Key, &Live)) -> Result<(), DatapathError> {
        let failed = |error| DatapathError::of("add up the open TCP connections", error);
        let map = descriptor(self.attached.shared_hash(MAP_LIVE)?);
        if self.has_remains {
            batch::drain(map, |_: Key, _: &Live| {}).map_err(failed)?;
        }
        let sockets = self.sockets_counted()?;
        self.has_remains = true;
        self.sockets.run().map_err(failed)?;
        batch::drain(map, |key: Key, live: &Live| each(key, live)).map_err(failed)?;
        self.has_remains = false;
        self.correct_sockets(&sockets)
    }

    /// How many sockets have storage, as the programs count them.
    fn sockets_counted(&self) -> Result<BTreeMap<u64, u64>, DatapathError> {
        let mut counted = BTreeMap::new();
        self.attached
            .each(MAP_SOCKETS, "read how many sockets have storage", |netns, sockets| {
                counted.insert(netns, *sockets);
            })?;
        Ok(counted)
    }

    /// Corrects these numbers by what the pass has seen.
    fn correct_sockets(&mut self, counted: &BTreeMap<u64, u64>) -> Result<(), DatapathError> {
        let mut seen = BTreeMap::new();
        let map = descriptor(self.attached.shared_hash(MAP_SEEN)?);
        batch::drain(map, |netns: u64, sockets: &u64| {
            seen.insert(netns, *sockets);
        })
        .map_err(|error| DatapathError::of("read how many sockets have storage", error))?;
        let corrections = self.drift.corrections(counted, &seen);
        if corrections.is_empty() {
            return Ok(());
        }
        let mut sockets = self.attached.hash::<u64, u64>(MAP_SOCKETS)?;
        for (netns, right) in corrections {
            debug!(netns, right, "the number of sockets with storage is corrected");
            sockets.write(netns, right)?;
        }
        self.write(MAP_TRACKED, seen.values().sum())
    }

    /// Gives the programs the addresses that a namespace's devices have now, as for [`super::tcp::TcpMap`].
    ///
    /// # Errors
    /// The kernel does not take all of them. What it does not take is counted, and is tried again by the next call.
    pub fn set_addresses(
        &mut self,
        netns: NetnsId,
        addresses: impl IntoIterator<Item = (IpAddr, u32)>,
    ) -> Result<(), DatapathError> {
        self.addresses
            .set(&mut self.attached.hash(MAP_ADDRESSES)?, netns, addresses)
    }

    /// What found no room.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lost(&self) -> Result<Refusals, DatapathError> {
        refusals(self.attached.map(MAP_LOST)?)
    }

    /// How full the maps are, given the number of edges and of what found no room.
    #[must_use]
    pub fn rows(&self, edges: u64, refusals: Refusals) -> [MapRow; 3] {
        [
            MapRow {
                map: MAP,
                entries: edges,
                max_entries: MAX_ENTRIES.into(),
                update_failures: refusals,
            },
            MapRow {
                map: "EDGE_ADDRESSES",
                entries: self.addresses.count(),
                max_entries: MAX_ADDRESSES.into(),
                update_failures: vec![(refusal::NAMES[refusal::SHARE as usize], self.addresses.refused())],
            },
            MapRow {
                map: MAP_KNOWN,
                entries: self.known.count(),
                max_entries: MAX_KNOWN.into(),
                update_failures: vec![(refusal::NAMES[refusal::SHARE as usize], self.known.refused())],
            },
        ]
    }

    /// The programs in use.
    pub fn programs(&self) -> impl Iterator<Item = ProgramRow> {
        let attached = PROGRAMS.iter().map(|program| ProgramRow {
            program: program.name,
            kind: "tracing",
            attach_point: program.tracepoint,
            mode: "tp_btf",
            missed_runs: self.attached.missed_runs(program.name),
        });
        let iterators = [(LIVE, ITERATOR), (ADOPT, ITERATOR_OF_SOCKETS)];
        attached.chain(iterators.map(|(program, attach_point)| ProgramRow {
            program,
            kind: "tracing",
            attach_point,
            mode: "iter",
            missed_runs: None,
        }))
    }
}
