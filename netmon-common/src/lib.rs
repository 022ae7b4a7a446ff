//! What the kernel programs and the daemon agree on: map layouts, names and sizes, one module a noun.
//!
//! Integers and byte arrays only, `repr(C)`, no padding: both sides are compiled by different compilers for different
//! targets, and what they do not share here they do not share. This crate knows nothing of aya, Docker or metrics.
#![no_std]

pub mod drops;
pub mod kernel;
pub mod overlay;
pub mod share;
pub mod tcp;
pub mod traffic;
