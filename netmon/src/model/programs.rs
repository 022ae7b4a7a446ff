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
