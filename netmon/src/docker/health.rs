//! The state of the connection to the engine: figures for the metrics, and one log message for each problem.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{client::RequestError, convert::EVENT_KINDS};
use crate::model::{health::DockerHealth, outage::Said};

/// The longest reason that is logged. A reason may quote input of any length.
const LONGEST_REASON: usize = 4096;

/// Shared between the watch, its questions, and readers of the figures.
#[derive(Debug)]
pub(super) struct Health(Mutex<State>);

#[derive(Debug)]
struct State {
    figures: DockerHealth,
    /// What was warned about. The same problem comes back with each full sync.
    warned: Said<&'static str>,
    /// Whether the engine is unreachable and a warning was logged.
    outage: bool,
    /// Why the last attempt to connect failed; `None` while the engine answers.
    trouble: Option<String>,
    /// netmon holds a socket that the engine no longer has.
    is_stale: bool,
}

impl Health {
    pub(super) fn new() -> Self {
        let figures = DockerHealth {
            events: EVENT_KINDS.into_iter().map(|kind| (kind.to_owned(), 0)).collect(),
            ..DockerHealth::default()
        };
        Self(Mutex::new(State {
            figures,
            warned: Said::default(),
            outage: false,
            trouble: None,
            is_stale: false,
        }))
    }

    /// The current figures.
    pub(super) fn figures(&self) -> DockerHealth {
        self.lock().figures.clone()
    }

    /// Why the engine does not answer; `None` if it does, or was not asked yet.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Why the engine can never answer this netmon, however long it waits.
    pub(super) fn hopeless(&self) -> Option<String> {
        let state = self.lock();
        state.trouble.clone().filter(|_| state.is_stale)
    }

    /// Counts an event of this kind.
    pub(super) fn event(&self, kind: &'static str) {
        *self.lock().figures.events.entry(kind.to_owned()).or_default() += 1;
    }

    /// Counts a new connection to the event stream.
    pub(super) fn reconnected(&self) {
        self.lock().figures.reconnects += 1;
    }

    /// Everything was listed. `at` is in seconds since the epoch.
    pub(super) fn synced(&self, at: f64) {
        self.lock().figures.last_sync = Some(at);
    }

    /// The engine answers the most important question, the list of containers.
    pub(super) fn up(&self) {
        let mut state = self.lock();
        state.figures.up = true;
        state.trouble = None;
        state.is_stale = false;
        let was_outage = std::mem::take(&mut state.outage);
        drop(state);
        if was_outage {
            tracing::info!("the Docker engine answers again");
        }
    }

    /// The connection was lost, or could not be made. Returns whether it was up before.
    ///
    /// A warning is logged when an attempt to connect fails, not when a connection ends. A proxy closes a stream that
    /// was silent for long, and the next attempt follows shortly.
    pub(super) fn down(&self, error: &RequestError) -> bool {
        let mut state = self.lock();
        let was_up = std::mem::take(&mut state.figures.up);
        state.trouble = Some(error.to_string());
        state.is_stale = error.is_stale_socket();
        let warn = !was_up && !std::mem::replace(&mut state.outage, true);
        drop(state);
        if warn {
            tracing::warn!("{error}; known containers and networks stay as they are until then");
        } else {
            tracing::debug!("{error}");
        }
        was_up
    }

    /// Counts and logs something from the engine that could not be decoded. It is skipped.
    pub(super) fn nonsense(&self, about: &'static str, reason: &dyn fmt::Display) {
        let reason = reason.to_string();
        let reason = &reason[..reason.floor_char_boundary(LONGEST_REASON)];
        let mut state = self.lock();
        state.figures.decode_errors += 1;
        let warn = state.warned.is_news(about, Instant::now());
        drop(state);
        if warn {
            tracing::warn!(
                "cannot decode {about} of the Docker engine, skipping it: {reason}; further ones are only counted, in \
                 netmon_docker_decode_errors_total"
            );
        } else {
            tracing::debug!("cannot decode {about} of the Docker engine, skipping it: {reason}");
        }
    }

    /// A request failed, and netmon continues without its answer.
    pub(super) fn failed(&self, about: &'static str, error: &RequestError) {
        if let RequestError::Nonsense { .. } = error {
            self.nonsense(about, error);
        } else if self.lock().warned.is_news(about, Instant::now()) {
            tracing::warn!("{error}; netmon goes on without {about}");
        } else {
            tracing::debug!("{error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
