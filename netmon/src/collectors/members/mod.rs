//! The members of the overlay networks, on any node. Read from the engine.

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
pub const NAME: Collector = Collector("members");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "The endpoints of overlay networks on any node, asked of the engine; at most 10,000 series.",
    is_optional: true,
    incomplete: Some((
        "the engine, or a proxy before it, does not answer `/networks/{id}?verbose=true`",
        "allow it; else `--no-collector.members`",
    )),
    needs: &[],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(collect),
};

fn collect(visit: &mut Visit<'_>) -> Collected {
    let members = facts::rows(visit.state, visit.now);
    Collected {
        is_whole: Some(members.is_whole),
        rows: families::rows(&members),
    }
}
