//! Takes events and answers, returns the inventory. Pure: the caller sends the questions it returns and passes the
//! answers back.
//!
//! The engine reports changes in events and states in answers, and the two can overtake each other. Times put them in
//! order: an answer shows the engine at the moment of its question or later. So an event from before the question is
//! already part of the answer.
//!
//! All these times (`asked`, `at`) are wall clock times, in nanoseconds since the epoch. The engine's events carry
//! that clock, and the engine runs on the same node. If the clocks disagree, the worst result is an unnecessary
//! question. An event never overrides a newer answer, and an event is never dropped without a question.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    lookup::Lookup,
    member_poll::MemberPoll,
    track::{Inspect, Step, Track},
};
use super::{
    convert::{self, Change, SwarmNode},
    question::{MembersAnswer, Networks, Question},
};
use crate::model::{
    inventory::{ContainerId, Endpoint, GATEWAY_BRIDGE, Inventory, Network, NetworkId, Node},
    peers::{PeerSource, Peers},
};

mod containers;
mod lookup;
mod member_poll;
#[cfg(test)]
mod tests;
mod track;

/// Everything known about the engine's node, networks and containers.
#[derive(Debug)]
pub(super) struct Roster {
    linger: Duration,
    node: Option<Arc<Node>>,
    networks: BTreeMap<NetworkId, Arc<Network>>,
    /// Where the Swarm's nodes were learned from, and the nodes themselves.
    source: PeerSource,
    nodes: Vec<SwarmNode>,
    /// The members of the networks.
    member_poll: MemberPoll,
    /// The endpoints of containers whose descriptions are held back.
    lookup: Lookup,
    /// When the known list of networks was asked for.
    networks_as_of: i64,
    tracks: BTreeMap<ContainerId, Track>,
    urgent: VecDeque<ContainerId>,
    routine: VecDeque<ContainerId>,
    /// The number of open questions about containers, by the queue they came from.
    urgent_open: usize,
    routine_open: usize,
    /// The questions that are not about one container: those to ask, and those open, with the time they were asked.
    wanted: BTreeSet<Question>,
    open: BTreeMap<Question, i64>,
    /// Containers of the last listing that are not described yet. `None` between two syncs.
    syncing: Option<BTreeSet<ContainerId>>,
    published: Arc<Inventory>,
    changed: bool,
}

