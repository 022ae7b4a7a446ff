//! How many series there are: of each container, and of all that is none's.

use std::{collections::HashMap, sync::Arc};

use netmon_common::tcp::{FAILURES, ROUND_TRIP_BUCKETS};

use crate::model::{
    inventory::Identity,
    snapshot::{ContainerState, Snapshot},
    tcp::NO_NETWORK,
};

/// Series of a container as such: its info.
pub(super) const OF_CONTAINER: usize = 1;
/// Series of an interface: ten counters, its info, its queue.
pub(super) const OF_INTERFACE: usize = 12;
/// Series of a container on a network: counters of TCP.
pub(super) const OF_NETWORK: usize = 6;
/// Series of its histogram, where anything was measured.
pub(super) const OF_ROUND_TRIPS: usize = ROUND_TRIP_BUCKETS + 2;
/// Series of what its protocols lost.
pub(super) const OF_LOSSES: usize = 11;
/// Series of its tables.
pub(super) const OF_BUFFERS: usize = 2;
/// Series of a service on a network.
pub(super) const OF_SERVICE: usize = 4;
/// Series about netmon and the node, or thereabouts.
pub(super) const OF_NODE: usize = 400;

/// What a container takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Need {
    pub(super) series: usize,
    pub(super) is_alive: bool,
}

/// What each container takes in any case.
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

/// About how many series there are that are no container's.
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
