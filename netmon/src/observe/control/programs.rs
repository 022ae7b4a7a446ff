//! Programs for interfaces: attaches them, checks that they are still attached, and detaches them.
//!
//! Attaching is late and slow on purpose. A tcx link costs about twelve milliseconds with the kernel's RTNL lock held
//! (a grace period). Whoever starts a container meanwhile waits. No packet is missed: netmon reads the device's own
//! counters from the first packet on, and the kernel reports them when the device is deleted.
//!
//! So an interface gets its programs when its container's start is over and no devices change. The lock is left to
//! others for half of the time. On a node that is never quiet, it is left to them for nine tenths.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use super::{
    Loop,
    attachments::{Added, Attachments},
};
use crate::{
    datapath::{
        Datapath,
        attach::{AttachError, Attachment, NotAttached, device_name},
    },
    model::{
        counters::Directions,
        health::AttachFailure,
        interface::{InterfaceId, LOOPBACK, NetnsId},
        outage::{Outage, Said},
        programs::{Filter, Handle},
    },
    netns::{
        enter::{NetnsThread, on_netns_thread},
        rtnetlink::Client,
    },
    observe::{
        Shared, filters,
        read::read_namespace,
        state::{Candidate, Interface},
    },
};

/// How long the RTNL lock is left to others after an attach, as a multiple of the time the attach took: on a quiet
/// node, and on a busy one.
const REST: (u32, u32) = (1, 9);
/// How often a reading is repeated to settle the distance between a busy device's counters and its programs'.
const SETTLE_ATTEMPTS: u32 = 50;
/// The pause between these readings.
const SETTLE_PAUSE: Duration = Duration::from_millis(1);

impl Loop {
    /// When programs may be attached to the next interface.
    pub(super) fn attach_at(&self) -> Instant {
        let quiet = self.last_change + self.times.attach_quiet;
        let at = self
            .waiting_since
            .map_or(quiet, |since| quiet.min(since + self.times.attach_patience));
        at.max(self.rest_until)
    }

    /// Attaches programs to one interface, if one waits and its time has come.
    pub(super) fn attach_next(&mut self) {
        let now = Instant::now();
        let candidate = self.shared.lock().next_candidate(now, self.times.attach_age);
        let (Some(candidate), true) = (candidate, self.datapath.is_some()) else {
            self.waiting_since = None;
            return;
        };
        self.waiting_since.get_or_insert(now);
        if now < self.attach_at() {
            return;
        }
        let Some(datapath) = &mut self.datapath else { return };
        let (shared, attachments, log) = (&self.shared, &mut self.attachments, &mut self.attach_log);
        // Readings that follow an attach hold the lock for microseconds, with pauses in between.
        let mut held = Duration::ZERO;
        let attached = on_netns_thread(|thread| {
            let id = candidate.id;
            let result = attach(datapath, &candidate, thread);
            held = now.elapsed();
            match result {
                Ok(attachment) => {
                    debug!(interface = %id, name = candidate.name, "programs attached");
                    let (handle, is_wanted) = attached(shared, id, attachments.add(attachment));
                    if !is_wanted {
                        detach(attachments, handle, &candidate);
                    } else if id.ifindex != LOOPBACK {
                        settle(shared, id, thread);
                    }
                }
                Err(not_attached) => {
                    let NotAttached { error, remains } = *not_attached;
                    log.report(&candidate, &error);
                    if let Some(remains) = remains {
                        attachments.rest(remains);
                    }
                    not_attached_to(shared, id, error.reason());
                }
            }
        });
        let end = Instant::now();
        let quiet = self.last_change + self.times.attach_quiet <= now;
        self.rest_until = end + held * if quiet { REST.0 } else { REST.1 };
        let outage = &mut self.attach_log.no_thread;
        if let Err(error) = attached {
            if outage.begins(true, end) {
                warn!(%error, "cannot attach programs; will retry");
            }
            self.rest_until += self.times.retry;
        } else if outage.note(false, end).is_some() {
            info!("programs can be attached again");
        }
    }

    /// Checks whether programs that miss packets are still attached: an administrator of a container may detach them.
    /// Detached programs are attached again, and the device's own counters count meanwhile.
    pub(super) fn verify_programs(&mut self) {
        let suspects = {
            let mut state = self.shared.lock();
            let mut suspects = state.suspects();
            suspects.extend(state.loopbacks_to_verify());
            suspects
        };
        if suspects.is_empty() {
            return;
        }
        let (shared, attachments, log) = (&self.shared, &mut self.attachments, &mut self.attach_log);
        let looked = on_netns_thread(|thread| {
            for suspect in suspects {
                if let Some((handle, filters)) = find_detached(shared, attachments, &suspect, thread) {
                    let Candidate { id, name, path, .. } = suspect;
                    let text = "programs were detached by somebody else; attaching them again";
                    if log.detached.is_news(id.netns, Instant::now()) {
                        warn!(namespace = %path.display(), device = name, "{text}; more in this namespace is only counted");
                    } else {
                        debug!(namespace = %path.display(), device = name, "{text}");
                    }
                    // One of the two may still be on. What it counts until it is off belongs to the interface.
                    attachments.detach(handle, &filters);
                    shared.lock().mark_detached(id);
                }
            }
        });
        let begins = self.attach_log.no_check.begins(looked.is_err(), Instant::now());
        if let (Err(error), true) = (looked, begins) {
            warn!(%error, "cannot check whether programs are still attached");
        }
    }

