//! The programs on an interface, as those see them who do not attach them.

use std::{fmt, sync::Arc};

use super::counters::{Directions, Traffic};

/// What programs have counted so far. Reading it is a few loads from memory, without a system call.
pub trait Counts: fmt::Debug + Send + Sync {
    /// The counts since the programs were attached.
    fn read(&self) -> Directions<Traffic>;
}

/// Programs that are attached to an interface. Whoever attached them detaches them, by the handle.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Identifies them.
    pub handle: Handle,
    /// What they count.
    pub counts: Arc<dyn Counts>,
}

/// Identifies attached programs. No two have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// A BPF program on a device as a clsact filter. It may be anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The name that it was attached with, which is the program's in netmon's case.
    pub name: String,
    /// The kernel's id of the program.
    pub program: u32,
    /// Filters of a lower priority come first.
    pub priority: u16,
    /// Tells it from others of its priority.
    pub handle: u32,
}
