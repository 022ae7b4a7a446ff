//! Why a map has no entry for an event. Every map of counts has an array beside it with a `u64` for each cause and CPU.

/// The map has as many keys as it may have (`E2BIG`).
pub const FULL: u32 = 0;
/// The kernel had no memory for the key at that moment (`ENOMEM`). It allocates from a small stock that it fills up
/// later, because programs run where it cannot wait. A burst of new keys empties the stock. The next event may find
/// memory again.
pub const NO_MEMORY: u32 = 1;
/// The namespaces that are not watched have used up the keys that they may have together.
pub const SHARE: u32 = 2;
/// Anything else, such as a key that was deleted at that moment.
pub const OTHER: u32 = 3;

/// The names of the causes, by their number.
pub const NAMES: [&str; 4] = ["full", "no_memory", "share", "other"];
/// The number of causes.
#[expect(clippy::cast_possible_truncation, reason = "there are four")]
pub const CAUSES: u32 = NAMES.len() as u32;
