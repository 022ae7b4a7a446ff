//! Queues and tables, and their limits.

pub mod facts;
pub mod families;
#[cfg(test)]
mod sample;

use crate::{
    collectors::{
        Definition,
        visit::{Collected, Visit},
    },
    model::collector::{Collector, Need},
};

/// Its name.
pub const NAME: Collector = Collector("buffers");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Queues and tables, and their limits.",
    is_optional: true,
    incomplete: Some((
        "the node's own figures: netmon is not in the node's network namespace, or its `/proc` cannot be read",
        "`--network host`, or `--path.node-netns`; else the log says which file",
    )),
    needs: &[Need::Buffers],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(collect),
};

fn collect(visit: &mut Visit<'_>) -> Collected {
    let buffers = facts::rows(visit.state);
    Collected {
        is_whole: Some(buffers.node.is_some()),
        rows: families::rows(&buffers),
    }
}
