//! What rows belong to, and which of it is shown.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{
    CausedBy, Limit,
    placement::{Groups, Placement},
};
use crate::{
    model::inventory::Identity,
    page::{
        key::{Key, Word},
        rows::Rows,
    },
};

/// The kinds of subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A container.
    Container,
    /// A service on a network.
    Service,
    /// Another node.
    Peer,
}

impl Class {
    /// Whether two rows certainly have the same subject. May be false if they have.
    fn is_same(self, one: &Key, other: &Key) -> bool {
        match self {
            Self::Container => Arc::ptr_eq(&one.identity, &other.identity),
            Self::Service => Arc::ptr_eq(&one.identity, &other.identity) && one.network == other.network,
            Self::Peer => one.what == other.what,
        }
    }
}

/// What identifies a subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name {
    identity: Arc<Identity>,
    network: Arc<str>,
    what: Word,
}

/// What is known of a subject.
#[derive(Debug)]
pub(super) struct Subject {
    since: Instant,
    round: u64,
    is_shown: bool,
    /// It still runs.
    is_alive: bool,
    /// The number of series that it has in any case.
    series: usize,
    /// The same, at the last reading.
    series_before: usize,
    /// The rows that have to find room.
    caused: BTreeMap<Caused, Rank>,
    /// The labels of the sum that it is part of.
    group: Option<Arc<Identity>>,
}

/// A row that has to find room: why, its network, and its interface or reason.
type Caused = (CausedBy, Arc<str>, Word);

#[derive(Debug, Default)]
struct Rank {
    series: usize,
    round: u64,
    is_shown: bool,
}

impl Subject {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            round: 0,
            is_shown: false,
            is_alive: false,
            series: 0,
            series_before: 0,
            caused: BTreeMap::new(),
            group: None,
        }
    }

    /// Counts the series of a row.
    fn count(&mut self, limit: Limit, key: &Key, series: usize, round: u64) {
        let Some(caused) = caused(limit, key) else {
            self.series += series;
            return;
        };
        if series == 0 {
            // It has nothing to show yet.
            return;
        }
        let rank = self.caused.entry(caused).or_default();
        if rank.round != round {
            rank.round = round;
            rank.series = 0;
        }
        rank.series += series;
    }

    /// The number of series that it has in any case.
    pub(super) const fn series(&self) -> usize {
        self.series
    }

    /// The number of shown series that it causes itself.
    fn extra(&self) -> usize {
        let shown = self.caused.values().filter(|rank| rank.is_shown);
        shown.map(|rank| rank.series).sum()
    }

    /// Whether all of its rows are shown.
    fn is_whole(&self) -> bool {
        self.is_shown && self.caused.values().all(|rank| rank.is_shown)
    }

    /// How many of the rows that it causes itself are not shown.
    fn hidden(&self) -> usize {
        let hidden = self.caused.iter().filter(|(_, rank)| !rank.is_shown);
        hidden.filter(|((cause, ..), _)| *cause != CausedBy::Traffic).count()
    }
}

/// The subjects of one class.
#[derive(Debug)]
pub(super) struct Subjects {
    class: Class,
    round: u64,
    now: Option<Instant>,
    known: HashMap<Name, Subject>,
}

impl Subjects {
    /// No subjects yet.
    pub(super) fn new(class: Class) -> Self {
        Self {
            class,
            round: 0,
            now: None,
            known: HashMap::new(),
        }
    }

    /// Counts the series of each subject on a page. Removes the subjects that are not on it, unless something
    /// `is_missing` from the page that will be there again.
    pub(super) fn count(
        &mut self,
        page: &[Rows],
        is_running: &HashMap<Arc<Identity>, bool>,
        is_missing: bool,
        now: Instant,
    ) {
        self.round += 1;
        self.now = Some(now);
        let round = self.round;
        for rows in page.iter().filter(|rows| rows.group.limit.class() == Some(self.class)) {
            let mut at = 0;
            // Rows of one subject mostly follow each other. Finding the subject takes longer than counting a row.
            for chunk in rows
                .entries
                .chunk_by(|one, other| self.class.is_same(&one.key, &other.key))
            {
                let begin = at;
                at += chunk.len();
                let Some(first) = chunk.iter().find(|row| !row.is_exempt) else {
                    continue;
                };
                let name = name(self.class, &first.key);
                let subject = match self.known.get_mut(&name) {
                    Some(subject) => subject,
                    None => self.known.entry(name).or_insert_with(|| Subject::new(now)),
                };
                if subject.round != round {
                    subject.round = round;
                    subject.series_before = std::mem::take(&mut subject.series);
                    subject.is_alive = match self.class {
                        Class::Container => is_running.get(&first.key.identity).copied().unwrap_or(false),
                        Class::Service | Class::Peer => true,
                    };
                }
                for (row, at) in chunk.iter().zip(begin..).filter(|(row, _)| !row.is_exempt) {
                    subject.count(rows.group.limit, &row.key, rows.most_lines_of(at), round);
                }
            }
        }
        if is_missing {
            for subject in self.known.values_mut().filter(|subject| subject.round == round) {
                subject.series = subject.series.max(subject.series_before);
            }
            return;
        }
        self.known.retain(|_, subject| subject.round == round);
        for subject in self.known.values_mut() {
            subject.caused.retain(|_, rank| rank.round == round);
        }
    }

