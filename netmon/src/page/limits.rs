//! Limits on the number of series of a page: which rows are shown, and which are summed up.
//!
//! There is one algorithm. Rows belong to subjects: a container, a service on a network, a node that nothing here
//! sends to. A subject that was shown before stays. Others are shown as long as there is room, the oldest first. A
//! container also has a limit of its own, for the rows that it causes itself: interfaces and drop reasons. So has a
//! service on a network. What comes with traffic, such as histograms, is shown if there is room.
//!
//! Containers over the limit are summed up by service and network, with [`OVER`] as their names. Rows over a
//! container's own limit are summed up by network.
//!
//! No count is left out. So sums by service, by network and of the node are the same as without a limit. A row that is
//! shown remains shown until it ends. A row that is shown later starts at 0, and its earlier counts remain in the
//! sum. So no counter falls or jumps.

mod placement;
mod remainder;
mod subjects;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use self::{
    placement::{Groups, Placement},
    remainder::Remainder,
    subjects::{Class, Subject, Subjects},
};
use super::{key::Key, rows::Rows, value::Value};
use crate::model::{collector::Collector, health::LimitHealth, inventory::Identity, times::Times};

/// The name of what is summed up: containers, interfaces, reasons, or services. No engine gives this name to a
/// container, and no kernel gives it to an interface.
pub const OVER: &str = "(over the limit)";

/// The part of the page's series that is kept for sums, and the part that services may have: one in this many.
const SHARE: usize = 10;
/// How many nodes are shown that send to this node but that nothing here sends to. Anyone can put any address into a
/// packet.
const MOST_STRANGERS: usize = 64;
/// The maximum number of rows that get the room that the rest of the page leaves.
const MOST_OF_REST: usize = 10_000;
/// Room for netmon's own series, which are counted last. There are 60 to 100, and more with many kernel programs.
const OF_NETMON: usize = 250;

/// The limit that a schema's rows have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// None.
    None,
    /// They belong to a container.
    Container(CausedBy, Over),
    /// They belong to a service on a network.
    Service(CausedBy, Over),
    /// They belong to another node. Those of nodes that this node sends to are exempt.
    Peer(Over),
    /// They get the room that the rest of the page leaves. Those over it are left out.
    Rest,
}

/// Which of a container's or service's rows it causes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CausedBy {
    /// None.
    Engine,
    /// All.
    Container,
    /// Those without a network. The engine creates an interface for each network, and the container all others.
    ContainerUnlessNetwork,
    /// None. But they come with traffic, after the container was found room. They are shown if there is room left, and
    /// else left out. A container's own limit does not apply.
    Traffic,
}

/// What becomes of the rows over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// They are counters, and summed up. The sum of several containers has one row for all values of
    /// [`Key::what`](Key).
    Sum,
    /// The same, but the sum of several containers keeps the values of [`Key::what`](Key): there are few.
    SumByWhat,
    /// They are current values, and added up, by [`Key::what`](Key).
    Add,
    /// They say something that a sum cannot say. They are left out.
    LeaveOut,
}

/// All rows are shown.
pub const SHOWN: Limit = Limit::None;
/// Counters of a container.
pub const CONTAINER: Limit = Limit::Container(CausedBy::Engine, Over::SumByWhat);
/// Counters of a container that come with traffic.
pub const CONTAINER_TRAFFIC: Limit = Limit::Container(CausedBy::Traffic, Over::SumByWhat);
/// Current values of a container.
pub const CONTAINER_NOW: Limit = Limit::Container(CausedBy::Engine, Over::Add);
/// Facts of a container.
pub const CONTAINER_FACTS: Limit = Limit::Container(CausedBy::Engine, Over::LeaveOut);
/// Counters of a container's interface.
pub const INTERFACE: Limit = Limit::Container(CausedBy::ContainerUnlessNetwork, Over::Sum);
/// Facts of a container's interface.
pub const INTERFACE_FACTS: Limit = Limit::Container(CausedBy::ContainerUnlessNetwork, Over::LeaveOut);
/// Counters that a container causes itself.
pub const CAUSED: Limit = Limit::Container(CausedBy::Container, Over::SumByWhat);
/// Counters of a service.
pub const SERVICE: Limit = Limit::Service(CausedBy::Engine, Over::Sum);
/// Counters of a service, by one of a few reasons.
pub const SERVICE_REASONS: Limit = Limit::Service(CausedBy::Engine, Over::SumByWhat);
/// Counters that a service's containers cause themselves.
pub const SERVICE_CAUSED: Limit = Limit::Service(CausedBy::Container, Over::SumByWhat);
/// Counters of another node.
pub const PEER: Limit = Limit::Peer(Over::Sum);
/// Facts of another node.
pub const PEER_FACTS: Limit = Limit::Peer(Over::LeaveOut);
/// Facts that get the room that the rest of the page leaves.
pub const REST: Limit = Limit::Rest;

