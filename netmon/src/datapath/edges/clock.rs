//! How many jiffies the kernel has in a second.
//!
//! It is a choice of whoever builds a kernel (`CONFIG_HZ`), and no file says it reliably. But a program can read the time in
//! jiffies and in nanoseconds at once, and jiffies begin five minutes before the end of 32 bits (`INITIAL_JIFFIES` in
//! `include/linux/jiffies.h`). So the two agree for one number only.

use std::time::Duration;

use netmon_common::edges::Clock;

/// The numbers that kernels are built with (`kernel/Kconfig.hz`, and those of other architectures).
const RATES: [u64; 12] = [24, 32, 48, 64, 100, 128, 250, 256, 300, 500, 1000, 1024];
/// How long before they wrap jiffies begin, in seconds.
const BEFORE: u64 = 300;
/// How far the two clocks may be apart. Both stand still while the machine sleeps.
const APART: Duration = Duration::from_secs(10);

/// By how much the next number has to fit worse: jiffies are late by a few.
const CLEARLY: Duration = Duration::from_millis(50);

/// The jiffies in a second, by what the two clocks said at one moment. `None` if they fit no kernel, or several: five minutes
/// after boot, jiffies are the same in all.
pub(super) fn jiffies_in_a_second(clock: Clock) -> Option<u64> {
    let since_boot = u128::from(clock.nanoseconds);
    let apart = |rate: u64| {
        let begin = (1 << 32) - BEFORE * rate;
        let passed = clock.jiffies.checked_sub(begin)?;
        let passed = u128::from(passed) * 1_000_000_000 / u128::from(rate);
        Some(passed.abs_diff(since_boot))
    };
    let fits = RATES.into_iter().filter_map(|rate| Some((apart(rate)?, rate)));
    let mut fits: Vec<_> = fits.collect();
    fits.sort_unstable();
    let (apart, rate) = *fits.first()?;
    let is_clear = fits.get(1).is_none_or(|(next, _)| next - apart >= CLEARLY.as_nanos());
    (apart <= APART.as_nanos() && is_clear).then_some(rate)
}

#[cfg(test)]
mod tests {
    use netmon_common::edges::Clock;

    use super::{RATES, jiffies_in_a_second};

    /// What the clocks say so long after boot, the jiffies some of them late.
    fn after(seconds: u64, rate: u64, late: u64) -> Clock {
        let initial = u64::from(u32::MAX) + 1 - 300 * rate;
        Clock {
            jiffies: initial + seconds * rate - late,
            nanoseconds: seconds * 1_000_000_000 + 999_999,
        }
    }

    #[test]
    fn the_rate_is_told_at_any_time_after_boot() {
        for rate in RATES {
            for seconds in [1, 30, 290, 310, 3600, 86_400, 400 * 86_400] {
                for late in [0, 1] {
                    let found = jiffies_in_a_second(after(seconds, rate, late));
                    assert_eq!(found, Some(rate), "{seconds} s after boot");
                }
            }
        }
    }

    #[test]
    fn five_minutes_after_boot_the_rate_cannot_be_told() {
        for rate in [100, 250, 300, 1000] {
            for seconds in [299, 300, 301] {
                let found = jiffies_in_a_second(after(seconds, rate, 0));
                assert!(found.is_none_or(|found| found == rate), "{found:?} for {rate}");
            }
            assert_eq!(jiffies_in_a_second(after(300, rate, 0)), None);
        }
    }

    #[test]
    fn clocks_that_fit_no_kernel_say_nothing() {
        for clock in [
            Clock::default(),
            Clock {
                jiffies: 1,
                nanoseconds: 1,
            },
            after(86_400, 777, 0),
        ] {
            assert_eq!(jiffies_in_a_second(clock), None, "{clock:?}");
        }
    }
}
