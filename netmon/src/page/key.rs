//! What a row is about.

use std::sync::{Arc, LazyLock};

use crate::model::inventory::Identity;

/// What a row is about. Rows of one schema with the same key are one series of each family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The container; or, for sums of a service, the service and its stack. Empty if neither.
    pub identity: Arc<Identity>,
    /// The network; empty if there is none.
    pub network: Arc<str>,
    /// What there are several of: the interface, the reason, the peer, the state.
    pub what: Arc<str>,
    /// What there are several of for each of those: the kind of a queue, the direction.
    pub detail: Arc<str>,
}

/// No container and no service. Shared, because most keys of the node have it.
static NOBODY: LazyLock<Arc<Identity>> = LazyLock::new(Arc::default);

impl Default for Key {
    fn default() -> Self {
        Self::of(&NOBODY)
    }
}

impl Key {
    /// A container.
    #[must_use]
    pub fn of(identity: &Arc<Identity>) -> Self {
        Self {
            identity: Arc::clone(identity),
            network: Arc::default(),
            what: Arc::default(),
            detail: Arc::default(),
        }
    }

    /// The same, on this network.
    #[must_use]
    pub fn on(self, network: &Arc<str>) -> Self {
        Self {
            network: Arc::clone(network),
            ..self
        }
    }

    /// The same, for this interface, reason, peer or state.
    #[must_use]
    pub fn what(self, what: impl Into<Arc<str>>) -> Self {
        Self {
            what: what.into(),
            ..self
        }
    }

    /// The same, for this detail.
    #[must_use]
    pub fn detail(self, detail: impl Into<Arc<str>>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }
}
