//! netmon with real engines.

mod dashboards;
mod departures;
mod dns;
mod drivers;
mod edges;
mod faults;
mod findings;
mod fleet;
mod graph;
mod ground;
mod lifetimes;
mod monitoring;
mod names;
mod nodes;
mod package;
mod prometheus;
mod proxy;
mod refused;
mod restarts;
mod swarm;
mod tiers;
mod tls;
mod updates;
mod wire;
