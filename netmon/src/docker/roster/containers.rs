//! The containers of the roster: which to ask for and when, what an answer or an event changes, and when one is
//! forgotten. Those of an event are asked for before those of a full listing, and few of each at a time.
//!
//! Pure. Must not know what an inventory is made of besides containers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Roster, spread,
    track::{Inspect, Start, Step, Track},
};
use crate::{
    docker::{
        convert::{self, Listed, Stage},
        question::{Answer, Question},
    },
    model::inventory::{Container, ContainerId},
};

/// How many containers of a full listing are asked for at the same time. Enough to hide the round trip, and few
/// enough to leave the engine time for its users.
pub(super) const ROUTINE_AT_ONCE: usize = 8;

/// How many containers are asked for at the same time because of an event. The limit is higher because the engine
/// holds the answer back while a container starts. Other containers must not wait for that.
pub(super) const URGENT_AT_ONCE: usize = 32;

/// How long a description is believed without another one. Lists do not have everything, and events may be lost.
const DESCRIBED_AGAIN: Duration = Duration::from_hours(1);

impl Roster {
    /// Takes in the list of running containers.
    ///
    /// Asks for each listed container, unless the list says of it what its description said. Also asks for each
    /// container that is known as running and is not listed: its own description decides, not its absence from the list.
    pub(in crate::docker) fn containers(&mut self, running: Vec<Listed>) {
        let asked = self.open.remove(&Question::Containers).unwrap_or_default();
        let listed: BTreeMap<ContainerId, _> = running.into_iter().map(|it| (it.id, it.summary)).collect();
        let missing = self
            .tracks
            .iter()
            .filter(|(id, track)| !listed.contains_key(*id) && track.runs() && track.as_of < asked);
        let missing: Vec<_> = missing.map(|(id, _)| (Arc::clone(id), None)).collect();
        let mut awaited = BTreeSet::new();
        for (id, summary) in missing.into_iter().chain(listed) {
            let track = self.tracks.entry(Arc::clone(&id)).or_default();
            let is_idle = matches!(track.inspect, Inspect::Idle);
            if is_idle && track.is_up_to_date(summary, asked, described_again(&id)) {
                continue;
            }
            if is_idle {
                track.inspect = Inspect::Queued;
                track.listed = summary;
                self.routine.push_back(Arc::clone(&id));
            }
            awaited.insert(id);
        }
        self.syncing = Some(awaited);
    }

    /// An event could not be read: whatever is known may be outdated, and the next sync asks for everything.
    pub(in crate::docker) fn distrust(&mut self) {
        for track in self.tracks.values_mut() {
            (track.summary, track.listed) = (None, None);
        }
    }

    /// Takes in the result of a question about a container.
    pub(in crate::docker) fn container(&mut self, id: &ContainerId, mut answer: Answer, now: Instant) {
        if let Some(awaited) = &mut self.syncing {
            awaited.remove(id);
        }
        let Some(track) = self.tracks.get_mut(id) else { return };
        let Inspect::Open {
            asked,
            routine,
            again,
            start,
            died,
        } = std::mem::take(&mut track.inspect)
        else {
            return;
        };
        let endpoints = self.lookup.take(id);
        let mut is_shown = false;
        if let Answer::Described(described) = &mut answer {
            convert::complete(&mut described.container, endpoints);
            is_shown = died.is_none() && start.is_shown(&described.container);
        }
        let again = again || start != Start::default() && !is_shown;
        if !routine || !matches!(answer, Answer::Described(_)) {
            track.listed = None;
        }
        *(if routine {
            &mut self.routine_open
        } else {
            &mut self.urgent_open
        }) -= 1;
        let expires = now + self.linger;
        let is_news = match answer {
            // Between two start attempts the container has no process and no interface. A sync that finds it in this
            // state has found nothing new.
            Answer::Described(described)
                if routine && described.stage == Stage::Restarting && track.known.is_none() =>
            {
                false
            }
            Answer::Described(described) => track.describe(*described, asked, died, expires),
            Answer::NotFound => track.end(asked, expires),
            Answer::Nothing => false,
        };
        self.changed |= is_news;
        if let (true, Some(known)) = (is_news, &track.known) {
            self.member_poll.changed(&known.endpoints);
        }
        // The list of networks is older than the container's description if the network is new, or if its event was
        // missed.
        let unknown = |known: &Arc<Container>| {
            known
                .endpoints
                .iter()
                .any(|endpoint| !self.networks.contains_key(&endpoint.network))
        };
        if self.networks_as_of < asked && track.known.as_ref().is_some_and(unknown) {
            self.wanted.insert(Question::Networks);
        }
        if again {
            self.inspect(Arc::clone(id));
        } else {
            self.forget_if_unknown(id);
        }
    }

    /// When the next container is to be forgotten.
    pub(in crate::docker) fn next_expiry(&self) -> Option<Instant> {
        self.tracks.values().filter_map(|track| track.expires).min()
    }