impl Limit {
    /// What the rows belong to.
    const fn class(self) -> Option<Class> {
        match self {
            Self::Container(..) => Some(Class::Container),
            Self::Service(..) => Some(Class::Service),
            Self::Peer(_) => Some(Class::Peer),
            Self::None | Self::Rest => None,
        }
    }
}

/// The maximum numbers of series; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// On a page.
    pub series: usize,
    /// Of one container, or of one service on a network. Series of the networks that the engine connected it to are always
    /// shown, even above the limit.
    pub container_series: usize,
}

/// What is shown, and the sums of the rest.
#[derive(Debug)]
pub struct Limits {
    caps: Caps,
    times: Times,
    containers: Subjects,
    services: Subjects,
    /// Those that nothing here sends to.
    peers: Subjects,
    /// The labels of sums of containers.
    groups: Groups,
    /// The sums, by the name of their [`Group`](super::rows::Group).
    sums: BTreeMap<&'static str, Remainder>,
    /// When a group with a limit was last on a page.
    groups_seen: BTreeMap<&'static str, Instant>,
    /// The number of series of containers' sums on the last page.
    sum_series: usize,
    /// New rows may be older than netmon.
    is_beginning: bool,
    /// When something was last over each limit.
    said: BTreeMap<&'static str, Instant>,
}

impl Limits {
    /// Limits with nothing shown yet.
    #[must_use]
    pub fn new(caps: Caps) -> Self {
        let or_none = |cap| if cap == 0 { usize::MAX } else { cap };
        Self {
            caps: Caps {
                series: or_none(caps.series),
                container_series: or_none(caps.container_series),
            },
            times: Times::default(),
            containers: Subjects::new(Class::Container),
            services: Subjects::new(Class::Service),
            peers: Subjects::new(Class::Peer),
            groups: Groups::default(),
            sums: BTreeMap::new(),
            groups_seen: BTreeMap::new(),
            sum_series: 0,
            is_beginning: true,
            said: BTreeMap::new(),
        }
    }

    /// The same limits, with these waiting times.
    #[must_use]
    pub fn with_times(self, times: Times) -> Self {
        Self { times, ..self }
    }

    /// Sums up what is over the limits. `is_running` says for each container whether it still runs. `is_partial`
    /// says that rows which come later may be older than netmon.
    pub fn apply(
        &mut self,
        page: &mut [Rows],
        is_running: &HashMap<Arc<Identity>, bool>,
        is_partial: bool,
        now: Instant,
    ) -> LimitHealth {
        let lines = |page: &[Rows], of: fn(Limit) -> bool| {
            let rows = page.iter().filter(|rows| of(rows.group.limit));
            rows.map(Rows::lines).sum::<usize>()
        };
        let mut limited = BTreeMap::new();
        let is_missing = self.is_missing(page, now);

        let share = self.caps.series / SHARE;
        self.services.count(page, is_running, is_missing, now);
        self.services.admit(share, self.caps.container_series, Subject::series);
        self.peers.count(page, is_running, is_missing, now);
        self.peers.admit(MOST_STRANGERS, usize::MAX, |_| 1);
        for rows in &mut *page {
            if let Some(Class::Service | Class::Peer) = rows.group.limit.class() {
                self.place(rows, &mut limited, now);
            }
        }

        let has_room = |limit: Limit| limit.class() != Some(Class::Container) && limit != Limit::Rest;
        let others = lines(page, has_room) + OF_NETMON + share.max(self.sum_series);
        let room = self.caps.series.saturating_sub(others);
        self.containers.count(page, is_running, is_missing, now);
        self.containers.admit(room, self.caps.container_series, Subject::series);
        self.groups.keep(
            share,
            self.containers.mean(),
            self.containers.groups(),
            self.times.sum_linger,
            now,
        );
        self.sum_series = 0;
        for rows in &mut *page {
            if rows.group.limit.class() == Some(Class::Container) {
                self.place(rows, &mut limited, now);
            }
        }

        let others = lines(page, |limit| limit != Limit::Rest);
        let mut room = self.caps.series.saturating_sub(others + OF_NETMON).min(MOST_OF_REST);
        for rows in page.iter_mut().filter(|rows| rows.group.limit == Limit::Rest) {
            let is_cut = !rows.keep(room);
            room = room.saturating_sub(rows.lines());
            note(&mut limited, rows, is_cut);
        }

        self.is_beginning = is_partial;
        LimitHealth {
            over: vec![
                ("series", self.containers.over()),
                (
                    "container_series",
                    self.containers.over_in_shown() + self.services.over_in_shown(),
                ),
                ("services", self.services.over()),
                ("peers", self.peers.over()),
            ],
            limited,
        }
    }