impl Roster {
    /// An empty roster. `surveyed` is the operator's setting: whether to ask for the members of networks. A network is
    /// not asked again within `member_pace`.
    pub(super) fn new(linger: Duration, surveyed: bool, member_pace: Duration) -> Self {
        Self {
            linger,
            node: None,
            networks: BTreeMap::new(),
            source: PeerSource::default(),
            nodes: Vec::new(),
            member_poll: MemberPoll::new(surveyed, member_pace),
            lookup: Lookup::default(),
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

    /// Starts a full sync: everything is to be listed again.
    pub(super) fn sync(&mut self) {
        self.syncing.get_or_insert_default();
        self.wanted
            .extend([Question::Node, Question::Networks, Question::Containers]);
        self.member_poll.renew();
    }

    /// Asks every network for its members again.
    pub(super) fn doubt(&mut self) {
        self.member_poll.renew();
    }

    /// Whether a sync has just ended. Returns true once for each sync. It does not wait for the description of the
    /// node, because a manager without a quorum takes long to give it.
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

    /// The connection was lost, and all open questions with it. Known data stays.
    pub(super) fn hang_up(&mut self) {
        self.urgent.clear();
        self.routine.clear();
        self.urgent_open = 0;
        self.routine_open = 0;
        self.wanted.clear();
        self.open.clear();
        self.syncing = None;
        self.member_poll.hang_up();
        self.lookup.hang_up();
        // Events may have been lost meanwhile.
        self.distrust();
        for track in self.tracks.values_mut() {
            track.inspect = Inspect::Idle;
        }
        self.tracks.retain(|_, track| track.known.is_some());
    }

    /// The next question to ask now. Call it until it returns `None`.
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

    /// The next network whose members to ask for now. Call it until it returns `None`.
    pub(super) fn survey_question(&mut self, now: Instant) -> Option<Question> {
        self.member_poll.next(now).map(Question::Members)
    }

    /// The containers to look for in a list now, because their descriptions are held back.
    pub(super) fn lookup_question(&mut self, now: Instant) -> Option<Question> {
        let held = self.held();
        self.lookup.look(held, now).map(Question::Endpoints)
    }

    /// When to look for them next.
    pub(super) fn next_lookup(&self) -> Option<Instant> {
        self.lookup.due()
    }

    /// Takes in the endpoints that a list had.
    pub(super) fn endpoints(&mut self, found: BTreeMap<ContainerId, Vec<Endpoint>>, now: Instant) {
        self.lookup.found(found, now);
    }

    /// A part of `time` that differs between nodes, so that not all of them ask at the same time.
    pub(super) fn spread(&self, time: Duration) -> Duration {
        let node = self.node.as_ref();
        spread(
            node.map_or("", |node| {
                if node.node_id.is_empty() {
                    &node.hostname
                } else {
                    &node.node_id
                }
            }),
            time,
        )
    }

    /// When the next network that has to wait now may be asked for.
    pub(super) fn next_survey(&self) -> Option<Instant> {
        self.member_poll.next_due()
    }

    /// Takes in an event. `at` is its time by the engine's clock.
    pub(super) fn event(&mut self, change: Change, at: i64, now: Instant) {
        match change {
            Change::Node => _ = self.wanted.insert(Question::Node),
            Change::Networks => _ = self.wanted.insert(Question::Networks),
            // An event without a time is no older or newer than anything.
            Change::Started(id) | Change::Connected(id) if at <= 0 => self.inspect(id),
            Change::Started(id) => self.starts(id, Step::Started(at)),
            Change::Connected(id) => self.starts(id, Step::Connected(at)),
            Change::Died(id) => self.ended(id, at, now),
            // Ignored unless the container runs or is being asked for. Any other one ended long ago.
            Change::Altered(id) | Change::Disconnected(id) if self.concerns(&id) => self.inspect(id),
            Change::Removed(id) if self.concerns(&id) => self.ended(id, at, now),
            Change::Nothing | Change::Altered(_) | Change::Disconnected(_) | Change::Removed(_) => {}
        }
    }

    /// Takes in the description of the node. `None` if it could not be read.
    pub(super) fn node(&mut self, node: Option<Node>) {
        self.open.remove(&Question::Node);
        let Some(node) = node else { return };
        if node.role == "manager" {
            self.wanted.insert(Question::Nodes);
        } else if self.source != PeerSource::Worker {
            // The list from its time as a manager is outdated from now on.
            self.source = PeerSource::Worker;
            self.nodes = Vec::new();
            self.changed = true;
        }
        if self.node.as_deref() != Some(&node) {
            self.node = Some(Arc::new(node));
            self.changed = true;
        }
    }

    /// Takes in the Swarm's nodes. `None` if they could not be read. Nodes that could not be decoded are missing, and
    /// so have no names.
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

    /// Takes in the members of a network.
    pub(super) fn members(&mut self, network: &NetworkId, answer: MembersAnswer) {
        self.changed |= self.member_poll.answer(network, answer);
    }

    /// Takes in the list of networks. `None` if it could not be read. If some could not be decoded, the previously
    /// known networks are kept.
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

    /// The inventory, if it changed since this was last called.
    pub(super) fn take_news(&mut self) -> Option<Arc<Inventory>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let overlays = self.overlays_here();
        self.member_poll.has_part_in(&overlays, self.gateway_bridge());
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

    /// The overlay networks of this node's running containers. The engine knows the members of these networks only.
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

    /// The network by which the containers on these leave.
    fn gateway_bridge(&self) -> Option<NetworkId> {
        let bridge = self.networks.values().find(|network| network.name == GATEWAY_BRIDGE);
        bridge.map(|bridge| Arc::clone(&bridge.id))
    }
}

/// A part of `time` that depends on the name only.
fn spread(name: &str, time: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    // Sixteen bits are enough to tell thousands apart.
    let part = u32::try_from(hasher.finish() & 0xffff).unwrap_or(0);
    time * part / 0x1_0000
}
