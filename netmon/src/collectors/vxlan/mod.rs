//! The VXLAN devices of overlay networks.

pub mod families;

use crate::{collectors::Definition, model::collector::Collector};

/// Its name.
pub const NAME: Collector = Collector("vxlan");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "The VXLAN devices of overlay networks.",
    is_optional: true,
    incomplete: None,
    groups: families::GROUPS,
    rows: families::rows,
};
