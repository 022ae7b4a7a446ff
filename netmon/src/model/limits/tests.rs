//! Limits, applied to made-up snapshots one after the other, as scrapes do.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_assert_ne, proptest};

use super::{Caps, Limits, OVER, needs::OF_NODE, peers::MOST_STRANGERS};
use crate::model::{
    counters::{Directions, Totals},
    interface::{Device, DeviceKind},
    inventory::{Container, Identity, Sandbox},
    overlay::OuterCounts,
    snapshot::{ContainerRow, ContainerState, DropRow, InterfaceRow, OverlayRow, ServiceRow, Snapshot},
};

const SCRAPE: Duration = Duration::from_secs(15);

fn identity(container: &str, service: &str) -> Arc<Identity> {
    Arc::new(Identity {
        container: container.to_owned(),
        service: service.to_owned(),
        stack: "stack".to_owned(),
    })
}

fn totals(packets: u64) -> Directions<Totals> {
    let totals = Totals {
        packets,
        bytes: packets * 100,
        ..Totals::default()
    };
    Directions {
        receive: totals,
        transmit: totals,
    }
}

fn interface(identity: &Arc<Identity>, network: &str, name: &str, packets: u64) -> InterfaceRow {
    let device = Device::new(2, name.to_owned(), DeviceKind::Veth);
    InterfaceRow {
        identity: Arc::clone(identity),
        network: Arc::from(network),
        device: Arc::new(device),
        totals: totals(packets),
    }
}

fn dropped(identity: &Arc<Identity>, reason: &str, packets: u64) -> (Arc<Identity>, DropRow) {
    let row = DropRow {
        network: Arc::from("front"),
        reason: Arc::from(reason),
        packets,
    };
    (Arc::clone(identity), row)
}

fn container(identity: &Arc<Identity>, state: ContainerState) -> ContainerRow {
    let container = Container {
        id: identity.container.as_str().into(),
        identity: Arc::clone(identity),
        image: String::new(),
        task_id: String::new(),
        task_slot: String::new(),
        network_mode: String::new(),
        sandbox: Sandbox::Absent,
        endpoints: Vec::new(),
        running: state != ContainerState::Ended,
    };
    ContainerRow {
        container: Arc::new(container),
        state,
        shares_with: None,
        is_shown: true,
    }
}

/// Limits with room for this many containers with one interface each.
fn limits(containers: usize) -> Limits {
    let series = (OF_NODE + containers * 13 + 12) * 10 / 9;
    Limits::new(Caps {
        series,
        container_series: 60,
    })
}

/// The received packets of each interface row, by container.
fn shown(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let row = |row: &InterfaceRow| (row.identity.container.clone(), row.totals.receive.packets);
    snapshot.interfaces.iter().map(row).collect()
}

fn scrape(limits: &mut Limits, now: Instant, containers: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let mut snapshot = Snapshot::default();
    for (name, packets) in containers {
        let identity = identity(name, "web");
        snapshot.containers.push(container(&identity, ContainerState::Observed));
        snapshot
            .interfaces
            .push(interface(&identity, "front", "eth0", *packets));
    }
    limits.apply(&mut snapshot, now);
    shown(&snapshot)
}

