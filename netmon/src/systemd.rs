//! What netmon tells systemd, where that has started it: the only place that names sd-notify. Elsewhere nothing is told.

use std::time::Duration;

use sd_notify::{NotifyState, notify};
use tracing::warn;

/// That netmon has started: it listens, and its kernel programs are loaded. An engine it can wait for.
pub fn started() {
    tell(NotifyState::Ready);
}

/// That netmon is about to end.
pub fn ending() {
    tell(NotifyState::Stopping);
}

/// How often systemd wants to hear that netmon is healthy (`WatchdogSec=`); nothing where it does not ask.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// That netmon is healthy.
pub fn healthy() {
    tell(NotifyState::Watchdog);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = notify(&[state]) {
        warn!(%error, "cannot notify systemd");
    }
}
