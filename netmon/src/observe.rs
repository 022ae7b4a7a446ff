//! The registry of what is watched now, and the one loop that changes it.
//!
//! [`state`] is the registry: namespaces, their interfaces, their owners and what they counted. It is pure: callers
//! pass in events and times. [`control`] is the loop that updates it: it receives changes, reads namespaces and
//! attaches programs. [`read`] takes one reading of every device for a scrape, and [`facts`] reads what checks look at. This module knows neither metrics nor
//! HTTP. Of the engine it knows only the inventory.

pub mod control;
pub mod facts;
mod filters;
pub mod findings;
pub mod inventories;
pub mod read;
pub mod state;
mod underlay;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::state::State;

/// The registry, shared by the control loop and the scrapes.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// Shares this registry.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// Locks the registry. No system call is made meanwhile: others may hold the kernel's locks for seconds.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
