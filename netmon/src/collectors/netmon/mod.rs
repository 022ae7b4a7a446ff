//! netmon itself.

pub mod families;

use crate::{collectors::Definition, model::collector::Collector};

/// Its name.
pub const NAME: Collector = Collector("netmon");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "netmon itself.",
    is_optional: false,
    incomplete: None,
    groups: families::GROUPS,
    rows: |snapshot| families::rows(&snapshot.health),
};
