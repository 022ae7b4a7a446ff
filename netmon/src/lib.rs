//! netmon: container network telemetry for Docker Swarm, counted in the kernel.
//!
//! `ARCHITECTURE.md` has the map; [`scrape`] is the file to read first.

// The layouts of kernel structures and of maps are those of 64-bit kernels.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("netmon runs on 64-bit kernels only");

pub mod api;
pub mod app;
pub mod checker;
pub mod checks;
pub mod collectors;
pub mod config;
pub mod datapath;
pub mod docker;
pub mod doctor;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod netns;
pub mod network;
pub mod observe;
pub mod page;
pub mod privilege;
pub mod process;
pub mod reader;
pub mod scrape;
pub mod single_flight;
pub mod systemd;
pub mod version;
pub mod workers;
