//! The programs that count traffic between nodes, and their counts. They are attached to the devices that lead to
//! other nodes.
//!
//! This module does not know which devices those are, or to which network a tunnel belongs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    programs::{ProgramError, SchedClassifier, TcAttachType},
};
use netmon_common::{
    overlay::{
        ESP, Key, MAP, MAP_LOST, MAP_PORT, MAP_STRANGERS, MAX_ENTRIES, Outer, PROGRAM_EGRESS, PROGRAM_INGRESS, VXLAN,
    },
    traffic::{RECEIVE, TRANSMIT},
};

use super::{
    DatapathError,
    attach::{AttachError, check_device},
    batch,
    hook::Attached,
    host::Mode,
    store::removed,
    tracepoint::descriptor,
};
use crate::model::{
    counters::Directions,
    health::{MapRow, ProgramRow},
    overlay::{Tunnel, TunnelKind, Tunnels},
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
    mode: Mode,
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
            mode,
            port,
            known,
            devices,
        } = self;
        f.debug_struct("OverlayMap")
            .field("cpus", cpus)
            .field("mode", mode)
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
    pub fn load(mode: Mode, cpus: u32) -> Result<Self, DatapathError> {
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
            mode,
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

    /// Attaches the programs to a device of the calling thread's namespace. Every call must come from the same
    /// namespace.
    ///
    /// # Errors
    /// See [`AttachError`]. Nothing stays attached.
    pub fn watch(&mut self, name: &str, ifindex: u32) -> Result<(), AttachError> {
        if self.devices.contains_key(&ifindex) {
            return Ok(());
        }
        check_device(name, ifindex)?;
        let mut programs = Vec::with_capacity(HOOKS.len());
        for (program, hook, side) in HOOKS {
            let attached = classifier(&mut self.object, program)
                .map_err(Into::into)
                .and_then(|classifier| Attached::make((program, classifier), hook, name, self.mode, None));
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
        // aya attached by name. This second check makes sure that the name still belongs to the device that was
        // meant.
        check_device(name, ifindex).inspect_err(|_| self.unwatch(ifindex))
    }

    /// Detaches the programs from a device. The calling thread is in the device's namespace. If the device was
    /// deleted, nothing remains to be detached.
    pub fn unwatch(&mut self, ifindex: u32) {
        let programs = self.devices.remove(&ifindex).unwrap_or_default();
        programs.into_iter().for_each(Attached::detach_here);
    }

    /// The same for a device of which somebody else has detached a program. See [`Self::is_on`].
    pub fn unwatch_rest(&mut self, name: &str, ifindex: u32, filters: &Directions<Vec<u32>>) {
        let programs = self.devices.remove(&ifindex).unwrap_or_default();
        for program in programs {
            program.detach_if_on(name, filters);
        }
    }

    /// Whether the programs are attached to this device, which has that name in the calling thread's namespace.
    /// `filters` has the ids of the clsact programs there.
    #[must_use]
    pub fn is_on(&self, name: &str, ifindex: u32, filters: &Directions<Vec<u32>>) -> bool {
        let programs = self.devices.get(&ifindex);
        programs.is_some_and(|programs| programs.iter().all(|program| program.is_on(name, filters)))
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

    /// The number of packets that were not counted because the map had no room.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lost(&self) -> Result<u64, DatapathError> {
        let map = self.object.map(MAP_LOST).ok_or(DatapathError::Incomplete(MAP_LOST))?;
        let array: PerCpuArray<&MapData, u64> = map.try_into().map_err(DatapathError::map)?;
        Ok(array.get(&0, 0).map_err(DatapathError::map)?.iter().sum())
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
    pub fn row(entries: u64, lost: u64) -> MapRow {
        MapRow {
            map: MAP,
            entries,
            max_entries: MAX_ENTRIES.into(),
            update_failures: lost,
        }
    }

    /// The programs in use.
    pub fn programs(&self) -> impl Iterator<Item = ProgramRow> {
        HOOKS.into_iter().map(|(program, _, side)| ProgramRow {
            program,
            kind: "sched_cls",
            attach_point: side,
            mode: self.mode.as_str(),
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

/// One reading of the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The tunnels.
    pub tunnels: Tunnels,
    /// The number of keys in the map. A tunnel has one for each direction that was seen.
    pub entries: u64,
    /// How many of them are of unknown tunnels.
    strangers: u32,
}

impl Reading {
    /// Takes in one key, with the counts of all CPUs.
    fn take_in(&mut self, key: Key, counts: &[Outer], known: &BTreeSet<Tunnel>) {
        self.entries += 1;
        let Some(tunnel) = tunnel(key) else { return };
        self.strangers += u32::from(!known.contains(&tunnel));
        let mut sum = Outer::ZERO;
        for its in counts {
            sum.accumulate(its);
        }
        let both = self.tunnels.entry(tunnel).or_default();
        if u32::from(key.direction) == RECEIVE {
            both.receive = sum.into();
        } else {
            both.transmit = sum.into();
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

fn key(tunnel: Tunnel, direction: u32) -> Key {
    let (kind, vni) = match tunnel.kind {
        TunnelKind::Vxlan { vni } => (VXLAN, vni),
        TunnelKind::Esp => (ESP, 0),
    };
    let remote = match tunnel.remote {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    Key {
        remote: remote.octets(),
        vni,
        kind,
        // 0 or 1.
        direction: u16::try_from(direction).unwrap_or_default(),
    }
}

fn tunnel(key: Key) -> Option<Tunnel> {
    let Key {
        remote,
        vni,
        kind,
        direction: _,
    } = key;
    let kind = match kind {
        VXLAN => TunnelKind::Vxlan { vni },
        ESP => TunnelKind::Esp,
        _ => return None,
    };
    let remote = IpAddr::V6(Ipv6Addr::from(remote)).to_canonical();
    Some(Tunnel { kind, remote })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use netmon_common::{
        overlay::Outer,
        traffic::{RECEIVE, TRANSMIT},
    };

    use super::{Reading, key};
    use crate::model::overlay::{Tunnel, TunnelKind};

    #[test]
    fn a_tunnel_has_a_key_for_each_direction() {
        let tunnel = |last| Tunnel {
            kind: TunnelKind::Vxlan { vni: 4097 },
            remote: IpAddr::from([192, 0, 2, last]),
        };
        let (known, stranger) = (tunnel(1), tunnel(2));
        let mut reading = Reading::default();
        for (tunnel, direction, packets) in [(known, RECEIVE, 1), (known, TRANSMIT, 2), (stranger, RECEIVE, 3)] {
            // On two CPUs.
            let counts = [Outer { packets, bytes: 100 }; 2];
            reading.take_in(key(tunnel, direction), &counts, &[known].into());
        }
        let packets = |tunnel| {
            let both = reading.tunnels.get(&tunnel)?;
            Some((both.receive.packets, both.transmit.packets))
        };
        assert_eq!((packets(known), packets(stranger)), (Some((2, 4)), Some((6, 0))));
        assert_eq!((reading.entries, reading.strangers), (3, 1));
    }
}
