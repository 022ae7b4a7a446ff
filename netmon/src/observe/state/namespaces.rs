//! The registry's entries for namespaces: what is known of each while it exists and while it lingers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use super::{
    ReadingLock, Stamp, State,
    kinds::{Devices, Kind, Node, Sandbox, TunnelDevice},
    range,
};
use crate::model::{
    buffers::{Backlogs, ExemptNeighbours, NodeBuffers},
    interface::{Device, NetnsId},
    netns::NetnsFile,
    overlay::XfrmErrors,
    place::Place,
    protocols::Protocols,
    tcp::{Events, Segments, sockets::Counted},
};

/// A watched namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// The file it is mounted on.
    pub file: NetnsFile,
    /// Its nsid in the node's namespace, once it has one.
    pub number: Option<Number>,
    /// Its owner, once known. It stays known after the engine has forgotten it.
    pub place: Option<Place>,
    /// It existed before netmon did, or reappeared after it stopped lingering.
    pub is_older: bool,
    /// What only a namespace of its kind has.
    pub kind: Kind,
    /// How many of its devices are not watched because there are too many.
    pub(super) refused: u64,
    /// How many of its neighbours no threshold bounds. Counted in the namespaces of the node and of its overlays.
    pub exempt_neighbours: ExemptNeighbours,
    /// When it was first seen.
    pub(super) seen: Stamp,
    /// Held by whoever reads its devices.
    pub(super) reading: ReadingLock,
}

/// The nsid of another namespace in the node's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The nsid.
    pub nsid: i32,
    /// The namespace had the nsid at this time, and maybe earlier. A deleted namespace may have had it before.
    pub since: Instant,
}

/// A namespace that was closed. What was counted for it lingers.
#[derive(Clone, Debug)]
pub struct Closed {
    /// What was known of it.
    pub namespace: Namespace,
    /// When it was closed.
    pub at: Instant,
}

impl Namespace {
    /// A namespace that was just found, and of which nothing is known yet.
    pub(super) fn new(file: NetnsFile, is_older: bool, seen: Stamp) -> Self {
        Self {
            number: None,
            place: None,
            is_older,
            kind: Kind::new(&file.role),
            refused: 0,
            exempt_neighbours: ExemptNeighbours::default(),
            seen,
            reading: ReadingLock::default(),
            file,
        }
    }

    /// Takes in the file that it is on now. A namespace that was closed and reappears may be on another one.
    pub(super) fn set_file(&mut self, file: NetnsFile) {
        if !self.kind.fits(&file.role) {
            self.kind = Kind::new(&file.role);
        }
        self.file = file;
    }

    /// What only a container's namespace has.
    #[must_use]
    pub const fn sandbox(&self) -> Option<&Sandbox> {
        match &self.kind {
            Kind::Sandbox(sandbox) => Some(sandbox),
            Kind::Overlay(_) | Kind::LoadBalancer(_) | Kind::Ingress(_) | Kind::Node(_) => None,
        }
    }

    pub(super) const fn sandbox_mut(&mut self) -> Option<&mut Sandbox> {
        match &mut self.kind {
            Kind::Sandbox(sandbox) => Some(sandbox),
            Kind::Overlay(_) | Kind::LoadBalancer(_) | Kind::Ingress(_) | Kind::Node(_) => None,
        }
    }

    /// What only the node's namespace has.
    #[must_use]
    pub const fn node(&self) -> Option<&Node> {
        match &self.kind {
            Kind::Node(node) => Some(node),
            Kind::Sandbox(_) | Kind::Overlay(_) | Kind::LoadBalancer(_) | Kind::Ingress(_) => None,
        }
    }

    const fn node_mut(&mut self) -> Option<&mut Node> {
        match &mut self.kind {
            Kind::Node(node) => Some(node),
            Kind::Sandbox(_) | Kind::Overlay(_) | Kind::LoadBalancer(_) | Kind::Ingress(_) => None,
        }
    }

