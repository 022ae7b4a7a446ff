//! The attached programs of all interfaces, and the slots of former ones. The registry knows programs by their handles.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::{
    datapath::{
        DatapathError,
        attach::{Attachment, Remains},
    },
    model::{
        counters::Directions,
        dns::DnsCounts,
        programs::{Attached, Filter, Handle},
    },
    observe::state::SLOT_REST,
};

/// How many slots are asked for at most in a turn. Each takes two system calls.
const MOST_ASKED: usize = 256;
/// The longest pause between two questions about a slot. The filter of a device that netmon cannot reach may stay for
/// ever.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// Programs that were added, as the registry is told of them.
#[derive(Debug)]
pub(super) enum Added {
    /// On an interface.
    Interface(Attached),
    /// On a loopback, with what its namespace asks its resolvers.
    Loopback(Handle, Option<Arc<dyn DnsCounts>>),
}

/// The attached programs, and the slots that are not free yet.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    all: BTreeMap<Handle, Attachment>,
    resting: Resting<Remains>,
    last: Handle,
}

impl Attachments {
    /// Adds programs that were attached.
    pub(super) fn add(&mut self, attachment: Attachment) -> Added {
        self.last.0 += 1;
        let handle = self.last;
        let dns = attachment.dns().map(|slot| Arc::clone(slot) as Arc<dyn DnsCounts>);
        let counters = attachment.counters().cloned();
        self.all.insert(handle, attachment);
        match counters.map(Arc::new) {
            Some(counts) => Added::Interface(Attached { handle, counts, dns }),
            None => Added::Loopback(handle, dns),
        }
    }

    /// The programs with this handle.
    pub(super) fn get(&self, handle: Handle) -> Option<&Attachment> {
        self.all.get(&handle)
    }

    /// Detaches what is left of programs on a device of the calling thread's namespace, which has these `filters`.
    pub(super) fn detach(&mut self, handle: Handle, filters: &Directions<Vec<Filter>>) {
        if let Some(attachment) = self.all.remove(&handle) {
            self.rest(attachment.detach_if_on(filters));
        }
    }

    /// Takes the slot of programs that are no longer wanted.
    pub(super) fn rest(&mut self, remains: Remains) {
        self.resting.add(remains, Instant::now());
    }

    /// Gives up these programs, whose devices are deleted or out of sight. Frees the slots of former programs that no
    /// longer exist.
    pub(super) fn free(&mut self, over: Vec<Handle>) {
        for attachment in over.into_iter().filter_map(|handle| self.all.remove(&handle)) {
            self.resting.add(attachment.leave(), Instant::now());
        }
        self.resting.free(Instant::now(), Remains::are_loaded);
    }

    /// When [`Self::free`] next has something to ask.
    pub(super) fn next_free(&self) -> Option<Instant> {
        self.resting.next()
    }
}

/// Slots that are kept until the kernel says that their programs are gone. Nothing else says so. A detached program
/// counts until no processor runs it. A filter counts on while its namespace is out of sight.
#[derive(Debug)]
struct Resting<T> {
    all: Vec<Rest<T>>,
    /// The kernel did not say it of one, and the log says so.
    is_silent: bool,
}

#[derive(Debug)]
struct Rest<T> {
    slot: T,
    /// When to ask next, and how long after the last time that is.
    ask_at: Instant,
    pause: Duration,
}

impl<T> Default for Resting<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            is_silent: false,
        }
    }
}

impl<T> Resting<T> {
    fn add(&mut self, slot: T, now: Instant) {
        self.all.push(Rest {
            slot,
            ask_at: now + SLOT_REST,
            pause: SLOT_REST,
        });
    }

    fn next(&self) -> Option<Instant> {
        self.all.iter().map(|rest| rest.ask_at).min()
    }

