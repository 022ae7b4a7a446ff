//! Which interfaces get programs, and when. Keeps the results of attaching, and does not know how it is done.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{Interface, Programs, State};
use crate::model::{
    health::AttachFailure,
    interface::{InterfaceId, LOOPBACK},
    programs::{Attached, Handle},
};

/// A device that programs are attached to next, or whose programs are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: InterfaceId,
    /// Its name, as it is shown.
    pub name: String,
    /// The file of its namespace.
    pub path: PathBuf,
    /// It is a container's, and what that asks its resolvers is counted.
    pub asks: bool,
}

impl State {
    /// The interface that should get programs next. By turns it is the newest that waits, because that one may be deleted
    /// soon, and the one that waits longest: on a node where containers start all the time it would wait for ever. It has
    /// to be at least `age` old. An interface does not wait while its container is only being started.
    #[must_use]
    pub fn candidate(&self, now: Instant, age: Duration) -> Option<Candidate> {
        let waiting = self
            .interfaces
            .iter()
            .filter(|(_, interface)| interface.waits(self.scope, now) && interface.first_seen + age <= now);
        let next = if self.attempts % 2 == 1 {
            waiting.min_by_key(|(_, interface)| interface.first_seen)
        } else {
            waiting.max_by_key(|(_, interface)| interface.first_seen)
        };
        next.and_then(|(id, _)| self.as_candidate(*id))
    }

    /// Whose turn it is: an interface's, or a namespace's loopback if DNS is counted. Where interfaces wait all the time, each
    /// third turn is a loopback's.
    #[must_use]
    pub fn next_candidate(&self, now: Instant, age: Duration) -> Option<Candidate> {
        let interface = || self.candidate(now, age);
        let loopback = || self.loopback_candidate(now);
        if self.attempts % 3 == 2 {
            loopback().or_else(interface)
        } else {
            interface().or_else(loopback)
        }
    }

    fn as_candidate(&self, id: InterfaceId) -> Option<Candidate> {
        let namespace = self.namespaces.get(&id.netns)?;
        Some(Candidate {
            id,
            name: self.interfaces.get(&id)?.device.name.clone(),
            path: namespace.file.path.clone(),
            asks: namespace.sandbox().is_some(),
        })
    }

    /// The interfaces that wait for programs and have had no failed attach.
    fn all_waiting(&self, now: Instant) -> impl Iterator<Item = &Interface> {
        let never_refused = |interface: &&Interface| interface.retry_at().is_none();
        let all = self.interfaces.values().filter(never_refused);
        all.filter(move |interface| interface.waits(self.scope, now))
    }

    /// How many interfaces wait for programs and have had no failed attach, loopbacks included.
    #[must_use]
    pub fn waiting(&self, now: Instant) -> usize {
        self.all_waiting(now).count() + self.loopbacks_waiting()
    }

    /// How long the one of these waits that waits longest; zero if none does.
    #[must_use]
    pub fn longest_wait(&self, now: Instant) -> Duration {
        let waits = self
            .all_waiting(now)
            .map(|it| now.saturating_duration_since(it.first_seen));
        waits.max().unwrap_or_default()
    }

    /// When the next interface may be tried that cannot be tried now: its retry is not due, or it is younger than
    /// `age`. An interface whose retry is due is a candidate, or waits for something other than time.
    #[must_use]
    pub fn next_try(&self, now: Instant, age: Duration) -> Option<Instant> {
        let young = |interface: &Interface| {
            (interface.waits(self.scope, now) && interface.first_seen + age > now).then(|| interface.first_seen + age)
        };
        self.interfaces
            .values()
            .filter_map(|interface| interface.retry_at().or_else(|| young(interface)))
            .filter(|at| *at > now)
            .chain(self.next_loopback_try(now))
            .min()
    }

    /// Takes in the result of an attach. Returns false if the interface was deleted meanwhile.
    pub fn attached(&mut self, id: InterfaceId, attempt: Result<Attached, AttachFailure>, now: Instant) -> bool {
        self.attempts += 1;
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return false;
        };
        match attempt {
            Ok(attached) => {
                if !interface.was_detached() {
                    self.attach
                        .delay
                        .observe(now.saturating_duration_since(interface.first_seen));
                }
                let dns = attached.dns.clone();
                interface.programs = Programs::Attached(attached);
                if let (Some(dns), Some(namespace)) = (dns, self.namespaces.get_mut(&id.netns))
                    && let Some(sandbox) = namespace.sandbox_mut()
                {
                    sandbox.dns = Some(dns);
                }
            }
            Err(failure) => {
                if interface.fail(&self.times, now) {
                    *self.attach.failures.entry(failure).or_default() += 1;
                }
            }
        }
        true
    }

    /// The interfaces whose programs miss packets, and may be detached. The caller has to check them.
    pub fn suspects(&mut self) -> Vec<Candidate> {
        let missing_packets: Vec<_> = self
            .interfaces
            .iter_mut()
            .filter_map(|(id, interface)| interface.misses_more_packets().then_some(*id))
            .collect();
        missing_packets
            .into_iter()
            .filter_map(|id| self.as_candidate(id))
            .collect()
    }

    /// The handle of an interface's programs; `None` if it has none.
    #[must_use]
    pub fn handle(&self, id: InterfaceId) -> Option<Handle> {
        if id.ifindex == LOOPBACK {
            return self.loopback_handle(id.netns);
        }
        self.interfaces.get(&id)?.programs.handle()
    }

    /// Records that an interface's programs were detached by somebody else, which counts as a failure. New ones will
    /// be attached. The caller has detached what was left of them, so they count nothing any more.
    pub fn mark_detached(&mut self, id: InterfaceId) {
        if id.ifindex == LOOPBACK {
            self.detach_loopback(id.netns);
            *self.attach.failures.entry(AttachFailure::Detached).or_default() += 1;
        } else if let Some(interface) = self.interfaces.get_mut(&id) {
            interface.detach();
            *self.attach.failures.entry(AttachFailure::Detached).or_default() += 1;
        }
    }

    /// Counts devices outside of containers whose programs were detached by somebody else.
    pub fn count_detached(&mut self, devices: u64) {
        *self.attach.failures.entry(AttachFailure::Detached).or_default() += devices;
    }

    /// Takes out all programs, so that they can be detached in order. Returns them with their devices.
    pub fn take_programs(&mut self) -> Vec<(Candidate, Handle)> {
        let attached = |(id, interface): (&InterfaceId, &Interface)| Some((*id, interface.programs.handle()?));
        let all: Vec<_> = self.interfaces.iter().filter_map(attached).collect();
        let taken = all.into_iter().filter_map(|(id, handle)| {
            let candidate = self.as_candidate(id)?;
            self.interfaces.get_mut(&id)?.programs = Programs::Waiting;
            Some((candidate, handle))
        });
        let mut taken: Vec<_> = taken.collect();
        taken.extend(self.take_loopbacks());
        taken
    }
}
