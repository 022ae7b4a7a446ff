//! Reads the kernel programs' counts of connections by their ends, and deletes those that are no longer needed.

use std::{collections::BTreeSet, time::Instant};

use netmon_common::{edges::MAX_ENTRIES, share::OF_NAMESPACE};
use tracing::warn;

use super::{
    facts::{self, EdgeLedger, Terms, Unheard},
    families,
};
use crate::{
    collectors::visit::{Collect, Collected, Tools, Visit},
    datapath::{
        DatapathError,
        edges::{EdgesMap, EdgesRead},
    },
    model::{
        edges::{EdgeCounts, EdgeId, EdgeReading},
        health::{MapRow, ProgramRow},
        interface::NetnsId,
        outage::Outage,
    },
    observe::Shared,
};

/// The collector.
#[derive(Debug, Default)]
pub(super) struct Collector {
    programs: Vec<ProgramRow>,
    maps: Vec<MapRow>,
    /// The counts, and a moment just before they were read; `None` if they could not be.
    readings: Option<(Vec<EdgeReading>, Instant)>,
    /// Connections whose end was not heard.
    unheard: Unheard,
    /// The number of edges of unwatched namespaces among them.
    strangers: u32,
    /// This kernel does not describe the types that the programs need.
    is_lacking: bool,
    ledger: EdgeLedger,
    labels: families::Labels,
    /// Edges that can be taken out of the kernel's map.
    idle: BTreeSet<EdgeId>,
    /// What was taken out after the last scrape.
    taken: Vec<(EdgeId, EdgeCounts)>,
    /// Unknown namespaces whose edges can be deleted.
    foreign: BTreeSet<NetnsId>,
    no_reading: Outage,
    no_deletion: Outage,
}

impl Collector {
    fn read_map(&mut self, map: &mut EdgesMap) -> Result<(), DatapathError> {
        let begin = Instant::now();
        let EdgesRead {
            edges,
            strangers,
            unheard,
        } = map.read()?;
        self.strangers = strangers;
        self.unheard.add(unheard);
        self.maps = map.rows(edges.len() as u64, map.lost()?).into();
        self.readings = Some((edges, begin));
        Ok(())
    }
}

impl Collect for Collector {
    fn read(&mut self, _shared: &Shared, tools: &Tools) {
        let mut tracepoints = tools.tracepoints.lock();
        self.is_lacking = tracepoints.lacking.edges;
        let Some(map) = &mut tracepoints.edges else { return };
        self.programs = map.programs().collect();
        let read = self.read_map(map);
        let begins = self.no_reading.begins(read.is_err(), Instant::now());
        if let (Err(error), true) = (read, begins) {
            warn!(%error, "cannot read TCP connections by their ends; scrapes are without them");
        }
    }

    fn collect(&mut self, visit: &mut Visit<'_>) -> Collected {
        visit.programs.append(&mut self.programs);
        visit.maps.append(&mut self.maps);
        let Some((readings, read)) = self.readings.take() else {
            return Collected {
                rows: Vec::new(),
                is_whole: Some(!visit.tools.counting_wanted),
            };
        };
        let terms = Terms {
            limit: visit.tools.most_edges,
            patience: visit.state.times().name_patience,
            now: visit.now,
            read,
        };
        let taken = std::mem::take(&mut self.taken);
        facts::account(&mut self.ledger, &readings, taken, visit.state, &terms);
        visit.over.push(("edges", self.ledger.over()));
        self.idle = self.ledger.idle(&readings, OF_NAMESPACE as usize, MAX_ENTRIES as usize);
        if self.strangers > EdgesMap::MANY_STRANGERS {
            self.foreign = facts::foreign(&readings, visit.state, visit.now);
        }
        Collected::whole(families::rows(
            &mut self.labels,
            self.ledger.sums(),
            self.unheard.least(),
        ))
    }

    fn is_supported(&self) -> bool {
        !self.is_lacking
    }

    fn tidy(&mut self, _shared: &Shared, tools: &Tools) {
        let (foreign, idle) = (std::mem::take(&mut self.foreign), std::mem::take(&mut self.idle));
        let mut tracepoints = tools.tracepoints.lock();
        let Some(map) = &mut tracepoints.edges else { return };
        if foreign.is_empty() && idle.is_empty() {
            return;
        }
        let deleted = map.make_room(&idle, &foreign, &mut self.taken);
        let begins = self.no_deletion.begins(deleted.is_err(), Instant::now());
        if let (Err(error), true) = (deleted, begins) {
            warn!(%error, "cannot delete TCP connections by their ends from the kernel map");
        }
    }
}
