//! Losses of sockets and their buffers.

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
pub const NAME: Collector = Collector("sockets");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "Losses of sockets and their buffers.",
    is_optional: true,
    incomplete: Some((
        "the node's own figures: netmon is not in the node's network namespace, or its `/proc` cannot be read",
        "`--network host`, or `--path.node-netns`; else the log says which file",
    )),
    needs: &[Need::Protocols],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(collect),
};

fn collect(visit: &mut Visit<'_>) -> Collected {
    let sockets = facts::rows(visit.state);
    Collected {
        is_whole: Some(sockets.node.is_some()),
        rows: families::rows(&sockets),
    }
}
