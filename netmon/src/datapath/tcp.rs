//! The counts of TCP events.
//!
//! This module also gives the programs the addresses of devices. They need these for connections that have an address
//! and no route yet. It does not know to which container a namespace belongs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use aya::maps::{HashMap, MapData, MapError};
use netmon_common::{
    connection::{FIELDS as FIELDS_OF_SOCKETS, FIELDS_OF_REASONS, MAP_ADDRESSES, MAX_ADDRESSES},
    kernel::Field,
    refusal,
    share::{MAP as MAP_SHARES, OF_STRANGERS},
    tcp::{FIELDS, GLOBAL_RETRANSMIT_ARGUMENTS, Key, MAP, MAP_LOST, MAX_ENTRIES, PROGRAMS, Program, Tcp},
};
use tracing::{debug, warn};

use super::{
    DatapathError,
    addresses::Addresses,
    refusals::refusals,
    share::Shares,
    tracepoint::{AttachedObject, Globals, Kernel, OpenObject},
};
use crate::model::{
    health::{MapRow, ProgramRow, Refusals},
    interface::{InterfaceId, NetnsId},
    tcp::Events,
};

/// The programs, as built with this daemon.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcp.o"));

/// What is done with [`MAP`], for errors.
const READING: &str = "read the counts of TCP events";

/// The running programs and their counts.
#[derive(Debug)]
pub struct TcpMap {
    attached: AttachedObject,
    shares: Shares,
    /// The attached programs.
    programs: Vec<Program>,
    addresses: Addresses,
}

impl TcpMap {
    /// Loads the programs and attaches them. A program whose tracepoint this kernel lacks is left out, with a
    /// warning.
    ///
    /// # Errors
    /// The kernel has no type information, or accepts none of the programs.
    pub(super) fn load(kernel: &Kernel) -> Result<Self, DatapathError> {
        let mut globals = Globals::offsets(&kernel.types, FIELDS_OF_SOCKETS.iter().chain(FIELDS))?;
        for Field { structure, member, .. } in globals.optional(&kernel.types, FIELDS_OF_REASONS) {
            warn!(%structure, %member, "this kernel has no such field; connections that fail have fewer reasons");
        }
        let arguments = kernel.types.arguments("tcp_retransmit_skb").unwrap_or(0);
        globals.set(GLOBAL_RETRANSMIT_ARGUMENTS, arguments);
        let mut open = OpenObject::open(OBJECT, &globals, kernel)?;
        let mut programs = Vec::with_capacity(PROGRAMS.len());
        let mut last = None;
        for program in PROGRAMS {
            match open.attach(program.name, program.tracepoint) {
                Ok(()) => programs.push(program),
                Err(error) if error.is_permission() => return Err(error),
                Err(error) => {
                    warn!(tracepoint = program.tracepoint, %error, "cannot use a tracepoint; its events are not counted");
                    debug!(?error, "all that the kernel said");
                    last = Some(error);
                }
            }
        }
        if let (Some(error), true) = (last, programs.is_empty()) {
            return Err(error);
        }
        let attached = open.ready("tcp");
        attached.shared_hash(MAP)?;
        attached.map(MAP_LOST)?;
        attached.map(MAP_ADDRESSES)?;
        Ok(Self {
            attached,
            shares: Shares::default(),
            programs,
            addresses: Addresses::default(),
        })
    }

