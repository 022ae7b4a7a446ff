//! Queues and tables, and their limits.

pub mod facts;
pub mod families;

use crate::{collectors::Definition, model::collector::Collector};

/// Its name.
pub const NAME: Collector = Collector("buffers");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Queues and tables, and their limits.",
    is_optional: true,
    incomplete: Some((
        "the node's own figures in `/proc` cannot be read",
        "the log says which file",
    )),
    groups: families::GROUPS,
    rows: families::rows,
};
