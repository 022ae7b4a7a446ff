//! Who the two ends of an edge are, and what has happened between them. Pure.
//!
//! A service has several tasks, each with an address, so many of the kernel's edges are one here. What happens on each of
//! the kernel's edges is added to the edge between the services that have its addresses at that moment. What was added
//! stays: an address may be somebody else's later.

mod account;
mod former;
mod ledger;
mod names;
mod sums;
mod unheard;

use std::{cmp::Ordering, sync::Arc, time::Instant};

pub use self::{
    account::{account, foreign},
    former::Former,
    ledger::{EdgeLedger, Near, Terms, Who},
    names::{Names, Naming, called, container},
    unheard::Unheard,
};
use crate::model::edges::{EdgeCounts, RoundTrips, Side};

/// An end of an edge. Words in brackets are names that no engine gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    /// The service; a container's name where there is no service.
    pub name: Arc<str>,
    /// Its stack; empty if it has none.
    pub stack: Arc<str>,
}

/// Beyond a gateway, or no container: not on a network of Docker.
pub const OUTSIDE: &str = "(outside)";
/// The node itself: its processes, and containers with its network.
pub const NODE: &str = "(node)";
/// The routing mesh, on any node.
pub const INGRESS: &str = "(ingress)";
/// A network's load balancer on any node, which stands for who connected to a service's virtual address.
pub const LOAD_BALANCER: &str = "(load balancer)";
/// It is not known whose the address is.
pub const UNKNOWN: &str = "(unknown)";
/// Over the limit.
pub const OTHER: &str = "(other)";

impl Party {
    /// One of the words in brackets.
    #[must_use]
    pub fn word(name: &str) -> Self {
        Self {
            name: Arc::from(name),
            stack: Arc::default(),
        }
    }

    /// Whether it is this word.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        *self.name == *word && self.stack.is_empty()
    }
}

/// An edge between services. Keys have the order of their labels on a page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// This node's end.
    pub near: Party,
    /// The other end.
    pub far: Party,
    /// The network.
    pub network: Arc<str>,
    /// The server's port; 0 if several are summed up.
    pub port: u16,
    /// Which of the two the near end is.
    pub side: Side,
}

impl EdgeKey {
    /// The end that connects, and the one that accepts.
    #[must_use]
    pub const fn client_and_server(&self) -> (&Party, &Party) {
        match self.side {
            Side::Client => (&self.near, &self.far),
            Side::Server => (&self.far, &self.near),
        }
    }
}

impl Ord for EdgeKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((client, server), (its_client, its_server)) = (self.client_and_server(), other.client_and_server());
        client
            .cmp(its_client)
            .then_with(|| server.cmp(its_server))
            .then_with(|| self.network.cmp(&other.network))
            .then_with(|| digits(self.port).cmp(&digits(other.port)))
            .then_with(|| self.side.cmp(&other.side))
    }
}

impl PartialOrd for EdgeKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The digits of a port: text is in their order.
fn digits(port: u16) -> impl Ord {
    let powers = [10_000, 1000, 100, 10, 1];
    let digits = powers.into_iter().filter(move |power| port >= *power);
    let mut text = [None; 5];
    for (place, power) in text.iter_mut().zip(digits) {
        *place = Some(port / power % 10);
    }
    text
}

/// What has happened on an edge since netmon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeSum {
    /// Connections, failures and bytes.
    pub counts: EdgeCounts,
    /// Round-trip times: of each connection at its end, and of each open one in each scrape.
    pub round_trips: RoundTrips,
    /// How many connections are open.
    pub live: u64,
    /// When anything happened last.
    pub changed: Option<Instant>,
}

#[cfg(test)]
mod tests;
