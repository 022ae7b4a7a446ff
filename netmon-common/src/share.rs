//! Room in the maps that all namespaces share: how many keys one of them may have, so that none can take it all.
//!
//! What an interface, a namespace or a packet is made of is a container's choice, and so is how many keys it makes. A
//! namespace that the daemon watches has a share of its own; all others have one together, for a container can make
//! namespaces, too.

/// The map that holds how many keys there are: a hash by the namespace's cookie, of `u32`. Watched namespaces are in it
/// from the moment that the daemon tells; [`STRANGERS`] stands for all others.
pub const MAP: &str = "SHARES";
/// Of [`MAP`]: what is not watched.
pub const STRANGERS: u64 = 0;
/// How many namespaces can be watched.
pub const MAX_ENTRIES: u32 = 16_384;
/// How many keys a watched namespace may have before its devices are not told apart any more. Three networks and fifty
/// reasons are 150.
pub const OF_NAMESPACE: u32 = 512;
/// How many all the others may have: a quarter of a map.
pub const OF_STRANGERS: u32 = 4_096;
