//! Reads the kernel programs' counts of TCP events, and deletes those of unknown namespaces.

use std::{collections::BTreeSet, time::Instant};

use tracing::warn;

use super::{facts, families};
use crate::{
    collectors::visit::{Collect, Collected, Tools, Visit},
    datapath::{DatapathError, tcp::TcpMap},
    model::{
        health::{MapRow, ProgramRow},
        interface::{InterfaceId, NetnsId},
        outage::Outage,
        tcp::Events,
    },
    observe::Shared,
};

/// The collector. Without programs there are only the kernel's own counts.
#[derive(Debug, Default)]
pub(super) struct Collector {
    programs: Vec<ProgramRow>,
    maps: Vec<MapRow>,
    /// The counts; `None` if they could not be read.
    events: Option<Vec<(InterfaceId, Events)>>,
    /// What passed the devices before the events were read.
    passed: facts::Passed,
    /// The number of interfaces of unwatched namespaces among them.
    strangers: u32,
    /// Every program is attached.
    is_whole: bool,
    /// This kernel does not describe the types that the programs need.
    is_lacking: bool,
    /// Unknown namespaces whose counts can be deleted.
    foreign: BTreeSet<NetnsId>,
    no_reading: Outage,
    no_deletion: Outage,
}

impl Collector {
    fn read_map(&mut self, map: &mut TcpMap) -> Result<(), DatapathError> {
        let (events, strangers) = map.read()?;
        self.strangers = strangers;
        self.maps = map.rows(events.len() as u64, map.lost()?).into();
        self.events = Some(events);
        Ok(())
    }
}

impl Collect for Collector {
    fn read(&mut self, shared: &Shared, tools: &Tools) {
        // A retransmit that is counted in between makes the first transmissions fewer, and the next scrape corrects it.
        // In the other order it would be shown as one of them for good.
        self.passed = facts::passed(&shared.lock());
        let mut tracepoints = tools.tracepoints.lock();
        self.is_lacking = tracepoints.lacking.tcp;
        let Some(map) = &mut tracepoints.tcp else { return };
        self.programs = map.programs().collect();
        self.is_whole = map.is_whole();
        let read = self.read_map(map);
        let begins = self.no_reading.begins(read.is_err(), Instant::now());
        if let (Err(error), true) = (read, begins) {
            warn!(%error, "cannot read TCP events; scrapes are without them");
        }
    }

    fn collect(&mut self, visit: &mut Visit<'_>) -> Collected {
        visit.programs.append(&mut self.programs);
        visit.maps.append(&mut self.maps);
        let (passed, events) = (std::mem::take(&mut self.passed), self.events.take());
        let (rows, connections) = facts::rows(passed, events.as_deref(), visit.state, visit.now);
        if let Some(events) = &events
            && self.strangers > TcpMap::MANY_STRANGERS
        {
            self.foreign = facts::foreign(events, visit.state, visit.now);
        }
        Collected {
            rows: families::rows(&rows, &connections, events.is_some()),
            is_whole: Some(self.is_whole && events.is_some() || !visit.tools.counting_wanted),
        }
    }

    fn is_supported(&self) -> bool {
        !self.is_lacking
    }

    fn tidy(&mut self, _shared: &Shared, tools: &Tools) {
        let foreign = std::mem::take(&mut self.foreign);
        let mut tracepoints = tools.tracepoints.lock();
        let (Some(map), false) = (&mut tracepoints.tcp, foreign.is_empty()) else {
            return;
        };
        let deleted = map.forget_unwatched(&foreign);
        let begins = self.no_deletion.begins(deleted.is_err(), Instant::now());
        if let (Err(error), true) = (deleted, begins) {
            warn!(%error, "cannot delete TCP events of unknown namespaces from the kernel map");
        }
    }
}
