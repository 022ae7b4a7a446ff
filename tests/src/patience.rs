//! Waiting for what takes its time.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};

/// Long enough for whatever happens by itself on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may have come to a counter that rests.
const REST: Duration = Duration::from_millis(50);
/// How often it is looked, at most and at least. A look may cost a processor a tenth of a second (a shell, and `docker`): who
/// waits long looks rarely, or several who wait would leave nothing to what they wait for.
const INTERVALS: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(300)];
/// What part of the time waited so far may be lost by looking late.
const LATE: u32 = 10;

/// How many times slower than usual this machine is: an emulated one says so in its environment.
#[must_use]
pub fn slowness() -> u32 {
    let said = env::var("NETMON_TEST_SLOWNESS").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Looks until there is something, and gives it.
///
/// # Errors
/// There was nothing within [`PATIENCE`]; the error has the last reason.
pub fn until<T>(what: &str, look: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    within(PATIENCE, what, look)
}

/// Looks until there is something, for at most that long.
///
/// # Errors
/// There was nothing in time; the error has the last reason.
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

/// A counter that rises for a moment after what it counts was sent: once two readings are the same. The kernel may be busy
/// with others' packets first.
///
/// # Errors
/// It cannot be read, or rises all the time.
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
