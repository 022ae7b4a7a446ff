//! Packets that the kernel dropped, and why.

pub mod facts;
pub mod families;
mod kernel;
#[cfg(test)]
mod sample;

use crate::{
    collectors::Definition,
    model::collector::{Collector, Need},
};

/// Its name.
pub const NAME: Collector = Collector("drops");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Packets that the kernel dropped, and why.",
    is_optional: true,
    incomplete: Some((
        "the kernel's type information (BTF), or drop reasons (before Linux 5.17); or the kernel is locked down (`lockdown=confidentiality`)",
        "a newer kernel, or one that is not; else `--no-collector.drops`",
    )),
    needs: &[Need::NodeDevices],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(kernel::Collector::default()),
};
