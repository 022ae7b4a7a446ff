//! Waiting for events.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};

/// Long enough for anything that happens by itself on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// A counter is at rest if it does not rise for this long.
const REST: Duration = Duration::from_millis(50);
/// The shortest and the longest interval between two checks. One check may cost a tenth of a second of processor time
/// (a shell, and `docker`). So long waits check rarely: several waiting tests would otherwise slow down what they
/// wait for.
const INTERVALS: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(300)];
/// The interval is this part of the time waited so far.
const LATE: u32 = 10;

/// How many times slower than usual this machine is. On an emulated machine an environment variable says so.
#[must_use]
pub fn slowness() -> u32 {
    let said = env::var("NETMON_TEST_SLOWNESS").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Calls `look` until it succeeds, and returns its result.
///
/// # Errors
/// It did not succeed within [`PATIENCE`]. The error has its last reason.
pub fn until<T>(what: &str, look: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    within(PATIENCE, what, look)
}

/// Calls `look` until it succeeds, for at most `time`.
///
/// # Errors
/// It did not succeed in time. The error has its last reason.
pub fn within<T>(time: Duration, what: &str, mut look: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let time = time * slowness();
    let begin = Instant::now();
    loop {
        match look() {
            Ok(it) => return Ok(it),
            Err(error) if begin.elapsed() > time => bail!("waited {time:?} for {what}: {error:#}"),
            Err(_) => {
                let [shortest, longest] = INTERVALS;
                thread::sleep((begin.elapsed() / LATE).clamp(shortest, longest));
            }
        }
    }
}

/// Reads a counter until two readings are the same. A counter may still rise for a moment after the packets were
/// sent: the kernel may be busy with other packets first.
///
/// # Errors
/// It cannot be read, or does not stop rising.
pub fn at_rest(what: &str, mut read: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<u64> {
    let mut before = read()?;
    until(&format!("{what} to rest"), || {
        thread::sleep(REST * slowness());
        let now = read()?;
        let was = std::mem::replace(&mut before, now);
        ensure!(was == now, "it was {was}, and is {now}");
        Ok(now)
    })
}
