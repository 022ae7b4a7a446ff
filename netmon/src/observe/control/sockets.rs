//! Counts the sockets of namespaces that the programs' counts lack: those from before netmon, and those whose changes of
//! state were lost.
//!
//! A list is exact if the programs counted no change meanwhile. So the programs' counts of one namespace are read right
//! before and right after its sockets are listed. Which counts a namespace has is read from the whole map, once before
//! the namespaces of a look and once after them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::{Duration, Instant},
};

use tracing::debug;

use crate::{
    datapath::{DatapathError, SharedTracepoints},
    model::{
        interface::NetnsId,
        tcp::{
            Events,
            sockets::{Counted, Listed},
        },
    },
    netns::connections::{self, STATES},
};

/// How often the sockets of a namespace are listed at most in one look. They are listed again if some changed their
/// state meanwhile.
const ATTEMPTS: u32 = 5;

/// The ifindexes of each namespace for which the programs have counts.
type Interfaces = BTreeMap<NetnsId, BTreeSet<u32>>;

/// What is read for a count.
pub(super) trait Source {
    /// Every namespace's interfaces with counts. `None` without programs.
    fn interfaces(&self) -> Option<Result<Interfaces, DatapathError>>;

    /// The counts of these interfaces, added up. `None` without programs.
    fn events(&self, netns: NetnsId, interfaces: &BTreeSet<u32>) -> Option<Result<Events, DatapathError>>;

    /// The sockets of the calling thread's namespace by the number of their state.
    fn sockets(&self) -> io::Result<[u64; STATES]>;
}

/// The kernel.
pub(super) struct Kernel<'a>(pub(super) &'a SharedTracepoints);

impl Source for Kernel<'_> {
    fn interfaces(&self) -> Option<Result<Interfaces, DatapathError>> {
        Some(self.0.lock().tcp.as_ref()?.interfaces())
    }

    fn events(&self, netns: NetnsId, interfaces: &BTreeSet<u32>) -> Option<Result<Events, DatapathError>> {
        Some(self.0.lock().tcp.as_ref()?.read_interfaces(netns, interfaces))
    }

    fn sockets(&self) -> io::Result<[u64; STATES]> {
        connections::count()
    }
}

/// The counts of one look.
pub(super) struct Counting<S> {
    source: S,
    /// The interfaces with counts at the first count of the look.
    before: Option<Interfaces>,
    /// Those that were read for each exact count.
    exact: Interfaces,
    spent: Duration,
}

impl<S: Source> Counting<S> {
    pub(super) const fn new(source: S) -> Self {
        Self {
            source,
            before: None,
            exact: Interfaces::new(),
            spent: Duration::ZERO,
        }
    }

    /// How long the counts took so far.
    pub(super) const fn spent(&self) -> Duration {
        self.spent
    }

    /// Counts the sockets of a namespace with these devices. The calling thread is in it. `None` if they could not be
    /// counted. Nothing is counted if the programs' counts still are those of `unless`.
    pub(super) fn count(
        &mut self,
        netns: NetnsId,
        devices: impl IntoIterator<Item = u32>,
        unless: Option<&Events>,
    ) -> Option<Counted> {
        let begin = Instant::now();
        let counted = self.try_count(netns, devices, unless);
        self.spent += begin.elapsed();
        counted
    }

    fn try_count(
        &mut self,
        netns: NetnsId,
        devices: impl IntoIterator<Item = u32>,
        unless: Option<&Events>,
    ) -> Option<Counted> {
        if self.before.is_none() {
            self.before = known(self.source.interfaces()?);
        }
        let mut interfaces = self.before.as_ref()?.get(&netns).cloned().unwrap_or_default();
        interfaces.extend(devices);
        // Sockets without a route.
        interfaces.insert(0);
        let mut before = known(self.source.events(netns, &interfaces)?)?;
        if unless.is_some_and(|events| events.changed_sockets(&before) == 0) {
            return None;
        }
        let mut lists = Vec::new();
        for _ in 0..ATTEMPTS {
            let sockets = known(self.source.sockets());
            let after = known(self.source.events(netns, &interfaces)?);
            let (Some(sockets), Some(after)) = (sockets, after) else {
                break;
            };
            let changed = before.changed_sockets(&after);
            lists.push(Listed {
                before: after.before(&sockets),
                events: after,
                changed,
            });
            if changed == 0 {
                self.exact.insert(netns, interfaces);
                break;
            }
            before = after;
        }
        Counted::of(&lists)
    }

    /// The namespaces whose counts are not exact after all: by now the programs have counts of other interfaces, which
    /// may be older than the count of the sockets.
    pub(super) fn missed(self) -> Vec<NetnsId> {
        if self.exact.is_empty() {
            return Vec::new();
        }
        let after = self.source.interfaces().and_then(known);
        let is_missed = |netns: &NetnsId, read: &BTreeSet<u32>| {
            after
                .as_ref()
                .is_none_or(|after| after.get(netns).is_some_and(|now| !now.is_subset(read)))
        };
        let exact = self.exact.iter();
        exact
            .filter(|(netns, read)| is_missed(netns, read))
            .map(|(netns, _)| *netns)
            .collect()
    }
}

