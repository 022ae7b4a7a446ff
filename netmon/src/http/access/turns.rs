//! Whose password is checked next: one check at a time, and the networks that clients come from in turn.
//!
//! A client that guesses on many connections waits for its own guesses. Whoever comes from elsewhere waits for one check
//! of each network that has clients waiting, however many those are. Knows nothing of passwords.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::network;

/// The turns, and who waits for one.
#[derive(Debug)]
pub(super) struct Turns {
    one_at_a_time: Arc<Semaphore>,
    /// Of each network, one client waits for the semaphore above, and all others for this one. Both are served in the
    /// order of asking. A line ends with the last client in it.
    lines: Mutex<BTreeMap<IpAddr, Weak<Semaphore>>>,
}

/// It is this client's turn, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    // The next client of the same network queues up only after others had their chance.
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            one_at_a_time: Arc::new(Semaphore::new(1)),
            lines: Mutex::default(),
        }
    }

    /// Waits for the turn of a client at that address. `None` never comes: nobody closes a semaphore.
    pub(super) async fn of(&self, address: IpAddr) -> Option<Turn> {
        let line = self.line(network::of(address));
        let own = line.acquire_owned().await.ok()?;
        let all = Arc::clone(&self.one_at_a_time).acquire_owned().await.ok()?;
        Some(Turn { _all: all, _own: own })
    }

    fn line(&self, network: IpAddr) -> Arc<Semaphore> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // There are no more lines than connections.
        lines.retain(|_, line| line.strong_count() > 0);
        if let Some(line) = lines.get(&network).and_then(Weak::upgrade) {
            return line;
        }
        let line = Arc::new(Semaphore::new(1));
        lines.insert(network, Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        sync::{Arc, Mutex},
    };

    use tokio::task::{JoinSet, yield_now};

    use super::Turns;

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn networks_take_turns_however_many_wait_in_each() {
        let turns = Arc::new(Turns::new());
        let order = Arc::new(Mutex::new(Vec::new()));
        let held = turns.of(at("10.0.0.1")).await;
        let mut waiting = JoinSet::new();
        for (client, address) in ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"]
            .into_iter()
            .enumerate()
        {
            let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
            waiting.spawn(async move {
                let _turn = turns.of(at(address)).await;
                order.lock().expect("nobody panicked").push(client);
                yield_now().await;
            });
            yield_now().await;
        }
        drop(held);
        waiting.join_all().await;
        assert_eq!(*order.lock().expect("nobody panicked"), [3, 4, 0, 5, 1, 2]);
        drop(turns.of(at("10.0.0.3")).await);
        assert_eq!(
            turns.lines.lock().expect("nobody panicked").len(),
            1,
            "lines of clients who left"
        );
    }

    #[tokio::test]
    async fn who_leaves_while_waiting_holds_nobody_up() {
        let turns = Turns::new();
        let held = turns.of(at("10.0.0.1")).await;
        let mut gone = Box::pin(turns.of(at("10.0.0.2")));
        assert!(futures_util::poll!(gone.as_mut()).is_pending());
        drop(gone);
        drop(held);
        assert!(turns.of(at("10.0.0.2")).await.is_some());
    }
}
