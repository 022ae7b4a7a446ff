//! How much processor time and memory processes use.

use std::time::Duration;

use anyhow::Context as _;

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
