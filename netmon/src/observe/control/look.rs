//! Looks into namespaces: lists the engine's directory, reads what is new or changed, and writes to the registry.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use super::{
    Loop,
    sockets::{Counting, Kernel},
    verification::Verification,
};
use crate::{
    datapath::SharedTracepoints,
    model::{
        interface::NetnsId,
        netns::{Listing, NetnsFile, Role},
        outage::News,
        tcp::sockets::{Counted, Purpose},
    },
    netns::{
        discover,
        enter::{NetnsThread, on_netns_thread},
        rtnetlink::Client,
    },
    observe::{
        Shared,
        read::{ReadError, take_reading},
        state::Number,
    },
    workers::Turn,
};

/// How long the loop does not read a namespace again, as a multiple of the time its last look took. A container may
/// change its namespace all the time, or have thousands of devices there. It gets a tenth of this thread's time. For
/// other containers the wait is too short to notice.
const LOOK_REST: u32 = 9;

/// How many containers that are older than netmon have their TCP sockets counted in one turn of the loop. That takes some
/// ten milliseconds for each, and others wait for their programs.
const SOCKETS_A_TURN: usize = 4;

impl Loop {
    /// Lists the directory if that is due, and reads every namespace that is new or changed. Each takes a turn of its
    /// own.
    pub(super) fn look(&mut self, turn: &Turn<'_>) {
        let now = Instant::now();
        self.rested.retain(|_, until| *until > now);
        let is_listing = self.list.take(now);
        let mut new = if is_listing { self.listed() } else { Vec::new() };
        if is_listing {
            // Whether a network's name is on another namespace now, only a look can tell. It waits until the one that was
            // there has rested.
            let resting = self
                .shared
                .lock()
                .resting(&mut new, |netns| self.rested.contains_key(&netns));
            self.dirty.extend(resting);
        }
        self.take_awaiting();
        let (unnumbered, numbered) = self.due(&new);
        let (mut files, no_number) = self.number_all(new.into_iter().chain(unnumbered), turn);
        let listing = now.elapsed();
        files.extend(numbered.into_iter().map(|file| (file, None)));
        if files.is_empty() {
            if is_listing {
                self.list.listed(Instant::now(), listing);
                self.shared.lock().finish_first_look();
            }
            return;
        }
        let (shared, tracepoints, rested) = (&self.shared, &self.tracepoints, &mut self.rested);
        let verification = &mut self.verification;
        let mut looked = Vec::with_capacity(files.len());
        // The looks that each listing causes, whatever is new.
        let mut again = Duration::ZERO;
        let want = on_netns_thread(|thread| {
            let mut sockets = Sockets {
                counting: Counting::new(Kernel(tracepoints)),
                verification,
            };
            let want = each_in_its_turn(&files, turn, |(file, number)| {
                let (begin, counted) = (Instant::now(), sockets.counting.spent());
                match look_into(shared, tracepoints, file, *number, thread, &mut sockets) {
                    Ok(netns) => {
                        let end = Instant::now();
                        // How often sockets are counted has a limit of its own: a namespace with tens of thousands would
                        // rest for minutes, and not be counted when it is still.
                        let look = (end - begin).saturating_sub(sockets.counting.spent().saturating_sub(counted));
                        rested.insert(netns, end + look * LOOK_REST);
                        again += if file.role.reuses_names() { look } else { Duration::ZERO };
                        looked.push(netns);
                        None
                    }
                    // Mostly the namespace is deleted already, which the next listing shows. A container whose
                    // namespace cannot be entered is shown as pending.
                    Err(error) => {
                        debug!(path = %file.path.display(), %error, "cannot look into a namespace");
                        shared.lock().await_no_sockets(file);
                        error.is_want().then_some(error)
                    }
                }
            });
            for netns in sockets.counting.missed() {
                shared.lock().recount_sockets(netns);
            }
            want
        });
        if is_listing {
            self.list.listed(Instant::now(), listing + again);
        }
        let want = want.unwrap_or_else(|error| Some(error.into())).or(no_number);
        match (self.no_resources.note(want.is_some(), Instant::now()), &want) {
            (Some(News::Begins), Some(error)) => warn!(%error, "cannot read namespaces; will retry"),
            (Some(News::Ends), _) => info!("namespaces can be read again"),
            _ => {}
        }
        if want.is_some() {
            self.soon();
        }
        let mut state = self.shared.lock();
        state.name_in(looked);
        if is_listing && want.is_none() {
            state.finish_first_look();
        }
    }

