//! Makes a thing once for all who ask for it at the same time.
//!
//! Owns who makes it, who waits, and how old it may be. Must not know what it is.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The last outcome, and who makes the next one.
///
/// An outcome serves all who ask before it is made, and all who ask until it has `age`. The age counts from the
/// beginning of the work. So two beginnings are at least `age` apart, whatever the number of clients. Who asks while
/// work is under way that began longer ago waits for the next outcome, with everybody else.
#[derive(Debug)]
pub struct SingleFlight<T> {
    age: Duration,
    state: Mutex<State<T>>,
    /// An outcome is there, or its maker has given up.
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    is_making: bool,
    /// When the work began, and its outcome.
    last: Option<(Instant, Arc<T>)>,
}

impl<T> SingleFlight<T> {
    /// Nothing is made yet. An outcome may be this old.
    #[must_use]
    pub const fn new(age: Duration) -> Self {
        Self {
            age,
            state: Mutex::new(State {
                is_making: false,
                last: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Returns an outcome that is fresh enough. Calls `make` for it, unless another thread has done so or is at it.
    /// Blocks until there is one.
    pub fn get(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let asked = Instant::now();
        let mut state = self.lock();
        loop {
            let is_fresh = |began: Instant| asked.saturating_duration_since(began) <= self.age;
            if let Some((_, outcome)) = state.last.as_ref().filter(|(began, _)| is_fresh(*began)) {
                return Arc::clone(outcome);
            }
            if !state.is_making {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_making = true;
        // Nobody who asks from now on can get it, and it may be large.
        let too_old = state.last.take();
        drop(state);
        drop(too_old);
        // Dropped when `make` returns or panics: then the next one who waits takes over.
        let under_way = UnderWay(self);
        let began = Instant::now();
        let outcome = Arc::new(make());
        self.lock().last = Some((began, Arc::clone(&outcome)));
        drop(under_way);
        outcome
    }

    /// How old an outcome may be.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.age
    }

    /// Drops the outcome if it is too old to be given to anybody. It may be large.
    pub fn expire(&self) {
        let is_old = |(began, _): &mut (Instant, Arc<T>)| began.elapsed() > self.age;
        let too_old = self.lock().last.take_if(is_old);
        // Unlocked by now: who asks must not wait for that.
        drop(too_old);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct UnderWay<'a, T>(&'a SingleFlight<T>);

impl<T> Drop for UnderWay<'_, T> {
    fn drop(&mut self) {
        self.0.lock().is_making = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc, Barrier,
            atomic::{AtomicU32, Ordering},
        },
        thread,
        time::{Duration, Instant},
    };

    use super::SingleFlight;

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn everybody_who_asks_meanwhile_gets_the_same() {
        let flight = Arc::new(SingleFlight::new(LONG));
        let made = Arc::new(AtomicU32::new(0));
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let (flight, made) = (Arc::clone(&flight), Arc::clone(&made));
                thread::spawn(move || *flight.get(|| made.fetch_add(1, Ordering::Relaxed)))
            })
            .collect();
        for client in clients {
            assert_eq!(client.join().expect("an outcome"), 0);
        }
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn without_an_age_everything_is_made_anew() {
        let flight = SingleFlight::new(Duration::ZERO);
        let mut count = 0;
        for expected in 1..4 {
            let outcome = flight.get(|| {
                count += 1;
                count
            });
            assert_eq!(*outcome, expected);
        }
    }

    /// Who asks late wants what began after the question, and shares that.
    #[test]
    fn who_asks_while_old_work_is_under_way_waits_for_the_next() {
        let flight = Arc::new(SingleFlight::new(Duration::ZERO));
        let (begun, end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let first = {
            let (flight, begun, end) = (Arc::clone(&flight), Arc::clone(&begun), Arc::clone(&end));
            thread::spawn(move || {
                *flight.get(|| {
                    begun.wait();
                    end.wait();
                    "first"
                })
            })
        };
        begun.wait();
        let second = {
            let flight = Arc::clone(&flight);
            thread::spawn(move || *flight.get(|| "second"))
        };
        end.wait();
        assert_eq!(first.join().expect("an outcome"), "first");
        assert_eq!(second.join().expect("an outcome"), "second");
    }

    #[test]
    fn beginnings_are_apart_by_the_age() {
        const AGE: Duration = Duration::from_millis(40);
        let flight = SingleFlight::new(AGE);
        let (mut made, begin) = (0, Instant::now());
        while begin.elapsed() < 5 * AGE {
            flight.get(|| made += 1);
        }
        assert!(made > 1, "made {made} times");
        let elapsed = begin.elapsed();
        assert!((made - 1) * AGE < elapsed, "made {made} times in {elapsed:?}");
    }

    #[test]
    fn what_nobody_can_get_any_more_is_dropped() {
        let flight = SingleFlight::new(LONG);
        let outcome = flight.get(|| 1);
        flight.expire();
        assert_eq!(Arc::strong_count(&outcome), 2, "it is fresh");
        let flight = SingleFlight::new(Duration::ZERO);
        let outcome = flight.get(|| 1);
        thread::sleep(Duration::from_millis(1));
        flight.expire();
        assert_eq!(Arc::strong_count(&outcome), 1);
    }

    #[test]
    fn who_panics_leaves_the_work_to_the_next() {
        let flight = Arc::new(SingleFlight::new(LONG));
        let panics = {
            let flight = Arc::clone(&flight);
            thread::spawn(move || *flight.get(|| panic!("no outcome")))
        };
        assert!(panics.join().is_err());
        assert_eq!(*flight.get(|| 7), 7);
    }
}
