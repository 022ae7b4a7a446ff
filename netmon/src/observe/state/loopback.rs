//! The program on the loopback of a container's namespace, which counts what is asked of the engine's resolver: where it is
//! wanted, and what became of it. Does not know how it is attached.

use std::{ops::Bound, sync::Arc, time::Instant};

use super::{Candidate, Interface, Namespace, Owner, Programs, State};
use crate::{
    model::{
        dns::DnsCounts,
        health::AttachFailure,
        interface::{InterfaceId, LOOPBACK, NetnsId},
        programs::Handle,
        times::Times,
    },
    network,
};

/// How many of these programs are verified in a round. Each takes a visit to the namespace: no counter of the kernel says
/// that one is missing.
const VERIFIED_AT_ONCE: usize = 16;

/// What concerns all loopbacks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loopbacks {
    /// What containers ask their resolvers is counted.
    counts_dns: bool,
    /// The last namespace whose loopback was verified.
    verified_up_to: Option<NetnsId>,
}

/// The program on a namespace's loopback.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loopback {
    program: Program,
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum Program {
    /// It is not attached yet.
    #[default]
    Waiting,
    /// It is attached.
    Attached(Handle),
    /// It could not be attached. The next attempt is due at this time.
    Failed(Instant),
}

impl Loopback {
    /// Its handle, if it is attached.
    const fn handle(&self) -> Option<Handle> {
        match self.program {
            Program::Attached(handle) => Some(handle),
            Program::Waiting | Program::Failed(_) => None,
        }
    }

    /// Takes the program out. A new one may be attached.
    pub(super) fn take(&mut self) -> Option<Handle> {
        let handle = self.handle();
        if handle.is_some() {
            self.program = Program::Waiting;
        }
        handle
    }

    fn is_due(&self, now: Instant) -> bool {
        match self.program {
            Program::Waiting => true,
            Program::Failed(at) => at <= now,
            Program::Attached(_) => false,
        }
    }

    /// Takes in a failed attach. Returns whether it is the first.
    fn fail(&mut self, times: &Times, now: Instant) -> bool {
        self.program = Program::Failed(now + times.attach_delay(self.failures));
        self.failures += 1;
        self.failures == 1
    }
}

impl State {
    /// The namespace whose loopback should get a program next. It has an interface with programs on a network where the
    /// engine's resolver answers: that one comes first, because a container may be deleted soon.
    pub(super) fn loopback_candidate(&self, now: Instant) -> Option<Candidate> {
        let mut waiting = self.loopbacks_with(|loopback| loopback.is_due(now));
        waiting.next().map(|(netns, namespace)| loopback_of(*netns, namespace))
    }

    /// How many loopbacks wait for a program and have had no failed attach.
    pub(super) fn loopbacks_waiting(&self) -> usize {
        let never_refused = |loopback: &Loopback| matches!(loopback.program, Program::Waiting);
        self.loopbacks_with(never_refused).count()
    }

    /// The namespaces where a program is wanted on loopback, if it is in such a state.
    fn loopbacks_with(&self, wanted: impl Fn(&Loopback) -> bool) -> impl Iterator<Item = (&NetnsId, &Namespace)> {
        let namespaces = self.loopbacks.counts_dns.then_some(&self.namespaces);
        namespaces.into_iter().flatten().filter(move |(netns, namespace)| {
            let sandbox = namespace.sandbox();
            sandbox.is_some_and(|sandbox| wanted(&sandbox.loopback)) && self.may_ask_engine(**netns)
        })
    }

    /// Says whether what containers ask their resolvers is counted.
    pub const fn set_counts_dns(&mut self, counts_dns: bool) {
        self.loopbacks.counts_dns = counts_dns;
    }

    /// When the next namespace may be tried that cannot be tried now.
    pub(super) fn next_loopback_try(&self, now: Instant) -> Option<Instant> {
        let sandboxes = self.namespaces.values().filter_map(Namespace::sandbox);
        let retries = sandboxes.filter_map(|sandbox| match sandbox.loopback.program {
            Program::Failed(at) => Some(at),
            Program::Waiting | Program::Attached(_) => None,
        });
        retries.filter(|at| *at > now).min()
    }

