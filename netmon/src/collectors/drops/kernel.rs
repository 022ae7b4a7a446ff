//! Reads the kernel's counts of dropped packets, and deletes those that the map need not hold any more.

use tracing::warn;

use super::{
    facts::{self, DropRows, Retired},
    families,
};
use crate::{
    collectors::visit::{Collected, Visit},
    datapath::{DatapathError, drops::DropsMap},
};

/// Collects. `retired` are the counts that the kernel's map no longer holds.
pub(super) fn collect(visit: &mut Visit<'_>, retired: &mut Retired) -> Collected {
    if !visit.tools.counting_wanted {
        return Collected::unjudged(Vec::new());
    }
    let mut tracepoints = visit.tools.tracepoints.lock();
    let Some(map) = &mut tracepoints.drops else {
        return Collected::failed();
    };
    visit.programs.push(map.program());
    match read(map, visit, retired) {
        Ok(rows) => Collected::whole(families::rows(&rows)),
        Err(error) => {
            warn!(%error, "cannot read drops; this scrape is without them");
            Collected::failed()
        }
    }
}

fn read(map: &mut DropsMap, visit: &mut Visit<'_>, retired: &mut Retired) -> Result<DropRows, DatapathError> {
    let drops = map.read()?;
    let (state, now) = (&mut *visit.state, visit.now);
    let rows = facts::rows(&drops, retired, state, now, |reason| map.reason(reason));
    let lost = drops.lost.iter().map(|(_, packets)| packets).sum();
    visit.maps.push(DropsMap::row(drops.entries, lost));
    let devices = retired.take_devices(&drops, state, now);
    if !devices.is_empty()
        && let Err(error) = map.forget_devices(&devices)
    {
        warn!(%error, "cannot delete drops of removed devices from the kernel map");
    }
    if drops.strangers > DropsMap::MANY_STRANGERS {
        let foreign = retired.take_over(&drops, state, now);
        if let Err(error) = map.forget(|netns| foreign.binary_search(&netns).is_ok()) {
            warn!(%error, "cannot delete drops of unknown namespaces from the kernel map");
        }
    }
    Ok(rows)
}