    /// Its tunnels to other nodes. Only an overlay network's namespace has some.
    pub fn tunnels(&self) -> impl Iterator<Item = &TunnelDevice> {
        let overlay = match &self.kind {
            Kind::Overlay(overlay) => Some(overlay),
            Kind::Sandbox(_) | Kind::LoadBalancer(_) | Kind::Ingress(_) | Kind::Node(_) => None,
        };
        overlay.into_iter().flat_map(|overlay| overlay.tunnels.values())
    }

    /// Its protocols' counters, as last read. A namespace that only forwards packets has none.
    #[must_use]
    pub const fn protocols(&self) -> Option<&Protocols> {
        match &self.kind {
            Kind::Sandbox(sandbox) => sandbox.protocols.as_ref(),
            Kind::Node(node) => node.protocols.as_ref(),
            Kind::Overlay(_) | Kind::LoadBalancer(_) | Kind::Ingress(_) => None,
        }
    }

    /// Its devices, if it forwards others' packets.
    #[must_use]
    pub const fn devices(&self) -> Option<&Devices> {
        match &self.kind {
            Kind::Sandbox(_) => None,
            Kind::Overlay(overlay) => Some(&overlay.devices),
            Kind::LoadBalancer(devices) | Kind::Ingress(devices) => Some(devices),
            Kind::Node(node) => Some(&node.devices),
        }
    }
}

impl State {
    /// The watched namespaces.
    #[must_use]
    pub const fn namespaces(&self) -> &BTreeMap<NetnsId, Namespace> {
        &self.namespaces
    }

    /// The closed namespaces that still linger.
    pub fn closed(&self) -> impl Iterator<Item = &Namespace> {
        self.closed.values().map(|closed| &closed.namespace)
    }

    /// The namespaces of containers, including those that still linger.
    pub fn containers(&self) -> impl Iterator<Item = NetnsId> {
        let closed = self.closed.iter().map(|(netns, closed)| (*netns, &closed.namespace));
        let living = self.namespaces.iter().map(|(netns, namespace)| (*netns, namespace));
        living
            .chain(closed)
            .filter(|(_, namespace)| matches!(namespace.place, Some(Place::Container { .. })))
            .map(|(netns, _)| netns)
    }

    /// A namespace that exists or still lingers.
    #[must_use]
    pub fn namespace(&self, netns: NetnsId) -> Option<&Namespace> {
        super::living_or_closed(&self.namespaces, &self.closed, netns)
    }

    pub(super) fn namespace_mut(&mut self, netns: NetnsId) -> Option<&mut Namespace> {
        let closed = self.closed.get_mut(&netns).map(|closed| &mut closed.namespace);
        self.namespaces.get_mut(&netns).or(closed)
    }

    /// Takes in the networks' shares of a container's TCP counts, as the programs counted them.
    pub fn set_segment_shares(&mut self, netns: NetnsId, shares: Vec<(Arc<str>, Segments)>) {
        let is_over = self.closed.contains_key(&netns);
        if let Some(namespace) = self.namespace_mut(netns) {
            let is_older = namespace.is_older;
            if let Some(sandbox) = namespace.sandbox_mut() {
                let whole = sandbox.protocols.map(|protocols| protocols.segments);
                sandbox.tcp.observe(whole, shares, is_older);
                // It was closed while it was read.
                if is_over {
                    sandbox.tcp.end();
                }
            }
        }
        self.count_segments(netns);
    }

    /// Takes in a reading of a namespace's protocol counters.
    pub fn counted(&mut self, netns: NetnsId, protocols: Protocols) {
        match self.namespaces.get_mut(&netns).map(|namespace| &mut namespace.kind) {
            Some(Kind::Sandbox(sandbox)) => sandbox.protocols = Some(protocols),
            Some(Kind::Node(node)) => node.protocols = Some(protocols),
            Some(Kind::Overlay(_) | Kind::LoadBalancer(_) | Kind::Ingress(_)) | None => {}
        }
    }

    /// Takes in how many connections conntrack follows in a container.
    pub fn set_conntrack_entries(&mut self, netns: NetnsId, conntrack_entries: Option<u64>) {
        if let Some(sandbox) = self.sandbox_mut(netns) {
            sandbox.buffers.conntrack_entries = conntrack_entries;
        }
    }

