//! One container as the roster knows it: its description, and the state of the question about it. Decides what a
//! description or an event changes. Pure, and knows no other container.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    docker::convert::{Described, Stage, Summary},
    model::inventory::{Container, Sandbox},
};

/// A start is reported within so many nanoseconds. Another start has another report, and an end before it.
const REPORTED_WITHIN: i64 = 10_000_000_000;

/// A container that is known or being asked for.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) known: Option<Arc<Container>>,
    /// The moment that `known` shows, or a later one.
    pub(super) as_of: i64,
    /// When to forget it. Set only after it ended.
    pub(super) expires: Option<Instant>,
    pub(super) inspect: Inspect,
    /// What a list says of it as long as `known` is right.
    pub(super) summary: Option<Summary>,
    /// What the list said that caused the last description. Some engines' lists and descriptions never agree.
    pub(super) listed: Option<Summary>,
    /// It was connected to a network and has not started yet.
    pub(super) is_starting: bool,
}

/// The state of the question about a container.
#[derive(Debug, Default)]
pub(super) enum Inspect {
    #[default]
    Idle,
    Queued,
    Open {
        asked: i64,
        routine: bool,
        /// Something happened since the question: ask again.
        again: bool,
        /// It started since the question: ask again, unless the answer shows that start.
        start: Start,
        /// When it ended, if it ended since the question.
        died: Option<i64>,
    },
}

/// An event of a container's start, by the engine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connected(i64),
    Started(i64),
}

/// The last events of a container's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    connected: Option<i64>,
    started: Option<i64>,
}

impl Start {
    pub(super) fn note(&mut self, step: Step) {
        match step {
            Step::Connected(at) => self.connected = self.connected.max(Some(at)),
            Step::Started(at) => self.started = self.started.max(Some(at)),
        }
    }

    /// Whether a description of a running container is from after these events. The engine connects a container to its
    /// networks before its process starts, and reports the start while it still holds the description back.
    pub(super) fn is_shown(self, container: &Container) -> bool {
        let Some(began) = container.started.and_then(nanoseconds) else {
            return self == Self::default();
        };
        let is_its_start = |at: i64| (began..began.saturating_add(REPORTED_WITHIN)).contains(&at);
        container.running && self.connected.is_none_or(|at| at <= began) && self.started.is_none_or(is_its_start)
    }
}

fn nanoseconds(moment: SystemTime) -> Option<i64> {
    let since_epoch = moment.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_nanos()).ok()
}

impl Track {
    pub(super) fn runs(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.running)
    }

    /// Whether a list that was asked for at this moment says what the description said, or what the list did that caused
    /// the description. A description of this age is not believed any more.
    pub(super) fn is_up_to_date(&self, summary: Option<Summary>, asked: i64, age: Duration) -> bool {
        let is_young = u128::from(asked.abs_diff(self.as_of)) < age.as_nanos();
        self.runs() && is_young && summary.is_some() && (summary == self.summary || summary == self.listed)
    }

    pub(super) fn is_asked(&self) -> bool {
        !matches!(self.inspect, Inspect::Idle)
    }

    /// Marks it as ended. Its description stays, to name what it left behind. Returns whether that changed anything.
    pub(super) fn end(&mut self, at: i64, expires: Instant) -> bool {
        match &mut self.known {
            Some(known) if known.running => {
                Arc::make_mut(known).running = false;
                self.as_of = self.as_of.max(at);
                self.expires = Some(expires);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes in a description. `died` is set if an event since the question reported the container's end. Returns
    /// whether that changed anything.
    pub(super) fn describe(&mut self, described: Described, asked: i64, died: Option<i64>, expires: Instant) -> bool {
        let Described {
            mut container,
            stage,
            summary,
        } = described;
        self.summary = summary.filter(|_| died.is_none());
        self.is_starting = false;
        match (stage, died) {
            (Stage::Running, None) => {
                self.expires = None;
                self.as_of = asked;
            }
            // The engine gave the description before the end. It is complete, and the last complete one.
            (Stage::Running, Some(died)) => {
                container.running = false;
                self.expires.get_or_insert(expires);
                self.as_of = died;
            }
            (Stage::Ended | Stage::Restarting, _) => {
                if let Some(known) = &self.known {
                    remember(known, &mut container);
                }
                self.expires.get_or_insert(expires);
                self.as_of = died.unwrap_or(asked);
            }
            // It failed to start. If it ran before, that run's description stays.
            (Stage::NotStarted, _) => return self.end(asked, expires),
        }
        if self.known.as_deref() == Some(&container) {
            return false;
        }
        self.known = Some(Arc::new(container));
        true
    }
}

/// Fills in what the engine forgets when a container ends: addresses, and on newer engines the sandbox. Nothing is
/// copied from another run: that one had another sandbox, or no endpoint in common.
fn remember(known: &Container, container: &mut Container) {
    let located = || container.endpoints.iter().filter(|endpoint| endpoint.is_located());
    let same_run = if container.sandbox == Sandbox::Absent {
        located().next().is_none() || located().any(|endpoint| known.endpoints.contains(endpoint))
    } else {
        container.sandbox == known.sandbox
    };
    if same_run {
        container.sandbox = known.sandbox.clone();
        container.endpoints.clone_from(&known.endpoints);
    }
}
