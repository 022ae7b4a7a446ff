//! netmon beside real engines.

mod departures;
mod dashboards;
mod drivers;
mod faults;
mod fleet;
mod ground;
mod lifetimes;
mod monitoring;
mod nodes;
mod prometheus;
mod restarts;
mod swarm;
mod tiers;
mod updates;
mod wire;
