//! Network namespaces, and the devices in them: finding them, entering them, asking and hearing the kernel about them.
//!
//! The only place that names the netlink crates. Knows files, namespaces and devices; knows neither containers nor
//! networks: what a namespace is *for* is read off its file's name and nothing else.

pub mod buffers;
pub mod connections;
pub mod discover;
pub mod enter;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub mod protocols;
pub mod rtnetlink;
pub mod watch;
pub mod xfrm;
