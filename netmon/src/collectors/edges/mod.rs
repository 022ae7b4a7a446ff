//! Who talks to whom over TCP: connections by service on both ends.

pub mod facts;
pub mod families;
mod kernel;
#[cfg(test)]
mod sample;
#[cfg(feature = "bench")]
pub mod yardstick;

use crate::{collectors::Definition, model::collector::Collector};

/// Its name.
pub const NAME: Collector = Collector("edges");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "TCP connections by service on both ends: who talks to whom.",
    is_optional: true,
    incomplete: Some((
        "the kernel's type information (BTF); or the kernel is locked down (`lockdown=confidentiality`)",
        "a newer kernel, or `lockdown=integrity`; else `--no-collector.edges`",
    )),
    needs: &[],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(kernel::Collector::default()),
};
