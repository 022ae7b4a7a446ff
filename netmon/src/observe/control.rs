//! The loop that keeps the registry up to date: receives changes, reads namespaces, names interfaces, attaches
//! programs, and removes what has lingered long enough.

mod attachments;
mod changes;
mod forgotten;
mod host;
mod listing;
mod look;
mod numbers;
mod programs;
mod sockets;
mod verification;

use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    ops::ControlFlow,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use self::{
    attachments::Attachments, forgotten::Forgotten, listing::ListDue, programs::AttachLog, verification::Verification,
};
use super::{Shared, inventories::Inventories, underlay::Underlay};
use crate::{
    datapath::{Datapath, SharedTracepoints, overlay::programs::OverlayPrograms},
    model::{
        interface::NetnsId,
        outage::{Outage, Said},
        times::Times,
    },
    netns::{
        rtnetlink::Client,
        watch::{Change, Waker},
    },
    privilege::{self, ThreadRole},
    process,
    workers::Shift,
};

/// The pause between attempts to write to a full channel.
const FULL_PAUSE: Duration = Duration::from_millis(5);
/// How many signals may wait in the channel. A sender waits while it is full. Netlink messages then wait in the
/// kernel, which reports an overrun when it has no room for more.
const MOST_SIGNALS: usize = 8192;

/// Where namespaces are found.
#[derive(Clone, Debug)]
pub struct Places {
    /// The engine's directory of namespace files.
    pub directory: PathBuf,
    /// The file of the node's own namespace.
    pub node: PathBuf,
}

/// What the loop works with.
#[derive(Debug)]
pub struct Tools {
    /// The registry.
    pub shared: Shared,
    /// Where the engine's inventories come from.
    pub inventories: Inventories,
    /// Where namespaces are found.
    pub places: Places,
    /// A netlink client in the node's namespace.
    pub home: Client,
    /// Attaches programs. Without it, netmon keeps only the devices' own counters.
    pub datapath: Option<Datapath>,
    /// The programs on tracepoints.
    pub tracepoints: SharedTracepoints,
    /// The programs that count traffic between nodes.
    pub overlay: Option<OverlayPrograms>,
    /// Wakes the watch, which reports changes to the loop.
    pub waker: Waker,
}

/// What the loop receives.
#[derive(Debug)]
pub enum Signal {
    /// The kernel reported a change.
    Change(Change),
    /// The engine has a new inventory, which is among [`Tools::inventories`]. If this signal finds no room, the loop takes
    /// the inventory once it has handled the others.
    Inventory,
    /// The kernel sends no messages about devices in other namespaces: they have to be polled.
    NoMessages,
    /// The loop has to end.
    Stop,
}

/// The running loop.
#[derive(Debug)]
pub struct Control {
    shift: Shift,
    signals: SyncSender<Signal>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Control {
    /// Starts the loop on a thread of its own.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(tools: Tools, shift: Shift) -> io::Result<Self> {
        let Tools {
            shared,
            inventories,
            places,
            home,
            datapath,
            tracepoints,
            overlay,
            waker,
        } = tools;
        let times = {
            let mut state = shared.lock();
            state.set_counts_dns(datapath.as_ref().is_some_and(Datapath::counts_dns));
            *state.times()
        };
        let (signals, inbox) = sync_channel(MOST_SIGNALS);
        let work = Loop {
            shared,
            inventories,
            places,
            home,
            datapath,
            tracepoints,
            attachments: Attachments::default(),
            forgotten: Forgotten::default(),
            underlay: Underlay::new(overlay, times.round),
            waker,
            dirty: BTreeSet::new(),
            has_new_prefixes: false,
            rested: BTreeMap::new(),
            verification: Verification::new(Instant::now()),
            list: ListDue::now(Instant::now()),
            last_change: Instant::now(),
            overruns: Said::default(),
            waiting_since: None,
            rest_until: Instant::now(),
            round: times.round,
            next_round: Instant::now(),
            next_check: Instant::now() + times.program_check,
            times,
            next_trim: Instant::now() + times.trim_round,
            no_directory: Outage::default(),
            no_resources: Outage::default(),
            attach_log: AttachLog::default(),
        };
        let turns = shift.clone();
        let work = shift.clone().watched(move || work.run(&inbox, &turns));
        let thread = privilege::spawn("control", ThreadRole::Control, work)?;
        Ok(Self {
            shift,
            signals,
            thread: Some(thread),
        })
    }

    /// The channel through which the loop receives signals.
    #[must_use]
    pub fn signals(&self) -> SyncSender<Signal> {
        self.signals.clone()
    }
}

impl Drop for Control {
    /// Ends the loop, which detaches what would stay behind.
    fn drop(&mut self) {
        // While the channel is full, the loop first handles the signals in it.
        while let Err(TrySendError::Full(_)) = self.signals.try_send(Signal::Stop) {
            if self.shift.hangs() {
                break;
            }
            thread::sleep(FULL_PAUSE);
        }
        if let Some(thread) = self.thread.take() {
            self.shift.join(thread);
        }
    }
}