    /// Forgets the containers whose linger is over.
    pub(in crate::docker) fn expire(&mut self, now: Instant) {
        for track in self.tracks.values_mut() {
            if track.expires.is_some_and(|expires| expires <= now) {
                track.expires = None;
                track.known = None;
                self.changed = true;
            }
        }
        self.tracks.retain(|_, track| track.known.is_some() || track.is_asked());
    }

    /// Whether a container is known as running, or is being asked for.
    pub(super) fn concerns(&self, id: &ContainerId) -> bool {
        let track = self.tracks.get(id);
        track.is_some_and(|track| track.runs() || track.is_asked())
    }

    /// Takes in an event of a container's start. Asks for the container, unless what is known of it is newer.
    pub(super) fn starts(&mut self, id: ContainerId, step: Step) {
        let track = self.tracks.entry(Arc::clone(&id)).or_default();
        track.is_starting = matches!(step, Step::Connected(_)) && !track.runs();
        let mut since = Start::default();
        since.note(step);
        match &mut track.inspect {
            Inspect::Open { start, .. } => start.note(step),
            Inspect::Idle if track.known.as_ref().is_some_and(|known| since.is_shown(known)) => {}
            Inspect::Idle | Inspect::Queued => self.inspect(id),
        }
    }

    /// The containers that are running and whose descriptions are awaited.
    pub(super) fn held(&self) -> BTreeSet<ContainerId> {
        let is_held = |track: &Track| matches!(track.inspect, Inspect::Open { .. }) && !track.is_starting;
        let held = self.tracks.iter().filter(|(_, track)| is_held(track));
        held.map(|(id, _)| Arc::clone(id)).collect()
    }

    /// Queues a question about a container, or marks an open one to be asked again.
    pub(super) fn inspect(&mut self, id: ContainerId) {
        let track = self.tracks.entry(Arc::clone(&id)).or_default();
        match &mut track.inspect {
            Inspect::Open { again, .. } => *again = true,
            Inspect::Idle | Inspect::Queued => {
                // It may already be in the other queue, which will then skip it because its question is open.
                track.inspect = Inspect::Queued;
                if !self.urgent.contains(&id) {
                    self.urgent.push_back(id);
                }
            }
        }
    }

    pub(super) fn next_inspect(&mut self, asked: i64) -> Option<ContainerId> {
        let tracks = &mut self.tracks;
        if self.urgent_open < URGENT_AT_ONCE
            && let Some(id) = pop(&mut self.urgent, tracks, asked, false)
        {
            self.urgent_open += 1;
            return Some(id);
        }
        if self.routine_open < ROUTINE_AT_ONCE
            && let Some(id) = pop(&mut self.routine, tracks, asked, true)
        {
            self.routine_open += 1;
            return Some(id);
        }
        None
    }

    /// An event reported the end of a container's process.
    pub(super) fn ended(&mut self, id: ContainerId, at: i64, now: Instant) {
        let expires = now + self.linger;
        let track = self.tracks.entry(Arc::clone(&id)).or_default();
        let runs = track.runs();
        let is_news = at > track.as_of;
        if is_news {
            let is_news = track.end(at, expires);
            self.changed |= is_news;
            if let (true, Some(known)) = (is_news, &track.known) {
                self.member_poll.changed(&known.endpoints);
            }
            // This may be the end of another run than the known one. Each run lingers for the full time.
            track.expires = track.expires.map(|_| expires);
        }
        match &mut track.inspect {
            // The answer may still describe it as running, which would be outdated.
            Inspect::Open { asked, died, .. } => {
                if at > *asked {
                    *died = Some(at);
                }
            }
            // The answer will be newer than this event.
            Inspect::Queued => {}
            // Either it was never described, or the known description is newer than the event. The engine decides.
            Inspect::Idle => {
                if track.known.is_none() || (runs && !is_news) {
                    self.inspect(id);
                }
            }
        }
    }

    fn forget_if_unknown(&mut self, id: &ContainerId) {
        if self
            .tracks
            .get(id)
            .is_some_and(|track| track.known.is_none() && !track.is_asked())
        {
            self.tracks.remove(id);
        }
    }
}

/// How long a description is believed as long as the lists agree with it: an hour, more or less, so that not all are
/// asked for at the same time.
fn described_again(id: &ContainerId) -> Duration {
    DESCRIBED_AGAIN * 3 / 4 + spread(id, DESCRIBED_AGAIN / 2)
}

/// The first container of a queue that is still waiting for its question.
fn pop(
    queue: &mut VecDeque<ContainerId>,
    tracks: &mut BTreeMap<ContainerId, Track>,
    asked: i64,
    routine: bool,
) -> Option<ContainerId> {
    while let Some(id) = queue.pop_front() {
        if let Some(track) = tracks.get_mut(&id)
            && matches!(track.inspect, Inspect::Queued)
        {
            track.inspect = Inspect::Open {
                asked,
                routine,
                again: false,
                start: Start::default(),
                died: None,
            };
            return Some(id);
        }
    }
    None
}
