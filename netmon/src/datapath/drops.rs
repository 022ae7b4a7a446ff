//! The counts of packets that the kernel dropped.
//!
//! This module knows the running kernel's reasons by number and by name, and which of them are no loss. It does not
//! know to which container a namespace belongs.

pub(super) mod harmless;
mod reasons;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Instant,
};

use netmon_common::{
    drops::{
        FIELDS, GLOBAL_ARGUMENTS, GLOBAL_NO_SOCKET, GLOBAL_NOT_SPECIFIED, GLOBAL_SOCKET_FILTER, GLOBAL_TCP_CLOSE,
        GLOBAL_TCP_FLAGS, GLOBALS_HARMLESS, GLOBALS_UNWANTED, Key, LOST_ENTRIES, MAP, MAP_LOST, MAP_REFUSED,
        MAX_ENTRIES, PROGRAM, TRACEPOINT, lost_reason,
    },
    share::{MAP as MAP_SHARES, OF_STRANGERS},
};
use tracing::warn;

use self::harmless::{FUNCTIONS, REASONS, UNWANTED};
pub(super) use self::reasons::{ENUMERATION, Reasons, SUBSYSTEMS};
use super::{
    DatapathError, batch,
    refusals::refusals,
    share::Shares,
    symbols::Functions,
    tracepoint::{AttachedObject, Globals, Kernel, OpenObject, descriptor},
};
use crate::model::{
    drops::{Drop, Drops},
    health::{MapRow, ProgramRow, Refusals},
    interface::{InterfaceId, NetnsId},
};

/// The program, as built with this daemon.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/drops.o"));

/// The running program and its counts.
#[derive(Debug)]
pub struct DropsMap {
    attached: AttachedObject,
    shares: Shares,
    cpus: usize,
    reasons: Reasons,
    /// The number of the reason `NOT_SPECIFIED`.
    not_specified: Option<u32>,
    /// The functions in which a drop without a reason is no loss. `None` if the kernel hides the addresses of its
    /// functions.
    harmless: Option<Functions>,
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
        if reasons.is_empty() || arguments < 3 {
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
        let harmless = Functions::of_kernel(FUNCTIONS, Instant::now()).unwrap_or_default();
        if harmless.is_none() {
            warn!(
                path = super::symbols::PATH,
                "the kernel hides its functions' addresses, so drops without a reason are counted as unattributed; give \
                 netmon CAP_SYSLOG, and see kernel.kptr_restrict"
            );
        }
        let mut programs = OpenObject::open(OBJECT, &globals, kernel)?;
        programs.attach(PROGRAM, TRACEPOINT)?;
        let attached = programs.ready("drops");
        attached.per_cpu_hash(MAP)?;
        attached.map(MAP_LOST)?;
        attached.map(MAP_REFUSED)?;
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

    /// Gives a watched namespace room by its number of devices: it is the node's or a network's, so no container can choose
    /// that number. TCP needs no such room, because it has one key for each device that has connections.
    pub fn give_room(&mut self, netns: NetnsId, devices: usize) {
        self.shares.give(netns, devices);
    }

    /// Reads every count that is a loss. Also counts the keys of every namespace. Some readings correct the programs'
    /// numbers by them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn read(&mut self) -> Result<Drops, DatapathError> {
        self.attached.read_notes();
        let failed = |error| DatapathError::of("read the counts of dropped packets", error);
        let before = self.shares.corrects().then(|| self.attached.shares()).transpose()?;
        let mut drops = Drops::default();
        let mut keys: BTreeMap<NetnsId, u32> = BTreeMap::new();
        let mut undecided: Vec<(Key, u64)> = Vec::new();
        batch::read(
            descriptor(self.attached.per_cpu_hash(MAP)?),
            self.cpus,
            |key: Key, counts: &[u64]| {
                drops.entries += 1;
                *keys.entry(NetnsId(key.netns)).or_default() += 1;
                if self.harmless_by_place(key).is_none() {
                    // Not the counts of each CPU: there may be hundreds.
                    undecided.push((key, counts.iter().sum()));
                } else {
                    drops.add(interface(key), self.loss(key, counts));
                }
            },
        )
        .map_err(failed)?;
        if let Some(functions) = &mut self.harmless {
            functions.decide(undecided.iter().map(|(key, _)| key.location), Instant::now());
        }
        for (key, packets) in undecided {
            let loss = self.harmless_by_place(key).and_then(|_| self.loss(key, &[packets]));
            drops.add(interface(key), loss);
        }
        drops.merge();
        drops.lost = self.lost()?;
        drops.refusals = refusals(self.attached.map(MAP_REFUSED)?)?;
        drops.strangers = self.shares.strangers(&keys);
        if let Some(before) = before {
            let mut map = self.attached.hash(MAP_SHARES)?;
            self.shares.settle(&mut map, &before, &keys)?;
        }
        Ok(drops)
    }

