//! What holds for any sequence of containers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_assert_ne, proptest},
};

use super::{super::OVER, DROPS, INTERFACES, Page, SCRAPE, counts, identity, limits};
use crate::page::key::Key;

/// A row that a container causes itself.
#[derive(Clone, Debug)]
struct Own {
    /// A drop reason; else an interface.
    is_drop: bool,
    number: u8,
    /// At which age of the container it comes.
    from: u64,
    packets: u64,
}

/// A container's life.
#[derive(Clone, Debug)]
struct Life {
    from: u64,
    length: u64,
    service: u8,
    /// The packets between two readings.
    packets: u64,
    own: Vec<Own>,
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let own = (any::<bool>(), 0..4_u8, 0..5_u64, 0..20_u64).prop_map(|(is_drop, number, from, packets)| Own {
        is_drop,
        number,
        from,
        packets,
    });
    let life = (0..12_u64, 1..8_u64, 0..3_u8, 0..100_u64, vec(own, 0..5));
    let life = life.prop_map(|(from, length, service, packets, own)| Life {
        from,
        length,
        service,
        packets,
        own,
    });
    vec(life, 0..20)
}

/// The counts that sums are compared by: of interfaces or drops, by service and network.
type Sums = BTreeMap<(bool, String, Arc<str>), u64>;

impl Life {
    /// Adds its rows to a page if it still exists, and its counts in any case.
    fn read(&self, name: &str, round: u64, page: &mut Page, expected: &mut Sums) {
        if round < self.from {
            return;
        }
        let service = format!("s{}", self.service);
        let identity = identity(name, &service);
        let age = (round - self.from).min(self.length - 1) + 1;
        let is_here = round < self.from + self.length;
        let front: Arc<str> = "front".into();
        *expected
            .entry((false, service.clone(), Arc::clone(&front)))
            .or_default() += age * self.packets;
        if is_here {
            page.container(&identity, true, age * self.packets);
        }
        let mut seen = BTreeSet::new();
        for own in &self.own {
            if !seen.insert((own.is_drop, own.number)) || age <= own.from {
                continue;
            }
            let count = (age - own.from) * own.packets + 1;
            let (key, rows) = if own.is_drop {
                let key = Key::of(&identity).on(&front).what(format!("R{}", own.number));
                (key, &mut page.drops)
            } else {
                (
                    Key::of(&identity).what(format!("R{}", own.number)),
                    &mut page.interfaces,
                )
            };
            let sum = (own.is_drop, service.clone(), Arc::clone(&key.network));
            *expected.entry(sum).or_default() += count;
            if is_here {
                rows.push((key, count));
            }
        }
    }
}

proptest! {
    /// For any sequence of containers with rows of their own, the sum of a service on a network equals the counts of
    /// all its containers, and no series falls. A container that ended stays in the sum if it was part of one. No more
    /// is shown than there is room for.
    #[test]
    fn sums_are_exact_and_no_series_falls(room in 0..14_usize, most in 1..6_usize, lives in lives()) {
        let (mut limits, now) = (limits(room), Instant::now());
        limits.caps.container_series = most;
        // Rows of the first reading would be older than netmon.
        Page::default().apply(&mut limits, now);
        let mut before: BTreeMap<(bool, Key), u64> = BTreeMap::new();
        // The counts of series that ended.
        let mut ended = Sums::new();
        for round in 0..20_u64 {
            let (mut page, mut expected) = (Page::default(), Sums::new());
            for (number, life) in lives.iter().enumerate() {
                life.read(&format!("c{number}"), round, &mut page, &mut expected);
            }
            let at = now + SCRAPE * u32::try_from(round + 1).expect("small");
            let rows = page.apply(&mut limits, at).0;
            let (mut sums, mut shown, mut alone) = (Sums::new(), BTreeMap::new(), 0);
            for (is_drop, schema) in [(false, &INTERFACES), (true, &DROPS)] {
                for (key, packets) in counts(schema, &rows) {
                    let sum = (is_drop, key.identity.service.clone(), Arc::clone(&key.network));
                    *sums.entry(sum).or_default() += packets;
                    alone += usize::from(key.identity.container != OVER && &*key.what != OVER);
                    let series = (is_drop, key);
                    prop_assert!(packets >= before.get(&series).copied().unwrap_or(0), "{series:?} fell to {packets}");
                    prop_assert_eq!(shown.insert(series, packets), None);
                }
            }
            prop_assert!(alone <= room, "{alone} series with room for {room}");
            for ((is_drop, key), packets) in &before {
                if !shown.contains_key(&(*is_drop, key.clone())) {
                    prop_assert_ne!(key.identity.container.as_str(), OVER, "a sum ended");
                    let sum = (*is_drop, key.identity.service.clone(), Arc::clone(&key.network));
                    *ended.entry(sum).or_default() += packets;
                }
            }
            for (sum, packets) in &expected {
                let counted = sums.get(sum).copied().unwrap_or(0) + ended.get(sum).copied().unwrap_or(0);
                prop_assert_eq!(counted, *packets, "{:?} in round {}", sum, round);
            }
            before = shown;
        }
    }
}
