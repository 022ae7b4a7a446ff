//! Corrects how many sockets have storage, as the programs count them.
//!
//! The kernel skips a program that would interrupt itself, so now and then one does not hear of a socket that goes. These
//! numbers are never reset, and without a correction a namespace would have no room at last.

use std::collections::BTreeMap;

/// How many sockets may come or go during a reading.
const UNDER_WAY: u64 = 64;

/// By how much the numbers were off in the last reading.
#[derive(Debug, Default)]
pub(super) struct Drift(BTreeMap<u64, i64>);

impl Drift {
    /// Compares what the programs `counted` under each key with what a pass has `seen`. Returns the right number where the two
    /// were apart in two readings in a row, in the same direction: then that is not what was under way.
    pub(super) fn corrections(&mut self, counted: &BTreeMap<u64, u64>, seen: &BTreeMap<u64, u64>) -> Vec<(u64, u64)> {
        let apart = counted.iter().filter_map(|(key, counted)| {
            let seen = seen.get(key).copied().unwrap_or(0);
            let apart = counted.wrapping_sub(seen).cast_signed();
            (apart.unsigned_abs() > UNDER_WAY).then_some((*key, apart))
        });
        let apart: BTreeMap<u64, i64> = apart.collect();
        let before = std::mem::replace(&mut self.0, apart);
        let twice = self.0.iter().filter(|(key, apart)| {
            let before = before.get(*key);
            before.is_some_and(|before| before.signum() == apart.signum())
        });
        twice
            .map(|(key, _)| (*key, seen.get(key).copied().unwrap_or(0)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Drift;

    /// The corrections of one reading.
    fn corrected(drift: &mut Drift, counted: u64, seen: u64) -> Vec<(u64, u64)> {
        drift.corrections(&[(7, counted)].into(), &[(7, seen)].into())
    }

    #[test]
    fn a_number_that_is_off_for_long_is_corrected() {
        let mut drift = Drift::default();
        assert!(corrected(&mut drift, 1000, 900).is_empty(), "it may be under way");
        assert_eq!(corrected(&mut drift, 1100, 990), [(7, 990)]);
        let mut drift = Drift::default();
        assert!(drift.corrections(&[(7, 70)].into(), &[].into()).is_empty());
        assert_eq!(
            drift.corrections(&[(7, 70)].into(), &[].into()),
            [(7, 0)],
            "none has any"
        );
    }

    #[test]
    fn a_number_below_zero_is_corrected() {
        let mut drift = Drift::default();
        let below = 0_u64.wrapping_sub(500);
        assert!(corrected(&mut drift, below, 3).is_empty());
        assert_eq!(corrected(&mut drift, below, 5), [(7, 5)]);
    }

    #[test]
    fn what_comes_and_goes_during_a_reading_is_no_drift() {
        let mut drift = Drift::default();
        for (counted, seen) in [
            (1000, 940),
            (1000, 1060),
            (1000, 800),
            (800, 1000),
            (1000, 1000),
            (1000, 900),
        ] {
            assert!(corrected(&mut drift, counted, seen).is_empty(), "{counted} {seen}");
        }
    }
}
