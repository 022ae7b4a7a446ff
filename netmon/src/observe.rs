//! What is being watched right now, and the one loop that changes it.
//!
//! [`state`] is the book: namespaces, their interfaces, whose they are, what they counted; pure, told what happened and
//! when. [`control`] is the loop that tells it: it hears of changes, looks, attaches. [`read`] takes one reading of
//! every device for a scrape. Knows neither metrics nor HTTP, and of the engine only the inventory.

pub mod control;
pub mod drops;
pub mod members;
pub mod mtu;
pub mod overlay;
pub mod read;
pub mod state;
pub mod tcp;
mod underlay;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::state::State;

/// The book, shared by the loop that writes it and the scrapes that read.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// A book with nothing in it.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// Opens the book. Never held while programs are attached, which takes tens of milliseconds.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
