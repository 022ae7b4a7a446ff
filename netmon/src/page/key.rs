//! What a row is about.

use std::sync::Arc;

use crate::model::inventory::Identity;

/// What a row is about. Rows of one schema with the same key are one series of each family.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl Key {
    /// A container.
    #[must_use]
    pub fn of(identity: &Arc<Identity>) -> Self {
        Self {
            identity: Arc::clone(identity),
            ..Self::default()
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
