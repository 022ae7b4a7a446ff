//! Dropped packets, as the kernel program counted them.

use std::collections::BTreeSet;

use super::{health::Refusals, interface::InterfaceId};

/// One reading of the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// All counts that are losses. There is one for each device and reason, and one more if some of them are
    /// unplaced.
    pub counted: Vec<Drop>,
    /// The interfaces with counts that are not losses, or not yet.
    pub harmless: BTreeSet<InterfaceId>,
    /// Packets that the map had no room for, by reason. `None` stands for the reasons that are then not told apart.
    pub lost: Vec<(Option<u32>, u64)>,
    /// The same packets, by the cause.
    pub refusals: Refusals,
    /// The number of counts in the kernel's map, including those that are not losses.
    pub entries: u64,
    /// How many of them are in namespaces that are not watched.
    pub strangers: u32,
}

impl Drops {
    /// Adds a count of this interface: a loss, or one that is none.
    pub fn add(&mut self, interface: InterfaceId, loss: Option<Drop>) {
        match loss {
            Some(drop) => self.counted.push(drop),
            None => {
                self.harmless.insert(interface);
            }
        }
    }

    /// Merges counts that differ only in the function that dropped the packets.
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

/// The device, the reason, and whether it is unplaced. No two counts have the same key.
pub type DropKey = (InterfaceId, u32, bool);

/// One count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Where it happened: a namespace, and a device in it. 0 means unknown for either.
    pub interface: InterfaceId,
    /// The running kernel's number of the reason.
    pub reason: u32,
    /// It has no reason, and the kernel hides the place that would show whether it is a loss.
    pub unplaced: bool,
    /// The number of packets. A super-packet counts as its segments.
    pub packets: u64,
}

impl Drop {
    /// The key that identifies it.
    #[must_use]
    pub const fn key(&self) -> DropKey {
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
