//! What netmon reports to systemd, if systemd started it: the only place that names sd-notify. Otherwise nothing is
//! reported.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// Reports that netmon has started: it listens, and its kernel programs are loaded. The engine may still be down.
pub fn started() {
    notify(NotifyState::Ready);
}

/// Reports that netmon is about to end.
pub fn ending() {
    notify(NotifyState::Stopping);
}

/// How often systemd expects a report that netmon is healthy (`WatchdogSec=`); `None` if it does not ask.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Reports that netmon is healthy.
pub fn healthy() {
    notify(NotifyState::Watchdog);
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot notify systemd");
    }
}
