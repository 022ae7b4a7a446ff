//! Packets that the kernel threw away, as it counted them.

use std::collections::BTreeSet;

use super::interface::InterfaceId;

/// One reading of the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Every count that is a loss: one for each device, reason, and whether it is unplaced.
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

impl Drops {
    /// Makes one of counts that differ only in the function that the packets were dropped in.
    pub fn merge(&mut self) {
        self.counted.sort_unstable_by_key(Drop::key);
        self.counted.dedup_by(|other, one| {
            let is_same = other.key() == one.key();
            if is_same {
                one.packets += other.packets;
            }
            is_same
        });
    }
}

/// What tells a count from others: the device, the reason, and whether it is unplaced.
pub type Key = (InterfaceId, u32, bool);

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

impl Drop {
    /// What tells it from others.
    #[must_use]
    pub const fn key(&self) -> Key {
        (self.interface, self.reason, self.unplaced)
    }
}

#[cfg(test)]
mod tests {
    use super::{Drop, Drops};
    use crate::model::interface::{InterfaceId, NetnsId};

    #[test]
    fn what_differs_in_its_place_alone_is_one_count() {
        let drop = |ifindex, reason, unplaced, packets| Drop {
            interface: InterfaceId {
                netns: NetnsId(1),
                ifindex,
            },
            reason,
            unplaced,
            packets,
        };
        let mut drops = Drops {
            counted: vec![
                drop(2, 5, true, 1),
                drop(2, 5, false, 10),
                drop(3, 5, true, 100),
                drop(2, 5, true, 1_000),
                drop(2, 6, true, 10_000),
            ],
            ..Drops::default()
        };
        drops.merge();
        assert_eq!(
            drops.counted,
            [
                drop(2, 5, false, 10),
                drop(2, 5, true, 1_001),
                drop(2, 6, true, 10_000),
                drop(3, 5, true, 100),
            ]
        );
    }
}
