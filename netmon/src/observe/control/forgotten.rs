//! Namespaces that are over, until the kernel's maps have nothing of them any more.

use std::{collections::BTreeSet, time::Instant};

use tracing::{info, warn};

use crate::{
    datapath::DatapathError,
    model::{
        interface::NetnsId,
        outage::{News, Outage},
    },
};

/// The namespaces whose counts are to be deleted.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    waiting: BTreeSet<NetnsId>,
    outage: Outage,
}

impl Forgotten {
    /// Adds namespaces.
    pub(super) fn extend(&mut self, over: BTreeSet<NetnsId>) {
        self.waiting.extend(over);
    }

    /// Takes out the namespaces that are `back`: they are watched again, and count.
    pub(super) fn spare(&mut self, back: impl Fn(NetnsId) -> bool) {
        self.waiting.retain(|netns| !back(*netns));
    }

    /// Deletes the counts of all that wait. If that fails, they wait for the next call.
    pub(super) fn delete(&mut self, delete: impl FnOnce(&BTreeSet<NetnsId>) -> Result<(), DatapathError>) {
        if self.waiting.is_empty() {
            return;
        }
        let deleted = delete(&self.waiting);
        match (self.outage.note(deleted.is_err(), Instant::now()), &deleted) {
            (Some(News::Begins), Err(error)) => {
                warn!(%error, "cannot delete the counts of removed namespaces from the kernel maps; will retry");
            }
            (Some(News::Ends), _) => info!("the counts of removed namespaces are deleted from the kernel maps again"),
            _ => {}
        }
        if deleted.is_ok() {
            self.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io};

    use super::Forgotten;
    use crate::{datapath::DatapathError, model::interface::NetnsId};

    /// Which namespaces a call deletes, and whether the kernel does it.
    fn deleted(forgotten: &mut Forgotten, works: bool) -> Vec<u64> {
        let mut asked = Vec::new();
        forgotten.delete(|gone| {
            asked.extend(gone.iter().map(|netns| netns.0));
            let source = || io::Error::from_raw_os_error(libc::ENOMEM);
            works.then_some(()).ok_or_else(|| DatapathError::Unsupported {
                what: "delete",
                source: source(),
            })
        });
        asked
    }

    #[test]
    fn what_could_not_be_deleted_is_deleted_in_a_later_turn() {
        let mut forgotten = Forgotten::default();
        forgotten.extend([NetnsId(1), NetnsId(2)].into());
        assert_eq!(deleted(&mut forgotten, false), [1, 2]);
        forgotten.extend([NetnsId(3)].into());
        assert_eq!(deleted(&mut forgotten, true), [1, 2, 3]);
        assert!(deleted(&mut forgotten, true).is_empty(), "they are deleted");
    }

    #[test]
    fn a_namespace_that_is_watched_again_keeps_its_counts() {
        let mut forgotten = Forgotten::default();
        forgotten.extend(BTreeSet::from([NetnsId(1), NetnsId(2)]));
        deleted(&mut forgotten, false);
        forgotten.spare(|netns| netns == NetnsId(1));
        assert_eq!(deleted(&mut forgotten, true), [2]);
    }
}
