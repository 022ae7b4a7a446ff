//! The counts of packets that the kernel dropped.
//!
//! This module knows the running kernel's reasons by number and by name, and which of them are no loss. It does not
//! know to which container a namespace belongs.

pub(super) mod harmless;

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{MapData, MapError, PerCpuArray, PerCpuHashMap};
use netmon_common::{
    drops::{
        FIELDS, GLOBAL_ARGUMENTS, GLOBAL_NO_SOCKET, GLOBAL_NOT_SPECIFIED, GLOBAL_SOCKET_FILTER, GLOBAL_TCP_CLOSE,
        GLOBAL_TCP_FLAGS, GLOBALS_HARMLESS, GLOBALS_UNWANTED, Key, LOST_ENTRIES, MAP, MAP_LOST, MAX_ENTRIES, PROGRAM,
        TRACEPOINT, lost_reason,
    },
    share::{MAP as MAP_SHARES, OF_STRANGERS},
};
use tracing::warn;

use self::harmless::{FUNCTIONS, REASONS, UNWANTED};
use super::{
    DatapathError, batch,
    share::Shares,
    store::removed,
    symbols::Ranges,
    tracepoint::{Attached, Globals, Kernel, Programs, descriptor},
};
use crate::model::{
    drops::{Drop, Drops},
    health::{MapRow, ProgramRow},
    interface::{InterfaceId, NetnsId},
};

/// The program, as built with this daemon.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/drops.o"));

/// The kernel's enumeration of reasons.
pub(super) const ENUMERATION: &str = "skb_drop_reason";
/// The prefix of most of its names.
const PREFIX: &str = "SKB_DROP_REASON_";
/// The upper half of a reason is the number of its subsystem (6.3).
const SUBSYSTEM_SHIFT: u32 = 16;
/// The kernel's enumeration of subsystems.
pub(super) const SUBSYSTEMS: &str = "skb_drop_reason_subsys";
/// The prefix of its names.
const SUBSYSTEM_PREFIX: &str = "SKB_DROP_REASON_SUBSYS_";

/// The running program and its counts.
#[derive(Debug)]
pub struct DropsMap {
    attached: Attached,
    shares: Shares,
    cpus: usize,
    reasons: Reasons,
    /// The number of the reason `NOT_SPECIFIED`.
    not_specified: Option<u32>,
    /// The functions in which a drop without a reason is no loss. `None` if the kernel hides the addresses of its
    /// functions.
    harmless: Option<Ranges>,
}

impl DropsMap {
    /// Loads the program and attaches it.
    ///
    /// # Errors
    /// The kernel reports no reasons (before 5.17), has no type information, or does not accept the program.
    pub(super) fn load(kernel: &Kernel, cpus: u32) -> Result<Self, DatapathError> {
        let types = &kernel.types;
        let reasons = Reasons::new(types.enumeration(ENUMERATION), types.enumeration(SUBSYSTEMS));
        let arguments = types.arguments(TRACEPOINT).unwrap_or(0);
        if reasons.names.is_empty() || arguments < 3 {
            return Err(DatapathError::NoReasons);
        }
        let mut globals = Globals::offsets(types, FIELDS)?;
        globals.set(GLOBAL_ARGUMENTS, arguments);
        let not_specified = reasons.number("NOT_SPECIFIED");
        globals.set(GLOBAL_NOT_SPECIFIED, not_specified.unwrap_or(u32::MAX));
        for (global, name) in [
            (GLOBAL_NO_SOCKET, "NO_SOCKET"),
            (GLOBAL_SOCKET_FILTER, "SOCKET_FILTER"),
            (GLOBAL_TCP_FLAGS, "TCP_FLAGS"),
            (GLOBAL_TCP_CLOSE, "TCP_CLOSE"),
        ] {
            globals.set(global, reasons.number(name).unwrap_or(u32::MAX));
        }
        globals
            .long
            .extend(GLOBALS_HARMLESS.into_iter().zip(reasons.bits(REASONS)));
        globals
            .long
            .extend(GLOBALS_UNWANTED.into_iter().zip(reasons.bits(UNWANTED)));
        let harmless = Ranges::of_kernel(FUNCTIONS).unwrap_or_default();
        if harmless.is_none() {
            warn!(
                path = super::symbols::PATH,
                "the kernel hides its functions' addresses, so drops without a reason are counted as unattributed; give \
                 netmon CAP_SYSLOG, and see kernel.kptr_restrict"
            );
        }
        let mut programs = Programs::open(OBJECT, &globals, kernel)?;
        programs.attach(PROGRAM, TRACEPOINT)?;
        let attached = programs.ready();
        attached.per_cpu_hash(MAP)?;
        attached.map(MAP_LOST)?;
        Ok(Self {
            attached,
            shares: Shares::default(),
            cpus: usize::try_from(cpus).unwrap_or(usize::MAX),
            reasons,
            not_specified,
            harmless,
        })
    }

