//! When the engine's directory is listed. Pure.
//!
//! A namespace of somebody else's that has an nsid may change its devices all the time. Each change may belong to a
//! namespace that is not listed yet, so it causes a listing, and each listing causes looks. After one that nothing new
//! was mounted for, the next waits.

use std::time::{Duration, Instant};

/// How long the next listing waits, as a multiple of the time that the last one took, with its looks. It gets a tenth of
/// this thread's time.
const REST: u32 = 9;

/// Whether the directory has to be listed, and from when on.
#[derive(Debug)]
pub(super) struct ListDue {
    wanted: bool,
    from: Instant,
}

impl ListDue {
    /// It has to be listed now.
    pub(super) const fn now(now: Instant) -> Self {
        Self {
            wanted: true,
            from: now,
        }
    }

    /// It has to be listed again after the rest.
    pub(super) const fn want(&mut self) {
        self.wanted = true;
    }

    /// When it has to be listed, if it has to.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wanted.then_some(self.from)
    }

    /// Whether it has to be listed now. Then it is no longer wanted.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_due = self.wanted && self.from <= now;
        self.wanted &= !is_due;
        is_due
    }

    /// It was listed, which took so long.
    pub(super) fn listed(&mut self, end: Instant, took: Duration) {
        self.from = end + took * REST;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::ListDue;

    #[test]
    fn somebody_elses_restless_namespace_costs_a_tenth_of_the_time() {
        let (begin, took) = (Instant::now(), Duration::from_millis(3));
        let mut due = ListDue::now(begin);
        let mut listings = 0;
        for millisecond in 0..3000 {
            let now = begin + Duration::from_millis(millisecond);
            due.want();
            if due.take(now) {
                listings += 1;
                due.listed(now + took, took);
            }
        }
        assert!((95..=105).contains(&listings), "{listings} of 3 ms each in 3,000 ms");
        assert!(due.due().is_some());
    }

    #[test]
    fn what_was_mounted_is_listed_at_once() {
        let now = Instant::now();
        let mut due = ListDue::now(now);
        assert!(due.take(now) && !due.take(now));
        assert_eq!(due.due(), None);
        due.listed(now, Duration::from_secs(1));
        due.want();
        assert!(!due.take(now));
        assert_eq!(due.due(), Some(now + Duration::from_secs(9)));
        due = ListDue::now(now);
        assert!(due.take(now));
    }
}
