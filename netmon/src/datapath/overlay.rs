//! The programs that count traffic between nodes, and their counts. They are attached to the devices that lead to
//! other nodes.
//!
//! This module does not know which devices those are, or to which network a tunnel belongs.

mod reading;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, MapError, PerCpuHashMap, PerCpuValues},
    programs::{ProgramError, SchedClassifier, TcAttachType},
};
use netmon_common::{
    overlay::{Key, MAP, MAP_LOST, MAP_PORT, MAP_STRANGERS, MAX_ENTRIES, Outer, PROGRAM_EGRESS, PROGRAM_INGRESS},
    traffic::{RECEIVE, TRANSMIT},
};

pub use self::reading::Reading;
use self::reading::{key, tunnel};
use super::{
    DatapathError,
    attach::{AttachError, check_device, device_name},
    batch,
    hook::{Attached, Way},
    host::Mode,
    refusals::refusals,
    store::removed,
    tracepoint::descriptor,
};
use crate::model::{
    counters::Directions,
    health::{MapRow, ProgramRow, Refusals},
    overlay::Tunnel,
    programs::Filter,
};

/// The programs, as built with this daemon.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/overlay.o"));

/// The programs and the hooks they go to.
const HOOKS: [(&str, TcAttachType, &str); 2] = [
    (PROGRAM_INGRESS, TcAttachType::Ingress, "receive"),
    (PROGRAM_EGRESS, TcAttachType::Egress, "transmit"),
];

/// The loaded programs and their counts.
pub struct OverlayMap {
    object: Ebpf,
    cpus: usize,
    way: Way,
    port: Option<u16>,
    /// The known tunnels, which have their own entries in the map.
    known: BTreeSet<Tunnel>,
    /// The attached programs, by ifindex.
    devices: BTreeMap<u32, Vec<Attached>>,
}

impl std::fmt::Debug for OverlayMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            object: _,
            cpus,
            way,
            port,
            known,
            devices,
        } = self;
        f.debug_struct("OverlayMap")
            .field("cpus", cpus)
            .field("way", way)
            .field("port", port)
            .field("known", known)
            .field("devices", devices)
            .finish_non_exhaustive()
    }
}

impl OverlayMap {
    /// Loads the programs. They count nothing until the port is set and they are attached to a device.
    ///
    /// # Errors
    /// The kernel does not accept them.
    pub(super) fn load(way: Way, cpus: u32) -> Result<Self, DatapathError> {
        let failed = |error: aya::EbpfError| DatapathError::Load(Box::new(error));
        // These programs use no kernel structure. Without this call, the loader keeps all of the kernel's types in
        // memory.
        let mut object = EbpfLoader::new().btf(None).load(OBJECT).map_err(failed)?;
        for (name, _, _) in HOOKS {
            classifier(&mut object, name)?
                .load()
                .map_err(|error| failed(error.into()))?;
        }
        let map = Self {
            object,
            cpus: usize::try_from(cpus).unwrap_or(usize::MAX),
            way,
            port: None,
            known: BTreeSet::new(),
            devices: BTreeMap::new(),
        };
        map.counts()?;
        map.lost()?;
        Ok(map)
    }

