//! Reads the kernel programs' counts of traffic between nodes, reserves room for known tunnels, and deletes the counts
//! of removed ones.

use std::{collections::BTreeSet, time::Instant};

use tracing::warn;

use super::{facts, families};
use crate::{
    collectors::visit::{Collect, Collected, Tools, Visit},
    datapath::{DatapathError, overlay::OverlayMap},
    model::{
        health::{MapRow, ProgramRow},
        outage::Outage,
        overlay::{Tunnel, Tunnels},
    },
    observe::Shared,
};

/// The collector. Without programs there are only the networks and the devices that lead to other nodes.
#[derive(Debug, Default)]
pub(super) struct Collector {
    programs: Vec<ProgramRow>,
    /// What was read, and how full the map is; `None` if it could not be read.
    read: Option<(Tunnels, MapRow)>,
    /// Removed tunnels whose counts can be deleted.
    idle: BTreeSet<Tunnel>,
    no_entries: Outage,
    no_reading: Outage,
    no_deletion: Outage,
}

impl Collect for Collector {
    fn read(&mut self, shared: &Shared, tools: &Tools) {
        let known = facts::known(&shared.lock());
        let mut map = tools.overlay.lock();
        let Some(map) = &mut *map else { return };
        self.programs = map.programs().collect();
        let known = map.know(known);
        let begins = self.no_entries.begins(known.is_err(), Instant::now());
        if let (Err(error), true) = (known, begins) {
            warn!(%error, "cannot reserve map entries for tunnels; they share those of unknown tunnels");
        }
        let read = read(map);
        if self.no_reading.begins(read.is_err(), Instant::now())
            && let Err(error) = &read
        {
            warn!(%error, "cannot read traffic between nodes; scrapes are without it");
        }
        self.read = read.ok();
    }

    fn collect(&mut self, visit: &mut Visit<'_>) -> Collected {
        visit.programs.append(&mut self.programs);
        let read = self.read.take();
        let tunnels = read.map(|(tunnels, row)| {
            visit.maps.push(row);
            tunnels
        });
        let mut rows = facts::rows(tunnels.as_ref(), visit.state, visit.now);
        rows.peers = facts::peers(visit.state);
        if tunnels.is_some() {
            self.idle = facts::forgettable(visit.state, visit.now);
        }
        // If nothing is encrypted, no figure is missing when the kernel does not report encryption errors.
        let has_errors = rows.xfrm_errors.is_some() || !facts::has_encryption(visit.state);
        let is_counted = tunnels.is_some() && !visit.state.misses_underlay || !visit.tools.counting_wanted;
        // The devices on the way to other nodes are the node's.
        let has_node = visit.state.node().is_some();
        Collected {
            rows: families::rows(&rows),
            is_whole: Some(has_errors && is_counted && has_node),
        }
    }

    fn tidy(&mut self, _shared: &Shared, tools: &Tools) {
        let idle = std::mem::take(&mut self.idle);
        if idle.is_empty() {
            return;
        }
        let mut map = tools.overlay.lock();
        let Some(map) = &mut *map else { return };
        let deleted = map.forget(|tunnel| idle.contains(tunnel));
        let begins = self.no_deletion.begins(deleted.is_err(), Instant::now());
        if let (Err(error), true) = (deleted, begins) {
            warn!(%error, "cannot delete removed tunnels from the kernel map");
        }
    }
}

fn read(map: &mut OverlayMap) -> Result<(Tunnels, MapRow), DatapathError> {
    let reading = map.read()?;
    let row = OverlayMap::row(reading.entries, map.lost()?);
    Ok((reading.tunnels, row))
}
