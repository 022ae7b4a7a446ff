//! Limits the rate of requests. Tokens drop into a bucket, one at every interval, and every request takes one. Pure
//! except for the lock.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    AccessError,
    file::{RateSettings, duration},
    setting,
};

/// The longest permitted time to refill the whole bucket. More than a year is a mistake, not a limit. It also keeps
/// the arithmetic with [`Instant`] within its range.
const FARTHEST: Duration = Duration::from_hours(365 * 24);

#[derive(Debug)]
pub(super) struct Rate {
    interval: Duration,
    /// How far ahead of their time tokens may be taken.
    tolerance: Duration,
    /// When the bucket is full again.
    full_at: Mutex<Option<Instant>>,
}

impl Rate {
    /// `None` if no limit is set.
    pub(super) fn new(settings: &RateSettings, path: &Path) -> Result<Option<Self>, AccessError> {
        let RateSettings { interval, burst } = settings;
        let Some(interval) = interval.as_deref() else {
            return match burst {
                Some(_) => Err(setting(
                    path,
                    "rate_limit.burst",
                    "it has no meaning without an interval",
                )),
                None => Ok(None),
            };
        };
        let Some(interval) = duration(interval) else {
            return Err(setting(
                path,
                "rate_limit.interval",
                format!("{interval:?} is not a time: write 100ms, 1s or 1m30s"),
            ));
        };
        let burst = burst.unwrap_or(1);
        if burst == 0 {
            return Err(setting(
                path,
                "rate_limit.burst",
                "with 0 no request would ever be answered",
            ));
        }
        if interval.checked_mul(burst).is_none_or(|whole| whole > FARTHEST) {
            return Err(setting(
                path,
                "rate_limit",
                "a burst may come only once in more than a year",
            ));
        }
        let tolerance = interval * (burst - 1);
        Ok((!interval.is_zero()).then(|| Self {
            interval,
            tolerance,
            full_at: Mutex::new(None),
        }))
    }

    /// Takes a token, if there is one.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = full_at.map_or(now, |at| at.max(now));
        if begin.duration_since(now) > self.tolerance {
            return false;
        }
        *full_at = begin.checked_add(self.interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        time::{Duration, Instant},
    };

    use super::{Rate, RateSettings};

    fn rate(interval: &str, burst: Option<u32>) -> Option<Rate> {
        let settings = RateSettings {
            interval: Some(interval.to_owned()),
            burst,
        };
        Rate::new(&settings, Path::new("web.yml")).expect("a limit")
    }

    #[test]
    fn as_many_as_the_burst_come_at_once_and_then_one_an_interval() {
        let rate = rate("1s", Some(3)).expect("a limit");
        let begin = Instant::now();
        let admitted = (0..5).filter(|_| rate.admits(begin)).count();
        assert_eq!(admitted, 3);
        let second = begin + Duration::from_secs(1);
        assert!(rate.admits(second));
        assert!(!rate.admits(second));
        // A long silence permits no more than one burst.
        let later = begin + Duration::from_secs(1000);
        assert_eq!((0..5).filter(|_| rate.admits(later)).count(), 3);
    }

    #[test]
    fn no_interval_is_no_limit() {
        assert!(rate("0s", Some(1)).is_none());
    }

    #[test]
    fn a_limit_that_lets_nobody_in_is_refused() {
        let nobody = [
            (Some("1s"), Some(0)),
            (Some("often"), None),
            (None, Some(5)),
            (Some("5000000000000000h"), None),
            (Some("1h"), Some(u32::MAX)),
        ];
        for (interval, burst) in nobody {
            let settings = RateSettings {
                interval: interval.map(str::to_owned),
                burst,
            };
            assert!(Rate::new(&settings, Path::new("web.yml")).is_err(), "{settings:?}");
        }
    }
}
