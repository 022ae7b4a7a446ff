//! The connected clients, and which of them is disconnected when there are too many.
//!
//! Idle connections cost a client nothing, so there can be any number of them. A client with a request must not wait
//! behind them. So no client waits for a free slot: the network with the most connections loses the one that has been
//! silent longest. Prometheus' own connection stays, whatever clients of another network do.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    error::Error as _,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::network;
use crate::model::health::HttpHealth;

/// How long a client may take to receive a page before other clients may take its slot. A page has some megabytes at
/// most, and crosses one network.
const SLOW: Duration = Duration::from_secs(2);

/// Why a client was turned away. These are the values of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There were too many connections.
    Connections,
    /// There were too many scrapes at once.
    Scrapes,
    /// The client took too long to send its request or to receive the answer.
    Slow,
    /// The client sent something that is not a valid request, or one that is too long.
    Malformed,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Connections, Self::Scrapes, Self::Slow, Self::Malformed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Scrapes => "scrapes",
            Self::Slow => "slow",
            Self::Malformed => "malformed",
        }
    }
}

/// All connected clients.
#[derive(Debug)]
pub(super) struct Clients {
    most: usize,
    connections: Mutex<Connections>,
    turned_away: [AtomicU64; Reason::ALL.len()],
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    taken: BTreeMap<u64, Taken>,
}

#[derive(Debug)]
struct Taken {
    address: IpAddr,
    /// When it last connected, made a request or received an answer.
    stirred: Instant,
    /// Its request is being processed.
    is_busy: bool,
    /// It has received an answer.
    was_answered: bool,
    /// Since when it has been receiving a page.
    takes_since: Option<Instant>,
    leave: Arc<Notify>,
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    clients: Arc<Clients>,
    number: u64,
    address: IpAddr,
    leave: Arc<Notify>,
}

