//! What the engine knows: who there is, and on which networks. The only place that names bollard.
//!
//! [`spawn`] keeps a [`crate::model::inventory::Inventory`] true to the engine, through its restarts and ours, and hands
//! out every new one. Knows nothing of interfaces, counters and metrics.
//!
//! | file | what |
//! |---|---|
//! | `host` | the engine's address |
//! | `client` | one request, bounded in time and memory |
//! | `lines` | an endless answer, cut into lines |
//! | `wire` | the engine's JSON, as far as it is read |
//! | `convert` | from the engine's words to the model's; pure |
//! | `ask` | one question, from the request to the answer in the model's words |
//! | `roster` | events and answers in, inventory out; pure |
//! | `roster/member_poll` | which networks are to be asked who is on them, and when |
//! | `health` | how the connection is doing, for the metrics and for the log |
//! | `watch` | the loop around the roster: connects, asks, listens, comes back |

mod ask;
mod client;
mod convert;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod health;
mod host;
mod lines;
mod roster;
mod watch;
mod wire;

use std::time::Duration;

pub use watch::{Watch, spawn};

/// How to watch an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine's address: `unix:///path`, `tcp://host:port` or `http://host:port`. Without one, `DOCKER_HOST`;
    /// without that, `/var/run/docker.sock`.
    pub host: Option<String>,
    /// How long a container that ended stays in the inventory, so that its last readings find their name.
    pub linger: Duration,
    /// Whether to ask who is on the overlay networks of this node, on any node.
    pub members: bool,
    /// How long after a full sync the next one begins.
    pub sync: Duration,
}

/// The engine cannot be watched, now or ever. An engine that is merely down is no error: it is waited for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerError {
    /// The address is none that netmon can speak to.
    #[error(
        "{host:?} cannot be the Docker engine's address: {reason}; \
         give --docker.host or DOCKER_HOST unix:///path/to/docker.sock, tcp://host:port or http://host:port"
    )]
    Host {
        /// The address as it was given.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no thread to watch it on.
    #[error("cannot start a thread to follow the Docker engine on: {reason}")]
    Thread {
        /// Why.
        reason: String,
    },
}
