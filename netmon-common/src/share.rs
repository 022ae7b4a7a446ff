//! Room in the maps that all namespaces share. Limits how many keys a namespace may have, so that none can use all
//! the room.
//!
//! A container chooses its interfaces, namespaces and packets, and thereby the number of keys that it causes. A
//! namespace that the daemon watches has a share of its own. All others have one share together, because a container
//! can also create namespaces.

/// The map with the numbers of keys: a hash map by the namespace's cookie, with a `u32`. A watched namespace has an
/// entry from the moment that the daemon adds it, if there was room for it. [`STRANGERS`] stands for all others.
pub const MAP: &str = "SHARES";
/// The key of [`MAP`] for all namespaces that are not watched.
pub const STRANGERS: u64 = 0;
/// The maximum number of watched namespaces.
pub const MAX_ENTRIES: u32 = 16_384;
/// How many keys a watched namespace may have. Beyond that, new keys do not distinguish its devices. Three networks
/// and fifty reasons make 150 keys.
pub const OF_NAMESPACE: u32 = 512;
/// How many keys all others may have: a quarter of a map.
pub const OF_STRANGERS: u32 = 4_096;
