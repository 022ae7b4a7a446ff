//! What holds for any sequence of containers.

use std::{collections::BTreeMap, time::Instant};

use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_assert_ne, proptest};

use super::{super::OVER, INTERFACES, Page, SCRAPE, counts, identity, limits};

/// A container's life: when it starts, how long it exists, its service, and its packets between readings.
fn lives() -> impl Strategy<Value = Vec<(u64, u64, u8, u64)>> {
    proptest::collection::vec((0..12_u64, 1..8_u64, 0..3_u8, 0..100_u64), 0..24)
}

proptest! {
    /// For any sequence of containers, the sum of a service equals the counts of all its containers, and no series
    /// falls. A container that ended stays in the sum if it was part of one.
    #[test]
    fn sums_are_exact_and_no_series_falls(room in 0..10_usize, lives in lives()) {
        let (mut limits, now) = (limits(room), Instant::now());
        // Rows of the first reading would be older than netmon.
        Page::default().apply(&mut limits, now);
        let mut before: BTreeMap<(String, String), u64> = BTreeMap::new();
        // The counts of series that ended, by service.
        let mut ended: BTreeMap<String, u64> = BTreeMap::new();
        for round in 0..20_u64 {
            let mut page = Page::default();
            let mut expected: BTreeMap<String, u64> = BTreeMap::new();
            for (number, (from, length, service, pace)) in lives.iter().enumerate() {
                let service = format!("s{service}");
                let identity = identity(&format!("c{number}"), &service);
                if round >= *from {
                    let age = (round - from).min(length - 1) + 1;
                    *expected.entry(service).or_default() += age * pace;
                    if round < from + length {
                        page.container(&identity, true, age * pace);
                    }
                }
            }
            let at = now + SCRAPE * u32::try_from(round + 1).expect("small");
            let rows = page.apply(&mut limits, at).0;
            let mut sums: BTreeMap<String, u64> = BTreeMap::new();
            let mut shown: BTreeMap<(String, String), u64> = BTreeMap::new();
            for (key, packets) in counts(&INTERFACES, &rows) {
                let key = (key.identity.service.clone(), key.identity.container.clone());
                *sums.entry(key.0.clone()).or_default() += packets;
                prop_assert!(packets >= before.get(&key).copied().unwrap_or(0), "{key:?} fell to {packets}");
                prop_assert_eq!(shown.insert(key, packets), None);
            }
            for ((service, container), packets) in &before {
                if !shown.contains_key(&(service.clone(), container.clone())) {
                    prop_assert_ne!(container.as_str(), OVER, "a sum ended");
                    *ended.entry(service.clone()).or_default() += packets;
                }
            }
            for (service, packets) in &expected {
                let sum = sums.get(service).copied().unwrap_or(0) + ended.get(service).copied().unwrap_or(0);
                prop_assert_eq!(sum, *packets, "{} in round {}", service, round);
            }
            before = shown;
        }
    }
}