    /// Whether a container can reach the engine's resolver, as far as is known.
    pub(super) fn may_ask_engine(&self, netns: NetnsId) -> bool {
        let can = |interface: &Interface| match (&interface.programs, &interface.owner) {
            (Programs::Attached(_), Some(Owner::Container { network, started, .. })) => {
                *started && network::has_resolver(network)
            }
            _ => false,
        };
        self.interfaces_in(netns).any(can)
    }

    /// Takes in the result of an attach to a namespace's loopback. Returns false if the namespace is gone.
    pub fn loopback_attached(
        &mut self,
        netns: NetnsId,
        attempt: Result<(Handle, Option<Arc<dyn DnsCounts>>), AttachFailure>,
        now: Instant,
    ) -> bool {
        self.attempts += 1;
        let Some(sandbox) = self.namespaces.get_mut(&netns).and_then(Namespace::sandbox_mut) else {
            return false;
        };
        match attempt {
            Ok((handle, counts)) => {
                sandbox.loopback.program = Program::Attached(handle);
                sandbox.dns = counts.or(sandbox.dns.take());
            }
            Err(failure) => {
                if sandbox.loopback.fail(&self.times, now) {
                    *self.attach.failures.entry(failure).or_default() += 1;
                }
            }
        }
        true
    }

    /// The loopbacks that are verified in this round. Each has its turn.
    pub fn loopbacks_to_verify(&mut self) -> Vec<Candidate> {
        let attached = |(netns, namespace): (&NetnsId, &Namespace)| {
            namespace.sandbox()?.loopback.handle()?;
            Some(loopback_of(*netns, namespace))
        };
        let from = self.loopbacks.verified_up_to.map_or(Bound::Unbounded, Bound::Excluded);
        let next: Vec<_> = self
            .namespaces
            .range((from, Bound::Unbounded))
            .filter_map(attached)
            .take(VERIFIED_AT_ONCE)
            .collect();
        // After the last one, the next round begins with the first.
        self.loopbacks.verified_up_to = next.last().map(|last| last.id.netns);
        next
    }

    /// The handle of the program on a namespace's loopback.
    pub(super) fn loopback_handle(&self, netns: NetnsId) -> Option<Handle> {
        self.namespaces.get(&netns)?.sandbox()?.loopback.handle()
    }

    /// Somebody else has detached the program from a namespace's loopback.
    pub(super) fn detach_loopback(&mut self, netns: NetnsId) {
        if let Some(sandbox) = self.namespaces.get_mut(&netns).and_then(Namespace::sandbox_mut) {
            sandbox.loopback.take();
        }
    }

    /// Takes out the programs of all loopbacks.
    pub(super) fn take_loopbacks(&mut self) -> Vec<(Candidate, Handle)> {
        let taken = self.namespaces.iter_mut().filter_map(|(netns, namespace)| {
            let handle = namespace.sandbox_mut()?.loopback.take()?;
            Some((loopback_of(*netns, namespace), handle))
        });
        taken.collect()
    }

    /// What a container asked its resolvers: the counts of each namespace that has some, those that linger included.
    pub fn dns_counts(&self) -> impl Iterator<Item = (NetnsId, &Arc<dyn DnsCounts>)> {
        let closed = self.closed.iter().map(|(netns, closed)| (*netns, &closed.namespace));
        let living = self.namespaces.iter().map(|(netns, namespace)| (*netns, namespace));
        living
            .chain(closed)
            .filter_map(|(netns, namespace)| Some((netns, namespace.sandbox()?.dns.as_ref()?)))
    }
}

fn loopback_of(netns: NetnsId, namespace: &Namespace) -> Candidate {
    Candidate {
        id: InterfaceId {
            netns,
            ifindex: LOOPBACK,
        },
        name: "lo".to_owned(),
        path: namespace.file.path.clone(),
        asks: true,
    }
}
