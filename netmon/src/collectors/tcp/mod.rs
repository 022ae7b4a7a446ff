//! TCP connections.

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
pub const NAME: Collector = Collector("tcp");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "TCP connections: retransmits, resets, failures, round-trip times.",
    is_optional: true,
    incomplete: Some((
        "the kernel's type information (BTF)",
        "a newer kernel; else `--no-collector.tcp`",
    )),
    needs: &[Need::Protocols],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(kernel::Collector::default()),
};
