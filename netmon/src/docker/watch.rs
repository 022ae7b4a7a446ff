//! The loop around the roster: connects, asks what it wants asked, listens to events, and comes back when the engine
//! does.
//!
//! It never waits for an answer: each question is a task of its own, and events are taken in meanwhile.

use std::{
    convert::Infallible,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    runtime,
    sync::oneshot,
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use super::{
    DockerError, Options,
    ask::{Outcome, ask},
    client::{Client, RequestError},
    convert,
    health::Health,
    host::Host,
    roster::Roster,
    wire,
};
use crate::{
    model::{inventory::Inventory, snapshot::DockerHealth},
    privilege::{self, ThreadRole},
    workers::{HEARTBEAT, Shift},
};

/// The pause before the first attempt to connect anew, and the longest: each is twice the one before. An engine
/// restarts within seconds, and an attempt costs next to nothing.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A running watch. It ends when dropped.
#[derive(Debug)]
pub struct Watch {
    health: Arc<Health>,
    _stop: oneshot::Sender<Infallible>,
}

/// Starts to watch an engine, on a thread of its own: whatever it waits for, others do not.
///
/// `publish` is called with every new inventory, by that thread, and never twice in a row with an equal one. Before the
/// first full sync is done ([`Watch::synced`]) it holds what has been found so far.
///
/// # Errors
///
/// If `options.host`, or `DOCKER_HOST` in its place, is no address, or no thread can be had. An engine that is down is waited
/// for.
pub fn spawn(
    options: Options,
    shift: Shift,
    publish: impl Fn(Arc<Inventory>) + Send + 'static,
) -> Result<Watch, DockerError> {
    let Options {
        host,
        linger,
        members,
        sync,
    } = options;
    let environment = std::env::var("DOCKER_HOST").ok();
    let host = Host::choose(host.as_deref(), environment.as_deref())?;
    let health = Arc::new(Health::new());
    let (stop, stopped) = oneshot::channel();
    let watcher = Watcher {
        host,
        roster: Roster::new(linger, members),
        sync,
        health: Arc::clone(&health),
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
    Ok(Watch { health, _stop: stop })
}

impl Watch {
    /// How the connection to the engine is doing.
    #[must_use]
    pub fn health(&self) -> DockerHealth {
        self.health.figures()
    }

    /// Whether the inventory has been complete once: every network, and every container that ran.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.health.figures().last_sync.is_some()
    }
}

/// What is behind a [`Watch`].
struct Watcher<P> {
    host: Host,
    roster: Roster,
    /// How long after a full sync the next one begins.
    sync: Duration,
    health: Arc<Health>,
    publish: P,
    /// Resolves when the watch is dropped.
    stopped: oneshot::Receiver<Infallible>,
    /// From which moment on events are asked for: behind the last one, in nanoseconds since the epoch.
    since: i64,
    /// How many times the engine was found.
    sessions: u64,
    /// What it does between two waits.
    turns: Shift,
}

/// Why a session ended.
enum End {
    /// Nobody wants the watch any more.
    Stopped,
    /// The engine went away, or was not there.
    Lost(RequestError),
}

/// What a session was woken by.
enum Woken {
    /// The engine has news, or tells no more.
    Event(Result<Result<wire::Event, String>, RequestError>),
    /// A question was answered.
    Outcome(Result<Outcome, JoinError>),
    /// It is time for something.
    Time,
    /// It is time to ask for everything anew.
    Sync,
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
            // A short session is no reason to be quick again: where events are refused, each one is short.
            if was_up && began.elapsed() >= PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            if self.meanwhile(sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One connection, from the attempt to make it to its end.
    async fn session(&mut self) -> End {
        let connecting = Client::connect(self.host.clone());
        let client = match self.meanwhile(connecting).await {
            None => return End::Stopped,
            Some(Err(error)) => return End::Lost(error),
            Some(Ok(client)) => client,
        };
        self.sessions += 1;
        if self.sessions > 1 {
            self.health.reconnected();
        }
        // From a moment before the lists, so that nothing falls between them.
        let mut events = client.events(self.since);
        let mut open = JoinSet::new();
        let mut next_sync = None;
        self.roster.sync();
        let turns = self.turns.clone();
        loop {
            let turn = turns.turn();
            while let Some(question) = self.roster.question(wall_clock()) {
                let (client, health) = (client.clone(), Arc::clone(&self.health));
                open.spawn(async move { ask(&client, question, &health).await });
            }
            // Whoever hears that everything is known has been given it.
            self.publish_news();
            if self.roster.synced() {
                self.health
                    .synced(Duration::from_nanos(wall_clock().unsigned_abs()).as_secs_f64());
                next_sync = Some(Instant::now() + self.sync);
            }
            while let Some(question) = self.roster.survey_question(Instant::now().into_std()) {
                let (client, health) = (client.clone(), Arc::clone(&self.health));
                open.spawn(async move { ask(&client, question, &health).await });
            }
            let expiry = self.next_expiry();
            let next_survey = self.roster.next_survey().map(Instant::from_std);
            drop(turn);
            let woken = tokio::select! {
                _ = &mut self.stopped => return End::Stopped,
                event = events.next() => Woken::Event(event),
                Some(outcome) = open.join_next() => Woken::Outcome(outcome),
                () = until(expiry) => Woken::Time,
                () = until(next_survey) => Woken::Time,
                () = until(next_sync) => Woken::Sync,
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
                Woken::Time => self.roster.expire(std::time::Instant::now()),
                Woken::Sync => {
                    next_sync = None;
                    self.roster.sync();
                }
            }
        }
    }

    /// Waits for something while there is no connection; nothing if the watch is stopped first. What ended is forgotten
    /// in time all the same.
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
                // One further, because the engine counts the moment that it is asked for in.
                self.since = self.since.max(at.saturating_add(1));
                self.roster.event(change, at, std::time::Instant::now());
            }
            Err(reason) => self.health.nonsense("an event", &reason),
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

/// Nanoseconds since the epoch. The engine's clock is the same one: it runs on this node.
fn wall_clock() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
