//! Reads maps whose values all CPUs share, and takes keys out of them.

use aya::Pod;

use super::{AttachedObject, descriptor};
use crate::datapath::{DatapathError, batch};

impl AttachedObject {
    /// Calls `each` with every key of a map whose values all CPUs share, and its value. `what` is done with it, for the error.
    pub(in crate::datapath) fn each<K: Pod, V: Pod>(
        &self,
        name: &'static str,
        what: &'static str,
        mut each: impl FnMut(K, &V),
    ) -> Result<(), DatapathError> {
        let map = descriptor(self.shared_hash(name)?);
        batch::read(map, batch::ONE, |key: K, values: &[V]| {
            for value in values {
                each(key, value);
            }
        })
        .map_err(|error| DatapathError::of(what, error))
    }

    /// Takes the keys that are `gone` out of a map whose values all CPUs share, and calls `each` with what they had. Goes on after an error, and
    /// returns the first.
    pub(in crate::datapath) fn take<K: Pod, V: Pod>(
        &self,
        name: &'static str,
        what: [&'static str; 2],
        gone: impl Fn(&K) -> bool,
        mut each: impl FnMut(K, &V),
    ) -> Result<(), DatapathError> {
        let [reading, deleting] = what;
        let mut keys: Vec<K> = Vec::new();
        self.each(name, reading, |key: K, _: &V| {
            if gone(&key) {
                keys.push(key);
            }
        })?;
        let map = descriptor(self.shared_hash(name)?);
        let mut result = Ok(());
        for key in keys {
            match batch::take(map, batch::ONE, &key) {
                Ok(values) => {
                    let values: Option<Vec<V>> = values;
                    values.iter().flatten().for_each(|value| each(key, value));
                }
                Err(error) => result = result.and(Err(DatapathError::of(deleting, error))),
            }
        }
        result
    }
}