    /// Decides what is shown. What was shown before stays. The rest is added as long as there is room, the oldest
    /// first. `cost` is a subject's part of the room. `most` is the maximum number of series of one subject.
    pub(super) fn admit(&mut self, room: usize, most: usize, cost: fn(&Subject) -> usize) {
        let now = self.now;
        let shown = self.known.values().filter(|subject| subject.is_shown);
        let mut used = shown.fold(0, |sum: usize, subject| {
            sum.saturating_add(cost(subject) + subject.extra())
        });
        // What has ended has no new counts, so it is not added later. An exception is what ended before its first
        // reading.
        let waits = |subject: &Subject| !subject.is_shown && (subject.is_alive || Some(subject.since) == now);
        for subject in self.by_age(waits) {
            let cost = cost(subject);
            if used.saturating_add(cost) <= room {
                subject.is_shown = true;
                used += cost;
            }
        }
        let mut left = room.saturating_sub(used);
        for subject in self.by_age(|subject| subject.is_shown && !subject.is_whole()) {
            let mut series = subject.series + subject.extra();
            for ((cause, ..), rank) in subject.caused.iter_mut().filter(|(_, rank)| !rank.is_shown) {
                let has_room = *cause == CausedBy::Traffic || series + rank.series <= most;
                if has_room && rank.series <= left {
                    rank.is_shown = true;
                    series += rank.series;
                    left -= rank.series;
                }
            }
        }
    }

    fn by_age(&mut self, wanted: impl Fn(&Subject) -> bool) -> impl Iterator<Item = &mut Subject> {
        let mut wanted: Vec<_> = self.known.iter_mut().filter(|(_, subject)| wanted(subject)).collect();
        wanted.sort_by(|(one, its), (other, others)| (its.since, one).cmp(&(others.since, other)));
        wanted.into_iter().map(|(_, subject)| subject)
    }

    /// Whether nothing is over a limit.
    pub(super) fn are_all_shown(&self) -> bool {
        self.known.values().all(Subject::is_whole)
    }

    /// How many are not shown. A service counts once, whatever its networks.
    pub(super) fn over(&self) -> usize {
        let hidden = self.known.iter().filter(|(_, subject)| !subject.is_shown);
        let names: HashSet<_> = hidden.map(|(name, _)| (&name.identity, &name.what)).collect();
        names.len()
    }

    /// The mean number of series of a subject that it has in any case.
    pub(super) fn mean(&self) -> usize {
        let series: usize = self.known.values().map(Subject::series).sum();
        series.checked_div(self.known.len()).unwrap_or(0)
    }

    /// How many rows of shown subjects are not shown.
    pub(super) fn over_in_shown(&self) -> usize {
        let shown = self.known.values().filter(|subject| subject.is_shown);
        shown.map(Subject::hidden).sum()
    }

    /// The labels of the sums that subjects are part of.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Identity> {
        let hidden = self.known.values().filter(|subject| !subject.is_shown);
        hidden.filter_map(|subject| subject.group.as_deref())
    }

    /// Where a row goes.
    pub(super) fn placement(&mut self, limit: Limit, key: &Key, groups: &mut Groups, now: Instant) -> Placement {
        let Some(subject) = self.known.get_mut(&name(self.class, key)) else {
            return Placement::Shown;
        };
        if subject.is_shown {
            let caused = caused(limit, key);
            let is_hidden = |caused: &Caused| subject.caused.get(caused).is_some_and(|rank| !rank.is_shown);
            return match caused.filter(is_hidden) {
                None => Placement::Shown,
                Some((CausedBy::Traffic, ..)) => Placement::LeftOut,
                Some(_) => Placement::InSubject,
            };
        }
        match self.class {
            Class::Container => {
                let group = subject.group.get_or_insert_with(|| groups.group(&key.identity, now));
                Placement::InGroup(Arc::clone(group))
            }
            Class::Service => Placement::InServices,
            Class::Peer => Placement::InPeers,
        }
    }

    /// The number of entries that it holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

fn name(class: Class, key: &Key) -> Name {
    let (identity, network, what) = match class {
        Class::Container => (Some(&key.identity), None, None),
        Class::Service => (Some(&key.identity), Some(&key.network), None),
        Class::Peer => (None, None, Some(&key.what)),
    };
    Name {
        identity: identity.cloned().unwrap_or_default(),
        network: network.cloned().unwrap_or_default(),
        what: what.cloned().unwrap_or_default(),
    }
}

/// Why a row has to find room of its own; `None` if its container has it in any case.
fn caused(limit: Limit, key: &Key) -> Option<Caused> {
    let cause = match limit {
        Limit::Container(cause @ (CausedBy::Container | CausedBy::Traffic), _)
        | Limit::Service(cause @ (CausedBy::Container | CausedBy::Traffic), _) => cause,
        Limit::Container(cause @ CausedBy::ContainerUnlessNetwork, _) if key.network.is_empty() => cause,
        Limit::Container(CausedBy::Engine | CausedBy::ContainerUnlessNetwork, _)
        | Limit::Service(CausedBy::Engine | CausedBy::ContainerUnlessNetwork, _)
        | Limit::None
        | Limit::Peer(_)
        | Limit::Rest => return None,
    };
    Some((cause, Arc::clone(&key.network), key.what.clone()))
}
