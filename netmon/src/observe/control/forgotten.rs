//! Namespaces that are over, until the kernel's maps have nothing of them any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use tracing::{info, warn};

use crate::{
    datapath::DatapathError,
    model::{
        events::LastCounts,
        interface::NetnsId,
        outage::{News, Outage},
    },
    observe::state::Departed,
};

/// The namespaces whose counts are to be taken out of the kernel's maps.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    waiting: BTreeMap<NetnsId, Departed>,
    outage: Outage,
}

impl Forgotten {
    /// Adds namespaces.
    pub(super) fn extend(&mut self, over: BTreeMap<NetnsId, Departed>) {
        self.waiting.extend(over);
    }

    /// Takes out the namespaces that are `back`: they are watched again, and count.
    pub(super) fn spare(&mut self, back: impl Fn(NetnsId) -> bool) {
        self.waiting.retain(|netns, _| !back(*netns));
    }

    /// Takes the counts of all that wait out of the maps. If some cannot be taken, all wait for the next call. `count`
    /// gets what was taken, those that it may be of, and whether it was all.
    pub(super) fn take(
        &mut self,
        take: impl FnOnce(&BTreeSet<NetnsId>) -> (LastCounts, Result<(), DatapathError>),
        count: impl FnOnce(&LastCounts, &mut BTreeMap<NetnsId, Departed>, bool),
    ) {
        if self.waiting.is_empty() {
            return;
        }
        let (last, taken) = take(&self.waiting.keys().copied().collect());
        match (self.outage.note(taken.is_err(), Instant::now()), &taken) {
            (Some(News::Begins), Err(error)) => {
                warn!(%error, "cannot delete the counts of removed namespaces from the kernel maps; will retry");
            }
            (Some(News::Ends), _) => info!("the counts of removed namespaces are deleted from the kernel maps again"),
            _ => {}
        }
        count(&last, &mut self.waiting, taken.is_ok());
        if taken.is_ok() {
            self.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{BTreeMap, Departed, Forgotten, LastCounts};
    use crate::{datapath::DatapathError, model::interface::NetnsId};

    fn departed<const N: usize>(netns: [u64; N]) -> BTreeMap<NetnsId, Departed> {
        netns.map(|netns| (NetnsId(netns), Departed::unknown())).into()
    }

    /// Which namespaces' counts a call takes, and whether the kernel gives all of them.
    fn taken(forgotten: &mut Forgotten, works: bool) -> Vec<u64> {
        let (mut asked, mut counted) = (Vec::new(), Vec::new());
        let source = || io::Error::from_raw_os_error(libc::ENOMEM);
        forgotten.take(
            |gone| {
                asked.extend(gone.iter().map(|netns| netns.0));
                let result = works.then_some(()).ok_or_else(|| DatapathError::Unsupported {
                    what: "delete",
                    source: source(),
                });
                (LastCounts::default(), result)
            },
            |_, departed, is_all| {
                assert_eq!(is_all, works);
                counted.extend(departed.keys().map(|netns| netns.0));
            },
        );
        assert_eq!(asked, counted, "what was taken is counted, though it may not be all");
        asked
    }

    #[test]
    fn what_could_not_be_taken_is_taken_in_a_later_turn() {
        let mut forgotten = Forgotten::default();
        forgotten.extend(departed([1, 2]));
        assert_eq!(taken(&mut forgotten, false), [1, 2]);
        forgotten.extend(departed([3]));
        assert_eq!(taken(&mut forgotten, true), [1, 2, 3]);
        assert!(taken(&mut forgotten, true).is_empty(), "they are deleted");
    }

    #[test]
    fn a_namespace_that_is_watched_again_keeps_its_counts() {
        let mut forgotten = Forgotten::default();
        forgotten.extend(departed([1, 2]));
        taken(&mut forgotten, false);
        forgotten.spare(|netns| netns == NetnsId(1));
        assert_eq!(taken(&mut forgotten, true), [2]);
    }
}
