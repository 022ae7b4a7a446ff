//! The plain data everything else speaks in: who there is, which interfaces they have, what those counted.
//!
//! Imports nothing of ours, does no I/O, and cannot fail. The engine's types, the kernel's messages and the metrics
//! library's encoders are turned into these, or made from these, at the edges.

pub mod buffers;
pub mod collector;
pub mod counters;
pub mod drops;
pub mod interface;
pub mod inventory;
pub mod ledger;
pub mod limits;
pub mod overlay;
pub mod peers;
pub mod place;
pub mod protocols;
pub mod snapshot;
pub mod tcp;
pub mod times;
