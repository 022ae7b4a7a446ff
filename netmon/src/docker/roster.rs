//! Events and answers in, inventory out. Pure: it says what is to be asked, and is told what came of it.
//!
//! The engine tells of changes in events and of states in answers, and the two overtake each other. What keeps them in
//! order is time: an answer shows the engine as of the moment of its question or later, so an event from before the
//! question is already in it. All those times are the wall clock's (`asked`, `at`, in nanoseconds since the epoch),
//! because the engine's events carry that clock, and both run on one node. Should the clocks disagree, the worst is a
//! question too many: no event is believed against a newer answer, and none is dropped without asking.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use self::member_poll::MemberPoll;
pub(super) use self::member_poll::Surveyed;
use super::{
    ask::Networks,
    convert::{self, Change, Described, Stage, SwarmNode},
};
use crate::model::{
    inventory::{Container, ContainerId, Inventory, Network, NetworkId, Node, Sandbox},
    peers::{PeerSource, Peers},
};

mod member_poll;
#[cfg(test)]
mod tests;

/// How many containers of a full listing are asked for at once: enough to hide the way there and back, few enough
/// that the engine has time for its users.
const ROUTINE_AT_ONCE: usize = 8;

/// How many containers are asked for at once because something happened to them. More, because the engine holds the
/// answer back while the container starts, and others must not wait for that.
const URGENT_AT_ONCE: usize = 32;

/// A question to the engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// What the node is.
    Node,
    /// Which networks there are.
    Networks,
    /// Which containers run.
    Containers,
    /// Which nodes the Swarm has; only a manager knows.
    Nodes,
    /// What this container is.
    Container(ContainerId),
    /// Who is on this network, on any node.
    Members(NetworkId),
}

/// What came of the question about a container.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its description.
    Described(Described),
    /// There is no such container.
    NotFound,
    /// None, or one that makes no sense.
    Nothing,
}

/// Everything known of the engine's world.
#[derive(Debug)]
pub(super) struct Roster {
    linger: Duration,
    node: Option<Arc<Node>>,
    networks: BTreeMap<NetworkId, Arc<Network>>,
    /// Who tells of the Swarm's nodes, and which there are.
    source: PeerSource,
    nodes: Vec<SwarmNode>,
    /// Who is on the networks.
    member_poll: MemberPoll,
    /// When the list of networks was asked for that is known.
    networks_as_of: i64,
    tracks: BTreeMap<ContainerId, Track>,
    urgent: VecDeque<ContainerId>,
    routine: VecDeque<ContainerId>,
    /// How many open questions about containers came from each queue.
    urgent_open: usize,
    routine_open: usize,
    /// The questions about the whole: wanted, and open since when.
    wanted: BTreeSet<Question>,
    open: BTreeMap<Question, i64>,
    /// Containers of the last listing that were not described yet; nothing between two syncs.
    syncing: Option<BTreeSet<ContainerId>>,
    published: Arc<Inventory>,
    changed: bool,
}

/// A container that is known, or asked for.
#[derive(Debug, Default)]
struct Track {
    known: Option<Arc<Container>>,
    /// The moment that `known` shows, or a later one.
    as_of: i64,
    /// When to forget it; only once it ended.
    expires: Option<Instant>,
    inspect: Inspect,
}

/// Where the question about a container stands.
#[derive(Debug, Default)]
enum Inspect {
    #[default]
    Idle,
    Queued,
    Open {
        asked: i64,
        routine: bool,
        /// Something happened since: ask once more.
        again: bool,
        /// It ended since, then.
        died: Option<i64>,
    },
}

impl Roster {
    /// Nothing is known yet. Whether it is `surveyed` who is on the networks is the operator's choice.
    pub(super) fn new(linger: Duration, surveyed: bool) -> Self {
        Self {
            linger,
            node: None,
            networks: BTreeMap::new(),
            source: PeerSource::default(),
            nodes: Vec::new(),
            member_poll: MemberPoll::new(surveyed),
            networks_as_of: 0,
            tracks: BTreeMap::new(),
            urgent: VecDeque::new(),
            routine: VecDeque::new(),
            urgent_open: 0,
            routine_open: 0,
            wanted: BTreeSet::new(),
            open: BTreeMap::new(),
            syncing: None,
            published: Arc::default(),
            changed: false,
        }
    }

