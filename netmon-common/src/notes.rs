//! Rare events that programs note for the daemon's log. A note is its kind, the cookie of the namespace, and a number.

/// A key was not created. The number is the cause ([`crate::refusal`]).
pub const NO_KEY: u32 = 0;
/// A namespace has used up its share of a map. Its new keys do not distinguish devices. The number is 0.
pub const NO_SHARE: u32 = 1;
/// A packet has something else where its device should be, as in some queues. The number is the reason of its drop.
pub const NO_DEVICE: u32 = 2;
/// A socket has a state that no kernel so far has. The number is the state.
pub const UNKNOWN_STATE: u32 = 3;
