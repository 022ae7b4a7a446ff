//! Network namespaces and the devices in them: finds namespaces, enters them, queries the kernel, and receives its
//! events.
//!
//! The only module that names the netlink crates. Knows files, namespaces and devices, but neither containers nor
//! networks. It reads a namespace's role from its file name and nothing else.

pub mod buffers;
pub mod connections;
pub mod discover;
pub mod enter;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub mod ipvs;
pub mod listeners;
pub mod proc_net;
pub mod protocols;
pub mod rtnetlink;
pub mod settings;
pub mod watch;
pub mod xfrm;