    /// Counts DNS queries that have waited for too long. Each scrape does so, too. If nobody scrapes, the time of a query that
    /// waits would begin anew.
    pub(super) fn sweep_queries(&self) {
        let counts: Vec<_> = {
            let state = self.shared.lock();
            state.dns_counts().map(|(_, counts)| Arc::clone(counts)).collect()
        };
        for counts in counts {
            let _reading = counts.read();
        }
    }

    /// Detaches what the kernel would leave in place.
    pub(super) fn detach_all(&mut self) {
        let taken = self.shared.lock().take_programs();
        let attachments = &mut self.attachments;
        let left_in_place: Vec<_> = taken
            .into_iter()
            .filter(|(_, handle)| attachments.get(*handle).is_some_and(Attachment::needs_visit))
            .collect();
        if left_in_place.is_empty() {
            return;
        }
        info!(interfaces = left_in_place.len(), "removing filters");
        let done = on_netns_thread(|thread| {
            for (candidate, handle) in left_in_place {
                if enter(&candidate, thread).is_some() {
                    detach(attachments, handle, &candidate);
                }
            }
        });
        if let Err(error) = done {
            warn!(%error, "cannot remove filters from containers' interfaces; they stay until netmon starts again or the containers end");
        }
    }
}

/// Enters the namespace of a device, if it is still the same one. Returns a client in it.
fn enter(candidate: &Candidate, thread: &mut NetnsThread) -> Option<Client> {
    let _file = thread.enter(&candidate.path).ok()?;
    let client = Client::open().ok()?;
    (client.netns().ok()? == candidate.id.netns).then_some(client)
}

/// The programs of an interface, if they are no longer attached, and the device's filters. The calling thread is then in
/// the device's namespace.
fn find_detached(
    shared: &Shared,
    attachments: &Attachments,
    suspect: &Candidate,
    thread: &mut NetnsThread,
) -> Option<(Handle, Directions<Vec<Filter>>)> {
    let Candidate { id, name, .. } = suspect;
    let mut client = enter(suspect, thread)?;
    let name = device_name(name, id.ifindex).ok()?;
    let filters = client.filters(id.ifindex).ok()?;
    let handle = shared.lock().handle(*id)?;
    let is_on = attachments.get(handle)?.is_on(&name, &filters);
    (!is_on).then_some((handle, filters))
}

/// Detaches programs. The calling thread is in the device's namespace.
fn detach(attachments: &mut Attachments, handle: Handle, candidate: &Candidate) {
    let filters = Client::open().and_then(|mut client| client.filters(candidate.id.ifindex));
    let filters = filters.unwrap_or_else(|error| {
        debug!(interface = %candidate.id, %error, "filters stay on a device: they cannot be listed");
        Directions::default()
    });
    attachments.detach(handle, &filters);
}

fn attach(
    datapath: &mut Datapath,
    candidate: &Candidate,
    thread: &mut NetnsThread,
) -> Result<Attachment, Box<NotAttached>> {
    let Candidate { id, name, asks, .. } = candidate;
    let gone = || AttachError::Gone { name: name.clone() };
    let mut client = enter(candidate, thread).ok_or_else(gone)?;
    let filters = filters::before(datapath.mode(), name, id.ifindex, &mut client)?;
    if id.ifindex == LOOPBACK {
        datapath.attach_loopback(name, id.ifindex, id.netns, &filters)
    } else {
        datapath.attach(name, id.ifindex, asks.then_some(id.netns), &filters)
    }
}

/// Tells the registry that programs are attached. Returns whether their device is still there.
fn attached(shared: &Shared, id: InterfaceId, added: Added) -> (Handle, bool) {
    let (mut state, now) = (shared.lock(), Instant::now());
    match added {
        Added::Interface(attached) => (attached.handle, state.attached(id, Ok(attached), now)),
        Added::Loopback(handle, dns) => (handle, state.loopback_attached(id.netns, Ok((handle, dns)), now)),
    }
}

/// Tells the registry that programs are not attached.
fn not_attached_to(shared: &Shared, id: InterfaceId, failure: AttachFailure) {
    let (mut state, now) = (shared.lock(), Instant::now());
    if id.ifindex == LOOPBACK {
        state.loopback_attached(id.netns, Err(failure), now);
    } else {
        state.attached(id, Err(failure), now);
    }
}

/// Reads until a reading shows exactly how far the device's counters are ahead of its new programs'.
fn settle(shared: &Shared, id: InterfaceId, thread: &mut NetnsThread) {
    for _ in 0..SETTLE_ATTEMPTS {
        let read = read_namespace(shared, id.netns, thread);
        let is_settled = |interface: &Interface| interface.ledger.settled();
        if read.is_err() || shared.lock().interface(id).is_none_or(is_settled) {
            return;
        }
        thread::sleep(SETTLE_PAUSE);
    }
}

/// What the log says of attaching. Each problem comes back with every attempt, and metrics count them.
#[derive(Debug, Default)]
pub(super) struct AttachLog {
    refused: Said<AttachFailure>,
    detached: Said<NetnsId>,
    no_thread: Outage,
    no_check: Outage,
}

impl AttachLog {
    fn report(&mut self, candidate: &Candidate, error: &AttachError) {
        // A container may give its devices any name, as often as it likes. That is only counted.
        let is_silent = matches!(error, AttachError::Gone { .. } | AttachError::Name { .. });
        let is_news = !is_silent && self.refused.is_news(error.reason(), Instant::now());
        if is_news {
            warn!(
                namespace = %candidate.path.display(),
                %error,
                "cannot attach programs; will retry; more for this reason are only counted, in \
                 netmon_attach_failures_total"
            );
        } else {
            debug!(interface = %candidate.id, %error, "no programs attached");
        }
    }
}