    /// If unwatched namespaces have more counts than this, those counts are deleted from the map.
    pub const MANY_STRANGERS: u32 = OF_STRANGERS / 2;

    /// Reserves room for a namespace in the map.
    ///
    /// # Errors
    /// The kernel refuses, or there are too many.
    pub fn watch(&mut self, netns: NetnsId) -> Result<(), DatapathError> {
        self.shares.watch(&mut self.attached.hash(MAP_SHARES)?, netns)
    }

    /// Reads every count that is a loss. Also counts the keys of every namespace, and corrects the programs' numbers by
    /// them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn read(&mut self) -> Result<Drops, DatapathError> {
        let failed = |error| DatapathError::of("read the counts of dropped packets", error);
        let before = self.attached.shares()?;
        let mut drops = Drops::default();
        let mut keys: BTreeMap<NetnsId, u32> = BTreeMap::new();
        batch::read(
            descriptor(self.attached.per_cpu_hash(MAP)?),
            self.cpus,
            |key: Key, counts: &[u64]| {
                drops.entries += 1;
                *keys.entry(NetnsId(key.netns)).or_default() += 1;
                match self.loss(key, counts) {
                    Some(drop) => drops.counted.push(drop),
                    None => {
                        drops.harmless.insert(interface(key));
                    }
                }
            },
        )
        .map_err(failed)?;
        drops.merge();
        drops.lost = self.lost()?;
        let mut map = self.attached.hash(MAP_SHARES)?;
        drops.strangers = self.shares.settle(&mut map, &before, &keys)?;
        Ok(drops)
    }

    /// What was counted under this key; `None` if it is no loss.
    fn loss(&self, key: Key, counts: &[u64]) -> Option<Drop> {
        let Key { location, reason, .. } = key;
        if location != 0 && self.harmless.as_ref().is_some_and(|ranges| ranges.contain(location)) {
            return None;
        }
        Some(Drop {
            interface: interface(key),
            reason,
            unplaced: Some(reason) == self.not_specified && self.harmless.is_none(),
            packets: counts.iter().sum(),
        })
    }

    /// The packets that found no room in the map, by reason.
    fn lost(&self) -> Result<Vec<(Option<u32>, u64)>, DatapathError> {
        let array: PerCpuArray<&MapData, u64> = self.attached.map(MAP_LOST)?.try_into().map_err(DatapathError::map)?;
        let mut lost = Vec::new();
        for index in 0..LOST_ENTRIES {
            let packets = array.get(&index, 0).map_err(DatapathError::map)?.iter().sum();
            if packets > 0 {
                lost.push((lost_reason(index), packets));
            }
        }
        Ok(lost)
    }

    /// The running kernel's name of a reason.
    #[must_use]
    pub fn reason(&self, number: u32) -> String {
        self.reasons.name(number)
    }

    /// Deletes the counts of the namespaces that are `gone`. Goes on after an error.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn forget(&mut self, gone: &BTreeSet<NetnsId>) -> Result<(), DatapathError> {
        let deleted = self.remove(|interface| gone.contains(&interface.netns), &mut Vec::new());
        let unwatched = self.unwatch(|netns| gone.contains(&netns));
        deleted.and(unwatched)
    }

    /// Takes back the room of these namespaces. Goes on after an error. What is left is tried again by the next call,
    /// for whichever namespaces.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn unwatch(&mut self, gone: impl Fn(NetnsId) -> bool) -> Result<(), DatapathError> {
        self.shares.forget(&mut self.attached.hash(MAP_SHARES)?, gone)
    }

    /// Deletes the counts of these namespaces, unless they are watched by now. Adds to `deleted` what was deleted, also
    /// if there is an error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn forget_unwatched(
        &mut self,
        foreign: &BTreeSet<NetnsId>,
        deleted: &mut Vec<Drop>,
    ) -> Result<(), DatapathError> {
        let unwatched = foreign.iter().filter(|netns| !self.shares.is_watched(**netns));
        let unwatched: BTreeSet<NetnsId> = unwatched.copied().collect();
        self.remove(|interface| unwatched.contains(&interface.netns), deleted)
    }

    /// Deletes the counts of the devices that are `gone`. The next reading gives their room back to their namespaces. Adds
    /// to `deleted` what was deleted, also if there is an error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn forget_devices(
        &mut self,
        gone: &BTreeSet<InterfaceId>,
        deleted: &mut Vec<Drop>,
    ) -> Result<(), DatapathError> {
        self.remove(|interface| gone.contains(&interface), deleted)
    }

    /// Deletes counts. Adds to `deleted` what was deleted. Goes on after an error, and returns the first. Each count is
    /// read just before it is deleted.
    fn remove(&mut self, gone: impl Fn(InterfaceId) -> bool, deleted: &mut Vec<Drop>) -> Result<(), DatapathError> {
        let mut keys: Vec<Key> = Vec::new();
        batch::read(
            descriptor(self.attached.per_cpu_hash(MAP)?),
            self.cpus,
            |key: Key, _: &[u64]| {
                if gone(interface(key)) {
                    keys.push(key);
                }
            },
        )
        .map_err(|error| DatapathError::of("read the counts of dropped packets", error))?;
        let map = self.attached.map_mut(MAP)?;
        let mut map: PerCpuHashMap<&mut MapData, Key, u64> = map.try_into().map_err(DatapathError::map)?;
        let mut counts = Vec::with_capacity(keys.len());
        let each = keys.into_iter().map(|key| {
            let last = match map.get(&key, 0) {
                Err(MapError::KeyNotFound) => return Ok(()),
                last => last.map_err(DatapathError::map)?,
            };
            removed(map.remove(&key))?;
            counts.push((key, last));
            Ok(())
        });
        let result = each.fold(Ok(()), Result::and);
        let losses = counts.iter().filter_map(|(key, last)| self.loss(*key, last));
        deleted.extend(losses);
        result
    }

    /// How full the map is.
    #[must_use]
    pub fn row(entries: u64, lost: u64) -> MapRow {
        MapRow {
            map: MAP,
            entries,
            max_entries: MAX_ENTRIES.into(),
            update_failures: lost,
        }
    }

    /// The program in use.
    #[must_use]
    pub fn program(&self) -> ProgramRow {
        ProgramRow {
            program: PROGRAM,
            kind: "tracing",
            attach_point: TRACEPOINT,
            mode: "tp_btf",
            missed_runs: self.attached.missed_runs(PROGRAM),
        }
    }
}

