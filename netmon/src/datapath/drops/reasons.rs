//! The running kernel's reasons for drops, by number and by name.

use std::collections::BTreeMap;

/// The kernel's enumeration of reasons.
pub(in crate::datapath) const ENUMERATION: &str = "skb_drop_reason";
/// The prefix of most of its names.
const PREFIX: &str = "SKB_DROP_REASON_";
/// The upper half of a reason is the number of its subsystem (6.3).
const SUBSYSTEM_SHIFT: u32 = 16;
/// The kernel's enumeration of subsystems.
pub(in crate::datapath) const SUBSYSTEMS: &str = "skb_drop_reason_subsys";
/// The prefix of its names.
const SUBSYSTEM_PREFIX: &str = "SKB_DROP_REASON_SUBSYS_";

/// The running kernel's reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::datapath) struct Reasons {
    names: BTreeMap<u32, String>,
    subsystems: BTreeMap<u32, String>,
}

impl Reasons {
    pub(in crate::datapath) fn new(reasons: Vec<(String, u64)>, subsystems: Vec<(String, u64)>) -> Self {
        let short = |values: Vec<(String, u64)>, prefix: &str| {
            let values = values.into_iter().filter_map(|(name, number)| {
                let name = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
                Some((u32::try_from(number).ok()?, name))
            });
            values.collect()
        };
        Self {
            names: short(reasons, PREFIX),
            subsystems: short(subsystems, SUBSYSTEM_PREFIX),
        }
    }

    /// Whether the kernel has none.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(in crate::datapath) fn number(&self, name: &str) -> Option<u32> {
        self.names.iter().find(|(_, it)| *it == name).map(|(number, _)| *number)
    }

    /// The name of a reason. The names of a subsystem's own reasons are not known here, so the subsystem's name and a
    /// number are used.
    pub(in crate::datapath) fn name(&self, number: u32) -> String {
        if let Some(name) = self.names.get(&number) {
            return name.clone();
        }
        let (subsystem, reason) = (number >> SUBSYSTEM_SHIFT, number & ((1 << SUBSYSTEM_SHIFT) - 1));
        match self.subsystems.get(&subsystem) {
            Some(name) if subsystem > 0 => format!("{name}_{reason}"),
            _ => format!("REASON_{number}"),
        }
    }

    /// A bit set of these reasons, by number. A reason that this kernel lacks has no bit.
    pub(in crate::datapath) fn bits(&self, names: &[&str]) -> [u64; 4] {
        let mut bits = [0_u64; 4];
        for number in names.iter().filter_map(|name| self.number(name)) {
            let word = usize::try_from(number / u64::BITS).unwrap_or(usize::MAX);
            if let Some(word) = bits.get_mut(word) {
                *word |= 1 << (number % u64::BITS);
            }
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::Reasons;

    fn reasons() -> Reasons {
        let value = |name: &str, number| (name.to_owned(), number);
        Reasons::new(
            vec![
                value("SKB_CONSUMED", 1),
                value("SKB_DROP_REASON_NO_SOCKET", 3),
                value("SKB_DROP_REASON_QUEUE_PURGE", 104),
                value("SKB_DROP_REASON_SUBSYS_MASK", 0xffff_0000),
            ],
            vec![
                value("SKB_DROP_REASON_SUBSYS_CORE", 0),
                value("SKB_DROP_REASON_SUBSYS_OPENVSWITCH", 3),
            ],
        )
    }

    #[test]
    fn a_reason_is_called_as_the_kernel_calls_it() {
        assert_eq!(reasons().name(3), "NO_SOCKET");
        assert_eq!(reasons().name(1), "SKB_CONSUMED");
        assert_eq!(reasons().name(200), "REASON_200");
        assert_eq!(reasons().name(3 << 16 | 5), "OPENVSWITCH_5");
    }

    #[test]
    fn harmless_reasons_are_bits_by_the_running_kernels_numbers() {
        let bits = reasons().bits(&["SKB_CONSUMED", "QUEUE_PURGE", "NOT_IN_THIS_KERNEL"]);
        assert_eq!(bits, [1 << 1, 1 << (104 - 64), 0, 0]);
    }
}
