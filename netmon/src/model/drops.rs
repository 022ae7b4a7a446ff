//! Packets that the kernel threw away, as it counted them.

use std::collections::BTreeSet;

use super::interface::InterfaceId;

/// One reading of the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Every count that is a loss.
    pub counted: Vec<Drop>,
    /// Where there are counts that are no loss.
    pub harmless: BTreeSet<InterfaceId>,
    /// What there was no room for, by the low bits of the reason.
    pub lost: Vec<(u32, u64)>,
    /// How many counts the kernel keeps, those of no loss included.
    pub entries: u64,
    /// How many of them are in namespaces that are not watched.
    pub strangers: u32,
}

/// One count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Where it happened: a namespace, and a device in it. 0 is "not known" for either.
    pub interface: InterfaceId,
    /// The reason, by the running kernel's number.
    pub reason: u32,
    /// It has no reason, and the place in the kernel that would say whether it is a loss is hidden.
    pub unplaced: bool,
    /// How many packets: of a super-packet its segments.
    pub packets: u64,
}
