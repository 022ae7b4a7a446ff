//! Limits on the number of series of a page: which rows are shown, and which are summed up.
//!
//! There are two limits, one for the page and one for each container. Containers over the first are summed up by
//! service and network, with [`OVER`] as their names. The second limits the rows that a container causes itself:
//! interfaces and drop reasons. Those over it are summed up by network.
//!
//! Nothing is left out. So sums by service, by network and of the node are the same as without a limit. A row that is
//! shown remains shown until it ends. A row that is shown later starts at 0, and its earlier counts remain in the
//! sum. So no counter falls or jumps.

mod needs;
mod peers;
mod remainder;
mod services;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem::take,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    needs::{Need, OF_INTERFACE, needs, of_node},
    remainder::{Counts, Key, Remainder},
};
use super::{
    buffers::{ContainerBuffers, Queue},
    collector::Collector,
    counters::{Directions, Totals},
    interface::{Device, DeviceKind},
    inventory::Identity,
    overlay::OuterCounts,
    protocols::Losses,
    snapshot::{ConnectionsRow, DropRow, InterfaceRow, LimitHealth, QueueRow, Snapshot, TcpRow},
    tcp::{Events, Segments},
};

/// The name of what is summed up: containers, interfaces, reasons, or services. No engine gives this name to a
/// container, and no kernel gives it to an interface.
pub const OVER: &str = "(over the limit)";

/// The part of the page's series that is kept for sums, and the part that services may have: one in this many.
const SHARE: usize = 10;
/// How many services the sums of containers over the limit distinguish. All other services are one sum.
const MOST_GROUPS: usize = 256;
/// How long such a service keeps its own sum while no container of it is over the limit.
const GROUP_KEPT: Duration = Duration::from_mins(10);

/// After this time with nothing over a limit, netmon logs again when something is.
const QUIET: Duration = Duration::from_hours(1);

/// The maximum numbers of series; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// On a page.
    pub series: usize,
    /// Of one container. Series of the networks that the engine connected it to are always shown, even above the limit.
    pub container_series: usize,
}

/// What is shown, and the sums of the rest.
#[derive(Debug)]
pub struct Limits {
    caps: Caps,
    round: u64,
    members: HashMap<Arc<Identity>, Member>,
    groups: BTreeMap<(String, String), Group>,
    services: BTreeSet<(String, String, Arc<str>)>,
    /// The shown nodes among those that nothing here sends to.
    peers: BTreeSet<Arc<str>>,
    /// How many more series there is room for.
    left: usize,
    sums: Sums,
    /// New rows may be older than netmon.
    is_beginning: bool,
    /// When something was last over each limit.
    said: BTreeMap<&'static str, Instant>,
    /// The device that stands for summed-up interfaces.
    device: Arc<Device>,
}

#[derive(Debug, Default)]
struct Sums {
    interfaces: Remainder<Directions<Totals>>,
    drops: Remainder<u64>,
    tcp: Remainder<(Segments, Option<Events>)>,
    losses: Remainder<Losses>,
    queues: Remainder<u64>,
    services: Remainder<Directions<Totals>>,
    clear: Remainder<Directions<OuterCounts>>,
    encrypted: Remainder<Directions<OuterCounts>>,
}

/// A container.
#[derive(Debug)]
struct Member {
    since: Instant,
    is_shown: bool,
    /// It still runs.
    is_alive: bool,
    /// The number of series that it has in any case.
    always: usize,
    /// The shown rows that it causes itself. Each has its number of series, and the last reading that included it.
    rows: BTreeMap<Row, (usize, u64)>,
    /// The number of series of these rows.
    extra: usize,
    /// The labels of the sum that it is part of.
    group: Option<Arc<Identity>>,
}

/// A row that a container causes itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Interface(Arc<str>),
    Drop(Arc<str>, Arc<str>),
}

#[derive(Debug)]
struct Group {
    identity: Arc<Identity>,
    used: Instant,
}

