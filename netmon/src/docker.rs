//! What the engine knows: the containers and networks of this node. The only module that names bollard.
//!
//! [`spawn`] keeps a [`crate::model::inventory::Inventory`] in step with the engine and publishes each new one. It
//! survives restarts of the engine and of netmon. This module knows nothing of interfaces, counters and metrics.
//!
//! | file | what |
//! |---|---|
//! | `host` | the engine's address |
//! | `client` | one request, bounded in time and memory |
//! | `unreachable` | why the engine cannot be reached, and what to do |
//! | `lines` | splits an endless answer into lines |
//! | `wire` | the parts of the engine's JSON that netmon reads |
//! | `convert` | converts the engine's types to the model's; pure |
//! | `question` | the questions to the engine, and the types of their answers |
//! | `ask` | one question, from the request to the answer in the model's types |
//! | `roster` | takes events and answers, returns the inventory; pure |
//! | `roster/member_poll` | decides which networks to ask for their members, and when |
//! | `health` | the state of the connection, for the metrics and for the log |
//! | `predecessor` | how the netmon before ended, if both are tasks of one Swarm service |
//! | `watch` | the loop around the roster: connects, asks, receives events, reconnects |

mod ask;
mod client;
mod convert;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod health;
mod host;
mod lines;
mod predecessor;
mod question;
mod roster;
mod unreachable;
mod watch;
mod wire;

use std::time::Duration;

pub use predecessor::{Unknown, predecessor};
pub use watch::{EngineHandle, Watch, spawn};

use crate::model::times::Times;

/// How to watch an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine's address: `unix:///path`, `tcp://host:port` or `http://host:port`. If not set, `DOCKER_HOST` is
    /// used. If that is not set either, `/var/run/docker.sock`.
    pub host: Option<String>,
    /// How long a container that ended stays in the inventory, so that its last readings still get its name.
    pub linger: Duration,
    /// Whether to ask the engine for the members of this node's overlay networks, on all nodes.
    pub members: bool,
    /// How long to wait before acting.
    pub times: Times,
}

/// The engine can never be watched. An engine that is merely down is not an error: the watch waits for it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerError {
    /// netmon cannot use the address.
    #[error(
        "{host:?} cannot be the Docker engine's address: {reason}; \
         give --docker.host or DOCKER_HOST unix:///path/to/docker.sock, tcp://host:port or http://host:port"
    )]
    Host {
        /// The address as given.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The watch's thread cannot be started.
    #[error("cannot start a thread to follow the Docker engine on: {reason}")]
    Thread {
        /// Why.
        reason: String,
    },
}
