//! Fixtures: network namespaces that serve as containers, a fake engine, a running netmon, and a real Swarm on one
//! machine. For the tests in `tests/`, and for the demo.
//!
//! They know netmon only from outside: a binary with flags, and a page.

pub mod dashboards;
pub mod fake_engine;
pub mod figures;
pub mod filter;
pub mod fleet;
pub mod flow;
pub mod frames;
pub mod lab;
pub mod machine;
pub mod netmon;
pub mod netns;
pub mod page;
pub mod patience;
pub mod processor;
pub mod program;
pub mod prometheus;
pub mod relay;
pub mod resolver;
pub mod scratch;
pub mod sh;
pub mod traffic;
pub mod unloadable;