fn page(rows: &[(&str, u64)]) -> BTreeMap<String, u64> {
    rows.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn who_is_shown_stays_and_the_rest_is_one_sum_that_never_falls() {
    let (mut limits, now) = (limits(2), Instant::now());
    assert_eq!(scrape(&mut limits, now, &[("m", 10)]), page(&[("m", 10)]));
    // `a` sorts before `m`, but is newer.
    assert_eq!(
        scrape(&mut limits, now + SCRAPE, &[("a", 1), ("b", 2), ("c", 4), ("m", 20)]),
        page(&[("a", 1), ("m", 20), (OVER, 6)])
    );
    // A container in the sum ends. Its counts remain.
    assert_eq!(
        scrape(&mut limits, now + SCRAPE * 2, &[("a", 1), ("c", 5), ("m", 20)]),
        page(&[("a", 1), ("m", 20), (OVER, 7)])
    );
    // A shown container ends. That makes room for one from the sum, which starts at 0.
    assert_eq!(
        scrape(&mut limits, now + SCRAPE * 3, &[("c", 8), ("m", 20)]),
        page(&[("c", 3), ("m", 20), (OVER, 7)])
    );
    assert_eq!(
        scrape(&mut limits, now + SCRAPE * 4, &[("c", 9), ("m", 21)]),
        page(&[("c", 4), ("m", 21), (OVER, 7)])
    );
    // The sum ends, too, after a while.
    assert_eq!(
        scrape(&mut limits, now + super::remainder::KEPT * 2, &[("c", 9), ("m", 21)]),
        page(&[("c", 4), ("m", 21)])
    );
}

#[test]
fn a_name_that_is_used_again_is_another_part_of_the_sum() {
    let (mut limits, now) = (limits(1), Instant::now());
    scrape(&mut limits, now, &[("a", 1)]);
    assert_eq!(scrape(&mut limits, now + SCRAPE, &[("a", 1), ("b", 10)])[OVER], 10);
    assert_eq!(scrape(&mut limits, now + SCRAPE * 2, &[("a", 1), ("b", 3)])[OVER], 13);
}

#[test]
fn the_sum_begins_with_netmon_as_those_of_services_do() {
    let (mut limits, now) = (limits(1), Instant::now());
    assert_eq!(scrape(&mut limits, now, &[("a", 1), ("b", 1000)])[OVER], 0);
    assert_eq!(scrape(&mut limits, now + SCRAPE, &[("a", 1), ("b", 1007)])[OVER], 7);
}

/// Pages are served before the engine has described everything.
#[test]
fn what_is_older_than_netmon_is_in_no_sum_though_it_is_named_after_the_first_page() {
    let (mut limits, now) = (limits(1), Instant::now());
    let mut partial = Snapshot {
        is_partial: true,
        ..Snapshot::default()
    };
    limits.apply(&mut partial, now);
    assert_eq!(scrape(&mut limits, now + SCRAPE, &[("a", 1), ("b", 1000)])[OVER], 0);
    let third = scrape(&mut limits, now + 2 * SCRAPE, &[("a", 1), ("b", 1007), ("c", 5)]);
    assert_eq!(third[OVER], 7 + 5);
}

#[test]
fn a_service_that_was_summed_up_keeps_what_is_its_own_when_there_are_few_again() {
    let (mut limits, now) = (limits(1000), Instant::now());
    let most = limits.caps.series / 40;
    let mut packets = |round: u32, count: usize, packets: u64| {
        let mut snapshot = Snapshot::default();
        for number in 0..count {
            snapshot.services.push(ServiceRow {
                // The last one by name is the first to be summed up.
                service: if number == 0 {
                    "z".to_owned()
                } else {
                    format!("job{number}")
                },
                stack: String::new(),
                network: Arc::from("front"),
                totals: totals(packets),
            });
        }
        limits.apply(&mut snapshot, now + SCRAPE * round);
        let row = snapshot.services.iter().find(|row| row.service == "z");
        row.map(|row| row.totals.receive.packets)
    };
    assert_eq!(packets(0, most + 1, 100), None);
    assert_eq!(packets(1, most, 110), Some(10));
    for (round, count) in [(2, most), (3, 2), (4, 2)] {
        assert_eq!(packets(round, count, 130), Some(30), "{count} services");
    }
}

#[test]
fn five_thousand_short_lived_containers_leave_a_page_of_one_size_and_no_memory() {
    const BATCH: usize = 250;
    let (mut limits, mut now) = (limits(50), Instant::now());
    scrape(&mut limits, now, &[]);
    let mut counted = 0;
    for batch in 0..5000 / BATCH {
        let mut snapshot = Snapshot::default();
        // Each batch lingers while the next one runs.
        for (number, state) in (0..BATCH)
            .map(|number| (batch * BATCH + number, ContainerState::Observed))
            .chain((0..BATCH).filter_map(|number| {
                let before = batch.checked_sub(1)?;
                Some((before * BATCH + number, ContainerState::Ended))
            }))
        {
            let identity = identity(&format!("task.{number}"), "batch");
            snapshot.containers.push(container(&identity, state));
            snapshot.interfaces.push(interface(&identity, "front", "eth0", 7));
            if state == ContainerState::Observed {
                counted += 7;
            }
        }
        now += SCRAPE;
        limits.apply(&mut snapshot, now);
        assert!(snapshot.interfaces.len() <= 51, "{} rows", snapshot.interfaces.len());
        assert!(limits.members.len() <= 2 * BATCH);
        assert!(limits.groups.len() <= 1);
        let sum = shown(&snapshot).get(OVER).copied().unwrap_or(0);
        let alone: u64 = snapshot.containers.iter().filter(|row| row.is_shown).count() as u64 * 7;
        // Containers that were shown and no longer exist have no series any more.
        assert!(sum + alone <= counted, "{sum} and {alone} of {counted}");
    }
    for _ in 0..3 {
        now += super::remainder::KEPT;
        let mut snapshot = Snapshot::default();
        limits.apply(&mut snapshot, now);
    }
    assert!(limits.members.is_empty() && limits.groups.is_empty());
    assert_eq!(limits.sums.interfaces.size(), 0);
}

#[test]
fn a_container_that_makes_rows_of_its_own_is_summed_up_by_network_beyond_its_limit() {
    let (mut limits, now) = (limits(1000), Instant::now());
    let (loud, quiet) = (identity("loud", "web"), identity("quiet", "web"));
    let mut last = BTreeMap::new();
    for round in 1..=4_u64 {
        let mut snapshot = Snapshot::default();
        for identity in [&loud, &quiet] {
            snapshot.containers.push(container(identity, ContainerState::Observed));
            snapshot.interfaces.push(interface(identity, "front", "eth0", round));
        }
        for number in 0..round * 20 {
            let name = format!("dummy{number}");
            snapshot.interfaces.push(interface(&loud, "", &name, round));
            let reason = format!("REASON_{number}");
            snapshot.drops.containers.push(dropped(&loud, &reason, round));
        }
        snapshot.drops.containers.push(dropped(&quiet, "REASON_1", round));
        limits.apply(&mut snapshot, now + SCRAPE * u32::try_from(round).expect("small"));

        let of_loud = |row: &&InterfaceRow| *row.identity == *loud;
        let rows = snapshot.interfaces.iter().filter(of_loud).count();
        assert!(rows <= 6, "{rows} interfaces");
        let drops: Vec<_> = snapshot.drops.containers.iter().filter(|(it, _)| *it == loud).collect();
        assert!(drops.len() <= 60, "{} reasons", drops.len());
        // Except the rows of the very first reading, which may be older than netmon.
        let first = |number: u64| u64::from(number < 20);
        let known = |name: &str| drops.iter().any(|(_, row)| &*row.reason == name);
        let expected: u64 = (0..round * 20)
            .map(|number| {
                let is_shown = known(&format!("REASON_{number}"));
                round - if is_shown { 0 } else { first(number) }
            })
            .sum();
        assert_eq!(drops.iter().map(|(_, row)| row.packets).sum::<u64>(), expected);
        for (_, row) in drops {
            let before = last.insert(Arc::clone(&row.reason), row.packets).unwrap_or(0);
            assert!(
                row.packets >= before,
                "{} fell from {before} to {}",
                row.reason,
                row.packets
            );
        }
        let of_quiet = snapshot.drops.containers.iter().find(|(it, _)| *it == quiet);
        assert_eq!(of_quiet.map(|(_, row)| row.packets), Some(round));
        assert!(snapshot.health.limits.over[1].1 > 0);
        assert_eq!(snapshot.health.limits.over[0].1, 0);
    }
}

#[test]
fn services_that_come_and_go_by_the_thousand_are_one_sum_beyond_a_tenth_of_the_page() {
    let (mut limits, now) = (limits(1000), Instant::now());
    let most = limits.caps.series / 40;
    for round in 0..20 {
        let mut snapshot = Snapshot::default();
        for number in 0..2000 {
            snapshot.services.push(ServiceRow {
                service: format!("job{}", number + round * 500),
                stack: String::new(),
                network: Arc::from("front"),
                totals: totals(1),
            });
        }
        limits.apply(&mut snapshot, now + SCRAPE * round);
        assert!(
            snapshot.services.len() <= most + 1,
            "{} services",
            snapshot.services.len()
        );
        assert!(snapshot.health.limits.over[2].1 > 0);
    }
}

#[test]
fn addresses_that_somebody_made_up_are_one_sum_beyond_the_first() {
    let (mut limits, now) = (limits(1), Instant::now());
    let row = |peer: String, is_stranger, packets| OverlayRow {
        network: Arc::from("front"),
        peer: Arc::from(peer),
        must_be_encrypted: false,
        is_stranger,
        counts: Directions {
            receive: OuterCounts { packets, bytes: 0 },
            transmit: OuterCounts::default(),
        },
    };
    limits.apply(&mut Snapshot::default(), now);
    let mut snapshot = Snapshot::default();
    // A node that is sent to, and whose name sorts last.
    snapshot.overlay.clear.push(row("zulu".to_owned(), false, 1000));
    for number in 0..3000 {
        snapshot.overlay.clear.push(row(format!("192.0.2.{number}"), true, 2));
    }
    limits.apply(&mut snapshot, now + SCRAPE);
    let clear = &snapshot.overlay.clear;
    assert_eq!(clear.len(), 1 + MOST_STRANGERS + 1);
    let of = |peer: &str| {
        clear
            .iter()
            .find(|row| &*row.peer == peer)
            .map(|row| row.counts.receive.packets)
    };
    assert_eq!(of("zulu"), Some(1000));
    assert_eq!(of(OVER), Some(2 * (3000 - MOST_STRANGERS as u64)));
    assert_eq!(snapshot.health.limits.over[3], ("peers", 3000 - MOST_STRANGERS));
}

#[test]
fn the_log_hears_of_a_limit_once() {
    let (mut limits, now) = (limits(1), Instant::now());
    let mut said = 0;
    for round in 0..100 {
        let mut snapshot = Snapshot::default();
        for name in ["a", "b", "c"] {
            let identity = identity(name, "web");
            snapshot.containers.push(container(&identity, ContainerState::Observed));
            snapshot.interfaces.push(interface(&identity, "front", "eth0", round));
        }
        said += limits
            .apply(&mut snapshot, now + SCRAPE * u32::try_from(round).expect("small"))
            .len();
    }
    assert_eq!(said, 1);
}

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
        limits.apply(&mut Snapshot::default(), now);
        let mut before: BTreeMap<(String, String), u64> = BTreeMap::new();
        // The counts of series that ended, by service.
        let mut ended: BTreeMap<String, u64> = BTreeMap::new();
        for round in 0..20_u64 {
            let mut snapshot = Snapshot::default();
            let mut expected: BTreeMap<String, u64> = BTreeMap::new();
            for (number, (from, length, service, pace)) in lives.iter().enumerate() {
                let service = format!("s{service}");
                let identity = identity(&format!("c{number}"), &service);
                if round >= *from {
                    let age = (round - from).min(length - 1) + 1;
                    *expected.entry(service).or_default() += age * pace;
                    if round < from + length {
                        snapshot.containers.push(container(&identity, ContainerState::Observed));
                        snapshot.interfaces.push(interface(&identity, "front", "eth0", age * pace));
                    }
                }
            }
            let at = now + SCRAPE * u32::try_from(round + 1).expect("small");
            limits.apply(&mut snapshot, at);
            let mut sums: BTreeMap<String, u64> = BTreeMap::new();
            let mut shown: BTreeMap<(String, String), u64> = BTreeMap::new();
            for row in &snapshot.interfaces {
                let key = (row.identity.service.clone(), row.identity.container.clone());
                let packets = row.totals.receive.packets;
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
