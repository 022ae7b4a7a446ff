//! Maps whose keys the daemon writes and removes one by one.
//!
//! A call that fails must not end what else there is to do: what is left in a map takes its room for good. So whoever
//! writes several keys goes on, and keeps in mind what the kernel has.

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError},
};

use super::DatapathError;

/// A map that the daemon writes.
pub(super) trait Store<K, V> {
    /// Sets the value of a key.
    ///
    /// # Errors
    /// The kernel refuses, or there are too many keys.
    fn write(&mut self, key: K, value: V) -> Result<(), DatapathError>;

    /// Removes a key. If it is not there, nothing has to be done.
    ///
    /// # Errors
    /// The kernel refuses, and the key stays.
    fn remove(&mut self, key: K) -> Result<(), DatapathError>;
}

impl<K: Pod, V: Pod> Store<K, V> for HashMap<&mut MapData, K, V> {
    fn write(&mut self, key: K, value: V) -> Result<(), DatapathError> {
        self.insert(key, value, 0).map_err(DatapathError::map)
    }

    fn remove(&mut self, key: K) -> Result<(), DatapathError> {
        removed(Self::remove(self, &key))
    }
}

/// The result of a removal: a key that is not there needs none.
pub(super) fn removed(result: Result<(), MapError>) -> Result<(), DatapathError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result.map_err(DatapathError::map),
    }
}

/// Keeps the first error of several calls. Returns whether this one did what it had to.
pub(super) fn note(first: &mut Result<(), DatapathError>, answer: Result<(), DatapathError>) -> bool {
    let is_done = answer.is_ok();
    if first.is_ok() {
        *first = answer;
    }
    is_done
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeMap, io};

    use aya::{maps::MapError, sys::SyscallError};

    use super::{Store, removed};
    use crate::datapath::DatapathError;

    /// A map in memory, which refuses some keys.
    #[derive(Debug)]
    pub(crate) struct Memory<K, V> {
        /// What it has.
        pub(crate) values: BTreeMap<K, V>,
        /// The keys that it neither takes nor gives away.
        pub(crate) refused: Vec<K>,
        /// How often it was asked for anything.
        pub(crate) calls: usize,
    }

    impl<K, V> Default for Memory<K, V> {
        fn default() -> Self {
            Self {
                values: BTreeMap::new(),
                refused: Vec::new(),
                calls: 0,
            }
        }
    }

    impl<K: Ord, V> Memory<K, V> {
        fn answer(&mut self, key: &K) -> Result<(), DatapathError> {
            self.calls += 1;
            if self.refused.contains(key) {
                return Err(DatapathError::of(
                    "use this key",
                    io::Error::from_raw_os_error(libc::ENOMEM),
                ));
            }
            Ok(())
        }
    }

    impl<K: Ord, V> Store<K, V> for Memory<K, V> {
        fn write(&mut self, key: K, value: V) -> Result<(), DatapathError> {
            self.answer(&key)?;
            self.values.insert(key, value);
            Ok(())
        }

        fn remove(&mut self, key: K) -> Result<(), DatapathError> {
            self.answer(&key)?;
            self.values.remove(&key);
            Ok(())
        }
    }

    #[test]
    fn a_key_that_is_not_there_is_removed() {
        let refused = |errno| {
            Err(MapError::SyscallError(SyscallError {
                call: "bpf_map_delete_elem",
                io_error: io::Error::from_raw_os_error(errno),
            }))
        };
        for result in [Ok(()), refused(libc::ENOENT), Err(MapError::KeyNotFound)] {
            assert!(removed(result).is_ok());
        }
        assert!(removed(refused(libc::ENOMEM)).is_err());
    }
}
