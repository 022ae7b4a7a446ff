//! Who gets programs, and when: what is known of attaching. Knows nothing of how it is done.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{Interface, Programs, State};
use crate::{
    datapath::attach::{AttachError, Attachment},
    model::{interface::InterfaceId, snapshot::AttachFailure},
};

/// A device that is to get programs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The interface.
    pub id: InterfaceId,
    /// Its name, which is how programs are attached.
    pub name: String,
    /// The file of its namespace.
    pub path: PathBuf,
}

impl State {
    /// The interface that should get programs next: the newest that waits, for it may be gone soon, of those that are
    /// at least that old. Not while the container that it belongs to is only being started.
    #[must_use]
    pub fn candidate(&self, now: Instant, age: Duration) -> Option<Candidate> {
        self.interfaces
            .iter()
            .filter(|(_, interface)| interface.waits(self.scope, now) && interface.first_seen + age <= now)
            .max_by_key(|(_, interface)| interface.first_seen)
            .and_then(|(id, _)| self.as_candidate(*id))
    }

    fn as_candidate(&self, id: InterfaceId) -> Option<Candidate> {
        Some(Candidate {
            id,
            name: self.interfaces.get(&id)?.device.name.clone(),
            path: self.namespaces.get(&id.netns)?.file.path.clone(),
        })
    }

    /// How many interfaces wait for programs and were never refused them.
    #[must_use]
    pub fn waiting(&self, now: Instant) -> usize {
        let never_refused = |interface: &&Interface| interface.retry_at().is_none();
        self.interfaces
            .values()
            .filter(never_refused)
            .filter(|interface| interface.waits(self.scope, now))
            .count()
    }

    /// When the next interface may be tried that cannot be tried now: it was refused, or is not yet that old. One that was
    /// refused and whose time has come is a candidate, or waits for something else than time.
    #[must_use]
    pub fn next_try(&self, now: Instant, age: Duration) -> Option<Instant> {
        let young = |interface: &Interface| {
            (interface.waits(self.scope, now) && interface.first_seen + age > now).then(|| interface.first_seen + age)
        };
        self.interfaces
            .values()
            .filter_map(|interface| interface.retry_at().or_else(|| young(interface)))
            .filter(|at| *at > now)
            .min()
    }

    /// Takes in an attempt to attach. Gives back programs whose interface is gone meanwhile.
    pub fn attached(
        &mut self,
        id: InterfaceId,
        attempt: Result<Attachment, AttachError>,
        now: Instant,
    ) -> Option<Attachment> {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return attempt.ok();
        };
        match attempt {
            Ok(attachment) => {
                if !interface.was_detached() {
                    self.attach
                        .delay
                        .observe(now.saturating_duration_since(interface.first_seen).as_secs_f64());
                }
                interface.programs = Programs::Attached(attachment);
            }
            Err(error) => {
                if interface.fail(now) {
                    *self.attach.failures.entry(error.reason()).or_default() += 1;
                }
            }
        }
        None
    }

    /// The interfaces whose programs overlook packets, and may be off: of those somebody has to make sure.
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

    /// Takes in that an interface's programs are off it, which counts as a failure; new ones are attached. Gives
    /// what is left of the old.
    pub fn mark_detached(&mut self, id: InterfaceId) -> Option<Attachment> {
        let interface = self.interfaces.get_mut(&id)?;
        *self.attach.failures.entry(AttachFailure::Detached).or_default() += 1;
        interface.detach()
    }

    /// Everything that has programs, for taking them off in order.
    pub fn take_attachments(&mut self) -> Vec<(PathBuf, Attachment)> {
        let Self {
            namespaces, interfaces, ..
        } = self;
        interfaces
            .iter_mut()
            .filter_map(|(id, interface)| {
                let attachment = interface.programs.take()?;
                Some((namespaces.get(&id.netns)?.file.path.clone(), attachment))
            })
            .collect()
    }
}
