//! Sums over the containers of each service.

pub mod facts;
pub mod families;

use crate::{collectors::Definition, model::collector::Collector};

/// Its name.
pub const NAME: Collector = Collector("service");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Sums over the containers of each service.",
    is_optional: true,
    incomplete: None,
    groups: families::GROUPS,
    rows: families::rows,
};
