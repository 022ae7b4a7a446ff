//! Maps made of memory. They refuse keys as the kernel does.

use std::{
    cell::{Cell, RefCell, UnsafeCell},
    collections::BTreeMap,
};

use netmon_common::{refusal, share::Share};

use crate::maps::{Added, Array, Map, Prefixes, Storage};

/// A map of any kind. A value stays where it is while the map exists.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    values: RefCell<BTreeMap<K, Box<UnsafeCell<V>>>>,
    /// How many more keys it takes.
    pub(crate) room: Cell<usize>,
    /// The cause of a refusal once there is no room.
    pub(crate) cause: Cell<u32>,
    /// How often it does not find what it has: another CPU creates the key just afterwards.
    pub(crate) misses: Cell<usize>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            values: RefCell::default(),
            room: Cell::new(usize::MAX),
            cause: Cell::new(refusal::FULL),
            misses: Cell::new(0),
        }
    }
}

impl<K: Copy + Ord, V: Copy> Table<K, V> {
    /// A map with these values.
    pub(crate) fn with(values: impl IntoIterator<Item = (K, V)>) -> Self {
        let table = Self::default();
        for (key, value) in values {
            assert_eq!(table.add(&key, &value), Added::Created, "each key once");
        }
        table
    }

    /// The value of this key.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        // SAFETY: the value exists, and a test has one thread.
        self.find(key).map(|value| unsafe { *value })
    }

    /// Sets the value of a key that exists.
    pub(crate) fn set(&self, key: &K, value: V) {
        let found = self.find(key).expect("the key exists");
        // SAFETY: the value exists, and a test has one thread.
        unsafe { *found = value };
    }

    /// All keys and values, by the order of the keys.
    pub(crate) fn all(&self) -> Vec<(K, V)> {
        let keys: Vec<K> = self.values.borrow().keys().copied().collect();
        keys.into_iter()
            .filter_map(|key| Some((key, self.get(&key)?)))
            .collect()
    }
}

impl<K: Copy + Ord, V: Copy> Map<K, V> for Table<K, V> {
    fn find(&self, key: &K) -> Option<*mut V> {
        if let Some(left) = self.misses.get().checked_sub(1) {
            self.misses.set(left);
            return None;
        }
        self.values.borrow().get(key).map(|value| value.get())
    }

    fn add(&self, key: &K, value: &V) -> Added {
        if self.values.borrow().contains_key(key) {
            return Added::Exists;
        }
        let Some(left) = self.room.get().checked_sub(1) else {
            return Added::Refused(self.cause.get());
        };
        self.room.set(left);
        let value = Box::new(UnsafeCell::new(*value));
        self.values.borrow_mut().insert(*key, value);
        Added::Created
    }
}

/// In these tests, prefixes are whole addresses.
impl Prefixes for Table<[u8; 16], u8> {
    fn has(&self, address: [u8; 16]) -> bool {
        self.find(&address).is_some()
    }
}

/// Values on sockets, by the sockets' addresses.
impl<V: Copy + Default> Storage<V> for Table<u64, V> {
    fn of(&self, socket: u64) -> Option<*mut V> {
        self.find(&socket)
    }

    fn create(&self, socket: u64) -> Option<*mut V> {
        match self.add(&socket, &V::default()) {
            Added::Created | Added::Exists => self.find(&socket),
            Added::Refused(_) => None,
        }
    }
}

/// The shares of namespaces.
impl Table<u64, Share> {
    /// How many keys a namespace has.
    pub(crate) fn keys(&self, netns: u64) -> Option<u32> {
        self.get(&netns).map(|share| share.keys)
    }

    /// Lets a namespace have used up its share.
    pub(crate) fn use_up(&self, netns: u64) {
        let share = self.get(&netns).expect("it has a share");
        let keys = share.room;
        self.set(&netns, Share { keys, ..share });
    }
}

/// An array of counters, one for each cause of a refusal.
pub(crate) fn causes() -> Table<u32, u64> {
    Table::with((0..refusal::CAUSES).map(|cause| (cause, 0)))
}

impl Table<u32, u64> {
    /// The counters that counted.
    pub(crate) fn counted(&self) -> Vec<(u32, u64)> {
        self.all().into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// An array is a table with keys from 0 on.
impl<V: Copy> Array<V> for Table<u32, V> {
    fn at(&self, index: u32) -> Option<*mut V> {
        self.find(&index)
    }
}
