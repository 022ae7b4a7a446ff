//! netmon beside real engines.

mod drivers;
mod faults;
mod fleet;
mod ground;
mod lifetimes;
mod monitoring;
mod prometheus;
mod swarm;
mod tiers;
