//! Why the data path cannot be loaded or used, in sentences for the person who runs netmon.

use std::io;

use aya::EbpfError;

use super::{
    btf,
    denial::{self, permission, with_causes},
};

/// Why the data path could not be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The kernel refused because netmon lacks a permission.
    #[error("the kernel does not allow netmon to {what}: {source}{}", denial::advice())]
    NotAllowed {
        /// What was tried.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel does not support what is needed.
    #[error("this kernel cannot {what}: {source}")]
    Unsupported {
        /// What was tried.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel programs could not be loaded.
    #[error("cannot load the kernel programs: {}{}", with_causes(.0.as_ref()), denial::remedy(.0.as_ref()))]
    Load(Box<EbpfError>),
    /// The kernel's type information (BTF) cannot be read.
    #[error(transparent)]
    Types(#[from] btf::BtfError),
    /// A kernel structure lacks a member that the programs read.
    #[error("this kernel's `struct {structure}` has no member {member}")]
    NoField {
        /// The structure.
        structure: &'static str,
        /// The member.
        member: &'static str,
    },
    /// The kernel does not report reasons for drops.
    #[error("this kernel does not say why it drops packets (needs Linux 5.17)")]
    NoReasons,
    /// A map could not be read or written.
    #[error("cannot use a map of the kernel programs: {0}")]
    Map(Box<aya::maps::MapError>),
    /// A program ran, and could not read all that it should.
    #[error("a kernel program could not read a namespace's counters")]
    Unread,
    /// The programs built into this binary lack something that the daemon expects.
    #[error("the kernel programs that netmon was built with have no {0}; build netmon again")]
    Incomplete(&'static str),
}

impl DatapathError {
    pub(super) fn of(what: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::PermissionDenied {
            Self::NotAllowed { what, source }
        } else {
            Self::Unsupported { what, source }
        }
    }

    pub(super) fn map(error: aya::maps::MapError) -> Self {
        Self::Map(Box::new(error))
    }

    /// Whether more permissions would help.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self {
            Self::NotAllowed { .. } => true,
            Self::Load(error) => permission(error.as_ref()),
            Self::Map(error) => permission(error.as_ref()),
            Self::Types(error) => permission(error),
            Self::Unsupported { .. } | Self::NoField { .. } | Self::NoReasons | Self::Unread | Self::Incomplete(_) => {
                false
            }
        }
    }

    /// Whether this kernel has nothing of the kind. What netmon does not understand is no such case: a newer netmon may.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        match self {
            Self::NoReasons => true,
            Self::Types(btf::BtfError::Missing(source)) => source.kind() == io::ErrorKind::NotFound,
            Self::NotAllowed { .. }
            | Self::Unsupported { .. }
            | Self::Load(_)
            | Self::Types(_)
            | Self::NoField { .. }
            | Self::Map(_)
            | Self::Unread
            | Self::Incomplete(_) => false,
        }
    }
}