/// A client that is receiving a page. It holds a scrape slot until it has received it.
#[derive(Debug)]
pub(super) struct Receiving {
    connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Clients {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            connections: Mutex::default(),
            turned_away: Default::default(),
        }
    }

    /// Registers a client. If there are too many, another one is disconnected. `None` if none can be: all others are
    /// being answered.
    pub(super) fn connection(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Connection> {
        let mut connections = self.lock();
        if connections.taken.len() >= self.most {
            self.turn_away(Reason::Connections);
            let silent = connections.most_silent(now)?;
            connections.dismiss(silent);
        }
        let number = connections.next;
        connections.next += 1;
        let leave = Arc::new(Notify::new());
        let taken = Taken {
            address,
            stirred: now,
            is_busy: false,
            was_answered: false,
            takes_since: None,
            leave: Arc::clone(&leave),
        };
        connections.taken.insert(number, taken);
        Some(Connection {
            clients: Arc::clone(self),
            number,
            address,
            leave,
        })
    }

    /// Disconnects the client that has been receiving its page longest, if that is too long. Returns whether there
    /// was one.
    pub(super) fn dismiss_slowest(&self, now: Instant) -> bool {
        let mut connections = self.lock();
        let taking = connections
            .taken
            .iter()
            .filter_map(|(number, it)| Some((it.takes_since?, *number)));
        match taking.min() {
            Some((since, number)) if since + SLOW <= now => {
                connections.dismiss(number);
                self.turn_away(Reason::Slow);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Counts a client that was turned away.
    pub(super) fn turn_away(&self, reason: Reason) {
        self.turned_away[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The current figures.
    pub(super) fn health(&self) -> HttpHealth {
        let count = |reason: Reason| {
            let count = self.turned_away[reason as usize].load(Ordering::Relaxed);
            (reason.as_str(), count)
        };
        HttpHealth {
            connections: self.lock().taken.len(),
            turned_away: Reason::ALL.map(count).to_vec(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    fn most_silent(&self, now: Instant) -> Option<u64> {
        let may_go = |it: &Taken| !it.is_busy && it.takes_since.is_none_or(|since| since + SLOW <= now);
        let mut of: BTreeMap<IpAddr, (usize, Option<(Instant, u64)>)> = BTreeMap::new();
        for (number, it) in &self.taken {
            let (count, silent) = of.entry(network::of(it.address)).or_default();
            *count += 1;
            if may_go(it) {
                let this = (it.stirred, *number);
                *silent = Some(silent.map_or(this, |known| known.min(this)));
            }
        }
        let with_silent = of.into_values().filter_map(|(count, silent)| Some((count, silent?)));
        let (_, (_, number)) = with_silent.max_by_key(|(count, silent)| (*count, Reverse(*silent)))?;
        Some(number)
    }

    fn dismiss(&mut self, number: u64) {
        if let Some(taken) = self.taken.remove(&number) {
            taken.leave.notify_one();
        }
    }
}

impl Connection {
    /// The client's address.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// Completes when the client has to be disconnected.
    pub(super) async fn has_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Runs `work` for a request of this client. The client is not disconnected meanwhile.
    pub(super) async fn while_busy<T>(&self, work: impl Future<Output = T>) -> T {
        self.change(|taken| taken.is_busy = true);
        let done = work.await;
        self.change(|taken| {
            taken.is_busy = false;
            taken.was_answered = true;
        });
        done
    }

    /// A page is sent to this client from now on, until the returned value is dropped.
    pub(super) fn receives(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Receiving {
        self.change(|taken| taken.takes_since = Some(Instant::now()));
        Receiving {
            connection: Arc::clone(self),
            _permit: permit,
        }
    }

    /// Counts the error that ended the connection.
    pub(super) fn failed(&self, error: &hyper::Error) {
        if error.is_timeout() || is_slow(error) {
            // A client that was answered and sends no further request is not slow: it keeps its connection open for
            // the next one.
            let connections = self.clients.lock();
            let is_done = |it: &Taken| it.was_answered && it.takes_since.is_none();
            if !connections.taken.get(&self.number).is_some_and(is_done) {
                self.clients.turn_away(Reason::Slow);
            }
        } else if error.is_parse() || error.is_parse_too_large() {
            self.clients.turn_away(Reason::Malformed);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Taken)) {
        if let Some(taken) = self.clients.lock().taken.get_mut(&self.number) {
            taken.stirred = Instant::now();
            change(taken);
        }
    }
}

/// Whether the stream itself timed out.
fn is_slow(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.clients.lock().taken.remove(&self.number);
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.connection.change(|taken| taken.takes_since = None);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        sync::Arc,
        time::{Duration, Instant},
    };

    use tokio::sync::Semaphore;

    use super::{Clients, Connection, SLOW};

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const MANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn is_here(clients: &Clients, connection: &Connection) -> bool {
        clients.lock().taken.contains_key(&connection.number)
    }

    #[test]
    fn the_most_silent_of_those_who_are_most_goes() {
        let (clients, now) = (Arc::new(Clients::new(4)), Instant::now());
        let sit = |address, second| {
            clients
                .connection(address, now + Duration::from_secs(second))
                .expect("a connection")
        };
        let prometheus = sit(ONE, 0);
        let many: Vec<_> = (1..6).map(|second| sit(MANY, second)).collect();
        assert!(is_here(&clients, &prometheus), "it is silent longest, and alone");
        let here: Vec<_> = many.iter().map(|connection| is_here(&clients, connection)).collect();
        assert_eq!(here, [false, false, true, true, true]);
        let health = clients.health();
        assert_eq!((health.connections, health.turned_away[0]), (4, ("connections", 2)));
        drop(many);
        assert_eq!(clients.health().connections, 1);
    }

    #[test]
    fn the_addresses_of_a_network_of_ipv6_are_many_together() {
        let (clients, now) = (Arc::new(Clients::new(4)), Instant::now());
        let sit = |address: &str| {
            let address = address.parse().expect("an address");
            clients.connection(address, now).expect("a connection")
        };
        let alone = [sit("fd00::1"), sit("fd00:0:0:2::1")];
        let many = [1, 2, 3, 4, 5].map(|host| sit(&format!("fd00:0:0:1::{host}")));
        assert!(alone.iter().all(|connection| is_here(&clients, connection)));
        let here = many.each_ref().map(|connection| is_here(&clients, connection));
        assert_eq!(here, [false, false, false, true, true]);
    }

    #[test]
    fn of_networks_with_as_many_connections_the_most_silent_one_goes() {
        let (clients, now) = (Arc::new(Clients::new(3)), Instant::now());
        let sit = |host: u8, second| {
            let address = IpAddr::from([192, 0, 2, host]);
            let at = now + Duration::from_secs(second);
            clients.connection(address, at).expect("a connection")
        };
        let all = [sit(9, 2), sit(1, 1), sit(5, 3), sit(7, 4)];
        let here = all.each_ref().map(|connection| is_here(&clients, connection));
        assert_eq!(here, [true, false, true, true]);
    }

    #[tokio::test]
    async fn nobody_goes_who_is_being_answered() {
        let (clients, now) = (Arc::new(Clients::new(1)), Instant::now());
        let connection = clients.connection(ONE, now).expect("a connection");
        let refused = connection
            .while_busy(async { clients.connection(MANY, now).is_none() })
            .await;
        assert!(refused);
        assert!(clients.connection(MANY, now).is_some());
    }

    #[tokio::test]
    async fn who_takes_a_page_too_slowly_loses_the_place_to_others() {
        let clients = Arc::new(Clients::new(9));
        let scrapes = Arc::new(Semaphore::new(1));
        let connection = Arc::new(clients.connection(ONE, Instant::now()).expect("a connection"));
        let permit = Arc::clone(&scrapes).try_acquire_owned().expect("a place");
        let receiving = connection.receives(permit);
        assert!(!clients.dismiss_slowest(Instant::now()), "it has time");
        assert!(clients.dismiss_slowest(Instant::now() + SLOW));
        connection.has_to_leave().await;
        drop(receiving);
        assert_eq!(scrapes.available_permits(), 1);
        assert!(!clients.dismiss_slowest(Instant::now() + SLOW), "nobody is left");
    }
}