const fn interface(key: Key) -> InterfaceId {
    InterfaceId {
        netns: NetnsId(key.netns),
        ifindex: key.ifindex,
    }
}

/// The running kernel's reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reasons {
    names: BTreeMap<u32, String>,
    subsystems: BTreeMap<u32, String>,
}

impl Reasons {
    pub(super) fn new(reasons: Vec<(String, u64)>, subsystems: Vec<(String, u64)>) -> Self {
        let short = |values: Vec<(String, u64)>, prefix: &str| {
            let values = values.into_iter().filter_map(|(name, number)| {
                let name = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
                Some((u32::try_from(number).ok()?, name))
            });
            values.collect()
        };
        Self {
            names: short(reasons, PREFIX),
            subsystems: short(subsystems, SUBSYSTEM_PREFIX),
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.names.iter().find(|(_, it)| *it == name).map(|(number, _)| *number)
    }

    /// The name of a reason. The names of a subsystem's own reasons are not known here, so the subsystem's name and a
    /// number are used.
    pub(super) fn name(&self, number: u32) -> String {
        if let Some(name) = self.names.get(&number) {
            return name.clone();
        }
        let (subsystem, reason) = (number >> SUBSYSTEM_SHIFT, number & ((1 << SUBSYSTEM_SHIFT) - 1));
        match self.subsystems.get(&subsystem) {
            Some(name) if subsystem > 0 => format!("{name}_{reason}"),
            _ => format!("REASON_{number}"),
        }
    }

    /// A bit set of these reasons, by number. A reason that this kernel lacks has no bit.
    pub(super) fn bits(&self, names: &[&str]) -> [u64; 4] {
        let mut bits = [0_u64; 4];
        for number in names.iter().filter_map(|name| self.number(name)) {
            let word = usize::try_from(number / u64::BITS).unwrap_or(usize::MAX);
            if let Some(word) = bits.get_mut(word) {
                *word |= 1 << (number % u64::BITS);
            }
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::Reasons;

    fn reasons() -> Reasons {
        let value = |name: &str, number| (name.to_owned(), number);
        Reasons::new(
            vec![
                value("SKB_CONSUMED", 1),
                value("SKB_DROP_REASON_NO_SOCKET", 3),
                value("SKB_DROP_REASON_QUEUE_PURGE", 104),
                value("SKB_DROP_REASON_SUBSYS_MASK", 0xffff_0000),
            ],
            vec![
                value("SKB_DROP_REASON_SUBSYS_CORE", 0),
                value("SKB_DROP_REASON_SUBSYS_OPENVSWITCH", 3),
            ],
        )
    }

    #[test]
    fn a_reason_is_called_as_the_kernel_calls_it() {
        assert_eq!(reasons().name(3), "NO_SOCKET");
        assert_eq!(reasons().name(1), "SKB_CONSUMED");
        assert_eq!(reasons().name(200), "REASON_200");
        assert_eq!(reasons().name(3 << 16 | 5), "OPENVSWITCH_5");
    }

    #[test]
    fn harmless_reasons_are_bits_by_the_running_kernels_numbers() {
        let bits = reasons().bits(&["SKB_CONSUMED", "QUEUE_PURGE", "NOT_IN_THIS_KERNEL"]);
        assert_eq!(bits, [1 << 1, 1 << (104 - 64), 0, 0]);
    }
}