    /// Whether every program is attached.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.programs.len() == PROGRAMS.len()
    }

    /// If more interfaces of unwatched namespaces than this have counts, those counts are deleted from the map.
    pub const MANY_STRANGERS: u32 = OF_STRANGERS / 2;

    /// Reserves room for a namespace in the map.
    ///
    /// # Errors
    /// The kernel refuses, or there are too many.
    pub fn watch(&mut self, netns: NetnsId) -> Result<(), DatapathError> {
        self.shares.watch(&mut self.attached.hash(MAP_SHARES)?, netns)
    }

    /// Reads the counts of every interface. Also counts the keys of every namespace. Some readings correct the programs'
    /// numbers by them. The second number is how many interfaces of unwatched namespaces there are.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn read(&mut self) -> Result<(Vec<(InterfaceId, Events)>, u32), DatapathError> {
        self.attached.read_notes();
        let before = self.shares.corrects().then(|| self.attached.shares()).transpose()?;
        let events = self.events()?;
        let mut keys: BTreeMap<NetnsId, u32> = BTreeMap::new();
        for (id, _) in &events {
            *keys.entry(id.netns).or_default() += 1;
        }
        if let Some(before) = before {
            let mut map = self.attached.hash(MAP_SHARES)?;
            self.shares.settle(&mut map, &before, &keys)?;
        }
        Ok((events, self.shares.strangers(&keys)))
    }

    /// The counts of every interface, each once: the kernel copies a bucket as a whole, and a key has one bucket.
    fn events(&self) -> Result<Vec<(InterfaceId, Events)>, DatapathError> {
        let mut all = Vec::new();
        self.each(|key, counts| all.push((interface(key), Events::from(*counts))))?;
        Ok(all)
    }

    /// The ifindexes of each namespace that have counts.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn interfaces(&self) -> Result<BTreeMap<NetnsId, BTreeSet<u32>>, DatapathError> {
        let mut all: BTreeMap<NetnsId, BTreeSet<u32>> = BTreeMap::new();
        self.each(|key, _| {
            all.entry(NetnsId(key.netns)).or_default().insert(key.ifindex);
        })?;
        Ok(all)
    }

    /// Reads the whole map.
    fn each(&self, each: impl FnMut(Key, &Tcp)) -> Result<(), DatapathError> {
        self.attached.each(MAP, READING, each)
    }

    /// Reads the counts of some interfaces of a namespace, added up. Those without counts have none yet.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn read_interfaces(&self, netns: NetnsId, interfaces: &BTreeSet<u32>) -> Result<Events, DatapathError> {
        let map = self.attached.map(MAP)?;
        let map: HashMap<&MapData, Key, Tcp> = map.try_into().map_err(DatapathError::map)?;
        let mut sum = Tcp::ZERO;
        for ifindex in interfaces {
            let key = Key {
                netns: netns.0,
                ifindex: *ifindex,
                zero: 0,
            };
            match map.get(&key, 0) {
                Ok(counts) => sum.accumulate(&counts),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(DatapathError::map(error)),
            }
        }
        Ok(Events::from(sum))
    }

    /// The number of events that were not counted because the map has no entry for them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lost(&self) -> Result<Refusals, DatapathError> {
        refusals(self.attached.map(MAP_LOST)?)
    }

    /// How many events the programs missed or had no room for, as far as the kernel says. A change of this number means
    /// that some namespace's sockets by state are wrong.
    #[must_use]
    pub fn unheard(&self) -> u64 {
        let missed = self.programs().filter_map(|program| program.missed_runs);
        // A number that cannot be read is a change, too.
        let lost = self.lost().unwrap_or_default();
        missed
            .chain(lost.into_iter().map(|(_, events)| events))
            .fold(0, u64::wrapping_add)
    }

    /// Gives the programs the addresses that a namespace's devices have now. Events of a missing address belong to no
    /// network.
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

    /// Takes the counts of the namespaces that are `gone` out of the map, and adds them to `last`. Deletes their
    /// addresses. Goes on after an error.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn forget(
        &mut self,
        gone: &BTreeSet<NetnsId>,
        last: &mut BTreeMap<InterfaceId, Events>,
    ) -> Result<(), DatapathError> {
        let deleted = self.take(|netns| gone.contains(&netns), last);
        let unwatched = self.unwatch(|netns| gone.contains(&netns));
        deleted.and(unwatched)
    }

    /// Takes back the room of these namespaces, and their addresses. Goes on after an error. What is left is tried again
    /// by the next call, for whichever namespaces.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn unwatch(&mut self, gone: impl Fn(NetnsId) -> bool) -> Result<(), DatapathError> {
        let shares = self.shares.forget(&mut self.attached.hash(MAP_SHARES)?, gone);
        let mut addresses = self.attached.hash(MAP_ADDRESSES)?;
        let emptied = self
            .addresses
            .forget(&mut addresses, |netns| !self.shares.is_watched(netns));
        shares.and(emptied)
    }

    /// Deletes the counts of these namespaces, unless they are watched by now: what their sockets did before is
    /// computed from these counts.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn forget_unwatched(&mut self, foreign: &BTreeSet<NetnsId>) -> Result<(), DatapathError> {
        let unwatched = foreign.iter().filter(|netns| !self.shares.is_watched(**netns));
        let unwatched: BTreeSet<NetnsId> = unwatched.copied().collect();
        self.take(|netns| unwatched.contains(&netns), &mut BTreeMap::new())
    }

    /// Takes counts out of the map, and adds them to `last`. Goes on after an error, and returns the first.
    fn take(
        &mut self,
        gone: impl Fn(NetnsId) -> bool,
        last: &mut BTreeMap<InterfaceId, Events>,
    ) -> Result<(), DatapathError> {
        self.shares.correct_soon();
        let what = [READING, "delete the counts of TCP events"];
        let is_gone = |key: &Key| gone(NetnsId(key.netns));
        self.attached.take(MAP, what, is_gone, |key, counts: &Tcp| {
            last.insert(interface(key), Events::from(*counts));
        })
    }

    /// How full the maps are, given the number of interfaces and of lost events.
    #[must_use]
    pub fn rows(&self, interfaces: u64, refusals: Refusals) -> [MapRow; 2] {
        [
            MapRow {
                map: MAP,
                entries: interfaces,
                max_entries: MAX_ENTRIES.into(),
                update_failures: refusals,
            },
            MapRow {
                map: MAP_ADDRESSES,
                entries: self.addresses.count(),
                max_entries: MAX_ADDRESSES.into(),
                update_failures: vec![(refusal::NAMES[refusal::SHARE as usize], self.addresses.refused())],
            },
        ]
    }

    /// The programs in use.
    pub fn programs(&self) -> impl Iterator<Item = ProgramRow> {
        self.programs.iter().map(|program| ProgramRow {
            program: program.name,
            kind: "tracing",
            attach_point: program.tracepoint,
            mode: "tp_btf",
            missed_runs: self.attached.missed_runs(program.name),
        })
    }
}

const fn interface(key: Key) -> InterfaceId {
    let Key {
        netns,
        ifindex,
        zero: _,
    } = key;
    InterfaceId {
        netns: NetnsId(netns),
        ifindex,
    }
}
