//! The plain data that all layers share: containers, networks, interfaces, and their counts.
//!
//! Imports no other module of netmon, does no I/O, and cannot fail. The layers at the edges convert the engine's
//! types, the kernel's messages and the metrics library's types from and to this data.

pub mod addresses;
pub mod buffers;
pub mod collector;
pub mod counters;
pub mod dns;
pub mod drops;
pub mod edges;
pub mod events;
pub mod facts;
pub mod finding;
pub mod format;
pub mod health;
pub mod histogram;
pub mod interface;
pub mod inventory;
pub mod ledger;
pub mod mtu;
pub mod netns;
pub mod outage;
pub mod overlay;
pub mod peers;
pub mod place;
pub mod programs;
pub mod protocols;
pub mod tcp;
pub mod text;
pub mod times;
