//! netmon: container network telemetry for Docker Swarm, counted in the kernel.
//!
//! `ARCHITECTURE.md` has the map; `scrape.rs` is the file to read first.

pub mod metrics;
pub mod model;
pub mod process;
pub mod version;
