//! Limits the rate of requests. Tokens drop into a bucket, one at every interval, and every request takes one. Each
//! network that clients come from has a bucket of its own, so that nobody empties another's. Pure except for the lock.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::super::network;
use super::{
    AccessError,
    file::{RateSettings, duration},
    setting,
};

/// The longest permitted time to refill the whole bucket. More than a year is a mistake, not a limit. It also keeps
/// the arithmetic with [`Instant`] within its range.
const FARTHEST: Duration = Duration::from_hours(365 * 24);
/// How many networks have buckets of their own. Someone may have millions of addresses.
const MOST_NETWORKS: usize = 1024;

#[derive(Debug)]
pub(super) struct Rate {
    interval: Duration,
    /// How far ahead of their time tokens may be taken.
    tolerance: Duration,
    buckets: Mutex<Buckets>,
}

/// When each bucket is full again. One that is full need not be here.
#[derive(Debug, Default)]
struct Buckets {
    of_networks: HashMap<IpAddr, Instant>,
    /// The one bucket of all networks that find no room.
    of_others: Option<Instant>,
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
            buckets: Mutex::default(),
        }))
    }

    /// Takes a token from the bucket of a client at that address, if there is one.
    pub(super) fn admits(&self, address: IpAddr, now: Instant) -> bool {
        let network = network::of(address);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { of_networks, of_others } = &mut *buckets;
        if of_networks.len() >= MOST_NETWORKS && !of_networks.contains_key(&network) {
            of_networks.retain(|_, full_at| *full_at > now);
            if of_networks.len() >= MOST_NETWORKS {
                return self.take(of_others.unwrap_or(now), now).is_some_and(|full_at| {
                    *of_others = Some(full_at);
                    true
                });
            }
        }
        let full_at = of_networks.get(&network).copied().unwrap_or(now);
        self.take(full_at, now).is_some_and(|full_at| {
            of_networks.insert(network, full_at);
            true
        })
    }

    /// Takes a token from a bucket that will be full at that time. Returns when it is full then.
    fn take(&self, full_at: Instant, now: Instant) -> Option<Instant> {
        let begin = full_at.max(now);
        if begin.duration_since(now) > self.tolerance {
            return None;
        }
        begin.checked_add(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        path::Path,
        time::{Duration, Instant},
    };

    use super::{MOST_NETWORKS, Rate, RateSettings};

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

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
        let admitted = (0..5).filter(|_| rate.admits(CLIENT, begin)).count();
        assert_eq!(admitted, 3);
        let second = begin + Duration::from_secs(1);
        assert!(rate.admits(CLIENT, second));
        assert!(!rate.admits(CLIENT, second));
        // A long silence permits no more than one burst.
        let later = begin + Duration::from_secs(1000);
        assert_eq!((0..5).filter(|_| rate.admits(CLIENT, later)).count(), 3);
    }

    #[test]
    fn nobody_empties_the_bucket_of_another_network() {
        let rate = rate("1h", Some(2)).expect("a limit");
        let now = Instant::now();
        let admitted = |address: &str| (0..5).filter(|_| rate.admits(at(address), now)).count();
        assert_eq!(admitted("10.0.0.1"), 2);
        assert_eq!(admitted("10.0.0.2"), 2);
        assert_eq!(admitted("fd00::1"), 2);
        assert_eq!(admitted("fd00::2"), 0, "it has the network of the one before");
        assert_eq!(admitted("::ffff:10.0.0.1"), 0, "it is the first");
    }

    #[test]
    fn whoever_has_thousands_of_networks_gets_no_more_buckets() {
        let rate = rate("1h", Some(2)).expect("a limit");
        let now = Instant::now();
        let many = (0..).map(|number| IpAddr::V4(Ipv4Addr::from_bits(number)));
        let admitted = many.take(3 * MOST_NETWORKS).filter(|it| rate.admits(*it, now)).count();
        assert_eq!(admitted, MOST_NETWORKS + 2);
        assert_eq!(
            rate.buckets.lock().expect("nobody panicked").of_networks.len(),
            MOST_NETWORKS
        );
        // A bucket that is full again makes room.
        let later = now + Duration::from_hours(1);
        assert!(rate.admits(at("fd00::1"), later) && rate.admits(at("fd00::1"), later));
        assert!(!rate.admits(at("fd00::1"), later));
        assert_eq!(rate.buckets.lock().expect("nobody panicked").of_networks.len(), 1);
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
