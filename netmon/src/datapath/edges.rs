//! Who talks to whom over TCP: the counts of connections by their two ends.
//!
//! What ended is in a map. What is open is added up by an iterator over the sockets, at each reading. The two together are
//! exact if the map is read first: what ends in between is in neither, until the next reading. In the other order it would
//! be in both.
//!
//! This module does not know to which container a namespace belongs, nor whose an address is.

mod convert;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netmon_common::{
    connection::{FIELDS as FIELDS_OF_SOCKETS, FIELDS_OF_REASONS, MAP_ADDRESSES, MAX_ADDRESSES},
    edges::{
        ADOPT, Edge, FIELDS, FIELDS_OF_IPV6, ITERATOR, ITERATOR_OF_SOCKETS, Key, LIVE, Listener, Live, MAP,
        MAP_CONNECTIONS, MAP_LISTENERS, MAP_LIVE, MAP_LOST, MAP_SOCKETS, MAX_ENTRIES, PROGRAMS,
    },
    refusal,
    share::{MAP as MAP_SHARES, OF_STRANGERS, STRANGERS},
};

use self::convert::{counts, id, reading};
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
    edges::{EdgeCounts, EdgeId, EdgeReading},
    health::{MapRow, ProgramRow, Refusals},
    interface::NetnsId,
};

/// The programs, as built with this daemon.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/edges.o"));

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
        };
        // A kernel that cannot do it is found out at start.
        edges.read()?;
        Ok(edges)
    }

    /// If unwatched namespaces have more edges than this, those are deleted from the map.
    pub const MANY_STRANGERS: u32 = OF_STRANGERS / 2;

    /// Reserves room for a namespace in the maps.
    ///
    /// # Errors
    /// The kernel refuses, or there are too many.
    pub fn watch(&mut self, netns: NetnsId) -> Result<(), DatapathError> {
        if !self.shares.has(netns) {
            self.attached.hash::<u64, u64>(MAP_SOCKETS)?.write(netns.0, 0)?;
        }
        self.shares.watch(&mut self.attached.hash(MAP_SHARES)?, netns)
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
        self.each(|key, edge| {
            edges.insert(key, (*edge, Live::ZERO));
        })?;
        let mut keys: BTreeMap<NetnsId, u32> = BTreeMap::new();
        for key in edges.keys() {
            *keys.entry(NetnsId(key.netns)).or_default() += 1;
        }
        self.each_live(|key, live| edges.entry(key).or_insert((Edge::ZERO, Live::ZERO)).1 = *live)?;
        if let Some(before) = before {
            let mut map = self.attached.hash(MAP_SHARES)?;
            self.shares.settle(&mut map, &before, &keys)?;
        }
        let unended = edges.values().fold(self.unended, |sum, (edge, live)| {
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

    /// Reads what ended.
    fn each(&self, mut each: impl FnMut(Key, &Edge)) -> Result<(), DatapathError> {
        let map = descriptor(self.attached.shared_hash(MAP)?);
        batch::read(map, batch::ONE, |key: Key, edges: &[Edge]| {
            for edge in edges {
                each(key, edge);
            }
        })
        .map_err(|error| DatapathError::of("read the counts of TCP connections by their ends", error))
    }

    /// Adds up what is open.
    fn each_live(&mut self, mut each: impl FnMut(Key, &Live)) -> Result<(), DatapathError> {
        let failed = |error| DatapathError::of("add up the open TCP connections", error);
        let map = descriptor(self.attached.shared_hash(MAP_LIVE)?);
        if self.has_remains {
            batch::drain(map, |_: Key, _: &Live| {}).map_err(failed)?;
        }
        self.has_remains = true;
        self.sockets.run().map_err(failed)?;
        batch::drain(map, |key: Key, live: &Live| each(key, live)).map_err(failed)?;
        self.has_remains = false;
        Ok(())
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

    /// Takes the edges of the namespaces that are `gone` out of the map, and adds them to `last`. Takes back their room.
    /// Goes on after an error.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn forget(
        &mut self,
        gone: &BTreeSet<NetnsId>,
        last: &mut Vec<(EdgeId, EdgeCounts)>,
    ) -> Result<(), DatapathError> {
        let deleted = self.take(|key| gone.contains(&NetnsId(key.netns)), last);
        let unwatched = self.unwatch(|netns| gone.contains(&netns));
        deleted.and(unwatched)
    }

    /// Takes back the room of these namespaces. Goes on after an error. What is left is tried again by the next call.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn unwatch(&mut self, gone: impl Fn(NetnsId) -> bool) -> Result<(), DatapathError> {
        let before: Vec<NetnsId> = self.shares.watched().collect();
        let shares = self.shares.forget(&mut self.attached.hash(MAP_SHARES)?, gone);
        let mut sockets = self.attached.hash::<u64, u64>(MAP_SOCKETS)?;
        let gone = before.into_iter().filter(|netns| !self.shares.is_watched(*netns));
        let removed = gone
            .map(|netns| Store::remove(&mut sockets, netns.0))
            .fold(Ok(()), Result::and);
        let mut addresses = self.attached.hash(MAP_ADDRESSES)?;
        let emptied = self
            .addresses
            .forget(&mut addresses, |netns| !self.shares.is_watched(netns));
        shares.and(removed).and(emptied)
    }

    /// Takes these edges out of the map, and returns what they had. What happens later is counted from 0 on.
    ///
    /// # Errors
    /// The kernel refuses: the first error. What was taken before is in `last`.
    pub fn take_edges(
        &mut self,
        edges: &BTreeSet<EdgeId>,
        last: &mut Vec<(EdgeId, EdgeCounts)>,
    ) -> Result<(), DatapathError> {
        self.take(|key| edges.contains(&id(key)), last)
    }

    /// Deletes the edges of these namespaces, unless they are watched by now.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn forget_unwatched(&mut self, foreign: &BTreeSet<NetnsId>) -> Result<(), DatapathError> {
        let unwatched = foreign.iter().filter(|netns| !self.shares.is_watched(**netns));
        let unwatched: BTreeSet<NetnsId> = unwatched.copied().collect();
        self.take(|key| unwatched.contains(&NetnsId(key.netns)), &mut Vec::new())
    }

    /// Takes edges out of the map, and adds what they had to `last`. Goes on after an error, and returns the first.
    fn take(&mut self, gone: impl Fn(&Key) -> bool, last: &mut Vec<(EdgeId, EdgeCounts)>) -> Result<(), DatapathError> {
        self.shares.correct_soon();
        let mut keys: Vec<Key> = Vec::new();
        self.each(|key, _| {
            if gone(&key) {
                keys.push(key);
            }
        })?;
        let map = descriptor(self.attached.shared_hash(MAP)?);
        let mut result = Ok(());
        for key in keys {
            match batch::take(map, batch::ONE, &key) {
                Ok(edges) => {
                    let edges: Option<Vec<Edge>> = edges;
                    for edge in edges.into_iter().flatten() {
                        let open = edge.opened.wrapping_sub(edge.closed);
                        self.unended = self.unended.wrapping_add(open);
                        last.push((id(&key), counts(&edge)));
                    }
                }
                Err(error) => {
                    result = result.and(Err(DatapathError::of("delete the counts of TCP connections", error)));
                }
            }
        }
        result
    }

    /// How full the maps are, given the number of edges and of what found no room.
    #[must_use]
    pub fn rows(&self, edges: u64, refusals: Refusals) -> [MapRow; 2] {
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
