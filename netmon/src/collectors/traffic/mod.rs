//! The interfaces of containers.

pub mod facts;
pub mod families;

use crate::{collectors::Definition, model::collector::Collector};

/// Its name.
pub const NAME: Collector = Collector("traffic");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "The interfaces of containers.",
    is_optional: true,
    incomplete: Some((
        "kernel programs: the kernel refuses them",
        "a newer kernel, or `--bpf.attach=off`; packets and bytes are counted without them, too",
    )),
    groups: families::GROUPS,
    rows: families::rows,
};
