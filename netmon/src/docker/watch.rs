//! The loop around the roster: connects, sends the roster's questions, receives events, and reconnects when the
//! engine is back.
//!
//! It never waits for an answer. Each question is a task of its own, and events are taken in meanwhile.

use std::{
    convert::Infallible,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    runtime,
    sync::{Notify, oneshot},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use super::{
    DockerError, Options,
    ask::ask,
    client::{Client, RequestError},
    convert,
    health::Health,
    host::EngineAddress,
    question::Outcome,
    roster::Roster,
    wire,
};
use crate::{
    model::{health::DockerHealth, inventory::Inventory, times::Times},
    privilege::{self, ThreadRole},
    workers::{HEARTBEAT, Shift},
};

/// The shortest and the longest pause between attempts to connect. Each pause is twice as long as the one before. An
/// engine restarts within seconds, and an attempt costs very little.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    handle: EngineHandle,
    _stop: oneshot::Sender<Infallible>,
}

/// Starts to watch an engine, on a separate thread so that others never wait for the engine.
///
/// That thread calls `publish` with every new inventory, and never twice in a row with an equal one. Before the end
/// of the first full sync ([`Watch::synced`]) the inventory contains what has been found so far.
///
/// # Errors
///
/// `options.host`, or `DOCKER_HOST` in its place, is not a valid address, or no thread could be started. An engine
/// that is down is not an error: the watch waits for it.
pub fn spawn(
    options: Options,
    shift: Shift,
    publish: impl Fn(Arc<Inventory>) + Send + 'static,
) -> Result<Watch, DockerError> {
    let Options {
        host,
        linger,
        members,
        times,
    } = options;
    let host = EngineAddress::configured(host.as_deref())?;
    let health = Arc::new(Health::new());
    let doubt = Arc::new(Notify::new());
    let (stop, stopped) = oneshot::channel();
    let watcher = Watcher {
        host,
        roster: Roster::new(linger, members, times.member_pace),
        times,
        health: Arc::clone(&health),
        doubt: Arc::clone(&doubt),
        publish,
        stopped,
        since: wall_clock(),
        sessions: 0,
        turns: shift.clone(),
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .and_then(|runtime| {
            let work = shift.watched(move || runtime.block_on(watcher.run()));
            privilege::spawn("engine", ThreadRole::Serve, work)
        })
        .map_err(|error| DockerError::Thread {
            reason: error.to_string(),
        })?;
    Ok(Watch {
        handle: EngineHandle { health, doubt },
        _stop: stop,
    })
}

/// What other threads see of the watch, and ask of it. It does not keep the watch running.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    health: Arc<Health>,
    doubt: Arc<Notify>,
}

impl EngineHandle {
    /// The state of the connection to the engine.
    #[must_use]
    pub fn health(&self) -> DockerHealth {
        self.health.figures()
    }

    /// Asks for the members of all networks anew, soon: something disagrees with them.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }
}

impl Watch {
    /// The state of the connection to the engine.
    #[must_use]
    pub fn health(&self) -> DockerHealth {
        self.handle.health.figures()
    }

    /// For other threads.
    #[must_use]
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Why the engine does not answer; `None` if it does, or was not asked yet.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.handle.health.trouble()
    }

    /// Why the engine can never answer, unless netmon is started again.
    #[must_use]
    pub fn hopeless(&self) -> Option<String> {
        self.handle.health.hopeless()
    }

    /// Whether the inventory has been complete once: every network, and every container that was running.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.handle.health.figures().last_sync.is_some()
    }
}

/// The state of the thread behind a [`Watch`].
struct Watcher<P> {
    host: EngineAddress,
    roster: Roster,
    /// How long to wait before acting.
    times: Times,
    health: Arc<Health>,
    publish: P,
    /// Resolves when the watch is dropped.
    stopped: oneshot::Receiver<Infallible>,
    /// Somebody doubts the members of networks.
    doubt: Arc<Notify>,
    /// The time from which to request events, in nanoseconds since the epoch: just after the last one received.
    since: i64,
    /// How many times a connection to the engine was made.
    sessions: u64,
    /// Marks the work between two waits.
    turns: Shift,
}

/// Why a session ended.
enum End {
    /// The watch was dropped.
    Stopped,
    /// The connection was lost, or could not be made.
    Lost(RequestError),
}

/// What woke a session.
enum Woken {
    /// An event was received, or the stream ended.
    Event(Result<Result<wire::Event, String>, RequestError>),
    /// A question was answered.
    Outcome(Result<Outcome, JoinError>),
    /// A container expires, a network may be asked again, a list is looked at again, or the heartbeat is due.
    Time,
    /// The next full sync is due.
    Sync,
    /// Somebody doubts the members of networks.
    Doubt,
}

