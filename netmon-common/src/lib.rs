//! What the kernel programs and the daemon share: the layouts, names and sizes of maps, with one module per noun.
//!
//! Only integers and byte arrays, `repr(C)`, without padding, because two compilers compile this for two targets.
//! Kernel programs and daemon share nothing else. This crate knows nothing of aya, Docker or metrics.
#![no_std]

pub mod connection;
pub mod dns;
pub mod drops;
pub mod edges;
pub mod kernel;
pub mod notes;
pub mod overlay;
pub mod protocols;
pub mod refusal;
pub mod share;
pub mod tcp;
pub mod traffic;
