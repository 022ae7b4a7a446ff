//! What a collector works with in one scrape, and what it returns.

use std::time::Instant;

use crate::{
    datapath::{self, SharedTracepoints, overlay::SharedOverlay},
    model::health::{DockerHealth, MapRow, ProgramRow},
    observe::{Shared, findings::Findings, state::State},
    page::rows::Rows,
};

/// A collector at work, in three steps of each scrape. It may keep something from scrape to scrape.
///
/// The registry is never locked while a map is read: the first and the last step lock it before or after that.
pub trait Collect: Send {
    /// Reads from the kernel's maps.
    fn read(&mut self, _shared: &Shared, _tools: &Tools) {}

    /// Joins what was read with the registry, and makes the rows.
    fn collect(&mut self, visit: &mut Visit<'_>) -> Collected;

    /// Deletes from the kernel's maps what they need not hold any more.
    fn tidy(&mut self, _shared: &Shared, _tools: &Tools) {}

    /// Whether this kernel has what the collector reads. If not, its failure is no fault.
    fn is_supported(&self) -> bool {
        true
    }
}

/// A collector that reads nothing from maps.
impl<F: FnMut(&mut Visit<'_>) -> Collected + Send> Collect for F {
    fn collect(&mut self, visit: &mut Visit<'_>) -> Collected {
        self(visit)
    }
}

/// What a collector returns.
#[derive(Debug)]
pub struct Collected {
    /// Its rows.
    pub rows: Vec<Rows>,
    /// Whether it read everything it should. `None` if it had nothing to read: the operator wants no programs, or
    /// another family says it.
    pub is_whole: Option<bool>,
}

impl Collected {
    /// No rows: the collector could not read what it needs.
    #[must_use]
    pub const fn failed() -> Self {
        Self {
            rows: Vec::new(),
            is_whole: Some(false),
        }
    }

    /// These rows. Whether something is missing does not apply.
    #[must_use]
    pub const fn unjudged(rows: Vec<Rows>) -> Self {
        Self { rows, is_whole: None }
    }

    /// These rows, and nothing is missing.
    #[must_use]
    pub const fn whole(rows: Vec<Rows>) -> Self {
        Self {
            rows,
            is_whole: Some(true),
        }
    }
}

/// The part of the data path that a scrape reads.
#[derive(Debug)]
pub struct Counting {
    /// The maps of their counters.
    pub maps: datapath::Maps,
    /// The programs that write them.
    pub programs: Vec<ProgramRow>,
}

/// The kernel programs that collectors read.
#[derive(Debug)]
pub struct Tools {
    /// The data path; `None` if the host has none, or it is switched off.
    pub counting: Option<Counting>,
    /// The configuration asks for programs. Without them nothing is missing if it does not.
    pub counting_wanted: bool,
    /// The programs on tracepoints.
    pub tracepoints: SharedTracepoints,
    /// The programs that count traffic between nodes.
    pub overlay: SharedOverlay,
    /// How many edges between services are shown; 0 means no limit.
    pub most_edges: usize,
    /// What the checks said last.
    pub findings: Findings,
}

/// What a collector works with in one scrape.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The registry, with what was read a moment ago.
    pub state: &'a mut State,
    /// The kernel programs.
    pub tools: &'a Tools,
    /// The connection to the engine.
    pub engine: &'a DockerHealth,
    /// When the collector began to join.
    pub now: Instant,
    /// The kernel programs in use, which collectors add theirs to.
    pub programs: Vec<ProgramRow>,
    /// The kernel maps in use, which collectors add theirs to.
    pub maps: Vec<MapRow>,
    /// How many are over a limit of a collector's own, by the name of the limit.
    pub over: Vec<(&'static str, usize)>,
}
