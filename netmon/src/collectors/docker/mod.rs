//! Containers and networks, as the engine reports them.

pub mod facts;
pub mod families;

use crate::{collectors::Definition, model::collector::Collector};

/// Its name.
pub const NAME: Collector = Collector("docker");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Containers and networks, as the engine reports them.",
    is_optional: false,
    incomplete: None,
    groups: families::GROUPS,
    rows: families::rows,
};
