//! The capabilities that netmon keeps, and those it gives up: the only place that names capabilities.
//!
//! Capabilities belong to threads. So each thread declares its role, and keeps only what the role needs. The threads
//! that talk to clients and to the engine have none, whatever the process was started with. A thread inherits the
//! capabilities of the thread that started it. No thread gets any back.
//!
//! Threads share memory, so capabilities are no boundary between them. The threads that talk to others may not make the
//! system calls that `confine` lists, either.

mod confine;

use std::{
    fs::{self, DirEntry},
    io,
    sync::mpsc,
    thread,
};

use rustix::{
    process::Pid,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};
use tracing::{info, warn};

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadRole {
    /// Listens, loads the kernel programs, and opens what the others use.
    Start,
    /// Reads namespaces, assigns nsids, attaches programs to interfaces and detaches them.
    Control,
    /// Reads in namespaces, and reads the programs' maps.
    Read,
    /// Reads in namespaces, encryption policies among it.
    Inspect,
    /// Serves, waits, computes.
    Serve,
}

impl ThreadRole {
    /// The capabilities it needs.
    const fn needs(self) -> CapabilitySet {
        match self {
            Self::Start => {
                Self::Control
                    .needs()
                    // Messages about devices in all namespaces. A socket that is open keeps receiving them.
                    .union(CapabilitySet::NET_BROADCAST)
                    // Addresses of the kernel's functions.
                    .union(CapabilitySet::SYSLOG)
                    // A port below 1024, if one is configured.
                    .union(CapabilitySet::NET_BIND_SERVICE)
            }
            // Filters (clsact) and nsids are set through netlink. And the kernel shows encryption policies to no other
            // (`xfrm_user_rcv_msg`).
            Self::Control | Self::Inspect => Self::Read.needs().union(CapabilitySet::NET_ADMIN),
            // Includes CAP_BPF and CAP_PERFMON, which therefore are not kept: entering a namespace needs
            // CAP_SYS_ADMIN anyway.
            Self::Read => CapabilitySet::SYS_ADMIN,
            Self::Serve => CapabilitySet::empty(),
        }
    }
}

/// Gives up, for the whole process, what netmon never needs. Call it on the first thread, while that is the only one.
///
/// # Errors
/// The kernel refuses, which it has no reason to.
pub fn begin() -> io::Result<()> {
    let before = capabilities(None)?.permitted;
    // netmon executes no other program. If it did, that program would gain no privileges.
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    if before.contains(CapabilitySet::SETPCAP) {
        for number in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            match capability_is_in_bounding_set(capability) {
                Ok(true) => remove_capability_from_bounding_set(capability)?,
                Ok(false) => {}
                // The kernel knows no more capabilities.
                Err(_) => break,
            }
        }
    }
    keep(ThreadRole::Start)?;
    let given_up = before - ThreadRole::Start.needs();
    if !given_up.is_empty() {
        info!(
            count = given_up.bits().count_ones(),
            "dropping capabilities that netmon never needs"
        );
    }
    Ok(())
}

/// The capabilities that any of the process's threads has, as a bit set: they belong to each. A thread that has just ended
/// has none. Its `status` in procfs says it, too, among all else that the kernel has to write there.
///
/// # Errors
/// The threads cannot be listed.
pub fn of_all_threads() -> io::Result<u64> {
    let of_thread = |thread: io::Result<DirEntry>| {
        let number = thread.ok()?.file_name().to_str()?.parse().ok()?;
        Some(capabilities(Pid::from_raw(number)).ok()?.permitted)
    };
    let all = fs::read_dir("/proc/self/task")?.filter_map(of_thread);
    Ok(all.fold(CapabilitySet::empty(), CapabilitySet::union).bits())
}

/// Gives up, for the calling thread, what its role does not need: capabilities, and to serve, system calls.
///
/// # Errors
/// The kernel refuses, which it has no reason to.
pub fn keep(role: ThreadRole) -> io::Result<()> {
    let kept = capabilities(None)?.permitted & role.needs();
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    if role == ThreadRole::Serve {
        confine::or_warn();
    }
    Ok(())
}

/// Like [`keep`], for a thread that cannot return an error.
pub fn keep_or_warn(role: ThreadRole) {
    if let Err(error) = keep(role) {
        warn!(%error, ?role, "cannot drop a thread's capabilities");
    }
}

/// Whether the calling thread has what loading programs and entering namespaces takes.
#[must_use]
pub fn may_load_programs() -> bool {
    has(CapabilitySet::SYS_ADMIN)
}

/// Whether the calling thread has what changing devices takes.
#[must_use]
pub fn may_change_devices() -> bool {
    has(CapabilitySet::NET_ADMIN)
}

fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|it| it.effective.contains(capability))
}

/// Starts a thread. When this returns, the thread has only what its role needs.
///
/// # Errors
/// No thread could be started.
pub fn spawn(name: &str, role: ThreadRole, work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    let (begun, begins) = mpsc::channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        keep_or_warn(role);
        // Fails if nobody waits, which does not matter.
        let _told = begun.send(());
        drop(begun);
        work();
    })?;
    // Fails if the thread has already ended.
    let _begun = begins.recv();
    Ok(thread)
}

/// The names of the capabilities in a set as procfs shows it, as the kernel's documentation spells them.
#[must_use]
pub fn names(bits: u64) -> Vec<String> {
    let set = CapabilitySet::from_bits_retain(bits);
    set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::thread::{CapabilitySet, capabilities};

    use super::{ThreadRole, keep, names};

    #[test]
    fn who_serves_needs_nothing_and_who_starts_needs_what_all_need() {
        assert_eq!(ThreadRole::Serve.needs(), CapabilitySet::empty());
        for role in [ThreadRole::Control, ThreadRole::Read, ThreadRole::Inspect] {
            assert!(ThreadRole::Start.needs().contains(role.needs()), "{role:?}");
        }
    }

    #[test]
    fn a_thread_keeps_no_more_than_it_needs_and_others_keep_theirs() {
        let before = capabilities(None).expect("this thread's");
        let kept = thread::spawn(|| {
            keep(ThreadRole::Read).expect("less is allowed");
            capabilities(None).expect("that thread's")
        });
        let kept = kept.join().expect("the thread");
        assert_eq!(kept.permitted, before.permitted & ThreadRole::Read.needs());
        assert_eq!(kept.effective, kept.permitted);
        assert!(kept.inheritable.is_empty());
        assert_eq!(capabilities(None).expect("this thread's"), before);
    }

    #[test]
    fn names_are_the_kernels() {
        assert_eq!(names(1 << 21 | 1 << 12), ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
        assert_eq!(names(0), Vec::<String>::new());
    }
}
