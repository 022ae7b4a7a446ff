//! Reads the kernel's counts of dropped packets, and deletes those that the map need not hold any more.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::{
    facts::{self, Retired},
    families,
};
use crate::{
    collectors::visit::{Collect, Collected, Tools, Visit},
    datapath::{DatapathError, drops::DropsMap},
    model::{
        drops::Drops,
        health::{MapRow, ProgramRow},
        interface::{InterfaceId, NetnsId},
    },
};

/// The collector.
#[derive(Debug, Default)]
pub(super) struct Collector {
    program: Option<ProgramRow>,
    /// What was read, and how full the map is; `None` if it could not be read.
    read: Option<(Drops, MapRow)>,
    /// The running kernel's names of the reasons that were ever read.
    names: BTreeMap<u32, String>,
    retired: Retired,
    /// Devices and namespaces whose counts were taken over.
    devices: BTreeSet<InterfaceId>,
    namespaces: Vec<NetnsId>,
}

impl Collect for Collector {
    fn read(&mut self, tools: &Tools) {
        let mut tracepoints = tools.tracepoints.lock();
        let Some(map) = &mut tracepoints.drops else { return };
        self.program = Some(map.program());
        self.read = match map.read() {
            Ok(drops) => {
                let reasons = drops.counted.iter().map(|drop| drop.reason);
                for reason in reasons.chain(drops.lost.iter().map(|(reason, _)| *reason)) {
                    self.names.entry(reason).or_insert_with(|| map.reason(reason));
                }
                let lost = drops.lost.iter().map(|(_, packets)| packets).sum();
                let row = DropsMap::row(drops.entries, lost);
                Some((drops, row))
            }
            Err(error) => {
                warn!(%error, "cannot read drops; this scrape is without them");
                None
            }
        };
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
        self.devices = self.retired.take_devices(&drops, visit.state, visit.now);
        if drops.strangers > DropsMap::MANY_STRANGERS {
            self.namespaces = self.retired.take_over(&drops, visit.state, visit.now);
        }
        Collected::whole(families::rows(&rows))
    }

    fn tidy(&mut self, tools: &Tools) {
        let devices = std::mem::take(&mut self.devices);
        let namespaces = std::mem::take(&mut self.namespaces);
        if devices.is_empty() && namespaces.is_empty() {
            return;
        }
        let mut tracepoints = tools.tracepoints.lock();
        let Some(map) = &mut tracepoints.drops else { return };
        let forgotten = forget(map, &devices, &namespaces);
        if let Err(error) = forgotten {
            warn!(%error, "cannot delete drops of removed devices and unknown namespaces from the kernel map");
        }
    }
}

fn forget(map: &mut DropsMap, devices: &BTreeSet<InterfaceId>, namespaces: &[NetnsId]) -> Result<(), DatapathError> {
    if !devices.is_empty() {
        map.forget_devices(devices)?;
    }
    if !namespaces.is_empty() {
        map.forget(|netns| namespaces.binary_search(&netns).is_ok())?;
    }
    Ok(())
}
