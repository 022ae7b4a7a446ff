//! Reads the kernel programs' counts of traffic between nodes, and deletes those of removed tunnels.

use tracing::warn;

use super::{facts, families};
use crate::{
    collectors::visit::{Collected, Visit},
    datapath::{DatapathError, overlay::OverlayMap},
    model::overlay::Tunnels,
};

/// Collects. Without programs there are only the networks and the devices that lead to other nodes.
pub(super) fn collect(visit: &mut Visit<'_>) -> Collected {
    let mut map = visit.tools.overlay.lock();
    let mut tunnels = None;
    if let Some(map) = &mut *map {
        visit.programs.extend(map.programs());
        match read(map, visit) {
            Ok(read) => tunnels = Some(read),
            Err(error) => warn!(%error, "cannot read traffic between nodes; this scrape is without it"),
        }
    }
    let mut rows = facts::rows(tunnels.as_ref(), visit.state, visit.now);
    rows.peers = facts::peers(visit.state);
    if let (Some(map), Some(_)) = (&mut *map, &tunnels) {
        let idle = facts::forgettable(visit.state, visit.now);
        if !idle.is_empty()
            && let Err(error) = map.forget(|tunnel| idle.contains(tunnel))
        {
            warn!(%error, "cannot delete removed tunnels from the kernel map");
        }
    }
    // If nothing is encrypted, no figure is missing when the kernel does not report encryption errors.
    let has_errors = rows.xfrm_errors.is_some() || !facts::has_encryption(visit.state);
    Collected {
        rows: families::rows(&rows),
        is_whole: Some(has_errors && (tunnels.is_some() || !visit.tools.counting_wanted)),
    }
}

fn read(map: &mut OverlayMap, visit: &mut Visit<'_>) -> Result<Tunnels, DatapathError> {
    if let Err(error) = map.know(facts::known(visit.state)) {
        warn!(%error, "cannot reserve map entries for tunnels; they share those of unknown tunnels");
    }
    let tunnels = map.read()?;
    visit.maps.push(OverlayMap::row(tunnels.len() as u64, map.lost()?));
    Ok(tunnels)
}
