//! Containers and networks, as the engine reports them.

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
pub const NAME: Collector = Collector("docker");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Containers and networks, as the engine reports them.",
    is_optional: false,
    incomplete: None,
    needs: &[],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(collect),
};

fn collect(visit: &mut Visit<'_>) -> Collected {
    let facts = facts::of(visit.state, visit.engine);
    // `netmon_docker_up` says whether something is missing.
    Collected::unjudged(families::rows(&facts))
}
