//! Findings: named faults of the node's networks, each with its subject, evidence and remedy.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The name of a check. It is the value of the label `check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Check(pub &'static str);

impl Check {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// How bad a finding is. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Traffic is lost now, or will be with the next connection.
    Critical,
    /// It is about to, or for some.
    Warning,
    /// Something is odd, and harms nobody yet.
    Info,
}

impl Severity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Warning, Self::Info];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// What a finding is about. A part that does not apply is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// A network of the engine.
    pub network: Arc<str>,
    /// A container.
    pub container: Arc<str>,
    /// Its service.
    pub service: Arc<str>,
    /// Another node, by its name, else by its address.
    pub peer: Arc<str>,
    /// A device, an address, or a setting.
    pub item: Arc<str>,
}

impl fmt::Display for Subject {
    /// In a few words: `network shop, node n2, missing`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            network,
            container,
            service,
            peer,
            item,
        } = self;
        let parts = [
            ("network ", network),
            ("container ", container),
            ("service ", service),
            ("node ", peer),
            ("", item),
        ];
        let known = parts.into_iter().filter(|(_, value)| !value.is_empty());
        for (at, (kind, value)) in known.enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{kind}{value}")?;
        }
        Ok(())
    }
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check that found it.
    pub check: Check,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about. With the check it identifies the finding.
    pub subject: Subject,
    /// What was seen, in one sentence, with figures.
    pub evidence: String,
    /// What to do, in one sentence, with the command to run.
    pub remedy: String,
    /// What it was seen by, where that comes and goes under one subject, as the containers of a node do. If none of those
    /// seen before is left, it is another fault. Empty if the subject says it all.
    pub witnesses: BTreeSet<Arc<str>>,
}

/// A finding that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The finding, as it was seen last.
    pub finding: Finding,
    /// When the fault was first seen.
    pub since: SystemTime,
}

/// How a check went the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRow {
    /// The check.
    pub check: Check,
    /// Why it could not look; `None` if it could.
    pub blind: Option<String>,
    /// How long it took.
    pub spent: Duration,
}

/// What the checks say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings that stand, the worst first.
    pub standing: Vec<Standing>,
    /// How many more there are than are listed.
    pub left_out: usize,
    /// Each check.
    pub checks: Vec<CheckRow>,
    /// When the checks looked last; `None` if they have not yet.
    pub looked: Option<SystemTime>,
}

impl Report {
    /// How many findings of this severity stand.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let all = self.standing.iter();
        all.filter(|standing| standing.finding.severity == severity).count()
    }

    /// The checks that could not look, with the reason.
    pub fn blind(&self) -> impl Iterator<Item = (Check, &str)> {
        let checks = self.checks.iter();
        checks.filter_map(|row| Some((row.check, row.blind.as_deref()?)))
    }
}