    /// Wants everything listed anew.
    pub(super) fn sync(&mut self) {
        self.syncing.get_or_insert_default();
        self.wanted
            .extend([Question::Node, Question::Networks, Question::Containers]);
        self.member_poll.renew();
    }

    /// Whether a sync has just come to its end; says so once. It does not wait for the node, over whose description a
    /// manager without a quorum takes its time.
    pub(super) fn synced(&mut self) -> bool {
        let lists = [Question::Networks, Question::Containers];
        let listing = lists
            .iter()
            .any(|list| self.wanted.contains(list) || self.open.contains_key(list));
        let done = !listing && self.syncing.as_ref().is_some_and(BTreeSet::is_empty);
        if done {
            self.syncing = None;
        }
        done
    }

    /// The connection is gone, and with it all open questions. What is known stays.
    pub(super) fn hang_up(&mut self) {
        self.urgent.clear();
        self.routine.clear();
        self.urgent_open = 0;
        self.routine_open = 0;
        self.wanted.clear();
        self.open.clear();
        self.syncing = None;
        self.member_poll.hang_up();
        for track in self.tracks.values_mut() {
            track.inspect = Inspect::Idle;
        }
        self.tracks.retain(|_, track| track.known.is_some());
    }

    /// The next question that may be asked now; to be called until there is none.
    pub(super) fn question(&mut self, asked: i64) -> Option<Question> {
        if let Some(question) = self
            .wanted
            .iter()
            .find(|question| !self.open.contains_key(question))
            .cloned()
        {
            self.wanted.remove(&question);
            self.open.insert(question.clone(), asked);
            return Some(question);
        }
        self.next_inspect(asked).map(Question::Container)
    }

    /// The next network to ask for now; to be called until there is none.
    pub(super) fn survey_question(&mut self, now: Instant) -> Option<Question> {
        self.member_poll.next(now).map(Question::Members)
    }

    /// When there will be a network to ask for that has to wait now.
    pub(super) fn next_survey(&self) -> Option<Instant> {
        self.member_poll.next_due()
    }

    /// Takes an event in, `at` its moment by the engine's clock.
    pub(super) fn event(&mut self, change: Change, at: i64, now: Instant) {
        match change {
            Change::Node => _ = self.wanted.insert(Question::Node),
            Change::Networks => _ = self.wanted.insert(Question::Networks),
            Change::Started(id) | Change::Connected(id) => self.inspect(id),
            Change::Died(id) => self.ended(id, at, now),
            // What is not known has ended long ago, or is asked for already.
            Change::Altered(id) | Change::Disconnected(id) if self.concerns(&id) => self.inspect(id),
            Change::Removed(id) if self.concerns(&id) => self.ended(id, at, now),
            Change::Nothing | Change::Altered(_) | Change::Disconnected(_) | Change::Removed(_) => {}
        }
    }

    /// Takes in what the node is; nothing if that could not be found out.
    pub(super) fn node(&mut self, node: Option<Node>) {
        self.open.remove(&Question::Node);
        let Some(node) = node else { return };
        if node.role == "manager" {
            self.wanted.insert(Question::Nodes);
        } else if self.source != PeerSource::Worker {
            // What it knew as a manager grows old from now on.
            self.source = PeerSource::Worker;
            self.nodes = Vec::new();
            self.changed = true;
        }
        if self.node.as_deref() != Some(&node) {
            self.node = Some(Arc::new(node));
            self.changed = true;
        }
    }

    /// Takes in which nodes the Swarm has; nothing if that could not be found out. Where some were left out because they
    /// make no sense, they have no names.
    pub(super) fn nodes(&mut self, nodes: Option<Vec<SwarmNode>>) {
        self.open.remove(&Question::Nodes);
        let is_manager = self.node.as_ref().is_some_and(|node| node.role == "manager");
        let (Some(nodes), true) = (nodes, is_manager) else {
            return;
        };
        self.changed |= self.source != PeerSource::Manager || self.nodes != nodes;
        self.source = PeerSource::Manager;
        self.nodes = nodes;
    }

    /// Takes in who is on a network.
    pub(super) fn members(&mut self, network: &NetworkId, answer: Surveyed) {
        self.changed |= self.member_poll.answer(network, answer);
    }

