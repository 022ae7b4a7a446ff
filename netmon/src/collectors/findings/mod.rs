//! What the checks say is wrong. The checks look on a thread of their own; here their last word becomes rows.

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
pub const NAME: Collector = Collector("findings");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Findings: what is wrong with this node's networks, looked for every 15 s.",
    is_optional: true,
    incomplete: None,
    needs: &[],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(collect),
};

fn collect(visit: &mut Visit<'_>) -> Collected {
    Collected::unjudged(families::rows(&visit.tools.findings.report()))
}