    /// Takes in how many of a namespace's neighbours no threshold bounds.
    pub fn set_exempt_neighbours(&mut self, netns: NetnsId, exempt: ExemptNeighbours) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.exempt_neighbours = exempt;
        }
    }

    /// Whether it is known how many connections may wait to be accepted in a container.
    #[must_use]
    pub fn knows_listen_backlog_limit(&self, netns: NetnsId) -> bool {
        let sandbox = self.namespaces.get(&netns).and_then(Namespace::sandbox);
        sandbox.is_some_and(|sandbox| sandbox.buffers.listen_backlog_limit.is_some())
    }

    /// Takes in how many connections may wait to be accepted in a container.
    pub fn set_listen_backlog_limit(&mut self, netns: NetnsId, listen_backlog_limit: Option<u64>) {
        if let Some(sandbox) = self.sandbox_mut(netns) {
            sandbox.buffers.listen_backlog_limit = listen_backlog_limit;
        }
    }

    fn sandbox_mut(&mut self, netns: NetnsId) -> Option<&mut Sandbox> {
        self.namespaces.get_mut(&netns)?.sandbox_mut()
    }

    fn node_mut(&mut self, netns: NetnsId) -> Option<&mut Node> {
        self.namespaces.get_mut(&netns)?.node_mut()
    }

    /// Takes in the list of the node's devices.
    pub fn node_has(&mut self, netns: NetnsId, devices: &[Device], now: Instant) {
        if let Some(namespace) = self.namespaces.get_mut(&netns) {
            namespace.kind.set_devices(devices, self.times.device_linger, now);
        }
    }

    /// The node's own namespace.
    #[must_use]
    pub fn node(&self) -> Option<(NetnsId, &Namespace)> {
        let found = self.namespaces.iter().find(|(_, namespace)| namespace.node().is_some());
        found.map(|(netns, namespace)| (*netns, namespace))
    }

    /// Takes in a reading of the node's queues, tables and limits; `None` if they could not be read.
    pub fn node_bounded(&mut self, netns: NetnsId, reading: Option<(NodeBuffers, Backlogs)>) {
        if let Some(node) = self.node_mut(netns) {
            node.set_buffers(reading);
        }
    }

    /// Takes in a reading of the encryption errors in the node's namespace; `None` if the kernel does not report them.
    pub fn set_xfrm_errors(&mut self, netns: NetnsId, errors: Option<XfrmErrors>) {
        if let Some(node) = self.node_mut(netns) {
            node.xfrm_errors = errors.map(Arc::new);
        }
    }

    /// A container that is older than netmon was looked at, and its TCP sockets are counted later.
    pub fn await_sockets(&mut self, netns: NetnsId) {
        if let Some(sandbox) = self.sandbox_mut(netns) {
            sandbox.sockets.await_first();
        }
    }

    /// The namespace on this file cannot be looked at, so nobody waits for its TCP sockets.
    pub fn await_no_sockets(&mut self, file: &NetnsFile) {
        let its = self.namespaces.values_mut().filter(|namespace| namespace.file == *file);
        for sandbox in its.filter_map(Namespace::sandbox_mut) {
            if sandbox.sockets.is_awaited() {
                sandbox.sockets.counted(None);
            }
        }
    }

    /// The containers whose TCP sockets were never counted, and have to be.
    pub fn awaiting_sockets(&self) -> impl Iterator<Item = NetnsId> {
        let awaits = |namespace: &Namespace| namespace.sandbox().is_some_and(|it| it.sockets.is_awaited());
        let awaiting = self.namespaces.iter().filter(move |(_, namespace)| awaits(namespace));
        awaiting.map(|(netns, _)| *netns)
    }

    /// Takes in a count of a container's TCP sockets; `None` if they could not be counted.
    pub fn set_sockets(&mut self, netns: NetnsId, counted: Option<Counted>) {
        if let Some(sandbox) = self.sandbox_mut(netns) {
            sandbox.sockets.counted(counted);
        }
    }

    /// Takes in a count of a container's TCP sockets that was made although nothing was known to be wrong.
    pub fn verify_sockets(&mut self, netns: NetnsId, counted: &Counted) {
        if let Some(sandbox) = self.sandbox_mut(netns) {
            sandbox.sockets.verified(counted);
        }
    }

    /// The last count of a container's TCP sockets missed something.
    pub fn recount_sockets(&mut self, netns: NetnsId) {
        if let Some(sandbox) = self.sandbox_mut(netns) {
            sandbox.sockets.recount();
        }
    }

    /// Compares what the programs counted in a container with how many TCP sockets the kernel says are in use, if that
    /// was read since the last comparison.
    pub fn compare_sockets(&mut self, netns: NetnsId, events: &Events) {
        if let Some(sandbox) = self.sandbox_mut(netns)
            && let Some(protocols) = &mut sandbox.protocols
            && let Some(in_use) = protocols.sockets_in_use.take()
        {
            sandbox.sockets.compare(events, in_use);
        }
    }

    /// Takes in which nodes an overlay's devices send to.
    pub fn set_remotes(&mut self, netns: NetnsId, remotes: impl IntoIterator<Item = (u32, IpAddr)>) {
        if let Some(Kind::Overlay(overlay)) = self.namespaces.get_mut(&netns).map(|namespace| &mut namespace.kind) {
            overlay.set_remotes(remotes);
        }
    }

    /// The files of these namespaces, but for the `new` ones: of those without an nsid, and of those with one. So whoever
    /// got none at a look is asked for at the next.
    #[must_use]
    pub fn to_read(&self, due: &[NetnsId], new: &[NetnsFile]) -> (Vec<NetnsFile>, Vec<NetnsFile>) {
        let new: BTreeSet<_> = new.iter().map(|file| &file.path).collect();
        let (unnumbered, numbered): (Vec<_>, Vec<_>) = due
            .iter()
            .filter_map(|netns| self.namespaces.get(netns))
            .filter(|namespace| !new.contains(&namespace.file.path))
            .partition(|namespace| namespace.number.is_none());
        let files = |namespaces: Vec<&Namespace>| namespaces.iter().map(|it| it.file.clone()).collect();
        (files(unnumbered), files(numbered))
    }

    /// Records the nsid of a namespace in the node's namespace.
    pub fn numbered(&mut self, netns: NetnsId, number: Number) {
        if let Some(namespace) = self.namespaces.get_mut(&netns)
            && namespace.number.is_none_or(|known| known.nsid != number.nsid)
        {
            namespace.number = Some(number);
        }
    }

    /// The namespace that had this nsid when a message was sent, which was later than `after`. Several may match,
    /// because the kernel reuses an nsid before netmon notices that its namespace is deleted. Then it is the last one
    /// that had the nsid for certain.
    #[must_use]
    pub fn namespace_by_number(&self, nsid: i32, after: Instant) -> Option<NetnsId> {
        let called_so = self.namespaces.iter().filter_map(|(netns, namespace)| {
            let number = namespace.number.filter(|number| number.nsid == nsid)?;
            Some((number.since, *netns))
        });
        let certain = called_so.clone().filter(|(since, _)| *since <= after).max();
        certain.or_else(|| called_so.min()).map(|(_, netns)| netns)
    }

    /// Takes back a namespace that was closed a moment ago but still exists: its file was missing for a while.
    pub(super) fn take_closed(&mut self, netns: NetnsId) -> Option<Namespace> {
        self.closed.remove(&netns).map(|closed| closed.namespace)
    }

    pub(super) fn close_namespace(&mut self, netns: NetnsId, now: Instant) {
        let ids: Vec<_> = self.interfaces.range(range(netns)).map(|(id, _)| *id).collect();
        for id in ids {
            self.close(id, now);
        }
        if let Some(mut namespace) = self.namespaces.remove(&netns) {
            if let Some(sandbox) = namespace.sandbox_mut() {
                sandbox.tcp.end();
                self.over.extend(sandbox.loopback.take());
            }
            self.closed.insert(netns, Box::new(Closed { namespace, at: now }));
            // Maybe nobody takes in its shares any more: without programs, no last counts follow.
            self.count_segments(netns);
        }
    }
}