    /// Takes in which networks there are; nothing if that could not be found out. Where some were left out because they
    /// make no sense, those known before are kept.
    pub(super) fn networks(&mut self, networks: Option<Networks>) {
        let asked = self.open.remove(&Question::Networks).unwrap_or_default();
        let Some(Networks { networks, complete }) = networks else {
            return;
        };
        self.networks_as_of = asked;
        let mut old = std::mem::take(&mut self.networks);
        for network in networks {
            let network = match old.remove(&network.id) {
                Some(same) if *same == network => same,
                Some(_) | None => Arc::new(network),
            };
            self.networks.insert(Arc::clone(&network.id), network);
        }
        if !complete {
            self.networks.append(&mut old);
        }
        self.changed = true;
    }

    /// Takes in which containers run.
    ///
    /// Each of them is asked for, and each that should run by what is known and is not listed: its own description
    /// decides, not its absence from a list.
    pub(super) fn containers(&mut self, running: Vec<ContainerId>) {
        let asked = self.open.remove(&Question::Containers).unwrap_or_default();
        let listed: BTreeSet<ContainerId> = running.into_iter().collect();
        let missing = self
            .tracks
            .iter()
            .filter(|(id, track)| !listed.contains(*id) && track.runs() && track.as_of < asked);
        let awaited: BTreeSet<ContainerId> = missing.map(|(id, _)| Arc::clone(id)).chain(listed.clone()).collect();
        for id in &awaited {
            let track = self.tracks.entry(Arc::clone(id)).or_default();
            if matches!(track.inspect, Inspect::Idle) {
                track.inspect = Inspect::Queued;
                self.routine.push_back(Arc::clone(id));
            }
        }
        self.syncing = Some(awaited);
    }

    /// Takes in what came of the question about a container.
    pub(super) fn container(&mut self, id: &ContainerId, answer: Answer, now: Instant) {
        if let Some(awaited) = &mut self.syncing {
            awaited.remove(id);
        }
        let Some(track) = self.tracks.get_mut(id) else { return };
        let Inspect::Open {
            asked,
            routine,
            again,
            died,
        } = std::mem::take(&mut track.inspect)
        else {
            return;
        };
        *(if routine {
            &mut self.routine_open
        } else {
            &mut self.urgent_open
        }) -= 1;
        let expires = now + self.linger;
        let is_news = match answer {
            // Between two attempts it has no process and no interface. A sync that finds it so has found nothing new.
            Answer::Described(described)
                if routine && described.stage == Stage::Restarting && track.known.is_none() =>
            {
                false
            }
            Answer::Described(described) => track.describe(described, asked, died, expires),
            Answer::NotFound => track.end(asked, expires),
            Answer::Nothing => false,
        };
        self.changed |= is_news;
        if let (true, Some(known)) = (is_news, &track.known) {
            for endpoint in &known.endpoints {
                self.member_poll.changed(&endpoint.network);
            }
        }
        // A network that came with the container, or that was missed: the list is older than the container.
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
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.tracks.values().filter_map(|track| track.expires).min()
    }

    /// Forgets what ended long enough ago.
    pub(super) fn expire(&mut self, now: Instant) {
        for track in self.tracks.values_mut() {
            if track.expires.is_some_and(|expires| expires <= now) {
                track.expires = None;
                track.known = None;
                self.changed = true;
            }
        }
        self.tracks.retain(|_, track| track.known.is_some() || track.is_asked());
    }

