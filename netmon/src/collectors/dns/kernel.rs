//! Reads what the kernel programs counted of each namespace's queries.

use std::{collections::BTreeMap, sync::Arc};

use super::{facts, families};
use crate::{
    collectors::visit::{Collect, Collected, Counting, Tools, Visit},
    model::{
        dns::{DnsCounts, DnsReading},
        interface::NetnsId,
    },
    observe::Shared,
};

/// The collector.
#[derive(Debug, Default)]
pub(super) struct Collector {
    readings: BTreeMap<NetnsId, DnsReading>,
}

impl Collect for Collector {
    fn read(&mut self, shared: &Shared, _tools: &Tools) {
        let counts: Vec<(NetnsId, Arc<dyn DnsCounts>)> = {
            let state = shared.lock();
            let counts = state.dns_counts();
            counts.map(|(netns, counts)| (netns, Arc::clone(counts))).collect()
        };
        self.readings = counts
            .into_iter()
            .map(|(netns, counts)| (netns, counts.read()))
            .collect();
    }

    fn collect(&mut self, visit: &mut Visit<'_>) -> Collected {
        let readings = std::mem::take(&mut self.readings);
        let has_dns = |counting: &Counting| counting.maps.has_dns();
        Collected {
            rows: families::rows(&facts::rows(&readings, visit.state)),
            is_whole: Some(visit.tools.counting.as_ref().is_some_and(has_dns) || !visit.tools.counting_wanted),
        }
    }
}
