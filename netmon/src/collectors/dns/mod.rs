//! What containers ask their resolvers, and what they are told.

pub mod facts;
pub mod families;
mod kernel;
#[cfg(test)]
mod sample;

use crate::{collectors::Definition, model::collector::Collector};

/// Its name.
pub const NAME: Collector = Collector("dns");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "DNS: what containers ask their resolvers, and how fast and with what these answer.",
    is_optional: true,
    incomplete: Some((
        "kernel programs: the kernel refuses those that count DNS",
        "a newer kernel; else `--no-collector.dns`",
    )),
    needs: &[],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(kernel::Collector::default()),
};
