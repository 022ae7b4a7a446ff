//! One container as the roster knows it: its description, and the state of the question about it. Decides what a
//! description or an event changes. Pure, and knows no other container.

use std::{sync::Arc, time::Instant};

use crate::{
    docker::convert::{Described, Stage},
    model::inventory::{Container, Sandbox},
};

/// A container that is known or being asked for.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) known: Option<Arc<Container>>,
    /// The moment that `known` shows, or a later one.
    pub(super) as_of: i64,
    /// When to forget it. Set only after it ended.
    pub(super) expires: Option<Instant>,
    pub(super) inspect: Inspect,
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
        /// When it ended, if it ended since the question.
        died: Option<i64>,
    },
}

impl Track {
    pub(super) fn runs(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.running)
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
        let Described { mut container, stage } = described;
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