impl<P: Fn(Arc<Inventory>)> Watcher<P> {
    async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            let began = Instant::now();
            let error = match self.session().await {
                End::Stopped => return,
                End::Lost(error) => error,
            };
            self.roster.hang_up();
            let was_up = self.health.down(&error);
            // A short session does not reset the pause: if the engine refuses events, every session is short.
            if was_up && began.elapsed() >= PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            if self.meanwhile(sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One connection, from the attempt to connect to its end.
    async fn session(&mut self) -> End {
        let connecting = Client::connect(self.host.clone(), self.times.engine_patience);
        let client = match self.meanwhile(connecting).await {
            None => return End::Stopped,
            Some(Err(error)) => return End::Lost(error),
            Some(Ok(client)) => client,
        };
        self.sessions += 1;
        if self.sessions > 1 {
            self.health.reconnected();
        }
        // Requests events from a moment before the lists, so that no event falls between them.
        let mut events = client.events(self.since);
        let mut open = JoinSet::new();
        let mut next_sync = None;
        let mut next_sync_is_first = true;
        self.roster.sync();
        let turns = self.turns.clone();
        loop {
            let turn = turns.turn();
            while let Some(question) = self.roster.question(wall_clock()) {
                let (client, health) = (client.clone(), Arc::clone(&self.health));
                open.spawn(async move { ask(&client, question, &health).await });
            }
            // Published first: readers that see [`Watch::synced`] must already have the inventory.
            self.publish_news();
            if self.roster.synced() {
                self.health
                    .synced(Duration::from_nanos(wall_clock().unsigned_abs()).as_secs_f64());
                // The first pause differs between nodes, and the later ones are all the same.
                let pause = if next_sync_is_first {
                    self.times.sync / 2 + self.roster.spread(self.times.sync / 2)
                } else {
                    self.times.sync
                };
                next_sync_is_first = false;
                next_sync = Some(Instant::now() + pause);
            }
            while let Some(question) = self.roster.survey_question(Instant::now().into_std()) {
                let (client, health) = (client.clone(), Arc::clone(&self.health));
                open.spawn(async move { ask(&client, question, &health).await });
            }
            if let Some(question) = self.roster.lookup_question(Instant::now().into_std()) {
                let (client, health) = (client.clone(), Arc::clone(&self.health));
                open.spawn(async move { ask(&client, question, &health).await });
            }
            let next_lookup = self.roster.next_lookup().map(Instant::from_std);
            let expiry = self.next_expiry();
            let next_survey = self.roster.next_survey().map(Instant::from_std);
            drop(turn);
            let woken = tokio::select! {
                _ = &mut self.stopped => return End::Stopped,
                event = events.next() => Woken::Event(event),
                Some(outcome) = open.join_next() => Woken::Outcome(outcome),
                () = until(expiry) => Woken::Time,
                () = until(next_survey) => Woken::Time,
                () = until(next_lookup) => Woken::Time,
                () = until(next_sync) => Woken::Sync,
                () = self.doubt.notified() => Woken::Doubt,
                () = sleep(HEARTBEAT) => Woken::Time,
            };
            let _turn = turns.turn();
            match woken {
                Woken::Event(Ok(event)) => self.hear(event),
                Woken::Event(Err(error)) => return End::Lost(error),
                Woken::Outcome(Ok(outcome)) => {
                    if let Err(error) = self.learn(outcome) {
                        return End::Lost(error);
                    }
                }
                Woken::Outcome(Err(error)) => {
                    tracing::error!(%error, "a request to the Docker engine panicked");
                    return End::Lost(RequestError::Closed);
                }
                Woken::Doubt => self.roster.doubt(),
                Woken::Time => self.roster.expire(std::time::Instant::now()),
                Woken::Sync => {
                    next_sync = None;
                    self.roster.sync();
                }
            }
        }
    }

    /// Awaits a future while there is no connection. `None` if the watch is stopped first. Containers that ended are
    /// forgotten in time here too.
    async fn meanwhile<T>(&mut self, something: impl Future<Output = T>) -> Option<T> {
        let mut something = pin!(something);
        let turns = self.turns.clone();
        loop {
            let turn = turns.turn();
            self.roster.expire(std::time::Instant::now());
            self.publish_news();
            let expiry = self.next_expiry();
            drop(turn);
            tokio::select! {
                _ = &mut self.stopped => return None,
                done = &mut something => return Some(done),
                () = until(expiry) => {}
                () = sleep(HEARTBEAT) => {}
            }
        }
    }

    fn hear(&mut self, event: Result<wire::Event, String>) {
        match event {
            Ok(event) => {
                let convert::Event { kind, at, change } = convert::event(&event);
                self.health.event(kind);
                // One nanosecond later, because the engine includes the requested moment.
                self.since = self.since.max(at.saturating_add(1));
                self.roster.event(change, at, std::time::Instant::now());
            }
            Err(reason) => {
                self.health.nonsense("an event", &reason);
                self.roster.distrust();
            }
        }
    }

    fn learn(&mut self, outcome: Outcome) -> Result<(), RequestError> {
        match outcome {
            Outcome::Node(node) => self.roster.node(node),
            Outcome::Networks(networks) => self.roster.networks(networks),
            Outcome::Containers(running) => {
                self.roster.containers(running?);
                self.health.up();
            }
            Outcome::Nodes(nodes) => self.roster.nodes(nodes),
            Outcome::Members(network, answer) => self.roster.members(&network, answer),
            Outcome::Endpoints(found) => self.roster.endpoints(found, std::time::Instant::now()),
            Outcome::Container(id, answer) => self.roster.container(&id, answer, std::time::Instant::now()),
        }
        Ok(())
    }

    fn publish_news(&mut self) {
        if let Some(inventory) = self.roster.take_news() {
            (self.publish)(inventory);
        }
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.roster.next_expiry().map(Instant::from_std)
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Nanoseconds since the epoch. The engine runs on this node, so its clock is the same.
fn wall_clock() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
