//! What netmon tells systemd, where that has started it: the only place that names sd-notify. Elsewhere nothing is told.

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

fn tell(state: NotifyState<'_>) {
    if let Err(error) = notify(&[state]) {
        warn!(%error, "cannot notify systemd");
    }
}
