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
    let mut fields = figures(stat)?.skip(11);
    let mut ticks = || -> anyhow::Result<u32> { Ok(fields.next().context("it has no times")?.parse()?) };
    Ok(TICK * (ticks()? + ticks()?))
}

/// A process's resident memory, in bytes, by the same file.
///
/// # Errors
/// It is no such file.
pub fn resident(stat: &str) -> anyhow::Result<u64> {
    let pages: u64 = figures(stat)?.nth(21).context("it has no memory")?.parse()?;
    Ok(pages * u64::try_from(rustix::param::page_size())?)
}

/// What stands behind its name, which may have blanks, in parentheses.
fn figures(stat: &str) -> anyhow::Result<impl Iterator<Item = &str>> {
    let (_, rest) = stat.rsplit_once(") ").context("it has no figures")?;
    Ok(rest.split_whitespace())
}
