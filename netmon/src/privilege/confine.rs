//! The system calls that a thread which talks to others may not make: the only place that names seccompiler.
//!
//! A thread without capabilities can still ask the kernel for much: to make user namespaces, to trace processes, to
//! execute programs. Whoever takes over a thread that serves needs such calls to get further. So the kernel refuses
//! them to these threads (seccomp), and to every thread that they start.
//!
//! This is no boundary between threads. They share memory: whoever executes code in one can have another make a call.
//!
//! - What is refused is listed, not what is allowed. Which calls libraries need changes with their versions and with
//!   the C library's. A list of those would break netmon in places that no test reaches.
//! - A refused call fails with `EPERM`, and nothing is killed. Libraries try calls to see what the kernel has. With
//!   `EPERM` such a try costs nothing. Killed, netmon would end, and on older kernels leave its filters behind.
//! - `clone3` fails with `ENOSYS`, as on a kernel without it: a filter cannot see its flags, which are in memory. The C
//!   library then uses `clone`, of which the flags are checked.

use std::sync::{Once, OnceLock};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};
use tracing::warn;

/// The number is the same on all architectures. The C library's headers do not have it yet.
const OPEN_TREE_ATTR: i64 = 467;

/// The libc crate does not have it for musl on arm64 (`include/uapi/asm-generic/unistd.h`).
#[cfg(all(target_arch = "aarch64", target_env = "musl"))]
const KEXEC_FILE_LOAD: i64 = 294;
#[cfg(not(all(target_arch = "aarch64", target_env = "musl")))]
const KEXEC_FILE_LOAD: i64 = libc::SYS_kexec_file_load;

/// Calls that are refused with `EPERM`.
const REFUSED: &[i64] = &[
    // Kernel programs, and measuring other processes.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    // Namespaces. A new user namespace would give every capability in it.
    libc::SYS_setns,
    libc::SYS_unshare,
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    // Other processes: their memory, their descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Files without a path to them.
    libc::SYS_open_by_handle_at,
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // The kernel itself, and the machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_fanotify_init,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    // Keys of other processes.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Requests by a ring would pass by this filter. The other one is what attacks on the kernel stop its time with.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
];

/// What `clone` may not make: every kind of namespace that its flags can name.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// On amd64, some kernels take calls of a second interface (x32): the same numbers with this bit.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;
/// Calls with numbers of their own there (`arch/x86/entry/syscalls/syscall_64.tbl`): `execve`, `ptrace`, `kexec_load`,
/// `process_vm_readv`, `process_vm_writev`, `execveat`.
#[cfg(target_arch = "x86_64")]
const X32_REFUSED: [i64; 6] = [520, 521, 528, 539, 540, 545];

/// Has the kernel refuse these calls to the calling thread, for as long as it runs. Without seccomp in the kernel, warns
/// once, and nothing is refused.
pub(super) fn or_warn() {
    static WARNED: Once = Once::new();
    if let Err(error) = confine() {
        WARNED.call_once(|| {
            warn!(
                error,
                "cannot have the kernel refuse system calls to the threads that talk to others; they may make them all"
            );
        });
    }
}

