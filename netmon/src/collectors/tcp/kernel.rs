//! Reads the kernel programs' counts of TCP events, and deletes those of unknown namespaces.

use std::collections::BTreeMap;

use tracing::warn;

use super::{facts, families};
use crate::{
    collectors::visit::{Collected, Visit},
    datapath::{DatapathError, tcp::TcpMap},
    model::{interface::InterfaceId, tcp::Events},
};

/// Collects. Without programs there are only the kernel's own counts.
pub(super) fn collect(visit: &mut Visit<'_>) -> Collected {
    let mut tracepoints = visit.tools.tracepoints.lock();
    let (mut events, mut strangers, mut is_whole) = (None, 0, false);
    if let Some(map) = &mut tracepoints.tcp {
        visit.programs.extend(map.programs());
        match read(map, visit) {
            Ok((read, others)) => {
                events = Some(read);
                strangers = others;
                is_whole = map.is_whole();
            }
            Err(error) => warn!(%error, "cannot read TCP events; this scrape is without them"),
        }
    }
    let (rows, connections) = facts::rows(events.as_ref(), visit.state, visit.now);
    if let (Some(map), Some(events)) = (&mut tracepoints.tcp, &events)
        && strangers > TcpMap::MANY_STRANGERS
    {
        let foreign = facts::foreign(events, visit.state, visit.now);
        if let Err(error) = map.forget(|netns| foreign.contains(&netns)) {
            warn!(%error, "cannot delete TCP events of unknown namespaces from the kernel map");
        }
    }
    Collected {
        rows: families::rows(&rows, &connections, events.is_some()),
        is_whole: Some(is_whole || !visit.tools.counting_wanted),
    }
}

/// The counts, and the number of interfaces of unwatched namespaces among them.
fn read(map: &mut TcpMap, visit: &mut Visit<'_>) -> Result<(BTreeMap<InterfaceId, Events>, u32), DatapathError> {
    let events = map.read()?;
    let strangers = map.settle(&events)?;
    visit.maps.extend(map.rows(events.len() as u64, map.lost()?));
    Ok((events, strangers))
}
