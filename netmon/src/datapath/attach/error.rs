//! Why programs were not attached to a device.

use std::error::Error;

use super::{DatapathError, Remains};
use crate::{
    datapath::denial::{self, permission, with_causes},
    model::health::AttachFailure,
    privilege,
};

/// Why programs were not attached to a device.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No slot is left.
    #[error("no room for another interface; raise --limit.interfaces")]
    Full,
    /// There is no room for the counters of more interfaces.
    #[error("no room for the counters of another interface: {0}")]
    Room(#[source] Box<DatapathError>),
    /// The device was deleted, or another device has its name.
    #[error("the device {name} is gone")]
    Gone {
        /// The device.
        name: String,
    },
    /// The device's name is no text. The library that attaches programs takes text.
    #[error("the name of the device {name} is not UTF-8, so no programs can be attached")]
    Name {
        /// The device.
        name: String,
    },
    /// The kernel did not accept the programs.
    #[error("cannot load programs for {name}: {source}")]
    Load {
        /// The device.
        name: String,
        /// Why.
        source: Box<DatapathError>,
    },
    /// What is on the device already is not known.
    #[error("cannot attach to {name}: {source}")]
    Unlisted {
        /// The device.
        name: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The kernel did not attach them.
    #[error("cannot attach to the {hook} side of {name}: {}{}", with_causes(source.as_ref()), remedy(source.as_ref()))]
    Attach {
        /// The device.
        name: String,
        /// The side of the device.
        hook: &'static str,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl AttachError {
    /// The reason under which the failure is counted.
    #[must_use]
    pub const fn reason(&self) -> AttachFailure {
        match self {
            Self::Full => AttachFailure::Full,
            Self::Gone { .. } => AttachFailure::Gone,
            Self::Name { .. } => AttachFailure::Name,
            Self::Load { .. } | Self::Room(_) => AttachFailure::Load,
            Self::Unlisted { .. } | Self::Attach { .. } => AttachFailure::Attach,
        }
    }
}

/// An attach that failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotAttached {
    /// Why.
    pub error: AttachError,
    /// The slot, if a program may have been on the device.
    pub remains: Option<Remains>,
}

impl From<AttachError> for Box<NotAttached> {
    /// Nothing was attached.
    fn from(error: AttachError) -> Self {
        Self::new(NotAttached { error, remains: None })
    }
}

/// Advice on an attachment that the kernel refused.
fn remedy(error: &(dyn Error + 'static)) -> &'static str {
    if permission(error) && !privilege::may_change_devices() {
        "; without tcx, which Linux has from 6.6 on, netmon needs CAP_NET_ADMIN"
    } else {
        denial::remedy(error)
    }
}
