//! Supervises netmon's own workers: when each was last at work, and which has ended.
//!
//! Owns the list of workers, the clock of each worker's turns, and the report that one has ended. A worker is a
//! thread that runs as long as netmon does. A turn is what it does between two waits. Knows nothing of what is done
//! in a turn.
//!
//! Without one of its workers netmon would serve figures that are fresh and wrong: new containers would not appear,
//! and names would not change. So netmon ends when a worker ends, and is unhealthy while a worker hangs.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::warn;

/// How often a worker that waits for events takes a turn all the same, to show that it is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long netmon runs before a worker shows the fault that it was asked to show.
const FAULT_DELAY: Duration = Duration::from_secs(1);
/// The pause between two checks whether a thread has ended.
const JOIN_PAUSE: Duration = Duration::from_millis(2);
/// Stands for no time in a clock.
const NEVER: u64 = u64::MAX;

/// A worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// Keeps the registry of namespaces and interfaces up to date, and attaches programs.
    Control,
    /// Receives changes from the kernel.
    Watch,
    /// Reads for scrapes.
    Reader,
    /// Follows the Docker engine.
    Engine,
    /// Looks for what is wrong.
    Checks,
}

impl Worker {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Control, Self::Watch, Self::Reader, Self::Engine, Self::Checks];

    /// Its name in logs and on the page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Watch => "watch",
            Self::Reader => "reader",
            Self::Engine => "engine",
            Self::Checks => "checks",
        }
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fault that a worker shows on purpose, for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It panics.
    Panic,
    /// It never ends its turn.
    Hang,
}

/// A worker that has ended without being asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "worker `{worker}` {how}; netmon exits to be restarted, because without this worker its figures would be wrong"
)]
pub struct Ended {
    /// The worker.
    pub worker: Worker,
    /// How it has ended.
    pub how: String,
}

/// The workers, as their supervisor sees them.
#[derive(Debug)]
pub struct Workers {
    shifts: [Shift; Worker::ALL.len()],
    ended: UnboundedReceiver<Ended>,
}

impl Workers {
    /// Workers that have not begun. A worker that is in one turn for longer than `patience` hangs. The worker in
    /// `fault`, if any, shows that fault soon.
    #[must_use]
    pub fn new(patience: Duration, fault: Option<(Worker, Fault)>) -> Self {
        let (say, ended) = unbounded_channel();
        let shifts = Worker::ALL.map(|worker| Shift {
            worker,
            fault: fault.and_then(|(faulty, fault)| (faulty == worker).then_some(fault)),
            clock: Arc::new(Clock {
                patience,
                zero: Instant::now(),
                began: AtomicU64::new(NEVER),
                ended: AtomicU64::new(0),
            }),
            say: say.clone(),
        });
        Self { shifts, ended }
    }

    /// What a worker needs to be supervised.
    #[must_use]
    pub fn shift(&self, worker: Worker) -> Shift {
        self.shifts[worker as usize].clone()
    }

    /// The workers' clocks, which can also be read during [`Self::ended`].
    #[must_use]
    pub fn clocks(&self) -> Clocks {
        Clocks(
            self.shifts
                .each_ref()
                .map(|shift| (shift.worker, Arc::clone(&shift.clock))),
        )
    }

    /// Waits until one of them ends.
    pub async fn ended(&mut self) -> Ended {
        match self.ended.recv().await {
            Some(ended) => ended,
            // Cannot happen: the shifts above keep the channel open.
            None => std::future::pending().await,
        }
    }
}

/// The workers' clocks.
#[derive(Clone, Debug)]
pub struct Clocks([(Worker, Arc<Clock>); Worker::ALL.len()]);

impl Clocks {
    /// How long ago each worker's last turn ended.
    pub fn ages(&self, now: Instant) -> impl Iterator<Item = (Worker, Duration)> {
        self.0.iter().map(move |(worker, clock)| (*worker, clock.age(now)))
    }

    /// The worker that hangs, and for how long. If several hang, the one that has hung for longest.
    #[must_use]
    pub fn hung(&self, now: Instant) -> Option<(Worker, Duration)> {
        let clocks = self.0.iter();
        let hung = clocks.filter_map(|(worker, clock)| Some((*worker, clock.hung(now)?)));
        hung.max_by_key(|(_, time)| *time)
    }
}

/// One worker's clock, in milliseconds since netmon started.
#[derive(Debug)]
struct Clock {
    /// How long a turn may take.
    patience: Duration,
    zero: Instant,
    /// When its current turn began; [`NEVER`] while it waits.
    began: AtomicU64,
    /// When its last turn ended.
    ended: AtomicU64,
}

impl Clock {
    fn at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.zero).as_millis()).unwrap_or(NEVER - 1)
    }

    fn age(&self, now: Instant) -> Duration {
        Duration::from_millis(self.at(now).saturating_sub(self.ended.load(Ordering::Relaxed)))
    }

    /// How long its current turn has taken, if that is too long.
    fn hung(&self, now: Instant) -> Option<Duration> {
        let began = self.began.load(Ordering::Relaxed);
        let time = (began != NEVER).then(|| Duration::from_millis(self.at(now).saturating_sub(began)))?;
        (time > self.patience).then_some(time)
    }
}

