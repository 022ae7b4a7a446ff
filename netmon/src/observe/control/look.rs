//! Looks into namespaces: lists the engine's directory, reads what is new or changed, and writes to the registry.

use std::{path::Path, time::Instant};

use tracing::{debug, info, warn};

use super::Loop;
use crate::{
    datapath::SharedTracepoints,
    model::{
        interface::NetnsId,
        netns::{Listing, NetnsFile, Role},
        tcp::Before,
    },
    netns::{
        buffers, connections, discover,
        enter::{NetnsThread, on_netns_thread},
        rtnetlink::Client,
    },
    observe::{
        Shared,
        read::{ReadError, take_reading},
        state::Number,
    },
};

/// How long the loop does not read a namespace again, as a multiple of the time its last look took. A container may
/// change its namespace all the time, or have thousands of devices there. It gets a tenth of this thread's time. For
/// other containers the wait is too short to notice.
const LOOK_REST: u32 = 9;

/// How often the sockets of an older namespace are counted at most. They are counted again if some changed their
/// state meanwhile.
const COUNT_ATTEMPTS: u32 = 5;

impl Loop {
    /// Lists the directory if that is due, and reads every namespace that is new or changed.
    pub(super) fn look(&mut self) {
        let mut files: Vec<(NetnsFile, Option<Number>)> = Vec::new();
        let is_listing = std::mem::take(&mut self.list);
        if is_listing {
            match discover::list(&self.places.directory) {
                Ok(mut listing) => {
                    self.directory_unreadable = false;
                    listing.files.extend(node_unless_listed(&listing, &self.places.node));
                    let new = self.shared.lock().listed(listing, Instant::now());
                    // Assign the nsid before the look, so that every change after the look is received.
                    files.extend(new.into_iter().map(|file| {
                        let number = self.number(&file);
                        (file, number)
                    }));
                    self.waker.wake();
                }
                Err(error) => {
                    if !self.directory_unreadable {
                        let directory = self.places.directory.display();
                        warn!(%directory, %error, "cannot list the engine's namespaces");
                    }
                    self.directory_unreadable = true;
                    self.soon();
                }
            }
        }
        let now = Instant::now();
        self.rested.retain(|_, until| *until > now);
        let rested = &self.rested;
        let due: Vec<NetnsId> = self.dirty.extract_if(.., |netns| !rested.contains_key(netns)).collect();
        {
            let state = self.shared.lock();
            files.extend(
                due.iter()
                    .filter_map(|netns| state.namespaces().get(netns))
                    .map(|namespace| (namespace.file.clone(), None)),
            );
        }
        if files.is_empty() {
            if is_listing {
                self.shared.lock().finish_first_look();
            }
            return;
        }
        let (shared, tracepoints, rested) = (&self.shared, &self.tracepoints, &mut self.rested);
        let want = on_netns_thread(|thread| {
            let mut want = None;
            for (file, number) in &files {
                let begin = Instant::now();
                match look_into(shared, tracepoints, file, *number, thread) {
                    Ok(netns) => {
                        let end = Instant::now();
                        rested.insert(netns, end + (end - begin) * LOOK_REST);
                    }
                    // Mostly the namespace is deleted already, which the next listing shows. A container whose
                    // namespace cannot be entered is shown as pending.
                    Err(error) => {
                        debug!(path = %file.path.display(), %error, "cannot look into a namespace");
                        want = want.or_else(|| error.is_want().then_some(error));
                    }
                }
            }
            want
        });
        let want = want.unwrap_or_else(|error| Some(error.into()));
        match &want {
            Some(error) if !self.lacks_resources => warn!(%error, "cannot read namespaces; will retry"),
            None if self.lacks_resources => info!("namespaces can be read again"),
            _ => {}
        }
        self.lacks_resources = want.is_some();
        if self.lacks_resources {
            self.soon();
        }
        let mut state = self.shared.lock();
        state.name();
        if is_listing && !self.lacks_resources {
            state.finish_first_look();
        }
    }

    /// Brings the next round forward, for what could not be read.
    fn soon(&mut self) {
        self.next_round = self.next_round.min(Instant::now() + self.times.retry);
    }