/// The same, with the reason why not. A thread that inherited the filters gets them once more, which changes nothing.
fn confine() -> Result<(), String> {
    static FILTERS: OnceLock<Result<[BpfProgram; 2], String>> = OnceLock::new();
    let filters = FILTERS.get_or_init(|| filters().map_err(|error| error.to_string()));
    for filter in filters.as_ref().map_err(Clone::clone)? {
        apply_filter(filter).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn filters() -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let of_namespaces = NAMESPACES.into_iter().map(|flag| {
        let flag = u64::from(flag.cast_unsigned());
        let has_it = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?;
        SeccompRule::new(vec![has_it])
    });
    let of_namespaces = of_namespaces.collect::<Result<Vec<_>, _>>()?;
    let refused = REFUSED.iter().map(|call| (*call, Vec::new()));
    let refused = refused.chain([(libc::SYS_clone, of_namespaces)]);
    #[cfg(target_arch = "x86_64")]
    let refused = refused.chain(X32_REFUSED.map(|call| (call | X32, Vec::new())));
    Ok([
        filter(refused, libc::EPERM)?,
        filter([(libc::SYS_clone3, Vec::new())], libc::ENOSYS)?,
    ])
}

/// A program that has these calls fail, and allows all others. It kills a process that makes calls of a 32-bit
/// architecture, which this program never does.
fn filter(
    calls: impl IntoIterator<Item = (i64, Vec<SeccompRule>)>,
    error: libc::c_int,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let calls = calls.into_iter();
    #[cfg(target_arch = "x86_64")]
    let calls = calls.flat_map(|(call, rules)| [(call, rules.clone()), (call | X32, rules)]);
    SeccompFilter::new(
        calls.collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(error.unsigned_abs()),
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

#[cfg(test)]
mod tests {
    use std::{fs, io, process::Command, thread};

    use seccompiler::apply_filter;

    use super::{NAMESPACES, REFUSED, confine, filter, or_warn};

    /// The error of a call whose arguments are all invalid.
    #[expect(unsafe_code, reason = "calls that no library makes")]
    fn error_of(call: i64, first: i64) -> Option<i32> {
        // SAFETY: the arguments that could be pointers are addresses of the kernel, which it refuses to use, and those
        // that could be descriptors are none.
        let result = unsafe { libc::syscall(call, first, -1_i64, -1_i64, -1_i64, -1_i64, -1_i64) };
        (result == -1)
            .then(|| io::Error::last_os_error().raw_os_error())
            .flatten()
    }

    fn confined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = thread::spawn(|| {
            confine().expect("this kernel has seccomp");
            work()
        });
        thread.join().expect("no panic")
    }

    #[test]
    fn what_is_refused_fails_and_what_serving_takes_does_not() {
        assert_eq!(
            error_of(libc::SYS_setns, -1),
            Some(libc::EBADF),
            "nothing is refused yet"
        );
        let allowed: Vec<i64> = confined(|| {
            REFUSED
                .iter()
                .copied()
                .filter(|it| error_of(*it, -1) != Some(libc::EPERM))
                .collect()
        });
        assert!(allowed.is_empty(), "{allowed:?}");
        confined(|| {
            for flag in NAMESPACES {
                assert_eq!(
                    error_of(libc::SYS_clone, i64::from(flag)),
                    Some(libc::EPERM),
                    "{flag:x}"
                );
            }
            assert_eq!(error_of(libc::SYS_clone3, -1), Some(libc::ENOSYS));
            let executed = Command::new("/bin/true").status().expect_err("it was executed");
            assert_eq!(executed.raw_os_error(), Some(libc::EPERM));
            fs::read("/proc/self/status").expect("files can be read");
            std::net::TcpListener::bind("127.0.0.1:0").expect("sockets can be made");
        });
        // Other threads may still do so.
        assert_eq!(error_of(libc::SYS_setns, -1), Some(libc::EBADF));
    }

    #[test]
    fn threads_of_a_thread_are_refused_the_same_and_asking_twice_changes_nothing() {
        let error = confined(|| {
            confine().expect("once more");
            let thread = thread::spawn(|| error_of(libc::SYS_setns, -1));
            thread.join().expect("no panic")
        });
        assert_eq!(error, Some(libc::EPERM));
    }

    #[test]
    fn without_seccomp_in_the_kernel_a_thread_goes_on_unconfined() {
        let thread = thread::spawn(|| {
            let none = filter([(libc::SYS_seccomp, Vec::new())], libc::ENOSYS).expect("a filter");
            apply_filter(&none).expect("this kernel has seccomp");
            let error = confine().expect_err("it has none");
            or_warn();
            (error, error_of(libc::SYS_setns, -1))
        });
        let (error, of_call) = thread.join().expect("no panic");
        assert!(error.contains("os error 38"), "{error}");
        assert_eq!(of_call, Some(libc::EBADF));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_second_interface_of_amd64_is_no_way_around() {
        let errors = confined(|| [libc::SYS_setns, 521].map(|call| error_of(call | super::X32, -1)));
        assert_eq!(errors, [Some(libc::EPERM); 2]);
    }
}
