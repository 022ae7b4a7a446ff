//! The interfaces of containers.

pub mod facts;
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
pub const NAME: Collector = Collector("traffic");

/// What the table of collectors needs.
pub(super) const DEFINITION: Definition = Definition {
    name: NAME,
    summary: "The interfaces of containers.",
    is_optional: true,
    incomplete: Some((
        "kernel programs: the kernel refuses them",
        "a newer kernel, or `--bpf.attach=off`; packets and bytes are counted without them, too",
    )),
    needs: &[],
    groups: families::GROUPS,
    #[cfg(test)]
    sample: sample::rows,
    start: || Box::new(collect),
};

fn collect(visit: &mut Visit<'_>) -> Collected {
    let interfaces = facts::rows(visit.state);
    Collected {
        rows: families::rows(&interfaces, &visit.state.unattributed()),
        is_whole: visit.tools.counting_wanted.then_some(visit.tools.counting.is_some()),
    }
}