    /// Which limits to log: something is over them now, and nothing was for a while.
    pub fn news(&mut self, health: &LimitHealth, now: Instant) -> Vec<(&'static str, usize)> {
        let over = health.over.iter().copied().filter(|(_, over)| *over > 0);
        let is_news =
            |said: Option<Instant>| said.is_none_or(|at| now.saturating_duration_since(at) >= self.times.limit_quiet);
        over.filter(|(limit, _)| is_news(self.said.insert(limit, now)))
            .collect()
    }

    /// Whether a group is not on the page that was on one a while ago. Its collector could not read what it needs.
    fn is_missing(&mut self, page: &[Rows], now: Instant) -> bool {
        for rows in page.iter().filter(|rows| rows.group.limit.class().is_some()) {
            self.groups_seen.insert(rows.group.name(), now);
        }
        self.groups_seen
            .retain(|_, seen| now.saturating_duration_since(*seen) < self.times.sum_linger);
        self.groups_seen.values().any(|seen| *seen != now)
    }

    /// Leaves the rows that are shown, and puts sums in the place of the others.
    fn place(&mut self, rows: &mut Rows, limited: &mut BTreeMap<Collector, bool>, now: Instant) {
        let limit = rows.group.limit;
        let (subjects, over) = match limit {
            Limit::None | Limit::Rest => return,
            Limit::Container(_, over) => (&mut self.containers, over),
            Limit::Service(_, over) => (&mut self.services, over),
            Limit::Peer(over) => (&mut self.peers, over),
        };
        let sums = self.sums.entry(rows.group.name()).or_default();
        if subjects.are_all_shown() && sums.is_empty() {
            note(limited, rows, false);
            return;
        }
        sums.begin(self.is_beginning);
        let mut added: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
        let mut is_limited = false;
        for (row, mut values) in rows.drain() {
            let placement = if row.is_exempt {
                Placement::Shown
            } else {
                subjects.placement(limit, &row.key, &mut self.groups, now)
            };
            if let Placement::LeftOut = placement {
                is_limited = true;
                continue;
            }
            let Some(sum) = placement.sum(&row.key, over) else {
                if over != Over::LeaveOut && over != Over::Add {
                    sums.shown(&row.key, &mut values);
                }
                rows.put(row, values);
                continue;
            };
            is_limited = true;
            match over {
                Over::Sum | Over::SumByWhat => sums.summed(row.key, sum, values),
                Over::Add => match added.get_mut(&sum) {
                    Some(added) => remainder::add(added, &values),
                    None => drop(added.insert(sum, values)),
                },
                Over::LeaveOut => {}
            }
        }
        for (key, values) in sums.finish(self.times.sum_linger, now).into_iter().chain(added) {
            if limit.class() == Some(Class::Container) {
                self.sum_series += values.iter().map(Value::lines).sum::<usize>();
            }
            rows.push(key, values);
        }
        note(limited, rows, is_limited);
    }
}

/// Notes that a limit made netmon sum up or leave out some of the collector's rows.
fn note(limited: &mut BTreeMap<Collector, bool>, rows: &Rows, is_limited: bool) {
    if let Some(family) = rows.group.families.first() {
        *limited.entry(family.collector).or_default() |= is_limited || rows.is_cut;
    }
}