    /// What was counted under this key; `None` if it is no loss. If that is not decided, it is one.
    fn loss(&self, key: Key, counts: &[u64]) -> Option<Drop> {
        if self.harmless_by_place(key).unwrap_or(false) {
            return None;
        }
        let Key { reason, .. } = key;
        Some(Drop {
            interface: interface(key),
            reason,
            unplaced: Some(reason) == self.not_specified && self.harmless.is_none(),
            packets: counts.iter().sum(),
        })
    }

    /// Whether a drop there is no loss; `None` while that is not decided.
    fn harmless_by_place(&self, key: Key) -> Option<bool> {
        match &self.harmless {
            Some(functions) if key.location != 0 => functions.contain(key.location),
            _ => Some(false),
        }
    }

    /// The packets that found no room in the map, by reason.
    fn lost(&self) -> Result<Vec<(Option<u32>, u64)>, DatapathError> {
        let mut lost = Vec::new();
        let map = self.attached.per_cpu_array(MAP_LOST)?;
        batch::read(descriptor(map), self.cpus, |index: u32, counts: &[u64]| {
            let packets = counts.iter().sum();
            if packets > 0 && index < LOST_ENTRIES {
                lost.push((lost_reason(index), packets));
            }
        })
        .map_err(|error| DatapathError::of("read the drops that found no room", error))?;
        Ok(lost)
    }

    /// The running kernel's name of a reason.
    #[must_use]
    pub fn reason(&self, number: u32) -> String {
        self.reasons.name(number)
    }

