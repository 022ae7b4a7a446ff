//! Which netmon a clsact filter is of. The kernel removes no filter when its netmon is killed, so the next netmon does.
//! It must not touch the filters of one that runs, perhaps in a container with process ids of its own.
//!
//! So a netmon gives all its filters one handle, its mark: the id of a map of which only its process has a descriptor. The
//! kernel releases that map when the process ends, however that happens. Maps' ids are the same in all namespaces.
//!
//! Older builds gave their filters no mark. The kernel chose handles for them, or they were an id without a sign that it
//! is one. Such a filter is left behind only if no other netmon runs.

use aya::{Ebpf, maps::Map};
use tracing::debug;

use super::{DatapathError, constants::Constants};
use crate::model::programs::{Filter, Others};

/// What tells a mark from other handles. The kernel chooses no handle that has this bit (`cls_bpf_change`: up to
/// `INT_MAX`), and no map has an id that has it.
const MARK: u32 = 1 << 31;

/// The sign that this netmon runs.
#[derive(Debug)]
pub(super) struct Owner {
    constants: Constants,
    /// Nothing else may hold the map.
    _map: Map,
    others: Others,
}

impl Owner {
    /// Takes the constants of a copy of the programs that is never attached. `others` are the other netmons of this node.
    ///
    /// # Errors
    /// It has none.
    pub(super) fn new(mut copy: Ebpf, others: Others) -> Result<Self, DatapathError> {
        let constants = Constants::of(&copy)?;
        Ok(Self {
            constants,
            _map: Constants::take(&mut copy)?,
            others,
        })
    }

    /// The handle of this netmon's filters. No device has two of them on one side.
    pub(super) const fn handle(&self) -> u32 {
        MARK | self.constants.id()
    }

    /// Which of these filters with a program of this name are left behind: this netmon's own, and those of netmons that
    /// no longer run. It is about to attach that program.
    pub(super) fn leftovers<'a>(&self, filters: &'a [Filter], program: &str) -> impl Iterator<Item = &'a Filter> {
        leftovers(filters, program, self.handle(), |handle| self.runs(handle))
    }

    /// Whether the netmon of a filter with this handle may run.
    fn runs(&self, handle: u32) -> bool {
        let Some(constants) = marked(handle) else {
            return self.others.may_run();
        };
        constants
            .are_loaded()
            .inspect_err(|error| debug!(handle, %error, "a filter stays: perhaps its netmon runs"))
            .unwrap_or(true)
    }
}

/// The constants whose id is the mark. `None` if the handle is no mark.
const fn marked(handle: u32) -> Option<Constants> {
    if handle & MARK == 0 {
        None
    } else {
        Some(Constants::of_id(handle & !MARK))
    }
}

fn leftovers<'a>(
    filters: &'a [Filter],
    program: &str,
    own: u32,
    runs: impl Fn(u32) -> bool,
) -> impl Iterator<Item = &'a Filter> {
    filters
        .iter()
        .filter(move |filter| filter.name == program)
        .filter(move |filter| filter.handle == own || !runs(filter.handle))
}

#[cfg(test)]
mod tests {
    use super::{Constants, leftovers, marked};
    use crate::model::programs::Filter;

    const OWN: u32 = 100;
    const RUNS: u32 = 200;
    const DEAD: u32 = 300;

    #[test]
    fn a_handle_that_the_kernel_chose_is_no_mark() {
        for chosen in [1, 2, i32::MAX.unsigned_abs()] {
            assert_eq!(marked(chosen), None);
        }
        assert_eq!(marked(0x8000_0002), Some(Constants::of_id(2)));
    }

    #[test]
    fn a_netmon_that_runs_keeps_its_filters_and_nobody_elses_are_touched() {
        let filter = |(name, handle): (&str, u32)| Filter {
            name: name.to_owned(),
            program: 1,
            priority: 1,
            handle,
        };
        let filters = [
            ("traffic_ingress", OWN),
            ("traffic_ingress", RUNS),
            ("traffic_ingress", DEAD),
            ("overlay_ingress", OWN),
            ("cil_from_container", DEAD),
        ]
        .map(filter);
        let left = leftovers(&filters, "traffic_ingress", OWN, |handle| handle == RUNS);
        assert_eq!(left.map(|filter| filter.handle).collect::<Vec<_>>(), [OWN, DEAD]);
    }
}