    /// Drops the slots whose programs are gone. Those that may still be loaded are asked for again later.
    fn free(&mut self, now: Instant, still_loaded: impl Fn(&T) -> Result<bool, DatapathError>) {
        let mut asked = 0;
        let mut silent = None;
        self.all.retain_mut(|rest| {
            if rest.ask_at > now || asked == MOST_ASKED {
                return true;
            }
            asked += 1;
            match still_loaded(&rest.slot) {
                Ok(false) => return false,
                Ok(true) => {}
                Err(error) => silent = Some(error),
            }
            rest.pause = (rest.pause * 2).min(LONGEST_REST);
            rest.ask_at = now + rest.pause;
            true
        });
        match silent {
            Some(error) if !self.is_silent => {
                self.is_silent = true;
                warn!(%error, "cannot tell whether detached programs still count; their slots stay taken");
            }
            None if asked > 0 && self.is_silent => {
                self.is_silent = false;
                info!("it is known again whether detached programs still count");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        collections::BTreeSet,
        io,
        time::{Duration, Instant},
    };

    use super::{LONGEST_REST, MOST_ASKED, Resting};
    use crate::{datapath::DatapathError, observe::state::SLOT_REST};

    /// The slots that rest after a turn in which programs still count into these. Checks that no other is freed.
    fn after(resting: &mut Resting<u32>, now: Instant, loaded: &[u32]) -> BTreeSet<u32> {
        resting.free(now, |slot| Ok(loaded.contains(slot)));
        resting.all.iter().map(|rest| rest.slot).collect()
    }

    fn refused() -> DatapathError {
        DatapathError::Unsupported {
            what: "say it",
            source: io::Error::from_raw_os_error(libc::ENOMEM),
        }
    }

    #[test]
    fn a_slot_is_free_when_its_programs_are_gone_and_not_before_it_has_rested() {
        let now = Instant::now();
        let mut resting = Resting::default();
        resting.add(1, now);
        resting.add(2, now);
        assert_eq!(after(&mut resting, now, &[]), [1, 2].into(), "nobody is asked yet");
        assert_eq!(resting.next(), Some(now + SLOT_REST));
        assert_eq!(after(&mut resting, now + SLOT_REST, &[2]), [2].into());
        assert_eq!(
            after(&mut resting, now + LONGEST_REST * 100, &[2]),
            [2].into(),
            "time frees no slot"
        );
        let later = resting.next().unwrap_or(now);
        assert_eq!(after(&mut resting, later, &[]), [].into());
        assert_eq!(resting.next(), None, "nobody rests");
    }

    #[test]
    fn whoever_stays_is_asked_for_more_and_more_seldom() {
        let mut now = Instant::now();
        let mut resting = Resting::default();
        resting.add(1, now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let next = resting.next().unwrap_or(now);
            pauses.push((next - now).as_secs());
            now = next;
            after(&mut resting, now, &[1]);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn what_the_kernel_does_not_say_frees_nothing_and_is_said_once() {
        let mut now = Instant::now();
        let mut resting = Resting::default();
        resting.add(1, now);
        for _ in 0..3 {
            now += LONGEST_REST;
            resting.free(now, |_| Err(refused()));
            assert_eq!(resting.all.len(), 1);
            assert!(resting.is_silent, "it would be said again");
        }
        now += LONGEST_REST;
        assert_eq!(after(&mut resting, now, &[]), [].into());
        assert!(!resting.is_silent, "the next time would not be said");
    }

    #[test]
    fn a_turn_asks_for_a_limited_number_and_the_next_for_the_others() {
        let now = Instant::now();
        let mut resting = Resting::default();
        for slot in 0..MOST_ASKED + 10 {
            resting.add(slot, now);
        }
        let due = now + SLOT_REST;
        let asked = Cell::new(0);
        let turn = |resting: &mut Resting<usize>| {
            asked.set(0);
            resting.free(due, |_| {
                asked.set(asked.get() + 1);
                Ok(true)
            });
            asked.get()
        };
        assert_eq!(turn(&mut resting), MOST_ASKED);
        assert!(resting.next() <= Some(due), "the next turn comes at once");
        assert_eq!(turn(&mut resting), 10);
        assert_eq!(turn(&mut resting), 0);
        assert!(resting.next() > Some(due + Duration::from_secs(1)));
    }
}
