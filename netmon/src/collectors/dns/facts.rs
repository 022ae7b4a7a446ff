//! What was asked, by the container that asked it. Pure.

use std::{collections::BTreeMap, sync::Arc};

use netmon_common::dns::Dns;

use crate::{
    model::{
        dns::{DnsReading, is_asked},
        interface::NetnsId,
        inventory::Identity,
        place::Place,
    },
    observe::state::State,
};

/// What a container asked one resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRow {
    /// The labels of the container.
    pub identity: Arc<Identity>,
    /// Which resolver it is.
    pub resolver: &'static str,
    /// What was asked and answered.
    pub dns: Dns,
}

/// The label of the engine's resolver, and that of all others.
pub const RESOLVERS: [&str; 2] = ["docker", "outside"];

/// The rows of containers, for each resolver that was asked.
#[must_use]
pub fn rows(readings: &BTreeMap<NetnsId, DnsReading>, state: &State) -> Vec<DnsRow> {
    let mut rows = Vec::new();
    for (place, netns) in state.standing() {
        let (Place::Container { identity }, Some(reading)) = (place, readings.get(&netns)) else {
            continue;
        };
        let DnsReading { docker, outside } = reading;
        let used = RESOLVERS.into_iter().zip([docker, outside]);
        let used = used.filter(|(_, dns)| is_asked(dns));
        rows.extend(used.map(|(resolver, dns)| DnsRow {
            identity: Arc::clone(identity),
            resolver,
            dns: *dns,
        }));
    }
    rows
}
