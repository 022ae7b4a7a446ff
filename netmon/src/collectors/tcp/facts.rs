//! Finds the owners of TCP connections: joins the programs' counts and the kernel's own with the registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
    time::Instant,
};

use crate::{
    model::{
        interface::{InterfaceId, NetnsId},
        inventory::Identity,
        place::{Attribution, Cause, Place},
        tcp::{CONNECTION_STATES, Events, NO_NETWORK, Segments},
        text::order,
    },
    observe::state::{Owner, Sandbox, State},
};

/// A container's TCP connections on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpRow {
    /// The labels of the container.
    pub identity: Arc<Identity>,
    /// The network. Empty for loopback, and for traffic whose network is unknown.
    pub network: Arc<str>,
    /// This network's share of the kernel's counts.
    pub segments: Segments,
    /// The programs' counts; `None` without programs.
    pub events: Option<Arc<Events>>,
}

/// A container's TCP connections, by state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionsRow {
    /// The labels of the container.
    pub identity: Arc<Identity>,
    /// The number of connections in each state.
    pub states: Vec<(&'static str, u64)>,
}

/// One namespace's counts, by network: a list, because a container is on few.
#[derive(Debug, Default)]
struct Networks(Vec<(Arc<str>, Share)>);

/// The containers at one moment, their networks, and the segments that passed their devices.
#[derive(Debug, Default)]
pub struct Passed {
    namespaces: BTreeMap<NetnsId, Networks>,
    /// The containers that are shown, each with its namespace.
    pub(in crate::collectors) containers: Vec<(Arc<Identity>, NetnsId)>,
}

#[derive(Clone, Debug)]
struct Share {
    /// Segments sent through the network's devices, including retransmitted ones.
    passed: u64,
    /// What the programs counted there: hundreds of bytes, which are [`NONE`] for most networks.
    events: Arc<Events>,
}

/// What happens on a network without connections.
static NONE: LazyLock<Arc<Events>> = LazyLock::new(Arc::default);

impl Share {
    /// Adds the counts of an interface.
    fn add(&mut self, events: &Events) {
        if Arc::ptr_eq(&self.events, &NONE) {
            self.events = Arc::new(*events);
        } else {
            Arc::make_mut(&mut self.events).accumulate(events);
        }
    }
}

impl Networks {
    /// A network's share.
    fn of(&mut self, network: &Arc<str>) -> &mut Share {
        let at = self.0.binary_search_by(|(it, _)| order(it, network));
        let at = at.unwrap_or_else(|at| {
            self.0.insert(at, (Arc::clone(network), Share::default()));
            at
        });
        &mut self.0[at].1
    }

    /// All of them, in the order of a page.
    fn iter(&self) -> impl Iterator<Item = &(Arc<str>, Share)> {
        self.0.iter()
    }
}

impl Default for Share {
    fn default() -> Self {
        Self {
            passed: 0,
            events: Arc::clone(&NONE),
        }
    }
}

/// Makes the rows, by container and network, of what `passed` the devices and of later `events`. Without programs
/// (`events` is `None`) there are only the kernel's own counts, which belong to no network.
pub fn rows(
    passed: Passed,
    events: Option<&[(InterfaceId, Events)]>,
    state: &mut State,
    now: Instant,
) -> (Vec<TcpRow>, Vec<ConnectionsRow>) {
    let Passed {
        mut namespaces,
        containers,
    } = passed;
    if events.is_some() {
        state.sees_connections();
    }
    for (id, events) in events.unwrap_or_default() {
        if let Some(Attribution::In {
            place: Place::Container { identity },
            network,
        }) = state.attribution(*id, now)
            && let Some(networks) = namespaces.get_mut(&id.netns)
        {
            state.count_connections(*id, events, &identity, &network);
            networks.of(&network).add(events);
        }
    }
    for (netns, networks) in &namespaces {
        state.set_segment_shares(*netns, segments(networks, events.is_some()));
        if events.is_some() {
            state.compare_sockets(*netns, &whole(networks));
        }
    }
    let mut rows = Vec::with_capacity(namespaces.values().map(|networks| networks.0.len()).sum());
    let mut connections = Vec::with_capacity(containers.len());
    for (identity, netns) in &containers {
        let Some(networks) = namespaces.get(netns) else {
            continue;
        };
        rows.extend(network_rows(identity, *netns, networks, state, events.is_some()));
        if events.is_some() {
            connections.push(connections_row(identity, *netns, networks, state));
        }
    }
    (rows, connections)
}

/// Foreign namespaces: what happens there is unattributed, and their counts can be deleted.
pub fn foreign(events: &[(InterfaceId, Events)], state: &mut State, now: Instant) -> BTreeSet<NetnsId> {
    let mut foreign = BTreeSet::new();
    for (id, _) in events {
        if let Some(Attribution::Nowhere(Cause::ForeignNamespace)) = state.attribution(*id, now) {
            foreign.insert(id.netns);
        }
    }
    foreign
}

/// Every container's networks, with what passed their devices. An event that never happened is then 0 instead of
/// missing.
#[must_use]
pub fn passed(state: &State) -> Passed {
    let mut namespaces: BTreeMap<NetnsId, Networks> = BTreeMap::new();
    let nowhere = Arc::from(NO_NETWORK);
    for netns in state.containers() {
        let networks = namespaces.entry(netns).or_default();
        networks.of(&nowhere);
        let before = sandbox(state, netns).map(|sandbox| &sandbox.passed_before);
        for (network, passed) in before.into_iter().flatten() {
            networks.of(network).passed += passed;
        }
    }
    for (network, id, _, totals) in state.unordered_totals_of(network) {
        if let Some(networks) = namespaces.get_mut(&id.netns) {
            networks.of(network).passed += totals.transmit.tcp_segments;
        }
    }
    let containers = state.standing().into_iter().filter_map(|(place, netns)| match place {
        Place::Container { identity } => Some((Arc::clone(identity), netns)),
        Place::Overlay { .. } | Place::LoadBalancer { .. } | Place::Node => None,
    });
    Passed {
        containers: containers.collect(),
        namespaces,
    }
}

