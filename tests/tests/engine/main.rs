//! netmon beside real engines.

mod dashboards;
mod drivers;
mod faults;
mod ground;
mod lifetimes;
mod prometheus;
mod swarm;