    /// Has some of the containers looked at again whose TCP sockets were never counted. At a start, all are named first.
    fn take_awaiting(&mut self) {
        let state = self.shared.lock();
        let awaiting = state
            .awaiting_sockets()
            .filter(|netns| !self.rested.contains_key(netns));
        self.dirty.extend(awaiting.take(SOCKETS_A_TURN));
    }

    /// Lists the directory, and returns the files that have to be read.
    fn listed(&mut self) -> Vec<NetnsFile> {
        match discover::list(&self.places.directory) {
            Ok(mut listing) => {
                if self.no_directory.note(false, Instant::now()).is_some() {
                    info!("the engine's namespaces can be listed again");
                }
                listing.files.extend(node_unless_listed(&listing, &self.places.node));
                self.shared.lock().listed(listing, Instant::now())
            }
            Err(error) => {
                if self.no_directory.begins(true, Instant::now()) {
                    let directory = self.places.directory.display();
                    warn!(%directory, %error, "cannot list the engine's namespaces");
                }
                self.soon();
                Vec::new()
            }
        }
    }

    /// The files of the changed namespaces that have rested: of those without an nsid, and of those with one. The `new`
    /// ones are read anyway.
    fn due(&mut self, new: &[NetnsFile]) -> (Vec<NetnsFile>, Vec<NetnsFile>) {
        let rested = &self.rested;
        let due: Vec<NetnsId> = self.dirty.extract_if(.., |netns| !rested.contains_key(netns)).collect();
        self.shared.lock().to_read(&due, new)
    }

    /// Brings the next round forward, for what could not be read.
    fn soon(&mut self) {
        self.next_round = self.next_round.min(Instant::now() + self.times.retry);
    }
}

/// Looks at each of these in a turn of its own. Returns the first error.
fn each_in_its_turn<T, E>(all: &[T], turn: &Turn<'_>, mut look: impl FnMut(&T) -> Option<E>) -> Option<E> {
    let mut first = None;
    for one in all {
        turn.renew();
        let error = look(one);
        first = first.or(error);
    }
    first
}

/// The node's namespace, unless the listing has it. The namespace that netmon runs in is the node's, unless the
/// engine created it.
fn node_unless_listed(listing: &Listing, node: &Path) -> Option<NetnsFile> {
    let listed = |node: &NetnsFile| listing.files.iter().any(|file| file.inode == node.inode);
    let has_node = listing.files.iter().any(|file| file.role == Role::Node);
    discover::node(node).ok().filter(|node| !has_node && !listed(node))
}

/// A count of a namespace's sockets.
enum Found {
    /// `None` if they could not be counted.
    Correction(Option<Counted>),
    Verification(Counted),
}

/// Counts sockets, as far as their turn has come.
struct Sockets<'a> {
    counting: Counting<Kernel<'a>>,
    verification: &'a mut Verification,
}

impl Sockets<'_> {
    fn count(&mut self, purpose: Purpose, netns: NetnsId, devices: impl IntoIterator<Item = u32>) -> Option<Found> {
        let Purpose::Verification(events) = purpose else {
            return Some(Found::Correction(self.counting.count(netns, devices, None)));
        };
        if !self.verification.takes(netns) {
            return None;
        }
        let unless = (!self.verification.has_lost()).then_some(&*events);
        let before = self.counting.spent();
        let counted = self.counting.count(netns, devices, unless);
        self.verification.spent(self.counting.spent().saturating_sub(before));
        counted.map(Found::Verification)
    }
}

