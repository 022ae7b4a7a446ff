//! The programs on an interface, as those see them who do not attach them.

use std::{fmt, sync::Arc};

use super::{
    counters::{Directions, Traffic},
    dns::DnsCounts,
};

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
    /// What the interface's namespace asks its resolvers, if that is counted.
    pub dns: Option<Arc<dyn DnsCounts>>,
}

/// Identifies attached programs. No two have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// Tells whether another netmon may run on this node. That matters for filters of which nobody knows whose they are.
pub struct Others(Box<dyn Fn() -> bool + Send + Sync>);

impl Others {
    /// They are looked for by this function.
    pub fn found_by(may_run: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(may_run))
    }

    /// Nobody knows, so one may run.
    #[must_use]
    pub fn unknown() -> Self {
        Self::found_by(|| true)
    }

    /// Whether another netmon may run now.
    #[must_use]
    pub fn may_run(&self) -> bool {
        let Self(may_run) = self;
        may_run()
    }
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Others").finish_non_exhaustive()
    }
}

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
