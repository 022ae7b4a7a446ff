//! netmon on the real kernel. Namespaces serve as containers, and a fake engine names them.
//!
//! Every figure is compared with the kernel's own tables (`/proc/net/dev`, `snmp`, `netstat`) in the same namespace.

mod accidents;
mod asking;
mod buffers;
mod clock;
mod counting;
mod dns;
mod drops;
mod edges;
mod elsewhere;
mod faults;
mod findings;
mod hostile;
mod http;
mod leaks;
mod lifetimes;
mod misfits;
mod names;
mod overlay;
mod privileges;
mod programs;
mod protocols;
mod refused;
mod retransmits;
mod slots;
mod tcp;
mod workers;
mod world;