/// What a worker carries while it is supervised.
#[derive(Clone, Debug)]
pub struct Shift {
    worker: Worker,
    fault: Option<Fault>,
    clock: Arc<Clock>,
    say: UnboundedSender<Ended>,
}

impl Shift {
    /// Begins a turn, which ends when the returned value is dropped.
    ///
    /// # Panics
    /// If the worker was asked to panic, for tests.
    #[must_use]
    pub fn turn(&self) -> Turn<'_> {
        let now = Instant::now();
        self.clock.began.store(self.clock.at(now), Ordering::Relaxed);
        if now.saturating_duration_since(self.clock.zero) >= FAULT_DELAY {
            match self.fault {
                Some(Fault::Panic) => panic!("it was asked to panic"),
                Some(Fault::Hang) => loop {
                    thread::park();
                },
                None => {}
            }
        }
        Turn(&self.clock)
    }

    /// Wraps the worker's work. At its end this reports that the worker has ended, and how.
    pub fn watched(self, work: impl FnOnce() + Send + 'static) -> impl FnOnce() + Send + 'static {
        move || {
            // Nothing that the work leaves half done is used afterwards: netmon ends.
            let outcome = catch_unwind(AssertUnwindSafe(work));
            self.has_ended(outcome.map_err(|payload| said(&*payload)));
        }
    }

    /// Whether the worker has been in one turn for too long.
    #[must_use]
    pub fn hangs(&self) -> bool {
        self.clock.hung(Instant::now()).is_some()
    }

    /// Waits for the end of the worker's thread, which was asked to end. Gives up if the worker hangs.
    pub fn join(&self, thread: JoinHandle<()>) {
        while !thread.is_finished() {
            if self.hangs() {
                warn!(worker = self.worker.as_str(), "a worker hangs; netmon ends without it");
                return;
            }
            thread::sleep(JOIN_PAUSE);
        }
        // Its panic was caught and reported.
        let _ended = thread.join();
    }

    fn has_ended(&self, outcome: Result<(), String>) {
        let how = outcome.map_or_else(|why| format!("panicked ({why})"), |()| "ended by itself".to_owned());
        let worker = self.worker;
        // Fails if netmon itself ends and nobody waits any more.
        let _heard = self.say.send(Ended { worker, how });
    }
}

/// A worker's turn.
#[derive(Debug)]
pub struct Turn<'a>(&'a Clock);

impl Turn<'_> {
    /// Ends the turn and begins the next one. Work that consists of many parts takes one turn for each part: on a large
    /// node all of them together may take longer than a turn may.
    pub fn renew(&self) {
        let Self(clock) = self;
        let now = clock.at(Instant::now());
        clock.ended.store(now, Ordering::Relaxed);
        clock.began.store(now, Ordering::Relaxed);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Self(clock) = self;
        clock.ended.store(clock.at(Instant::now()), Ordering::Relaxed);
        clock.began.store(NEVER, Ordering::Relaxed);
    }
}

/// The message of a panic.
fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it does not say why".to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    use super::{Worker, Workers};

    #[tokio::test]
    async fn one_that_ends_is_heard_of_with_what_it_said() {
        let mut workers = Workers::new(Duration::from_secs(30), None);
        let work = workers.shift(Worker::Watch).watched(|| panic!("no {}", "more"));
        thread::spawn(work).join().expect("the panic is caught");
        let ended = workers.ended().await;
        assert_eq!((ended.worker, &*ended.how), (Worker::Watch, "panicked (no more)"));

        let work = workers.shift(Worker::Reader).watched(|| {});
        thread::spawn(work).join().expect("it ends");
        let ended = workers.ended().await;
        assert_eq!((ended.worker, &*ended.how), (Worker::Reader, "ended by itself"));
    }

    #[test]
    fn one_that_hangs_is_not_waited_for() {
        let workers = Workers::new(Duration::ZERO, None);
        let shift = workers.shift(Worker::Reader);
        let (begun, begins) = mpsc::channel();
        let (_held, holds) = mpsc::channel::<()>();
        let turns = shift.clone();
        let hanging = thread::spawn(move || {
            let _turn = turns.turn();
            begun.send(()).expect("the test waits");
            // Until the test is over.
            let _over = holds.recv();
        });
        begins.recv().expect("it begins");
        shift.join(hanging);
    }

    #[test]
    fn one_that_stays_in_a_turn_hangs_and_one_that_waits_does_not() {
        let second = Duration::from_secs(1);
        let workers = Workers::new(30 * second, None);
        let (clocks, control) = (workers.clocks(), workers.shift(Worker::Control));
        let later = |time| Instant::now() + time;
        assert_eq!(clocks.hung(later(60 * second)), None, "none has begun");

        let turn = control.turn();
        assert_eq!(clocks.hung(later(20 * second)), None);
        let (worker, time) = clocks.hung(later(60 * second)).expect("it hangs");
        assert_eq!(worker, Worker::Control);
        assert!(time >= 59 * second, "{time:?}");
        drop(turn);
        assert_eq!(clocks.hung(later(60 * second)), None, "it waits");

        let ages: Vec<_> = clocks.ages(later(5 * second)).collect();
        assert_eq!(ages.len(), Worker::ALL.len());
        assert!(ages.iter().all(|(_, age)| *age >= 5 * second), "{ages:?}");
    }
}