fn look_into(
    shared: &Shared,
    tracepoints: &SharedTracepoints,
    file: &NetnsFile,
    number: Option<Number>,
    thread: &mut NetnsThread,
    sockets: &mut Sockets<'_>,
) -> Result<NetnsId, ReadError> {
    let _file = thread.enter(&file.path)?;
    let mut client = Client::open()?;
    let netns = client.netns()?;
    tracepoints.lock().watch(netns);
    let looked = look_inside(shared, tracepoints, file, netns, number, &mut client, sockets);
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
    sockets: &mut Sockets<'_>,
) -> Result<(), ReadError> {
    let devices = client.devices()?;
    if file.role == Role::Sandbox {
        let devices = devices.devices.iter();
        let addresses: Vec<_> = devices
            .flat_map(|device| device.addresses.iter().map(|address| (*address, device.ifindex)))
            .collect();
        tracepoints.lock().set_addresses(netns, &addresses);
    }
    if matches!(file.role, Role::Node | Role::Overlay { .. }) {
        tracepoints.lock().give_room(netns, devices.devices.len());
    }
    let remotes = match file.role {
        Role::Overlay { .. } => client.remotes()?,
        Role::Sandbox | Role::LoadBalancer { .. } | Role::Ingress | Role::Node => Vec::new(),
    };
    let (purpose, is_known, is_late) = {
        let state = shared.lock();
        let purpose = (file.role == Role::Sandbox).then(|| state.sockets_purpose(file, netns));
        let namespace = state.namespace(netns);
        let sandbox = namespace.and_then(|it| it.sandbox());
        let is_late = sandbox.is_some_and(|it| it.sockets.is_awaited());
        (purpose.flatten(), namespace.is_some(), is_late)
    };
    // The kernel walks all connections of the machine for that. So whoever was there before netmon is named first.
    let is_awaited = purpose.is_some() && !is_known;
    let ifindexes = devices.devices.iter().map(|device| device.ifindex);
    let purpose = purpose.filter(|_| !is_awaited);
    if file.role == Role::Node {
        tracepoints.lock().set_node(netns);
    }
    // Names come first here, too; the node has none to wait for.
    if is_late || file.role == Role::Node && !is_known {
        tracepoints.lock().adopt();
    }
    let found = purpose.and_then(|purpose| sockets.count(purpose, netns, ifindexes));
    {
        let mut state = shared.lock();
        state.looked(file, netns, devices, Instant::now());
        if is_awaited {
            // In the same moment: nobody sees it with numbers that lack these.
            state.await_sockets(netns);
        }
        match found {
            Some(Found::Correction(counted)) => state.set_sockets(netns, counted),
            Some(Found::Verification(counted)) => state.verify_sockets(netns, &counted),
            None => {}
        }
        state.set_remotes(netns, remotes);
        if let Some(number) = number {
            state.numbered(netns, number);
        }
    }
    // The first reading comes at once: a device that is deleted before any scrape has at least this one.
    take_reading(shared, netns, || client.statistics())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        thread,
        time::{Duration, Instant},
    };

    use super::each_in_its_turn;
    use crate::workers::{Worker, Workers};

    #[test]
    fn a_look_into_many_namespaces_takes_as_many_turns() {
        let workers = Workers::new(Duration::ZERO, None);
        let (clocks, shift) = (workers.clocks(), workers.shift(Worker::Control));
        let later = Instant::now() + Duration::from_mins(1);
        let turn = shift.turn();
        let mut turns = BTreeSet::new();
        let error = each_in_its_turn(&[1, 2, 3, 4, 5], &turn, |number| {
            turns.insert(clocks.hung(later).map(|(_, time)| time));
            // The clock of turns has milliseconds.
            thread::sleep(Duration::from_millis(2));
            (number % 2 == 0).then_some(*number)
        });
        assert_eq!(turns.len(), 5, "{turns:?}");
        assert_eq!(error, Some(2), "the first");
    }
}
