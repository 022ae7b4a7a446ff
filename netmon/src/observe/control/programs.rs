//! Programs for interfaces: attaches them, checks that they are still attached, and detaches them.
//!
//! Attaching is late and slow on purpose. A tcx link costs about twelve milliseconds with the kernel's RTNL lock held
//! (a grace period). Whoever starts a container meanwhile waits. No packet is missed: netmon reads the device's own
//! counters from the first packet on, and the kernel reports them when the device is deleted.
//!
//! So an interface gets its programs when its container's start is over and no devices change. The lock is left to
//! others for half of the time. On a node that is never quiet, it is left to them for nine tenths.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use super::{Loop, RETRY};
use crate::{
    datapath::{
        Datapath,
        attach::{AttachError, Attachment, check_device},
    },
    model::interface::InterfaceId,
    netns::{
        enter::{NetnsThread, on_netns_thread},
        rtnetlink::Client,
    },
    observe::{
        Shared,
        read::read_namespace,
        state::{Candidate, Interface},
    },
};

/// Some nodes are never quiet: after this long, programs are attached anyway.
const PATIENCE: Duration = Duration::from_secs(5);
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
        let at = self.waiting_since.map_or(quiet, |since| quiet.min(since + PATIENCE));
        at.max(self.rest_until)
    }

    /// Attaches programs to one interface, if one waits and its time has come.
    pub(super) fn attach_next(&mut self) {
        let now = Instant::now();
        let candidate = self.shared.lock().candidate(now, self.times.attach_age);
        let (Some(candidate), true) = (candidate, self.datapath.is_some()) else {
            self.waiting_since = None;
            return;
        };
        self.waiting_since.get_or_insert(now);
        if now < self.attach_at() {
            return;
        }
        let Some(datapath) = &mut self.datapath else { return };
        let shared = &self.shared;
        let attached = on_netns_thread(|thread| {
            let attempt = attach(datapath, &candidate, thread);
            let id = candidate.id;
            match &attempt {
                Ok(_) => debug!(interface = %id, name = candidate.name, "programs attached"),
                Err(error) => report(&candidate, error),
            }
            let orphan = shared.lock().attached(id, attempt, Instant::now());
            if let Some(orphan) = orphan {
                orphan.detach_here();
            } else {
                settle(shared, id, thread);
            }
        });
        let end = Instant::now();
        let quiet = self.last_change + self.times.attach_quiet <= now;
        self.rest_until = end + (end - now) * if quiet { REST.0 } else { REST.1 };
        if let Err(error) = attached {
            warn!(%error, "cannot attach programs; will retry");
            self.rest_until += RETRY;
        }
    }

    /// Checks whether programs that miss packets are still attached: an administrator of a container may detach them.
    /// Detached programs are attached again, and the device's own counters count meanwhile.
    pub(super) fn verify_programs(&self) {
        let suspects = self.shared.lock().suspects();
        if suspects.is_empty() {
            return;
        }
        let shared = &self.shared;
        let looked = on_netns_thread(|thread| {
            for suspect in suspects {
                if let Some(rest) = find_bare(shared, &suspect, thread) {
                    let Candidate { name, path, .. } = suspect;
                    warn!(namespace = %path.display(), device = name, "programs were detached by somebody else; attaching them again");
                    rest.detach_here();
                }
            }
        });
        if let Err(error) = looked {
            warn!(%error, "cannot check whether programs are still attached");
        }
    }

    /// Detaches what the kernel would leave in place.
    pub(super) fn detach_all(&mut self) {
        let taken = self.shared.lock().take_attachments();
        // Dropping the others detaches them, and asks the kernel.
        let left_in_place = |(_, attachment): &(PathBuf, Attachment)| attachment.needs_visit();
        let attachments: Vec<_> = taken.into_iter().filter(left_in_place).collect();
        if attachments.is_empty() {
            return;
        }
        info!(interfaces = attachments.len(), "removing filters");
        let done = on_netns_thread(|thread| {
            for (path, attachment) in attachments {
                if thread.enter(&path).is_ok() {
                    attachment.detach_here();
                }
            }
        });
        if let Err(error) = done {
            warn!(%error, "cannot remove filters from containers' interfaces; they stay until netmon starts again or the containers end");
        }
    }
}

/// What is left of an interface's programs, if they are no longer attached. The calling thread is then in the
/// device's namespace.
fn find_bare(shared: &Shared, suspect: &Candidate, thread: &mut NetnsThread) -> Option<Attachment> {
    let Candidate { id, name, path } = suspect;
    let _file = thread.enter(path).ok()?;
    let mut client = Client::open().ok()?;
    if client.netns().ok()? != id.netns || check_device(name, id.ifindex).is_err() {
        return None;
    }
    let presence = shared.lock().presence(*id)?;
    let filters = client.filters(id.ifindex).ok()?;
    if presence.is_on(name, &filters) {
        return None;
    }
    let mut state = shared.lock();
    // Unless its programs changed meanwhile.
    let is_same = state.presence(*id).is_some_and(|now| now == presence);
    if is_same { state.mark_detached(*id) } else { None }
}

fn attach(datapath: &mut Datapath, candidate: &Candidate, thread: &mut NetnsThread) -> Result<Attachment, AttachError> {
    let Candidate { id, name, path } = candidate;
    let gone = || AttachError::Gone { name: name.clone() };
    let _file = thread.enter(path).map_err(|_| gone())?;
    let there = Client::open()
        .and_then(|client| client.netns())
        .is_ok_and(|netns| netns == id.netns);
    if there {
        datapath.attach(name, id.ifindex)
    } else {
        Err(gone())
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

fn report(candidate: &Candidate, error: &AttachError) {
    match error {
        AttachError::Gone { .. } => debug!(interface = %candidate.id, %error, "no programs attached"),
        AttachError::Full | AttachError::Load { .. } | AttachError::Attach { .. } => {
            warn!(namespace = %candidate.path.display(), %error, "cannot attach programs; will retry");
        }
    }
}
