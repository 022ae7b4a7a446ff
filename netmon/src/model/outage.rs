//! Says a problem once: when it begins, and when it is over. Owns what was said and when. Must not know what it is
//! about, and logs nothing itself.
//!
//! What fails once fails again at the next scrape, or the next second. A log that repeats it hides everything else, and
//! a container could fill a disk. Metrics show how often and how long.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long nothing is said of a problem that comes back. It may come and go all the time.
const QUIET: Duration = Duration::from_hours(1);

/// What there is to say of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It has begun.
    Begins,
    /// It is over, and its beginning was said.
    Ends,
}

/// Something that works or fails again and again.
#[derive(Debug, Default)]
pub struct Outage {
    said: Said<()>,
    fails: bool,
    /// The beginning was said, and the end not yet.
    is_open: bool,
}

impl Outage {
    /// Takes in whether it failed this time. Returns what there is to say.
    pub fn note(&mut self, fails: bool, now: Instant) -> Option<News> {
        let failed = std::mem::replace(&mut self.fails, fails);
        match (failed, fails) {
            (false, true) if self.said.is_news((), now) => {
                self.is_open = true;
                Some(News::Begins)
            }
            (_, false) if std::mem::take(&mut self.is_open) => Some(News::Ends),
            _ => None,
        }
    }

    /// Takes in whether it failed this time. Returns whether to say that it has begun.
    pub fn begins(&mut self, fails: bool, now: Instant) -> bool {
        self.note(fails, now) == Some(News::Begins)
    }
}

/// What was said about each of several subjects. Nothing tells when their problem is over.
#[derive(Debug)]
pub struct Said<K>(BTreeMap<K, Instant>);

impl<K> Default for Said<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Said<K> {
    /// Whether to say something about this, which was not said of it for long.
    pub fn is_news(&mut self, about: K, now: Instant) -> bool {
        self.0.retain(|_, said| now.saturating_duration_since(*said) < QUIET);
        let is_news = !self.0.contains_key(&about);
        if is_news {
            self.0.insert(about, now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{News, Outage, QUIET, Said};

    #[test]
    fn a_problem_is_said_once_and_so_is_its_end() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        let said: Vec<_> = [false, true, true, true, false, false]
            .into_iter()
            .map(|fails| outage.note(fails, now))
            .collect();
        assert_eq!(said, [None, Some(News::Begins), None, None, Some(News::Ends), None]);
    }

    #[test]
    fn a_problem_that_comes_and_goes_is_said_once_an_hour() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        let mut said = Vec::new();
        for minute in 0..300 {
            let now = now + Duration::from_mins(minute);
            said.extend(outage.note(minute % 2 == 0, now));
        }
        assert_eq!(said, [News::Begins, News::Ends].repeat(5));
    }

    #[test]
    fn each_subject_is_said_by_itself_and_forgotten_after_a_while() {
        let (mut said, now) = (Said::default(), Instant::now());
        assert!(said.is_news(1, now) && said.is_news(2, now));
        assert!(!said.is_news(1, now + QUIET / 2));
        assert!(said.is_news(1, now + QUIET));
        assert_eq!(said.0.len(), 1, "the other one is not kept");
    }
}