    /// The nsid of a namespace that is read for the first time. Assigns one if it has none.
    fn number(&mut self, file: &NetnsFile) -> Option<Number> {
        // The node's devices are not counted, and messages about them carry no nsid.
        if file.role == Role::Node {
            return None;
        }
        let open = std::fs::File::open(&file.path).ok()?;
        match self.home.number(open) {
            Ok(nsid) => {
                let since = Instant::now();
                nsid.map(|nsid| Number { nsid, since })
            }
            Err(error) => {
                debug!(path = %file.path.display(), %error, "changes in a namespace are found by looking");
                None
            }
        }
    }
}

/// The node's namespace, unless the listing has it. The namespace that netmon runs in is the node's, unless the
/// engine created it.
fn node_unless_listed(listing: &Listing, node: &Path) -> Option<NetnsFile> {
    let listed = |node: &NetnsFile| listing.files.iter().any(|file| file.inode == node.inode);
    let has_node = listing.files.iter().any(|file| file.role == Role::Node);
    discover::node(node).ok().filter(|node| !has_node && !listed(node))
}

fn look_into(
    shared: &Shared,
    tracepoints: &SharedTracepoints,
    file: &NetnsFile,
    number: Option<Number>,
    thread: &mut NetnsThread,
) -> Result<NetnsId, ReadError> {
    let _file = thread.enter(&file.path)?;
    let mut client = Client::open()?;
    let netns = client.netns()?;
    tracepoints.lock().watch(netns);
    let looked = look_inside(shared, tracepoints, file, netns, number, &mut client);
    if looked.is_err() && shared.lock().namespace(netns).is_none() {
        // Only what the registry has known is forgotten with it.
        tracepoints.lock().unwatch(netns);
    }
    looked.map(|()| netns)
}

fn look_inside(
    shared: &Shared,
    tracepoints: &SharedTracepoints,
    file: &NetnsFile,
    netns: NetnsId,
    number: Option<Number>,
    client: &mut Client,
) -> Result<(), ReadError> {
    let devices = client.devices()?;
    if file.role == Role::Sandbox {
        let addresses = devices
            .devices
            .iter()
            .flat_map(|device| device.addresses.iter().map(|address| (*address, device.ifindex)));
        if let Some(tcp) = &mut tracepoints.lock().tcp {
            tcp.set_addresses(netns, addresses);
        }
    }
    if matches!(file.role, Role::Node | Role::Overlay { .. })
        && let Some(drops) = &mut tracepoints.lock().drops
    {
        drops.give_room(netns, devices.devices.len());
    }
    let remotes = match file.role {
        Role::Overlay { .. } => client.remotes()?,
        Role::Sandbox | Role::LoadBalancer { .. } | Role::Ingress | Role::Node => Vec::new(),
    };
    let backlog = match file.role {
        Role::Sandbox => buffers::listen_backlog_limit(),
        Role::Overlay { .. } | Role::LoadBalancer { .. } | Role::Ingress | Role::Node => None,
    };
    let is_older = file.role == Role::Sandbox && shared.lock().is_unread_and_older(file, netns);
    let connections = is_older.then(|| connections_before(tracepoints, netns)).flatten();
    {
        let mut state = shared.lock();
        state.looked(file, netns, devices, Instant::now());
        if let Some(before) = connections {
            state.set_connections_before(netns, before);
        }
        state.set_remotes(netns, remotes);
        state.set_listen_backlog_limit(netns, backlog);
        if let Some(number) = number {
            state.numbered(netns, number);
        }
    }
    // The first reading comes at once: a device that is deleted before any scrape has at least this one.
    take_reading(shared, netns, || client.statistics())
}

/// Counts the sockets of an older namespace, because the kernel programs count only changes. The calling thread is in
/// it. `None` without programs.
fn connections_before(tracepoints: &SharedTracepoints, netns: NetnsId) -> Option<Before> {
    let events = || Some(tracepoints.lock().tcp.as_ref()?.read_namespace(netns));
    let mut counted = None;
    for _ in 0..COUNT_ATTEMPTS {
        let (Ok(before), Ok(sockets), Ok(after)) = (events()?, connections::count(), events()?) else {
            debug!(netns = netns.0, "connections from before netmon are not counted");
            return counted;
        };
        counted = Some(after.before(&sockets));
        if before == after {
            break;
        }
    }
    counted
}