/// Where a row goes.
enum Placement {
    Shown,
    /// Into its container's sum. The container is shown, but this row is over the container's limit.
    InContainer,
    /// Into the sum with these labels. The container is not shown.
    InGroup(Arc<Identity>),
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
            round: 0,
            members: HashMap::new(),
            groups: BTreeMap::new(),
            services: BTreeSet::new(),
            peers: BTreeSet::new(),
            left: 0,
            sums: Sums::default(),
            is_beginning: true,
            said: BTreeMap::new(),
            device: Arc::new(Device::new(0, OVER.to_owned(), DeviceKind::Other)),
        }
    }

    /// Sums up what is over the limits, and records the numbers in the snapshot. Returns the limits to log: something
    /// is over them now, and nothing was for a while.
    pub fn apply(&mut self, snapshot: &mut Snapshot, now: Instant) -> Vec<(&'static str, usize)> {
        self.round += 1;
        self.admit(needs(snapshot), of_node(snapshot), now);
        self.interfaces(snapshot, now);
        self.drops(snapshot, now);
        self.tcp(snapshot, now);
        self.sockets(snapshot, now);
        self.buffers(snapshot, now);
        self.services(snapshot, now);
        self.peers(snapshot, now);
        for row in &mut snapshot.containers {
            let member = self.members.get(&row.container.identity);
            row.is_shown = member.is_none_or(|member| member.is_shown);
        }
        self.forget(now);
        self.is_beginning = snapshot.is_partial;
        snapshot.health.limits = self.health();
        let over = snapshot.health.limits.over.into_iter().filter(|(_, over)| *over > 0);
        let is_news = |said: Option<Instant>| said.is_none_or(|at| now.saturating_duration_since(at) >= QUIET);
        over.filter(|(limit, _)| is_news(self.said.insert(limit, now)))
            .collect()
    }

    /// Decides which containers are shown. Those shown before remain. Others are added as long as there is room, the
    /// oldest first.
    fn admit(&mut self, needs: HashMap<Arc<Identity>, Need>, of_node: usize, now: Instant) {
        self.members.retain(|identity, _| needs.contains_key(identity));
        for (identity, need) in needs {
            let member = self.members.entry(identity).or_insert_with(|| Member::new(now));
            member.always = need.series;
            member.is_alive = need.is_alive;
        }
        let room = self.caps.series - self.caps.series / SHARE;
        let room = room.saturating_sub(of_node);
        let shown = self.members.values().filter(|member| member.is_shown);
        let mut used = shown.fold(0, |sum: usize, member| sum.saturating_add(member.always + member.extra));
        // An ended container has no new counts, so it is not added later. An exception is one that ended before its
        // first scrape.
        let waits = |member: &Member| !member.is_shown && (member.is_alive || member.since == now);
        let mut waiting: Vec<_> = self.members.iter_mut().filter(|(_, member)| waits(member)).collect();
        waiting.sort_by(|(one, its), (other, others)| (its.since, one).cmp(&(others.since, other)));
        for (_, member) in waiting {
            if used.saturating_add(member.always) <= room {
                member.is_shown = true;
                used += member.always;
            }
        }
        self.left = room.saturating_sub(used);
    }

    /// Where a row goes that its container has in any case.
    fn placement(&mut self, identity: &Arc<Identity>, now: Instant) -> Placement {
        let Some(member) = self.members.get_mut(identity) else {
            return Placement::Shown;
        };
        if member.is_shown {
            return Placement::Shown;
        }
        let groups = &mut self.groups;
        let group = member.group.get_or_insert_with(|| group(groups, identity, now));
        Placement::InGroup(Arc::clone(group))
    }

    /// Where a row goes that a container causes itself. It has this many `series`.
    fn placement_of(
        &mut self,
        identity: &Arc<Identity>,
        row: impl FnOnce() -> Row,
        series: usize,
        now: Instant,
    ) -> Placement {
        let round = self.round;
        let Some(member) = self.members.get_mut(identity).filter(|member| member.is_shown) else {
            return self.placement(identity, now);
        };
        let row = row();
        if let Some((_, seen)) = member.rows.get_mut(&row) {
            *seen = round;
            return Placement::Shown;
        }
        if member.always + member.extra + series > self.caps.container_series || series > self.left {
            return Placement::InContainer;
        }
        member.rows.insert(row, (series, round));
        member.extra += series;
        self.left -= series;
        Placement::Shown
    }

    fn interfaces(&mut self, snapshot: &mut Snapshot, now: Instant) {
        self.sums.interfaces.begin(self.is_beginning);
        for mut row in take(&mut snapshot.interfaces) {
            let placement = self.placement_of_interface(&row.identity, &row.network, &row.device.name, now);
            let key = || Key {
                identity: Arc::clone(&row.identity),
                network: Arc::clone(&row.network),
                what: Arc::from(row.device.name.as_str()),
            };
            let Some(sum) = sum(&placement, &row.identity, &row.network, OVER) else {
                row.totals = self.sums.interfaces.shown(key, row.totals);
                snapshot.interfaces.push(row);
                continue;
            };
            self.sums.interfaces.summed(key(), sum, row.totals);
        }
        for (key, totals) in self.sums.interfaces.finish(now) {
            snapshot.interfaces.push(InterfaceRow {
                identity: key.identity,
                network: key.network,
                device: Arc::clone(&self.device),
                totals,
            });
        }
    }

    /// An interface created by the engine belongs to a network. The container created all others.
    fn placement_of_interface(
        &mut self,
        identity: &Arc<Identity>,
        network: &str,
        name: &str,
        now: Instant,
    ) -> Placement {
        if network.is_empty() {
            self.placement_of(identity, || Row::Interface(Arc::from(name)), OF_INTERFACE, now)
        } else {
            self.placement(identity, now)
        }
    }

    fn drops(&mut self, snapshot: &mut Snapshot, now: Instant) {
        self.sums.drops.begin(self.is_beginning);
        for (identity, mut row) in take(&mut snapshot.drops.containers) {
            let its = || Row::Drop(Arc::clone(&row.network), Arc::clone(&row.reason));
            let placement = self.placement_of(&identity, its, 1, now);
            let key = || Key {
                identity: Arc::clone(&identity),
                network: Arc::clone(&row.network),
                what: Arc::clone(&row.reason),
            };
            // The number of reasons is limited, so the sum of several containers distinguishes them.
            let what = match placement {
                Placement::Shown | Placement::InContainer => OVER,
                Placement::InGroup(_) => &row.reason,
            };
            let Some(sum) = sum(&placement, &identity, &row.network, what) else {
                row.packets = self.sums.drops.shown(key, row.packets);
                snapshot.drops.containers.push((identity, row));
                continue;
            };
            self.sums.drops.summed(key(), sum, row.packets);
        }
        for (key, packets) in self.sums.drops.finish(now) {
            let row = DropRow {
                network: key.network,
                reason: key.what,
                packets,
            };
            snapshot.drops.containers.push((key.identity, row));
        }
    }

    fn tcp(&mut self, snapshot: &mut Snapshot, now: Instant) {
        self.sums.tcp.begin(self.is_beginning);
        for mut row in take(&mut snapshot.tcp) {
            let placement = self.placement(&row.identity, now);
            let key = || Key {
                identity: Arc::clone(&row.identity),
                network: Arc::clone(&row.network),
                what: Arc::from(""),
            };
            let counts = (row.segments, row.events);
            let Some(sum) = sum(&placement, &row.identity, &row.network, "") else {
                (row.segments, row.events) = self.sums.tcp.shown(key, counts);
                snapshot.tcp.push(row);
                continue;
            };
            self.sums.tcp.summed(key(), sum, counts);
        }
        for (key, (segments, events)) in self.sums.tcp.finish(now) {
            snapshot.tcp.push(TcpRow {
                identity: key.identity,
                network: key.network,
                segments,
                events,
            });
        }
        let mut states: BTreeMap<Arc<Identity>, BTreeMap<&'static str, u64>> = BTreeMap::new();
        for row in take(&mut snapshot.connections) {
            match self.placement(&row.identity, now) {
                Placement::Shown | Placement::InContainer => snapshot.connections.push(row),
                Placement::InGroup(group) => {
                    let sums = states.entry(group).or_default();
                    for (state, count) in row.states {
                        *sums.entry(state).or_default() += count;
                    }
                }
            }
        }
        let sums = states.into_iter().map(|(identity, states)| ConnectionsRow {
            identity,
            states: states.into_iter().collect(),
        });
        snapshot.connections.extend(sums);
    }

    fn sockets(&mut self, snapshot: &mut Snapshot, now: Instant) {
        self.sums.losses.begin(self.is_beginning);
        for (identity, losses) in take(&mut snapshot.sockets.containers) {
            let placement = self.placement(&identity, now);
            let key = || Key {
                identity: Arc::clone(&identity),
                network: Arc::from(""),
                what: Arc::from(""),
            };
            let Some(sum) = sum(&placement, &identity, &Arc::from(""), "") else {
                let losses = self.sums.losses.shown(key, losses);
                snapshot.sockets.containers.push((identity, losses));
                continue;
            };
            self.sums.losses.summed(key(), sum, losses);
        }
        let sums = self.sums.losses.finish(now);
        let sums = sums.into_iter().map(|(key, losses)| (key.identity, losses));
        snapshot.sockets.containers.extend(sums);
    }

    fn buffers(&mut self, snapshot: &mut Snapshot, now: Instant) {
        let mut entries: BTreeMap<Arc<Identity>, u64> = BTreeMap::new();
        for (identity, buffers) in take(&mut snapshot.buffers.containers) {
            match self.placement(&identity, now) {
                Placement::Shown | Placement::InContainer => snapshot.buffers.containers.push((identity, buffers)),
                Placement::InGroup(group) => {
                    *entries.entry(group).or_default() += buffers.conntrack_entries.unwrap_or(0);
                }
            }
        }
        let sums = entries.into_iter().map(|(group, entries)| {
            let buffers = ContainerBuffers {
                conntrack_entries: Some(entries),
                // This is a limit of each namespace, and limits cannot be added up.
                listen_backlog_limit: None,
            };
            (group, buffers)
        });
        snapshot.buffers.containers.extend(sums);

        self.sums.queues.begin(self.is_beginning);
        for mut row in take(&mut snapshot.buffers.queues) {
            let placement = self.placement_of_interface(&row.identity, &row.network, &row.interface, now);
            let key = || Key {
                identity: Arc::clone(&row.identity),
                network: Arc::clone(&row.network),
                what: Arc::from(row.interface.as_str()),
            };
            let drops = u64::from(row.queue.drops);
            let Some(sum) = sum(&placement, &row.identity, &row.network, &row.queue.kind) else {
                row.queue.drops = saturated(self.sums.queues.shown(key, drops));
                snapshot.buffers.queues.push(row);
                continue;
            };
            self.sums.queues.summed(key(), sum, drops);
        }
        for (key, drops) in self.sums.queues.finish(now) {
            snapshot.buffers.queues.push(QueueRow {
                identity: key.identity,
                network: key.network,
                interface: OVER.to_owned(),
                queue: Queue {
                    kind: key.what.to_string(),
                    drops: saturated(drops),
                    ..Queue::default()
                },
            });
        }
    }

    /// Removes rows and groups that no longer exist.
    fn forget(&mut self, now: Instant) {
        let round = self.round;
        for member in self.members.values_mut().filter(|member| !member.rows.is_empty()) {
            member.rows.retain(|_, (_, seen)| *seen == round);
            member.extra = member.rows.values().map(|(series, _)| series).sum();
        }
        for member in self.members.values().filter(|member| !member.is_shown) {
            let group = member.group.as_deref();
            let key = group.map(|group| (group.service.clone(), group.stack.clone()));
            if let Some(group) = key.and_then(|key| self.groups.get_mut(&key)) {
                group.used = now;
            }
        }
        self.groups
            .retain(|_, group| now.saturating_duration_since(group.used) < GROUP_KEPT);
    }

    fn health(&self) -> LimitHealth {
        let Sums {
            interfaces,
            drops,
            tcp,
            losses,
            queues,
            services,
            clear,
            encrypted,
        } = &self.sums;
        let peers = clear.len() + encrypted.len();
        let over = self.members.values().filter(|member| !member.is_shown).count();
        let in_containers = interfaces.len_of_shown(&self.members) + drops.len_of_shown(&self.members);
        LimitHealth {
            over: [
                ("series", over),
                ("container_series", in_containers),
                ("services", services.len()),
                ("peers", peers),
            ],
            limited: [
                (Collector::Traffic, interfaces.len() > 0),
                (Collector::Drops, drops.len() > 0),
                (Collector::Tcp, tcp.len() > 0),
                (Collector::Sockets, losses.len() > 0),
                (Collector::Buffers, queues.len() > 0 || over > 0),
                (Collector::Service, services.len() > 0),
                (Collector::Overlay, peers > 0),
                (Collector::Docker, over > 0),
            ],
        }
    }
}