/// The network of a container's interface.
const fn network(owner: &Owner) -> Option<&Arc<str>> {
    match owner {
        Owner::Container { network, .. } => Some(network),
        Owner::Overlay { .. } => None,
    }
}

/// Each network's share of the kernel's counts, as the programs counted it.
fn segments(networks: &Networks, has_events: bool) -> Vec<(Arc<str>, Segments)> {
    // Without the programs that count retransmitted segments, the number of first transmissions is unknown.
    let share = |share: &Share| share.events.segments(if has_events { share.passed } else { 0 });
    networks
        .iter()
        .map(|(network, its)| (Arc::clone(network), share(its)))
        .collect()
}

/// The events of all networks.
fn whole(networks: &Networks) -> Events {
    let mut all = Events::default();
    for (_, share) in networks.iter().filter(|(_, share)| !Arc::ptr_eq(&share.events, &NONE)) {
        all.accumulate(&share.events);
    }
    all
}

fn sandbox(state: &State, netns: NetnsId) -> Option<&Sandbox> {
    state.namespace(netns)?.sandbox()
}

fn network_rows(
    identity: &Arc<Identity>,
    netns: NetnsId,
    networks: &Networks,
    state: &State,
    has_events: bool,
) -> impl Iterator<Item = TcpRow> {
    let sandbox = sandbox(state, netns);
    networks.iter().map(move |(network, share)| TcpRow {
        identity: Arc::clone(identity),
        network: Arc::clone(network),
        segments: sandbox.map(|sandbox| sandbox.tcp.of(network)).unwrap_or_default(),
        events: has_events.then(|| Arc::clone(&share.events)),
    })
}

fn connections_row(identity: &Arc<Identity>, netns: NetnsId, networks: &Networks, state: &State) -> ConnectionsRow {
    let all = whole(networks);
    let sandbox = sandbox(state, netns);
    let before = sandbox.map(|sandbox| *sandbox.sockets.before()).unwrap_or_default();
    let is_awaited = sandbox.is_some_and(|sandbox| sandbox.sockets.is_awaited());
    // What is not known yet is left out.
    let states = CONNECTION_STATES.iter().filter(|_| !is_awaited);
    let states = states.map(|(name, number)| (*name, all.connections(*number, &before)));
    let protocols = sandbox.and_then(|sandbox| sandbox.protocols);
    let time_wait = protocols.map(|protocols| ("time_wait", protocols.time_wait));
    ConnectionsRow {
        identity: Arc::clone(identity),
        states: states.chain(time_wait).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use netmon_common::tcp::Tcp;

    use super::{Networks, Share, segments};
    use crate::model::tcp::{Events, NO_NETWORK, Segments, Shares};

    /// What is shown of a new namespace, if the kernel counts this in all.
    fn shown(kernel: Segments, networks: &Networks) -> Vec<(&str, Segments)> {
        let mut shares = Shares::default();
        for _ in 0..2 {
            shares.observe(Some(kernel), segments(networks, true), false);
        }
        let its = |network: &str| shares.iter().find(|(name, _)| &***name == network).map(|(_, its)| its);
        let names = networks.iter().map(|(network, _)| &**network);
        let all = names.filter(|network| *network != NO_NETWORK).chain([NO_NETWORK]);
        all.map(|network| (network, its(network).unwrap_or_default())).collect()
    }

    fn both(sent: u64, retransmitted: u64) -> Segments {
        Segments {
            sent,
            retransmitted,
            ..Segments::default()
        }
    }

    /// One network, and what passed its devices.
    fn front(passed: u64, retransmitted_segments: u64, retransmitted_syn_acks: u64) -> Networks {
        let events = Events::from(Tcp {
            retransmitted_segments,
            retransmitted_syn_acks,
            ..Tcp::ZERO
        });
        let events = Arc::new(events);
        Networks(vec![(Arc::from("front"), Share { passed, events })])
    }

    #[test]
    fn a_segment_that_is_sent_again_is_sent_for_the_first_time_once() {
        let networks = front(12, 2, 0);
        let wanted = [("front", both(10, 2)), (NO_NETWORK, both(0, 0))];
        assert_eq!(shown(both(10, 2), &networks), wanted);
    }

    /// For the kernel, each is an answer of its own (`tcp_make_synack`), and also one that is sent again
    /// (`tcp_rtx_synack`).
    #[test]
    fn an_answer_to_a_request_that_is_sent_again_is_sent_each_time() {
        let networks = front(2, 0, 1);
        let wanted = [("front", both(2, 1)), (NO_NETWORK, both(0, 0))];
        assert_eq!(shown(both(2, 1), &networks), wanted);
        // Beside segments of the connection, and with what went over loopback.
        let networks = front(30, 4, 3);
        let wanted = [("front", both(26, 7)), (NO_NETWORK, both(5, 0))];
        assert_eq!(shown(both(31, 7), &networks), wanted);
    }

    #[test]
    fn an_answer_that_is_sent_again_without_a_program_hearing_of_it_is_in_no_sum_twice() {
        let networks = front(2, 0, 0);
        let wanted = [("front", both(2, 0)), (NO_NETWORK, both(0, 1))];
        assert_eq!(shown(both(2, 1), &networks), wanted);
    }
}