fn known<T>(read: Result<T, impl std::fmt::Display>) -> Option<T> {
    read.inspect_err(|error| debug!(%error, "sockets are not counted")).ok()
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        collections::BTreeSet,
        io,
    };

    use netmon_common::tcp::Tcp;

    use super::{ATTEMPTS, Counting, DatapathError, Events, Interfaces, NetnsId, STATES, Source};

    const HERE: NetnsId = NetnsId(7);
    const ESTABLISHED: usize = 1;

    /// A kernel in which sockets change their state while others are counted.
    #[derive(Default)]
    struct Fake {
        interfaces: RefCell<Interfaces>,
        /// How often the whole map, some of its counts, and the sockets were read.
        whole: Cell<u32>,
        parts: Cell<u32>,
        lists: Cell<u32>,
        /// After how many lists nothing changes any more.
        restless: u32,
        /// During this list ten more change.
        burst: Option<u32>,
        /// The list that fails.
        fails: Option<u32>,
    }

    impl Source for &Fake {
        fn interfaces(&self) -> Option<Result<Interfaces, DatapathError>> {
            self.whole.set(self.whole.get() + 1);
            Some(Ok(self.interfaces.borrow().clone()))
        }

        fn events(&self, netns: NetnsId, interfaces: &BTreeSet<u32>) -> Option<Result<Events, DatapathError>> {
            self.parts.set(self.parts.get() + 1);
            let known = self.interfaces.borrow().get(&netns).cloned().unwrap_or_default();
            assert!(known.is_subset(interfaces), "{interfaces:?}");
            let mut counts = Tcp::ZERO;
            let more = if self.burst.is_some_and(|burst| burst <= self.lists.get()) {
                10
            } else {
                0
            };
            counts.states[ESTABLISHED] = u64::from(self.lists.get().min(self.restless)) + more;
            Some(Ok(Events::from(counts)))
        }

        fn sockets(&self) -> io::Result<[u64; STATES]> {
            self.lists.set(self.lists.get() + 1);
            if self.fails == Some(self.lists.get()) {
                return Err(io::Error::from_raw_os_error(libc::EMFILE));
            }
            let mut sockets = [0; STATES];
            sockets[ESTABLISHED] = 100 + u64::from(self.lists.get().min(self.restless));
            Ok(sockets)
        }
    }

    #[test]
    fn a_count_is_exact_if_nothing_changed_meanwhile() {
        for restless in 0..ATTEMPTS {
            let fake = Fake {
                restless,
                ..Fake::default()
            };
            let mut counting = Counting::new(&fake);
            let counted = counting.count(HERE, [2], None).expect("a count");
            assert!(counted.is_exact());
            assert_eq!(fake.lists.get(), restless + 1);
            let now = (&fake)
                .events(HERE, &BTreeSet::new())
                .expect("programs")
                .expect("counts");
            assert_eq!(now.connections(ESTABLISHED, &counted.before), 100 + u64::from(restless));
        }
    }

    #[test]
    fn of_a_namespace_that_is_never_still_the_best_count_is_used_and_is_not_exact() {
        let fake = Fake {
            restless: u32::MAX,
            burst: Some(ATTEMPTS),
            ..Fake::default()
        };
        let mut counting = Counting::new(&fake);
        let counted = counting.count(HERE, [2], None).expect("a count");
        assert!(!counted.is_exact());
        let others = counted.events.counts().states[ESTABLISHED];
        let shown = counted.events.connections(ESTABLISHED, &counted.before);
        assert_eq!(shown, 100 + others, "the burst is in one list of five");
        assert_eq!(fake.lists.get(), ATTEMPTS);
        assert!(counting.missed().is_empty(), "it is repeated anyway");
    }

    #[test]
    fn nothing_is_listed_unless_something_changed() {
        let fake = Fake::default();
        let mut counting = Counting::new(&fake);
        let now = || {
            (&fake)
                .events(HERE, &BTreeSet::new())
                .expect("programs")
                .expect("counts")
        };
        assert_eq!(counting.count(HERE, [2], Some(&now())), None);
        assert_eq!(fake.lists.get(), 0);
        let mut other = *now().counts();
        other.accepts += 1;
        let counted = counting.count(HERE, [2], Some(&other.into())).expect("a count");
        assert_eq!((counted.events, fake.lists.get()), (now(), 1));
    }

    #[test]
    fn what_fails_leaves_the_count_before_it() {
        let fake = |fails| Fake {
            restless: u32::MAX,
            fails: Some(fails),
            ..Fake::default()
        };
        assert_eq!(Counting::new(&fake(1)).count(HERE, [2], None), None);
        let counted = Counting::new(&fake(2)).count(HERE, [2], None).expect("the first count");
        assert!(!counted.is_exact());
    }

    #[test]
    fn the_whole_map_is_read_twice_however_many_namespaces_are_counted() {
        let fake = Fake::default();
        let mut counting = Counting::new(&fake);
        for netns in 0..1000 {
            assert!(counting.count(NetnsId(netns), [2], None).expect("a count").is_exact());
        }
        assert!(counting.missed().is_empty());
        assert_eq!((fake.whole.get(), fake.parts.get(), fake.lists.get()), (2, 2000, 1000));
        let none = Fake::default();
        assert!(Counting::new(&none).missed().is_empty());
        assert_eq!(none.whole.get(), 0, "nothing was counted");
    }

    #[test]
    fn counts_of_a_deleted_device_belong_to_its_namespace_and_those_of_a_new_one_make_it_count_again() {
        let fake = Fake::default();
        fake.interfaces.borrow_mut().insert(HERE, [9].into());
        let mut counting = Counting::new(&fake);
        let other = NetnsId(8);
        for netns in [HERE, other] {
            assert!(counting.count(netns, [2], None).expect("a count").is_exact());
        }
        fake.interfaces.borrow_mut().insert(other, [0, 2].into());
        fake.interfaces.borrow_mut().insert(HERE, [2, 3, 9].into());
        assert_eq!(counting.missed(), [HERE]);
    }
}
