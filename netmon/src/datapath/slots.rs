//! Slots in arrays of the kernel. A slot is where programs count for one interface, or for one namespace.
//!
//! The kernel allocates an array as a whole. So there are several small ones, and each is made when the first slot in it is
//! taken. Must not know what is counted.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use netmon_common::refusal;

use super::DatapathError;
use crate::model::health::MapRow;

/// The number of slots of an array.
pub(super) const SLOTS: u32 = 64;

/// The array that a slot is in, and its place there.
pub(super) const fn place(slot: u32) -> (u32, u32) {
    (slot / SLOTS, slot % SLOTS)
}

/// All slots, and the arrays that they are in.
#[derive(Debug)]
pub(super) struct Slots<A> {
    most: u32,
    state: Mutex<State<A>>,
}

#[derive(Debug)]
struct State<A> {
    /// The arrays that exist, in the order of their slots.
    arrays: Vec<Arc<A>>,
    /// Slots that were freed. They are used again before fresh ones, so that the memory in use stays small.
    returned: Vec<u32>,
    /// The first slot that was never used.
    fresh: u32,
    /// How often an allocation failed because all slots were taken.
    refused: u64,
}

/// A slot, freed when dropped. By then no program may count into it.
pub(super) struct Slot<A> {
    slots: Arc<Slots<A>>,
    number: u32,
    array: Arc<A>,
}

impl<A> Slots<A> {
    /// No arrays yet, for this number of slots.
    pub(super) const fn new(most: u32) -> Self {
        Self {
            most,
            state: Mutex::new(State {
                arrays: Vec::new(),
                returned: Vec::new(),
                fresh: 0,
                refused: 0,
            }),
        }
    }

    /// Allocates a slot. Returns `None` if all are taken, and counts that failure. `create` makes the array of this number,
    /// if the slot is the first one in it.
    ///
    /// # Errors
    /// What `create` returns. The slot stays free.
    pub(super) fn allocate(
        self: &Arc<Self>,
        create: impl FnOnce(u32) -> Result<A, DatapathError>,
    ) -> Result<Option<Slot<A>>, DatapathError> {
        let mut state = self.lock();
        let number = match state.returned.last() {
            Some(number) => *number,
            None if state.fresh < self.most => state.fresh,
            None => {
                state.refused += 1;
                return Ok(None);
            }
        };
        let (array, _) = place(number);
        let array = if let Some(array) = state.arrays.get(array as usize) {
            Arc::clone(array)
        } else {
            // Slots are taken in order, so this is the next array.
            let array = Arc::new(create(array)?);
            state.arrays.push(Arc::clone(&array));
            array
        };
        if state.returned.pop().is_none() {
            state.fresh += 1;
        }
        drop(state);
        Ok(Some(Slot {
            slots: Arc::clone(self),
            number,
            array,
        }))
    }

    /// How full the map of this name is.
    pub(super) fn row(&self, map: &'static str) -> MapRow {
        let state = self.lock();
        let used = u64::from(state.fresh) - state.returned.len() as u64;
        MapRow {
            map,
            entries: used,
            max_entries: self.most.into(),
            update_failures: vec![(refusal::NAMES[refusal::FULL as usize], state.refused)],
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Slot<A> {
    /// The slot's number.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// The array that it is in.
    pub(super) const fn array(&self) -> &Arc<A> {
        &self.array
    }

    /// Its place in the array.
    pub(super) const fn place(&self) -> u32 {
        place(self.number).1
    }
}

impl<A> fmt::Debug for Slot<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<A> Drop for Slot<A> {
    fn drop(&mut self) {
        self.slots.lock().returned.push(self.number);
    }
}
