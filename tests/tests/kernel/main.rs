//! netmon on the real kernel: namespaces stand for containers, and an engine that says what it is told to names them.
//!
//! Every figure is compared with what the kernel's own tables (`/proc/net/dev`, `snmp`, `netstat`) show in the same namespace.

mod accidents;
mod buffers;
mod clock;
mod counting;
mod drops;
mod elsewhere;
mod faults;
mod hostile;
mod http;
mod leaks;
mod lifetimes;
mod names;
mod overlay;
mod privileges;
mod programs;
mod retransmits;
mod tcp;
mod workers;
mod world;
