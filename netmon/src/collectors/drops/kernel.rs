//! Reads the kernel's counts of dropped packets, and deletes those that the map need not hold any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use tracing::warn;

use super::{
    facts::{self, Retired},
    families,
};
use crate::{
    collectors::visit::{Collect, Collected, Tools, Visit},
    datapath::{
        DatapathError,
        drops::{Deletion, DropsMap},
    },
    model::{
        drops::Drops,
        health::{MapRow, ProgramRow},
        interface::{InterfaceId, NetnsId},
        outage::Outage,
        place::{Attribution, Cause},
    },
    observe::Shared,
};

/// The collector.
#[derive(Debug, Default)]
pub(super) struct Collector {
    program: Option<ProgramRow>,
    /// What was read, and how full the map is; `None` if it could not be read.
    read: Option<(Drops, MapRow)>,
    /// The running kernel's names of the reasons that were ever read.
    names: BTreeMap<u32, String>,
    /// This kernel gives no reasons.
    is_lacking: bool,
    retired: Retired,
    /// Deleted devices, and foreign namespaces, whose counts can be deleted.
    devices: BTreeMap<InterfaceId, Attribution>,
    foreign: BTreeSet<NetnsId>,
    no_reading: Outage,
    no_deletion: Outage,
}

impl Collect for Collector {
    fn read(&mut self, _shared: &Shared, tools: &Tools) {
        let mut tracepoints = tools.tracepoints.lock();
        self.is_lacking = tracepoints.lacking.drops;
        let Some(map) = &mut tracepoints.drops else { return };
        self.program = Some(map.program());
        self.read = match map.read() {
            Ok(drops) => {
                let lost = drops.lost.iter().filter_map(|(reason, _)| *reason);
                learn(
                    &mut self.names,
                    map,
                    drops.counted.iter().map(|drop| drop.reason).chain(lost),
                );
                let row = DropsMap::row(drops.entries, drops.refusals.clone());
                Some((drops, row))
            }
            Err(error) => {
                if self.no_reading.begins(true, Instant::now()) {
                    warn!(%error, "cannot read drops; scrapes are without them");
                }
                None
            }
        };
        self.no_reading.note(self.read.is_none(), Instant::now());
    }

    fn collect(&mut self, visit: &mut Visit<'_>) -> Collected {
        if !visit.tools.counting_wanted {
            return Collected::unjudged(Vec::new());
        }
        visit.programs.extend(self.program.take());
        let Some((drops, row)) = self.read.take() else {
            return Collected::failed();
        };
        visit.maps.push(row);
        let name = |reason| self.names.get(&reason).cloned().unwrap_or_default();
        let rows = facts::rows(&drops, &mut self.retired, visit.state, visit.now, name);
        self.retired.let_go(visit.state);
        self.devices = self.retired.deleted_devices(&drops, visit.state, visit.now);
        if drops.strangers > DropsMap::MANY_STRANGERS {
            self.foreign = facts::foreign(&drops, visit.state, visit.now);
        }
        Collected::whole(families::rows(&rows))
    }

    fn is_supported(&self) -> bool {
        !self.is_lacking
    }

    fn tidy(&mut self, shared: &Shared, tools: &Tools) {
        let (devices, foreign) = (std::mem::take(&mut self.devices), std::mem::take(&mut self.foreign));
        if !devices.is_empty() {
            let gone = devices.keys().copied().collect();
            if let Some(Deletion { deleted, kept, .. }) = self.delete(tools, |map| map.forget_devices(&gone)) {
                self.retired.take_over(deleted, |id| devices.get(&id).cloned());
                shared.lock().forget_attributions(&facts::without_counts(gone, &kept));
            }
        }
        if !foreign.is_empty()
            && let Some(Deletion { deleted, .. }) = self.delete(tools, |map| map.forget_unwatched(&foreign))
        {
            let attribution = Attribution::Nowhere(Cause::ForeignNamespace);
            self.retired.take_over(deleted, |_| Some(attribution.clone()));
        }
    }
}

impl Collector {
    /// Deletes counts from the kernel's map. What it keeps is deleted by a later scrape, which finds it again. `None` if
    /// nothing was deleted.
    fn delete(
        &mut self,
        tools: &Tools,
        how: impl FnOnce(&mut DropsMap) -> Result<Deletion, DatapathError>,
    ) -> Option<Deletion> {
        let mut tracepoints = tools.tracepoints.lock();
        let map = tracepoints.drops.as_mut()?;
        let done = how(map);
        let error = match &done {
            Ok(deletion) => deletion.error.as_ref(),
            Err(error) => Some(error),
        };
        if self.no_deletion.begins(error.is_some(), Instant::now())
            && let Some(error) = error
        {
            warn!(%error, "cannot delete drops of removed devices or unknown namespaces from the kernel map");
        }
        let deletion = done.ok()?;
        learn(&mut self.names, map, deletion.deleted.iter().map(|drop| drop.reason));
        Some(deletion)
    }
}

/// Adds the running kernel's names of these reasons.
fn learn(names: &mut BTreeMap<u32, String>, map: &DropsMap, reasons: impl Iterator<Item = u32>) {
    for reason in reasons {
        names.entry(reason).or_insert_with(|| map.reason(reason));
    }
}
