//! netmon beside real engines.

mod departures;
mod drivers;
mod faults;
mod ground;
mod lifetimes;
mod nodes;
mod prometheus;
mod restarts;
mod swarm;
mod updates;
mod wire;
