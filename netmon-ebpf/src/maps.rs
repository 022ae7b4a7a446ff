//! What programs do with maps. `bpf` implements it for the kernel's maps; in tests, maps are made of memory.
//!
//! What is found is a raw pointer: the kernel and other CPUs may use the value meanwhile. Whoever follows the pointer
//! argues why that is right.

use netmon_common::refusal;

/// A map with keys.
pub trait Map<K, V> {
    /// The value of this key. It stays readable and writable while the program runs, even if the key is deleted.
    fn find(&self, key: &K) -> Option<*mut V>;
    /// Creates this key.
    fn add(&self, key: &K, value: &V) -> Added;
}

/// What became of a key that was to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was created.
    Created,
    /// It exists: another CPU, or another program on this one, has just created it.
    Exists,
    /// The kernel refused, for a cause of [`netmon_common::refusal`].
    Refused(u32),
}

impl Added {
    /// The cause, if the key is missing all the same.
    #[inline(always)]
    pub(crate) const fn cause(self) -> u32 {
        match self {
            Self::Refused(cause) => cause,
            // It was deleted in between.
            Self::Created | Self::Exists => refusal::OTHER,
        }
    }
}

/// A map of a fixed size.
pub trait Array<V> {
    /// The value at this index; `None` beyond the end. It stays readable and writable while the program runs.
    fn at(&self, index: u32) -> Option<*mut V>;
}

/// A map of prefixes.
pub trait Prefixes {
    /// Whether an address, in its IPv6 form, has one of them.
    fn has(&self, address: [u8; 16]) -> bool;
}

/// A map with a value on each socket. It goes with the socket.
pub trait Storage<V> {
    /// The value of a socket that has one. It stays readable and writable while the program runs.
    fn of(&self, socket: u64) -> Option<*mut V>;
    /// The value of a socket. If it has none, it gets one whose bytes are 0. `None` if it is no full socket, or the kernel
    /// has no memory.
    fn create(&self, socket: u64) -> Option<*mut V>;
}
