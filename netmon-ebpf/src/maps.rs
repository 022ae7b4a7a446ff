//! What programs do with maps. `bpf` implements it for the kernel's maps; in tests, maps are made of memory.
//!
//! What is found is a raw pointer: the kernel and other CPUs may use the value meanwhile. Whoever follows the pointer
//! argues why that is right.

/// A map with keys.
pub trait Map<K, V> {
    /// The value of this key. It stays readable and writable while the program runs, even if the key is deleted.
    fn find(&self, key: &K) -> Option<*mut V>;
    /// Creates this key. Returns whether that was done: the key may exist, or the map may be full.
    fn add(&self, key: &K, value: &V) -> bool;
}

/// A map of a fixed size.
pub trait Array<V> {
    /// The value at this index; `None` beyond the end. It stays readable and writable while the program runs.
    fn at(&self, index: u32) -> Option<*mut V>;
}