    /// The inventory, if it is not what it was when it was last taken.
    pub(super) fn take_news(&mut self) -> Option<Arc<Inventory>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let overlays = self.overlays_here();
        self.member_poll.has_part_in(&overlays);
        let members = self.member_poll.members();
        let gossip = members.values().flatten().flat_map(|members| &members.nodes);
        let peers = Peers {
            source: self.source,
            nodes: convert::by_address(&self.nodes, gossip),
        };
        let known = |(id, track): (&ContainerId, &Track)| Some((Arc::clone(id), track.known.clone()?));
        let inventory = Inventory {
            node: self.node.clone(),
            containers: self.tracks.iter().filter_map(known).collect(),
            networks: self.networks.clone(),
            peers: Arc::new(peers),
            members,
        };
        if inventory == *self.published {
            return None;
        }
        self.published = Arc::new(inventory);
        Some(Arc::clone(&self.published))
    }

    /// The overlay networks that running containers of this node are on: the engine knows who is on those alone.
    fn overlays_here(&self) -> BTreeSet<NetworkId> {
        let running = self.tracks.values().filter_map(|track| track.known.as_ref());
        let endpoints = running.filter(|known| known.running).flat_map(|known| &known.endpoints);
        let is_overlay = |id: &&NetworkId| {
            self.networks
                .get(*id)
                .is_some_and(|network| network.driver == "overlay")
        };
        let networks = endpoints.map(|endpoint| &endpoint.network);
        networks.filter(is_overlay).cloned().collect()
    }

    /// Whether a container runs by what is known, or is asked for.
    fn concerns(&self, id: &ContainerId) -> bool {
        let track = self.tracks.get(id);
        track.is_some_and(|track| track.runs() || track.is_asked())
    }

    /// Asks for a container, soon; or again, if it is being asked for.
    fn inspect(&mut self, id: ContainerId) {
        let track = self.tracks.entry(Arc::clone(&id)).or_default();
        match &mut track.inspect {
            Inspect::Open { again, .. } => *again = true,
            Inspect::Idle | Inspect::Queued => {
                // It may stand in the other queue already; there it will be found asked for.
                track.inspect = Inspect::Queued;
                if !self.urgent.contains(&id) {
                    self.urgent.push_back(id);
                }
            }
        }
    }

    fn next_inspect(&mut self, asked: i64) -> Option<ContainerId> {
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

    /// A container's process ended, by an event.
    fn ended(&mut self, id: ContainerId, at: i64, now: Instant) {
        let expires = now + self.linger;
        let track = self.tracks.entry(Arc::clone(&id)).or_default();
        let runs = track.runs();
        let is_news = at > track.as_of;
        if is_news {
            let is_news = track.end(at, expires);
            self.changed |= is_news;
            if let (true, Some(known)) = (is_news, &track.known) {
                for endpoint in &known.endpoints {
                    self.member_poll.changed(&endpoint.network);
                }
            }
            // It may have been another run than the one that is known: each lingers for the whole time.
            track.expires = track.expires.map(|_| expires);
        }
        match &mut track.inspect {
            // The answer may still say that it runs, and that would be the news of yesterday.
            Inspect::Open { asked, died, .. } => {
                if at > *asked {
                    *died = Some(at);
                }
            }
            // The answer will have it.
            Inspect::Queued => {}
            // Either it never had a name, or what is known is newer than the event: the engine decides.
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

impl Track {
    fn runs(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.running)
    }

    fn is_asked(&self) -> bool {
        !matches!(self.inspect, Inspect::Idle)
    }

    /// It ended: what is known of it stays, to name what it left. Whether that changed anything.
    fn end(&mut self, at: i64, expires: Instant) -> bool {
        match &mut self.known {
            Some(known) if known.running => {
                Arc::make_mut(known).running = false;
                self.as_of = self.as_of.max(at);
                self.expires = Some(expires);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes a description in, `died` when an event since the question told of its end. Whether that changed anything.
    fn describe(&mut self, described: Described, asked: i64, died: Option<i64>, expires: Instant) -> bool {
        let Described { mut container, stage } = described;
        match (stage, died) {
            (Stage::Running, None) => {
                self.expires = None;
                self.as_of = asked;
            }
            // The description was given before the end: it has everything, and it is the last that has.
            (Stage::Running, Some(died)) => {
                container.running = false;
                self.expires.get_or_insert(expires);
                self.as_of = died;
            }
            (Stage::Ended | Stage::Restarting, _) => {
                if let Some(known) = &self.known {
                    remember(known, &mut container);
                }
                self.expires.get_or_insert(expires);
                self.as_of = died.unwrap_or(asked);
            }
            // It failed to start. If it ran before, that is what is known.
            (Stage::NotStarted, _) => return self.end(asked, expires),
        }
        if self.known.as_deref() == Some(&container) {
            return false;
        }
        self.known = Some(Arc::new(container));
        true
    }
}

/// The first of a queue that still waits to be asked for.
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
                died: None,
            };
            return Some(id);
        }
    }
    None
}

/// Fills in what the engine forgets when a container ends: addresses, and newer engines the sandbox. Not from another
/// run, which had another sandbox, or places that are all others.
fn remember(known: &Container, container: &mut Container) {
    let located = || container.endpoints.iter().filter(|endpoint| endpoint.is_located());
    let same_run = if container.sandbox == Sandbox::Absent {
        located().next().is_none() || located().any(|endpoint| known.endpoints.contains(endpoint))
    } else {
        container.sandbox == known.sandbox
    };
    if same_run {
        container.sandbox = known.sandbox.clone();
        container.endpoints.clone_from(&known.endpoints);
    }
}
