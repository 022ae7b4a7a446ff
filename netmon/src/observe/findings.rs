//! What the checks said last, for all who ask. Owns the report's place. Must not know who asks, nor what is checked.

use std::sync::{Arc, Mutex, PoisonError};

use crate::model::finding::Report;

/// The last report.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<Mutex<Arc<Report>>>);

impl Findings {
    /// What the checks said last.
    #[must_use]
    pub fn report(&self) -> Arc<Report> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a report in the place of the last one.
    pub fn publish(&self, report: Report) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(report);
    }
}
