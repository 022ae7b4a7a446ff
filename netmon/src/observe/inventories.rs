//! The way of the engine's inventories to the loop. Only the newest matters. So none waits behind another, and who
//! publishes one does not wait for the loop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::inventory::Inventory;

/// Room for one inventory: the newest that the loop has not taken.
#[derive(Clone, Debug, Default)]
pub struct Inventories(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    published: u64,
    newest: Option<Arc<Inventory>>,
}

impl Inventories {
    /// Puts an inventory in the place of the one that is there. Returns whether none was: the loop has to be told of it.
    #[must_use]
    pub fn publish(&self, inventory: Arc<Inventory>) -> bool {
        let mut slot = self.lock();
        slot.published += 1;
        slot.newest.replace(inventory).is_none()
    }

    /// Takes the newest inventory, and its number. The first has 1.
    #[must_use]
    pub fn take(&self) -> Option<(u64, Arc<Inventory>)> {
        let mut slot = self.lock();
        Some((slot.published, slot.newest.take()?))
    }

    /// How many inventories were published: the number of the newest.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.lock().published
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        let Self(slot) = self;
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Inventories;

    #[test]
    fn of_a_hundred_inventories_only_the_newest_is_taken() {
        let inventories = Inventories::default();
        assert!(inventories.take().is_none());
        let last = Arc::default();
        for number in 1..100 {
            assert_eq!(inventories.publish(Arc::default()), number == 1, "{number}");
        }
        assert!(!inventories.publish(Arc::clone(&last)), "the loop was told");
        assert_eq!(inventories.published(), 100);
        let (number, taken) = inventories.take().expect("one");
        assert_eq!(number, 100);
        assert!(Arc::ptr_eq(&taken, &last));
        assert!(inventories.take().is_none());
        assert!(inventories.publish(last), "the loop has to be told again");
    }
}
