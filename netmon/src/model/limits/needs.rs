//! The numbers of series: of each container, and of everything that belongs to no container.

use std::{collections::HashMap, sync::Arc};

use netmon_common::tcp::{FAILURES, ROUND_TRIP_BUCKETS};

use crate::model::{
    inventory::Identity,
    snapshot::{ContainerState, Snapshot},
    tcp::NO_NETWORK,
};

/// Series of a container itself: its info.
pub(super) const OF_CONTAINER: usize = 1;
/// Series of an interface: ten counters, its info, and its queue.
pub(super) const OF_INTERFACE: usize = 12;
/// Series of a container on a network: TCP counters.
pub(super) const OF_NETWORK: usize = 6;
/// Series of the round-trip histogram, if it has any observation.
pub(super) const OF_ROUND_TRIPS: usize = ROUND_TRIP_BUCKETS + 2;
/// Series of a container's socket and protocol losses.
pub(super) const OF_LOSSES: usize = 11;
/// Series of a container's tables.
pub(super) const OF_BUFFERS: usize = 2;
/// Series of a service on a network.
pub(super) const OF_SERVICE: usize = 4;
/// The approximate number of series about netmon and the node.
pub(super) const OF_NODE: usize = 400;

/// The number of series that a container needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Need {
    pub(super) series: usize,
    pub(super) is_alive: bool,
}

/// The number of series that each container has in any case.
pub(super) fn needs(snapshot: &Snapshot) -> HashMap<Arc<Identity>, Need> {
    let mut needs: HashMap<Arc<Identity>, Need> = HashMap::with_capacity(snapshot.containers.len());
    let mut add = |identity: &Arc<Identity>, series: usize, is_alive: bool| {
        let need = match needs.get_mut(identity) {
            Some(need) => need,
            None => needs.entry(Arc::clone(identity)).or_default(),
        };
        need.series += series;
        need.is_alive |= is_alive;
    };
    for row in &snapshot.containers {
        add(
            &row.container.identity,
            OF_CONTAINER,
            row.state != ContainerState::Ended,
        );
    }
    for row in snapshot.interfaces.iter().filter(|row| !row.network.is_empty()) {
        add(&row.identity, OF_INTERFACE, false);
    }
    for row in &snapshot.tcp {
        let has_times = row
            .events
            .is_some_and(|events| events.counts().round_trips.iter().any(|count| *count > 0));
        let failures = if &*row.network == NO_NETWORK { 0 } else { FAILURES };
        let times = if has_times { OF_ROUND_TRIPS } else { 0 };
        add(&row.identity, OF_NETWORK + failures + times, false);
    }
    for row in &snapshot.connections {
        add(&row.identity, row.states.len(), false);
    }
    for (identity, _) in &snapshot.sockets.containers {
        add(identity, OF_LOSSES, false);
    }
    for (identity, _) in &snapshot.buffers.containers {
        add(identity, OF_BUFFERS, false);
    }
    for (identity, _) in &snapshot.drops.containers {
        add(identity, 0, false);
    }
    needs
}

/// The approximate number of series that belong to no container.
pub(super) fn of_node(snapshot: &Snapshot) -> usize {
    const OF_VXLAN: usize = 8;
    const OF_TUNNEL: usize = 8;
    let drops = &snapshot.drops;
    OF_NODE
        + OF_SERVICE * snapshot.services.len()
        + OF_VXLAN * snapshot.vxlans.len()
        + OF_TUNNEL * (snapshot.overlay.clear.len() + snapshot.overlay.encrypted.len())
        + snapshot.networks.len()
        + drops.overlays.len()
        + drops.load_balancers.len()
        + drops.node.len()
        + drops.unattributed.len()
}
