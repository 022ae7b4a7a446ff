//! Drops and TCP events: the sums of services, and the last counts of namespaces that are gone.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    drops::Drop,
    edges::{EdgeCounts, EdgeId},
    interface::InterfaceId,
    tcp::{Events, Made, Segments},
};

/// What a service's containers counted on a network. The network is empty for what belongs to none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventSums {
    /// Dropped packets, by the kernel's name of the reason.
    pub drops: BTreeMap<Arc<str>, u64>,
    /// TCP segments; `None` if they are not counted.
    pub segments: Option<Segments>,
    /// TCP connections; `None` if they are not counted.
    pub made: Option<Made>,
}

/// What was taken out of the kernel's maps of namespaces that are gone. Each count was read and deleted in one step.
#[derive(Debug, Default)]
pub struct LastCounts {
    /// Dropped packets, with the running kernel's names of the reasons. No two have the same key.
    pub drops: Vec<(Drop, Arc<str>)>,
    /// TCP events of each interface; `None` without programs that count them.
    pub events: Option<BTreeMap<InterfaceId, Events>>,
    /// TCP connections by their two ends.
    pub edges: Vec<(EdgeId, EdgeCounts)>,
}
