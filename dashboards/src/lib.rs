//! netmon's dashboards for Grafana and its rules for Prometheus, written against the catalog of metrics: what names a
//! family or a label that is not there does not compile.
//!
//! From below: [`label`] and [`query`] are the checked language, [`grafana`] is the format, [`panel`] and [`board`] are
//! how things look here, [`boards`] and [`rules`] are what there is, [`files`] is where it goes. Nothing of it runs
//! beside netmon: it makes files, which are committed.

pub mod board;
pub mod boards;
pub mod files;
pub mod grafana;
pub mod label;
pub mod panel;
pub mod query;
pub mod rules;
