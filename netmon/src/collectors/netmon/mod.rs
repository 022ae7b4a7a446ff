//! netmon itself.

pub mod families;
#[cfg(test)]
pub(super) mod sample;

use crate::{
    collectors::{
        Definition,
        visit::{Collected, Visit},
    },
    model::collector::Collector,
};

/// Its name.
pub const NAME: Collector = Collector("netmon");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "netmon itself.",
    is_optional: false,
    incomplete: None,
    needs: &[],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: Vec::new,
    // Its rows are made when all others are known: see `families`.
    start: || Box::new(collect),
};

fn collect(_: &mut Visit<'_>) -> Collected {
    Collected::unjudged(Vec::new())
}
