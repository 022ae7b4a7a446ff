//! The counts of traffic between nodes, and the programs that count it ([`programs`]).
//!
//! This module does not know to which network a tunnel belongs.

pub mod programs;
mod reading;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, MapError, PerCpuHashMap, PerCpuValues},
};
use netmon_common::{
    overlay::{Key, MAP, MAP_LOST, MAP_STRANGERS, MAX_ENTRIES, Outer},
    traffic::{RECEIVE, TRANSMIT},
};

pub use self::reading::TunnelReading;
use self::{
    programs::OverlayPrograms,
    reading::{key, tunnel},
};
use super::{DatapathError, batch, hook::Way, host::Mode, refusals::refusals, store::removed, tracepoint::descriptor};
use crate::model::{
    health::{MapRow, ProgramRow, Refusals},
    overlay::Tunnel,
};

/// The programs, as built with this daemon.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overlay.o"));

/// What the programs have counted.
#[derive(Debug)]
pub struct OverlayMap {
    counts: Map,
    strangers: Map,
    lost: Map,
    cpus: usize,
    mode: Mode,
    /// The known tunnels, which have their own entries in the map.
    known: BTreeSet<Tunnel>,
}

/// Loads the programs. They count nothing until they know the port and are attached to a device.
///
/// # Errors
/// The kernel does not accept them.
pub(super) fn load(way: Way, cpus: u32) -> Result<(OverlayMap, OverlayPrograms), DatapathError> {
    // These programs use no kernel structure. Without this call, the loader keeps all of the kernel's types in memory.
    let mut object = EbpfLoader::new()
        .btf(None)
        .load(OBJECT)
        .map_err(|error| DatapathError::Load(Box::new(error)))?;
    let map = OverlayMap::take(&mut object, way.mode, cpus)?;
    Ok((map, OverlayPrograms::load(object, way)?))
}

impl OverlayMap {
    fn take(object: &mut Ebpf, mode: Mode, cpus: u32) -> Result<Self, DatapathError> {
        let mut take = |name| object.take_map(name).ok_or(DatapathError::Incomplete(name));
        let map = Self {
            counts: take(MAP)?,
            strangers: take(MAP_STRANGERS)?,
            lost: take(MAP_LOST)?,
            cpus: usize::try_from(cpus).unwrap_or(usize::MAX),
            mode,
            known: BTreeSet::new(),
        };
        map.counts()?;
        map.lost()?;
        Ok(map)
    }

    /// Reads the counts of every tunnel. Also counts the keys of unknown tunnels, and writes that number to the programs.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn read(&mut self) -> Result<TunnelReading, DatapathError> {
        let mut reading = TunnelReading::default();
        let each = |key: Key, counts: &[Outer]| reading.take_in(key, counts, &self.known);
        batch::read(descriptor(self.counts()?), self.cpus, each)
            .map_err(|error| DatapathError::of("read the counts of tunnels", error))?;
        let mut map: Array<&mut MapData, u32> = (&mut self.strangers).try_into().map_err(DatapathError::map)?;
        map.set(0, reading.strangers, 0).map_err(DatapathError::map)?;
        Ok(reading)
    }

    /// Creates entries for the known tunnels, so that unknown tunnels cannot take their room. The entries of tunnels
    /// that are no longer known stay until [`Self::forget`] deletes them.
    ///
    /// # Errors
    /// The kernel refuses, or there are too many.
    pub fn know(&mut self, tunnels: BTreeSet<Tunnel>) -> Result<(), DatapathError> {
        const NEW: u64 = 1;
        let mut map: PerCpuHashMap<&mut MapData, Key, Outer> =
            (&mut self.counts).try_into().map_err(DatapathError::map)?;
        for tunnel in tunnels.difference(&self.known) {
            for direction in [RECEIVE, TRANSMIT] {
                let nothing = PerCpuValues::try_from(vec![Outer::ZERO; self.cpus]);
                let nothing = nothing.map_err(|error| DatapathError::of("make room for a tunnel", error))?;
                match map.insert(key(*tunnel, direction), nothing, NEW) {
                    Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => {}
                    result => result.map_err(DatapathError::map)?,
                }
            }
        }
        self.known = tunnels;
        Ok(())
    }

    /// The number of packets that were not counted because the map has no entry for them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lost(&self) -> Result<Refusals, DatapathError> {
        refusals(&self.lost)
    }

    /// Deletes the counts of the tunnels that are `gone`. Goes on after an error.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn forget(&mut self, gone: impl Fn(&Tunnel) -> bool) -> Result<(), DatapathError> {
        // A tunnel that is known again gets a new entry.
        self.known.retain(|tunnel| !gone(tunnel));
        let mut keys: Vec<Key> = Vec::new();
        let each = |key: Key, _: &[Outer]| {
            if tunnel(key).is_some_and(|tunnel| gone(&tunnel)) {
                keys.push(key);
            }
        };
        batch::read(descriptor(self.counts()?), self.cpus, each)
            .map_err(|error| DatapathError::of("read the counts of tunnels", error))?;
        let mut map: PerCpuHashMap<&mut MapData, Key, Outer> =
            (&mut self.counts).try_into().map_err(DatapathError::map)?;
        keys.iter()
            .map(|key| removed(map.remove(key)))
            .fold(Ok(()), Result::and)
    }

    /// How full the map is, given its number of entries and of lost packets.
    #[must_use]
    pub fn row(entries: u64, refusals: Refusals) -> MapRow {
        MapRow {
            map: MAP,
            entries,
            max_entries: MAX_ENTRIES.into(),
            update_failures: refusals,
        }
    }

    /// The programs in use.
    pub fn programs(&self) -> impl Iterator<Item = ProgramRow> + use<> {
        programs::rows(self.mode)
    }

    fn counts(&self) -> Result<&MapData, DatapathError> {
        if let Map::PerCpuHashMap(map) = &self.counts {
            Ok(map)
        } else {
            Err(DatapathError::Incomplete(MAP))
        }
    }
}

/// [`OverlayMap`], shared by the scrapes. `None` if the programs are not wanted, or this kernel does not support them.
#[derive(Clone, Debug, Default)]
pub struct SharedOverlay(Arc<Mutex<Option<OverlayMap>>>);

impl SharedOverlay {
    /// Wraps them for sharing.
    #[must_use]
    pub fn new(overlay: Option<OverlayMap>) -> Self {
        Self(Arc::new(Mutex::new(overlay)))
    }

    /// Locks them for as long as a reading takes.
    pub fn lock(&self) -> MutexGuard<'_, Option<OverlayMap>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