impl Member {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            is_shown: false,
            is_alive: false,
            always: 0,
            rows: BTreeMap::new(),
            extra: 0,
            group: None,
        }
    }
}

impl<V: Counts> Remainder<V> {
    /// How many summed-up rows belong to shown containers.
    fn len_of_shown(&self, members: &HashMap<Arc<Identity>, Member>) -> usize {
        let is_shown = |identity| members.get(identity).is_some_and(|member| member.is_shown);
        self.identities().filter(|identity| is_shown(*identity)).count()
    }
}

/// The sum that a row is part of; `None` if the row is shown.
fn sum(placement: &Placement, identity: &Arc<Identity>, network: &Arc<str>, what: &str) -> Option<Key> {
    let (identity, network) = match placement {
        Placement::Shown => return None,
        Placement::InContainer => (Arc::clone(identity), Arc::clone(network)),
        // The container's service has no sum of its own.
        Placement::InGroup(group) if is_nameless(group) && !is_nameless(identity) => (Arc::clone(group), Arc::from("")),
        Placement::InGroup(group) => (Arc::clone(group), Arc::clone(network)),
    };
    Some(Key {
        identity,
        network,
        what: Arc::from(what),
    })
}

fn is_nameless(identity: &Identity) -> bool {
    identity.service.is_empty() && identity.stack.is_empty()
}

/// The labels that a container over the limit is summed up with: its service, unless there are too many services.
fn group(groups: &mut BTreeMap<(String, String), Group>, identity: &Identity, now: Instant) -> Arc<Identity> {
    let of = |service: &str, stack: &str| {
        Arc::new(Identity {
            container: OVER.to_owned(),
            service: service.to_owned(),
            stack: stack.to_owned(),
        })
    };
    let key = (identity.service.clone(), identity.stack.clone());
    if let Some(group) = groups.get(&key) {
        return Arc::clone(&group.identity);
    }
    if groups.len() >= MOST_GROUPS {
        return of("", "");
    }
    let identity = of(&identity.service, &identity.stack);
    let group = Group {
        identity: Arc::clone(&identity),
        used: now,
    };
    groups.insert(key, group);
    identity
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