    /// Sets the UDP port of this Swarm's tunnels in the programs' map.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn tell_port(&mut self, port: u16) -> Result<(), DatapathError> {
        if self.port == Some(port) {
            return Ok(());
        }
        let map = self
            .object
            .map_mut(MAP_PORT)
            .ok_or(DatapathError::Incomplete(MAP_PORT))?;
        let mut map: Array<&mut MapData, u32> = map.try_into().map_err(DatapathError::map)?;
        map.set(0, u32::from(port), 0).map_err(DatapathError::map)?;
        self.port = Some(port);
        Ok(())
    }

    /// Attaches the programs to a device of the calling thread's namespace, which has these `filters`. Every call must
    /// come from the same namespace.
    ///
    /// # Errors
    /// See [`AttachError`]. Nothing stays attached.
    pub fn watch(&mut self, name: &str, ifindex: u32, filters: &Directions<Vec<Filter>>) -> Result<(), AttachError> {
        if self.devices.contains_key(&ifindex) {
            return Ok(());
        }
        let device = &*device_name(name, ifindex)?;
        let mut programs = Vec::with_capacity(HOOKS.len());
        for (program, hook, side) in HOOKS {
            let attached = classifier(&mut self.object, program)
                .map_err(Into::into)
                .and_then(|it| Attached::make((program, it), hook, device, &self.way, filters, None));
            match attached {
                Ok(attached) => programs.push(attached),
                Err(source) => {
                    programs.into_iter().for_each(Attached::detach_here);
                    return Err(AttachError::Attach {
                        name: name.to_owned(),
                        hook: side,
                        source,
                    });
                }
            }
        }
        self.devices.insert(ifindex, programs);
        // aya attached by name. The device had it before, and is checked to have it still.
        check_device(device, ifindex).inspect_err(|_| self.unwatch(ifindex))
    }

    /// Detaches the programs from a device. The calling thread is in the device's namespace. If the device was
    /// deleted, nothing remains to be detached.
    pub fn unwatch(&mut self, ifindex: u32) {
        let programs = self.devices.remove(&ifindex).unwrap_or_default();
        programs.into_iter().for_each(Attached::detach_here);
    }

    /// The same for a device of which somebody else has detached a program. See [`Self::is_on`].
    pub fn unwatch_rest(&mut self, ifindex: u32, filters: &Directions<Vec<Filter>>) {
        let programs = self.devices.remove(&ifindex).unwrap_or_default();
        for program in programs {
            program.detach_if_on(filters);
        }
    }

    /// Whether the programs are attached to this device, which has that name in the calling thread's namespace, and
    /// these `filters`.
    #[must_use]
    pub fn is_on(&self, name: &str, ifindex: u32, filters: &Directions<Vec<Filter>>) -> bool {
        let programs = self.devices.get(&ifindex);
        programs.is_some_and(|programs| programs.iter().all(|program| program.is_on(name, filters)))
    }

    /// How the programs are attached.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.way.mode
    }

    /// The ifindexes of the devices that have programs.
    pub fn devices(&self) -> impl Iterator<Item = u32> {
        self.devices.keys().copied()
    }

    /// Whether detaching all programs needs a thread in the devices' namespace.
    #[must_use]
    pub fn needs_visit(&self) -> bool {
        self.devices.values().flatten().any(Attached::needs_visit)
    }

    /// Reads the counts of every tunnel. Also counts the keys of unknown tunnels, and writes that number to the programs.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn read(&mut self) -> Result<Reading, DatapathError> {
        let mut reading = Reading::default();
        let each = |key: Key, counts: &[Outer]| reading.take_in(key, counts, &self.known);
        batch::read(descriptor(self.counts()?), self.cpus, each)
            .map_err(|error| DatapathError::of("read the counts of tunnels", error))?;
        let map = self.object.map_mut(MAP_STRANGERS);
        let map = map.ok_or(DatapathError::Incomplete(MAP_STRANGERS))?;
        let mut map: Array<&mut MapData, u32> = map.try_into().map_err(DatapathError::map)?;
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
        let map = self.object.map_mut(MAP).ok_or(DatapathError::Incomplete(MAP))?;
        let mut map: PerCpuHashMap<&mut MapData, Key, Outer> = map.try_into().map_err(DatapathError::map)?;
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
        refusals(self.object.map(MAP_LOST).ok_or(DatapathError::Incomplete(MAP_LOST))?)
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
        let map = self.object.map_mut(MAP).ok_or(DatapathError::Incomplete(MAP))?;
        let mut map: PerCpuHashMap<&mut MapData, Key, Outer> = map.try_into().map_err(DatapathError::map)?;
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
    pub fn programs(&self) -> impl Iterator<Item = ProgramRow> {
        HOOKS.into_iter().map(|(program, _, side)| ProgramRow {
            program,
            kind: "sched_cls",
            attach_point: side,
            mode: self.way.mode.as_str(),
            missed_runs: None,
        })
    }

    fn counts(&self) -> Result<&MapData, DatapathError> {
        match self.object.map(MAP) {
            Some(Map::PerCpuHashMap(map)) => Ok(map),
            _ => Err(DatapathError::Incomplete(MAP)),
        }
    }
}

/// [`OverlayMap`], shared by the scrapes and the loop that attaches the programs. `None` if the programs are not
/// wanted, or this kernel does not support them.
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

fn classifier<'a>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, DatapathError> {
    let program = object.program_mut(name).ok_or(DatapathError::Incomplete(name))?;
    program
        .try_into()
        .map_err(|_: ProgramError| DatapathError::Incomplete(name))
}