struct Loop {
    shared: Shared,
    inventories: Inventories,
    places: Places,
    home: Client,
    attachments: Attachments,
    forgotten: Forgotten,
    datapath: Option<Datapath>,
    tracepoints: SharedTracepoints,
    underlay: Underlay,
    waker: Waker,
    times: Times,
    /// Nodes and networks may have other addresses than the programs know.
    has_new_prefixes: bool,
    /// Namespaces to read again.
    dirty: BTreeSet<NetnsId>,
    /// When namespaces that were read a moment ago may be read again.
    rested: BTreeMap<NetnsId, Instant>,
    /// Whose sockets are verified in this round.
    verification: Verification,
    /// The directory has to be listed again.
    list: ListDue,
    last_change: Instant,
    /// Lost messages, as the log says them. A metric counts them.
    overruns: Said<()>,
    /// Since when an interface waits for programs.
    waiting_since: Option<Instant>,
    /// No attach before this time: others need the RTNL lock, too.
    rest_until: Instant,
    round: Duration,
    next_round: Instant,
    next_check: Instant,
    next_trim: Instant,
    /// The directory cannot be listed.
    no_directory: Outage,
    /// Looks fail because a resource ran out.
    no_resources: Outage,
    attach_log: AttachLog,
}

impl Loop {
    fn run(mut self, inbox: &Receiver<Signal>, turns: &Shift) {
        loop {
            if self.wait(inbox, turns).is_break() {
                break;
            }
            let turn = turns.turn();
            self.take_inventory();
            let now = Instant::now();
            let is_round = now >= self.next_round;
            if is_round {
                self.next_round = now + self.round;
                self.list = ListDue::now(now);
                self.begin_verification(now);
                self.sweep_queries();
                self.dirty.extend(self.shared.lock().namespaces().keys());
            }
            if now >= self.next_check {
                self.next_check = now + self.times.program_check;
                self.verify_programs();
                self.underlay.verify(&self.shared);
                turn.renew();
            }
            if now >= self.next_trim {
                self.next_trim = now + self.times.trim_round;
                process::trim_memory();
            }
            // Before a look, which may find connections from before netmon.
            if mem::take(&mut self.has_new_prefixes) {
                self.tell_prefixes();
            }
            self.look(&turn);
            turn.renew();
            // The node's own devices are listed in each round.
            if is_round {
                self.tell_prefixes();
            }
            self.underlay.reconcile(&self.shared, Instant::now());
            turn.renew();
            self.attach_next();
            self.expire();
            self.check_host();
        }
        self.detach_all();
        self.underlay.detach_all(&self.shared);
    }

    /// Sleeps until there is something to do, and handles all signals that arrive meanwhile, each in a turn of its own.
    fn wait(&mut self, inbox: &Receiver<Signal>, turns: &Shift) -> ControlFlow<()> {
        let deadline = self.deadline();
        let mut end = None;
        loop {
            let now = Instant::now();
            let patience = match end {
                None => deadline.saturating_duration_since(now),
                Some(end) if end <= now => break,
                Some(_) => self.times.gather,
            };
            match inbox.recv_timeout(patience) {
                Ok(signal) => {
                    let is_urgent = matches!(signal, Signal::Change(Change::Namespaces));
                    let most = if is_urgent {
                        self.times.gather
                    } else {
                        self.times.gather_most
                    };
                    let _turn = turns.turn();
                    self.handle(signal)?;
                    end = Some(end.map_or(now + most, |end: Instant| end.min(now + most)));
                }
                Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
                Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            }
        }
        // A look must not read a newer state than the messages that were handled, so the channel is emptied first.
        for signal in inbox.try_iter().take(MOST_SIGNALS) {
            let _turn = turns.turn();
            self.handle(signal)?;
        }
        ControlFlow::Continue(())
    }

    fn handle(&mut self, signal: Signal) -> ControlFlow<()> {
        match signal {
            Signal::Stop => return ControlFlow::Break(()),
            Signal::Inventory => self.take_inventory(),
            Signal::Change(change) => self.on_change(change),
            Signal::NoMessages => {
                self.round = self.times.poll_round;
                self.next_round = Instant::now();
            }
        }
        ControlFlow::Continue(())
    }

    fn take_inventory(&mut self) {
        if let Some(inventory) = self.inventories.take() {
            self.shared.lock().take_in(inventory);
            self.has_new_prefixes = true;
        }
    }

    /// Says which addresses beyond gateways the programs have to keep.
    fn tell_prefixes(&self) {
        let prefixes: Vec<_> = self.shared.lock().known_beyond_gateways().collect();
        self.tracepoints.lock().set_known(prefixes);
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let state = self.shared.lock();
        let attach = state
            .next_candidate(now, self.times.attach_age)
            .map(|_| self.attach_at())
            .or_else(|| state.next_try(now, self.times.attach_age));
        [
            Some(self.next_round),
            Some(self.next_check),
            Some(self.next_trim),
            self.list.due(),
            attach.filter(|_| self.datapath.is_some()),
            state.next_expiry(),
            self.attachments.next_free(),
            self.dirty
                .iter()
                .copied()
                .chain(state.awaiting_sockets())
                .map(|netns| self.rested.get(&netns).copied().unwrap_or(now))
                .min(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(self.next_round)
    }

    /// Removes what has lingered long enough, from the registry and from the kernel's maps.
    fn expire(&mut self) {
        let over = {
            let mut state = self.shared.lock();
            state.expire(Instant::now());
            self.forgotten.extend(state.take_forgotten());
            self.forgotten.spare(|netns| state.namespace(netns).is_some());
            state.take_over()
        };
        self.attachments.free(over);
        let count = |last: &_, departed: &mut _, is_all| self.shared.lock().count_last(last, departed, is_all);
        self.forgotten.take(|gone| self.tracepoints.lock().forget(gone), count);
    }
}
