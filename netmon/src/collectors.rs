//! The collectors: each is one folder here, and one line in the table [`ALL`].
//!
//! A collector has a name, families, and what makes its rows in each scrape ([`visit::Collect`]). From the table follow
//! the flags and their help, the page, the limits, METRICS.md, and the tables of the documentation.

pub mod buffers;
pub mod dns;
pub mod docker;
mod document;
pub mod drops;
pub mod edges;
pub mod findings;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(test)]
pub(crate) mod golden;
pub mod labels;
pub mod members;
pub mod netmon;
pub mod overlay;
#[cfg(test)]
mod sample;
pub mod service;
pub mod sockets;
pub mod tcp;
#[cfg(test)]
mod tests;
mod text;
pub mod traffic;
pub mod visit;
pub mod vxlan;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

pub use self::document::{markdown, table};
use self::visit::{Collect, Collected, Tools, Visit};
use crate::{
    metrics,
    model::{
        collector::{Collector, Collectors, Need},
        health::{CollectorRow, Health},
    },
    observe::Shared,
    page::{
        family::About,
        rows::{Group, Rows},
    },
};

/// Every collector, in the order of the documentation.
pub const ALL: &[Definition] = &[
    traffic::DEFINITION,
    drops::DEFINITION,
    tcp::DEFINITION,
    sockets::DEFINITION,
    edges::DEFINITION,
    dns::DEFINITION,
    buffers::DEFINITION,
    service::DEFINITION,
    vxlan::DEFINITION,
    members::DEFINITION,
    // After the members: it lists the nodes that both name.
    overlay::DEFINITION,
    docker::DEFINITION,
    findings::DEFINITION,
    netmon::DEFINITION,
];

/// A collector.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Its name. It is the value of the label `collector`, and the end of its flag.
    pub name: Collector,
    /// What it is about: the help of its flag.
    pub summary: &'static str,
    /// It can be switched off.
    pub is_optional: bool,
    /// If it can be incomplete: what is missing then, and what to do. For the runbook.
    pub incomplete: Option<(&'static str, &'static str)>,
    /// What it needs from the namespaces.
    pub needs: &'static [Need],
    /// Its families, by the labels that they share.
    pub groups: &'static [&'static Group],
    /// Begins to collect.
    pub start: fn() -> Box<dyn Collect>,
    /// Rows with a bit of everything, for the golden page.
    #[cfg(test)]
    sample: fn() -> Vec<Rows>,
}

/// Every family of every collector, by the constants that the dashboards use.
pub mod catalog {
    pub use super::{
        buffers::families::*, dns::families::*, docker::families::*, drops::families::*, edges::families::*,
        findings::families::*, members::families::*, netmon::families::*, overlay::families::*, service::families::*,
        sockets::families::*, tcp::families::*, traffic::families::*, vxlan::families::*,
    };
}

/// Every family, in the order of the documentation.
pub fn families() -> impl Iterator<Item = &'static About> {
    ALL.iter()
        .flat_map(|collector| collector.groups)
        .flat_map(|group| group.families)
        .copied()
}

/// What the wanted collectors need from the namespaces, and whose time each need takes: that of the last collector
/// that has it.
#[must_use]
pub fn needs(wanted: &Collectors) -> BTreeMap<Need, Collector> {
    let wanted = ALL.iter().filter(|collector| wanted.has(collector.name));
    wanted
        .flat_map(|collector| collector.needs.iter().map(|need| (*need, collector.name)))
        .collect()
}

/// The names of the collectors that need one of these.
#[must_use]
pub fn that_need(needs: &BTreeSet<Need>) -> BTreeSet<&'static str> {
    let concerned = ALL.iter().filter(|it| it.needs.iter().any(|need| needs.contains(need)));
    concerned.map(|it| it.name.as_str()).collect()
}

/// The wanted collectors whose rows have a limit.
pub fn with_limits(wanted: &Collectors) -> impl Iterator<Item = Collector> {
    let wanted = ALL.iter().filter(|collector| wanted.has(collector.name));
    let limited = wanted.filter(|collector| collector.groups.iter().any(|group| group.has_limit()));
    limited.map(|collector| collector.name)
}

/// The wanted collectors, at work.
#[derive(Debug)]
pub struct Running(Vec<Working>);

struct Working {
    name: Collector,
    collect: Box<dyn Collect>,
    /// The time that it took in this scrape.
    spent: Duration,
    is_whole: Option<bool>,
}

impl Running {
    /// Starts the wanted collectors.
    #[must_use]
    pub fn start(wanted: &Collectors) -> Self {
        let wanted = ALL.iter().filter(|it| wanted.has(it.name));
        let working = wanted.map(|it| Working {
            name: it.name,
            collect: (it.start)(),
            spent: Duration::ZERO,
            is_whole: None,
        });
        Self(working.collect())
    }

    /// The first step of a scrape: each collector reads from the kernel.
    pub fn read(&mut self, shared: &Shared, tools: &Tools) {
        for working in &mut self.0 {
            let begin = Instant::now();
            working.collect.read(shared, tools);
            working.spent = begin.elapsed();
        }
    }

    /// The second step: each collector makes its rows.
    pub fn collect(&mut self, visit: &mut Visit<'_>) -> Vec<Rows> {
        let mut page = Vec::new();
        for working in &mut self.0 {
            visit.now = Instant::now();
            let Collected { rows, is_whole } = working.collect.collect(visit);
            working.spent += visit.now.elapsed();
            working.is_whole = is_whole;
            page.extend(rows);
        }
        page
    }

    /// The last step: each collector deletes from the kernel what it need not hold. Returns each one's duration and
    /// success.
    pub fn tidy(&mut self, shared: &Shared, tools: &Tools) -> Vec<CollectorRow> {
        let mut parts = Vec::with_capacity(self.0.len());
        for working in &mut self.0 {
            let begin = Instant::now();
            working.collect.tidy(shared, tools);
            working.spent += begin.elapsed();
            parts.extend(working.is_whole.map(|success| CollectorRow {
                collector: working.name.as_str(),
                duration: working.spent,
                success,
                supported: working.collect.is_supported(),
            }));
        }
        parts
    }
}

impl fmt::Debug for Working {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Working")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The page: these rows, and those of netmon itself.
#[must_use]
pub fn page(mut rows: Vec<Rows>, health: &Health, wanted: &Collectors) -> metrics::Page {
    rows.extend(netmon::families::rows(health));
    let wanted = wanted.clone();
    metrics::Page::new(rows, move |written| netmon::families::series(series(written, &wanted)))
}

/// The number of series of each wanted collector, with those that show these numbers.
fn series(written: &BTreeMap<Collector, usize>, wanted: &Collectors) -> Vec<(Collector, usize)> {
    let wanted: Vec<_> = ALL.iter().map(|it| it.name).filter(|name| wanted.has(*name)).collect();
    let own = |name| if name == netmon::NAME { wanted.len() } else { 0 };
    let count = |name| written.get(&name).copied().unwrap_or(0) + own(name);
    wanted.iter().map(|name| (*name, count(*name))).collect()
}