    /// Takes the counts of the namespaces that are `gone` out of the map, and adds the losses among them to `last`, each
    /// with its reason's name. Goes on after an error.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn forget(&mut self, gone: &BTreeSet<NetnsId>, last: &mut Vec<(Drop, Arc<str>)>) -> Result<(), DatapathError> {
        let deleted = self.remove(|interface| gone.contains(&interface.netns));
        let unwatched = self.unwatch(|netns| gone.contains(&netns));
        let Deletion { deleted, error, .. } = deleted?;
        let mut losses = Drops {
            counted: deleted,
            ..Drops::default()
        };
        losses.merge();
        let named = losses
            .counted
            .into_iter()
            .map(|drop| (drop, self.reason(drop.reason).into()));
        last.extend(named);
        error.map_or(Ok(()), Err).and(unwatched)
    }

    /// Takes back the room of these namespaces. Goes on after an error. What is left is tried again by the next call,
    /// for whichever namespaces.
    ///
    /// # Errors
    /// The kernel refuses: the first error.
    pub fn unwatch(&mut self, gone: impl Fn(NetnsId) -> bool) -> Result<(), DatapathError> {
        self.shares.forget(&mut self.attached.hash(MAP_SHARES)?, gone)
    }

    /// Deletes the counts of these namespaces, unless they are watched by now.
    ///
    /// # Errors
    /// The kernel refuses, and nothing is deleted.
    pub fn forget_unwatched(&mut self, foreign: &BTreeSet<NetnsId>) -> Result<Deletion, DatapathError> {
        let unwatched = foreign.iter().filter(|netns| !self.shares.is_watched(**netns));
        let unwatched: BTreeSet<NetnsId> = unwatched.copied().collect();
        self.remove(|interface| unwatched.contains(&interface.netns))
    }

    /// Deletes the counts of the devices that are `gone`. The next reading gives their room back to their namespaces.
    ///
    /// # Errors
    /// The kernel refuses, and nothing is deleted.
    pub fn forget_devices(&mut self, gone: &BTreeSet<InterfaceId>) -> Result<Deletion, DatapathError> {
        self.remove(|interface| gone.contains(&interface))
    }

    /// Deletes counts.
    fn remove(&mut self, gone: impl Fn(InterfaceId) -> bool) -> Result<Deletion, DatapathError> {
        self.shares.correct_soon();
        let map = descriptor(self.attached.per_cpu_hash(MAP)?);
        let mut keys: Vec<Key> = Vec::new();
        batch::read(map, self.cpus, |key: Key, _: &[u64]| {
            if gone(interface(key)) {
                keys.push(key);
            }
        })
        .map_err(|error| DatapathError::of("read the counts of dropped packets", error))?;
        let take = |key: &Key| batch::take(map, self.cpus, key);
        let (taken, kept, error) = take_each(keys, take);
        Ok(Deletion {
            deleted: taken.iter().filter_map(|(key, last)| self.loss(*key, last)).collect(),
            kept,
            error: error.map(|error| DatapathError::of("delete the counts of dropped packets", error)),
        })
    }

    /// How full the map is.
    #[must_use]
    pub fn row(entries: u64, refusals: Refusals) -> MapRow {
        MapRow {
            map: MAP,
            entries,
            max_entries: MAX_ENTRIES.into(),
            update_failures: refusals,
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

/// What a deletion did.
#[derive(Debug)]
pub struct Deletion {
    /// The losses among what was deleted, as the kernel had them last.
    pub deleted: Vec<Drop>,
    /// The interfaces that still have counts, because the kernel refused to delete them.
    pub kept: BTreeSet<InterfaceId>,
    /// The first error.
    pub error: Option<DatapathError>,
}

/// Takes these keys out of a map, whatever becomes of one of them. Returns what was taken, the interfaces with keys that
/// are still there, and the first error.
#[expect(clippy::type_complexity, reason = "three results of one loop")]
fn take_each(
    keys: Vec<Key>,
    take: impl Fn(&Key) -> io::Result<Option<Vec<u64>>>,
) -> (Vec<(Key, Vec<u64>)>, BTreeSet<InterfaceId>, Option<io::Error>) {
    let (mut taken, mut kept, mut first) = (Vec::with_capacity(keys.len()), BTreeSet::new(), None);
    for key in keys {
        match take(&key) {
            Ok(last) => taken.extend(last.map(|last| (key, last))),
            Err(error) => {
                kept.insert(interface(key));
                first = first.or(Some(error));
            }
        }
    }
    (taken, kept, first)
}

const fn interface(key: Key) -> InterfaceId {
    InterfaceId {
        netns: NetnsId(key.netns),
        ifindex: key.ifindex,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use netmon_common::drops::Key;

    use super::{interface, take_each};

    #[test]
    fn what_the_kernel_keeps_ends_no_deletion() {
        let key = |ifindex, reason| Key {
            netns: 1,
            location: 0,
            ifindex,
            reason,
        };
        let (kept, gone) = (key(3, 5), key(3, 6));
        let take = |key: &Key| match *key {
            key if key == kept => Err(io::Error::from_raw_os_error(libc::ENOMEM)),
            key if key == gone => Ok(None),
            key => Ok(Some(vec![key.reason.into(), 1])),
        };
        let (taken, still, error) = take_each(vec![kept, gone, key(3, 7), key(4, 5)], take);
        assert_eq!(taken, [(key(3, 7), vec![7, 1]), (key(4, 5), vec![5, 1])]);
        assert_eq!(still, [interface(kept)].into());
        assert_eq!(error.and_then(|error| error.raw_os_error()), Some(libc::ENOMEM));
    }
}
