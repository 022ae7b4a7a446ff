//! Sums over the containers of each service.

pub mod facts;
pub mod families;
#[cfg(test)]
mod sample;

use crate::{
    collectors::{
        Definition,
        visit::{Collected, Visit},
    },
    model::collector::Collector,
};

/// Its name.
pub const NAME: Collector = Collector("service");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Sums over the containers of each service.",
    is_optional: true,
    incomplete: None,
    needs: &[],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(collect),
};

fn collect(visit: &mut Visit<'_>) -> Collected {
    let (traffic, events) = facts::rows(visit.state);
    Collected::whole(families::rows(&traffic, &events))
}
