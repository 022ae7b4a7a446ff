//! Reads the kernel programs' counts of traffic between nodes, reserves room for known tunnels, and deletes the counts
//! of removed ones.

use std::collections::BTreeSet;

use tracing::warn;

use super::{facts, families};
use crate::{
    collectors::visit::{Collect, Collected, Tools, Visit},
    datapath::{DatapathError, overlay::OverlayMap},
    model::{
        health::{MapRow, ProgramRow},
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
}

impl Collect for Collector {
    fn read(&mut self, shared: &Shared, tools: &Tools) {
        let known = facts::known(&shared.lock());
        let mut map = tools.overlay.lock();
        let Some(map) = &mut *map else { return };
        self.programs = map.programs().collect();
        if let Err(error) = map.know(known) {
            warn!(%error, "cannot reserve map entries for tunnels; they share those of unknown tunnels");
        }
        self.read = match read(map) {
            Ok(read) => Some(read),
            Err(error) => {
                warn!(%error, "cannot read traffic between nodes; this scrape is without it");
                None
            }
        };
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
        if let Some(map) = &mut *tools.overlay.lock()
            && let Err(error) = map.forget(|tunnel| idle.contains(tunnel))
        {
            warn!(%error, "cannot delete removed tunnels from the kernel map");
        }
    }
}

fn read(map: &mut OverlayMap) -> Result<(Tunnels, MapRow), DatapathError> {
    let reading = map.read()?;
    let row = OverlayMap::row(reading.entries, map.lost()?);
    Ok((reading.tunnels, row))
}
