//! What processes take of the processors, and of memory.

use std::time::Duration;

use anyhow::Context as _;

/// The kernel's tick.
const TICK: Duration = Duration::from_millis(10);

/// The time that a process has taken so far, its own and the kernel's for it, by its `/proc/PID/stat`.
///
/// # Errors
/// It is no such file.
pub fn time(stat: &str) -> anyhow::Result<Duration> {
    // Behind its name, which may have blanks, in parentheses.
    let (_, rest) = stat.rsplit_once(") ").context("it has no figures")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || -> anyhow::Result<u32> { Ok(fields.next().context("it has no times")?.parse()?) };
    Ok(TICK * (ticks()? + ticks()?))
}

/// A process's resident memory, in bytes, by its `/proc/PID/status`.
///
/// # Errors
/// It is no such file.
pub fn resident(status: &str) -> anyhow::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: u64 = kilobytes.context("it has no memory")?.parse()?;
    Ok(kilobytes << 10)
}
