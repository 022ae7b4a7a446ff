//! Losses of sockets and their buffers.

pub mod facts;
pub mod families;

use crate::{collectors::Definition, model::collector::Collector};

/// Its name.
pub const NAME: Collector = Collector("sockets");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Losses of sockets and their buffers.",
    is_optional: true,
    incomplete: Some((
        "the node's own figures in `/proc` cannot be read",
        "the log says which file",
    )),
    groups: families::GROUPS,
    rows: families::rows,
};
