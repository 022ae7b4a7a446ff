//! How much processor time and memory processes use.

use std::{io, time::Duration};

use anyhow::{Context as _, ensure};

/// The unit of the kernel's times.
const TICK: Duration = Duration::from_millis(10);

/// The processor time of a process so far, its own and the kernel's on its behalf. `stat` is its `/proc/PID/stat`.
///
/// # Errors
/// The text is of no such file.
pub fn time(stat: &str) -> anyhow::Result<Duration> {
    // The figures follow the name, which is in parentheses and may contain blanks.
    let (_, rest) = stat.rsplit_once(") ").context("it has no figures")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || -> anyhow::Result<u32> { Ok(fields.next().context("it has no times")?.parse()?) };
    Ok(TICK * (ticks()? + ticks()?))
}

/// A process's resident memory in bytes. `status` is its `/proc/PID/status`.
///
/// # Errors
/// The text is of no such file.
pub fn resident(status: &str) -> anyhow::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: u64 = kilobytes.context("it has no memory")?.parse()?;
    Ok(kilobytes << 10)
}

/// The processor time of a running process so far, by the scheduler's own clock: in nanoseconds, and with the threads
/// that have ended.
///
/// # Errors
/// There is no such process.
#[expect(unsafe_code, reason = "no library of ours asks for another process' clock")]
pub fn clock(pid: u32) -> anyhow::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).context("a process id is a small number")?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the C library writes one number to `clock`, which is ours alone and outlives the call.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    ensure!(
        error == 0,
        "process {pid} has no clock: {}",
        io::Error::from_raw_os_error(error)
    );
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` to `time`, which is ours alone and outlives the call.
    let read = unsafe { libc::clock_gettime(clock, &raw mut time) };
    ensure!(
        read == 0,
        "the clock of process {pid} cannot be read: {}",
        io::Error::last_os_error()
    );
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
