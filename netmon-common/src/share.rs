//! Room in the maps that all namespaces share. Limits how many keys a namespace may have, so that none can use all
//! the room.
//!
//! A container chooses its interfaces, namespaces and packets, and thereby the number of keys that it causes. A
//! namespace that the daemon watches has a share of its own. All others have one share together, because a container
//! can also create namespaces.

/// The map of the shares: a hash map by the namespace's cookie, with a [`Share`]. A watched namespace has an entry from
/// the moment that the daemon adds it, if there was room for it. [`STRANGERS`] stands for all others.
pub const MAP: &str = "SHARES";
/// The key of [`MAP`] for all namespaces that are not watched.
pub const STRANGERS: u64 = 0;
/// The maximum number of watched namespaces.
pub const MAX_ENTRIES: u32 = 16_384;
/// How many keys a watched namespace may have. Beyond that, new keys do not distinguish its devices. Three networks
/// and fifty reasons make 150 keys.
pub const OF_NAMESPACE: u32 = 512;
/// How many more keys the node's namespace, or an overlay network's, may have for each of its devices. Every container has
/// a device there, and each has a few reasons.
pub const OF_DEVICE: u32 = 8;
/// How many keys such a namespace may have, whatever its number of devices: a quarter of a map.
pub const OF_DEVICES: u32 = 4_096;
/// How many keys all others may have: a quarter of a map.
pub const OF_STRANGERS: u32 = 4_096;

/// What a namespace has of a map. The programs count its keys, and the daemon corrects them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many keys it has.
    pub keys: u32,
    /// How many it may have.
    pub room: u32,
    /// What the programs have noted about it: a bit for each kind of note.
    pub noted: u64,
}

const _: () = assert!(size_of::<Share>() == 16 && align_of::<Share>() == 8);

// SAFETY: `repr(C)`, integers only, no padding (the assertion above). So every bit pattern is a value.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for the promise that any bytes are a valid value")]
unsafe impl aya::Pod for Share {}
