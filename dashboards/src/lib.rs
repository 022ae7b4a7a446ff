//! netmon's dashboards for Grafana and its rules for Prometheus, written against the catalog of metrics. A family or
//! label that does not exist does not compile.
//!
//! From the bottom up: [`label`] and [`query`] are the checked query language, and [`grafana`] is the file format.
//! [`panel`] and [`board`] define the common style. [`boards`] and [`rules`] are the contents, and [`files`] writes
//! them. None of this runs with netmon. It generates files, which are committed.

mod balance;
pub mod board;
pub mod boards;
mod edge;
pub mod files;
pub mod grafana;
pub mod label;
pub mod panel;
pub mod query;
pub mod rules;
