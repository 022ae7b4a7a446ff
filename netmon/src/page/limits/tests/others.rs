//! Services, other nodes, rows that a container causes itself, and rows that get the rest of the page.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use super::{
    super::{MOST_STRANGERS, OF_NETMON, OVER, Remainder, SHARE},
    DROPS, FACTS, INTERFACES, KEPT, LOSSES, PEERS, Page, REMAINING, SCRAPE, SERVICES, SOCKETS, counts, identity,
    limits, scrape, shown,
};
use crate::{
    model::{collector::Collector, inventory::Identity},
    page::key::{Key, Word},
};

fn service(name: &str, packets: u64) -> (Key, u64) {
    let identity = Identity {
        service: name.to_owned(),
        ..Identity::default()
    };
    (Key::of(&Arc::new(identity)).on(&"front".into()), packets)
}

#[test]
fn a_service_that_was_summed_up_keeps_what_is_its_own_when_there_are_few_again() {
    let (mut limits, now) = (limits(1000), Instant::now());
    let most = limits.caps.series / SHARE;
    let mut packets = |round: u32, count: usize, packets: u64| {
        // The last one by name is the first to be summed up.
        let name = |number| {
            if number == 0 {
                "z".to_owned()
            } else {
                format!("job{number}")
            }
        };
        let page = Page {
            services: (0..count).map(|number| service(&name(number), packets)).collect(),
            ..Page::default()
        };
        let rows = page.apply(&mut limits, now + SCRAPE * round).0;
        let its = counts(&SERVICES, &rows);
        its.into_iter()
            .find(|(key, _)| key.identity.service == "z")
            .map(|(_, packets)| packets)
    };
    assert_eq!(packets(0, most + 1, 100), None);
    assert_eq!(packets(1, most, 110), Some(10));
    for (round, count) in [(2, most), (3, 2), (4, 2)] {
        assert_eq!(packets(round, count, 130), Some(30), "{count} services");
    }
}

#[test]
fn a_services_reasons_are_one_sum_beyond_its_limit_and_keep_their_names_where_services_are_one() {
    let (mut limits, now) = (limits(1000), Instant::now());
    let most = limits.caps.series / SHARE;
    let reasons = limits.caps.container_series;
    let lost = |name: &str, reason: usize, packets| {
        let (key, packets) = service(name, packets);
        (key.what(format!("REASON_{reason:03}")), packets)
    };
    let mut scrape = |round: u32, services: usize, packets: u64| {
        let newest = format!("job{most:04}");
        let of_newest = (1..3)
            .filter(|_| services > most)
            .map(|reason| lost(&newest, reason, packets));
        let of_first = (0..reasons + 9).map(|reason| lost("job0000", reason, packets));
        let mut rows = vec![
            SERVICES.rows((0..services).map(|number| service(&format!("job{number:04}"), packets))),
            LOSSES.rows(of_first.chain(of_newest)),
        ];
        let health = limits.apply(&mut rows, &HashMap::new(), false, now + SCRAPE * round);
        (counts(&LOSSES, &rows), BTreeMap::from_iter(health.over))
    };
    // Its packets are a row, too.
    let hidden = 10;
    let (rows, over) = scrape(0, 1, 10);
    assert_eq!((rows.len(), over["container_series"]), (reasons - 1 + 1, hidden));
    for round in 1..4 {
        let (rows, over) = scrape(round, most + 1, 10 + 5 * u64::from(round));
        let sums = rows.iter().filter(|(key, _)| &*key.what == OVER);
        let sums: Vec<_> = sums.map(|(key, count)| (&*key.identity.service, *count)).collect();
        assert_eq!(sums, [("job0000", (hidden as u64) * 5 * u64::from(round))]);
        let of_rest = rows.iter().filter(|(key, _)| key.identity.service == OVER);
        let of_rest: Vec<_> = of_rest.map(|(key, _)| &*key.what).collect();
        assert_eq!(of_rest, ["REASON_001", "REASON_002"], "they keep their names");
        assert!(over["services"] > 0 && over["container_series"] == hidden, "{over:?}");
    }
}

#[test]
fn five_thousand_short_lived_containers_leave_a_page_of_one_size_and_no_memory() {
    const BATCH: usize = 250;
    let (mut limits, mut now) = (limits(50), Instant::now());
    scrape(&mut limits, now, &[]);
    let mut counted = 0;
    for batch in 0..5000 / BATCH {
        let mut page = Page::default();
        let name = |batch: usize, number: usize| identity(&format!("task.{}", batch * BATCH + number), "batch");
        for number in 0..BATCH {
            page.container(&name(batch, number), true, 7);
            counted += 7;
            // Each batch lingers while the next one runs.
            if batch > 0 {
                page.container(&name(batch - 1, number), false, 7);
            }
        }
        now += SCRAPE;
        let shown = shown(&page.apply(&mut limits, now).0);
        assert!(shown.len() <= 51, "{} rows", shown.len());
        assert!(limits.containers.len() <= 2 * BATCH);
        assert!(limits.groups.len() <= 1);
        // Containers that were shown and no longer exist have no series any more.
        let all: u64 = shown.values().sum();
        assert!(all <= counted, "{all} of {counted}");
    }
    for _ in 0..3 {
        now += KEPT;
        Page::default().apply(&mut limits, now);
    }
    assert!(limits.containers.len() == 0 && limits.groups.len() == 0);
    assert!(limits.sums.values().all(Remainder::is_empty));
}

#[test]
fn a_container_that_makes_rows_of_its_own_is_summed_up_by_network_beyond_its_limit() {
    let (mut limits, now) = (limits(1000), Instant::now());
    let (loud, quiet) = (identity("loud", "web"), identity("quiet", "web"));
    let front: Arc<str> = "front".into();
    let mut last = BTreeMap::new();
    for round in 1..=4_u64 {
        let mut page = Page::default();
        for identity in [&loud, &quiet] {
            page.container(identity, true, round);
        }
        for number in 0..round * 20 {
            let name = format!("dummy{number}");
            page.interfaces.push((Key::of(&loud).what(name), round));
            let reason = format!("REASON_{number}");
            page.drops.push((Key::of(&loud).on(&front).what(reason), round));
        }
        page.drops.push((Key::of(&quiet).on(&front).what("REASON_1"), round));
        let (rows, health) = page.apply(&mut limits, now + SCRAPE * u32::try_from(round).expect("small"));
        let of_loud = |rows: Vec<(Key, u64)>| rows.into_iter().filter(|(key, _)| key.identity == loud);
        let interfaces = of_loud(counts(&INTERFACES, &rows)).count();
        let drops: Vec<_> = of_loud(counts(&DROPS, &rows)).collect();
        // Sixty, and two sums.
        assert!(
            interfaces + drops.len() <= 62,
            "{interfaces} interfaces, {} reasons",
            drops.len()
        );
        // Except the rows of the very first reading, which may be older than netmon.
        let first = |number: u64| u64::from(number < 20);
        let known = |name: &str| drops.iter().any(|(key, _)| &*key.what == name);
        let expected: u64 = (0..round * 20)
            .map(|number| {
                let is_shown = known(&format!("REASON_{number}"));
                round - if is_shown { 0 } else { first(number) }
            })
            .sum();
        assert_eq!(drops.iter().map(|(_, packets)| packets).sum::<u64>(), expected);
        for (key, packets) in drops {
            let before = last.insert(key.what.clone(), packets).unwrap_or(0);
            assert!(packets >= before, "{} fell from {before} to {packets}", key.what);
        }
        let mut others = counts(&DROPS, &rows).into_iter();
        let of_quiet = others.find(|(key, _)| key.identity == quiet);
        assert_eq!(of_quiet.map(|(_, packets)| packets), Some(round));
        assert_eq!(health.over[0], ("series", 0));
        assert_eq!(health.over[1].0, "container_series");
        assert_eq!(health.over[1].1 > 0, round > 1, "in round {round}");
    }
}

#[test]
fn services_that_come_and_go_by_the_thousand_are_one_sum_beyond_a_tenth_of_the_page() {
    let (mut limits, now) = (limits(10_000), Instant::now());
    let most = limits.caps.series / SHARE;
    for round in 0..20 {
        let page = Page {
            services: (0..2000)
                .map(|number| service(&format!("job{}", number + round * 500), 1))
                .collect(),
            ..Page::default()
        };
        let (rows, health) = page.apply(&mut limits, now + SCRAPE * round);
        let services = counts(&SERVICES, &rows).len();
        assert_eq!(services, most + 1);
        assert_eq!(health.over[2], ("services", 2000 - most));
    }
}

#[test]
fn a_service_over_the_limit_counts_once_whatever_its_networks() {
    let (mut limits, now) = (limits(10), Instant::now());
    let most = limits.caps.series / SHARE;
    let services = (0..1000).flat_map(|number| {
        let (key, packets) = service(&format!("s{number}"), 1);
        ["x", "y", "z"].map(|network| (key.clone().on(&network.into()), packets))
    });
    let page = Page {
        services: services.collect(),
        ..Page::default()
    };
    let over = page.apply(&mut limits, now).1.over[2];
    assert!(over.1 >= 1000 - most && over.1 <= 1000, "{over:?}");
}

#[test]
fn addresses_that_somebody_made_up_are_one_sum_beyond_the_first() {
    let (mut limits, now) = (limits(1), Instant::now());
    Page::default().apply(&mut limits, now);
    let key = |network: &str, peer: &str| Key::default().on(&network.into()).what(Word::told(peer));
    // A node that is sent to, and whose name sorts last.
    let mut rows = vec![(key("front", "zulu"), 1000)];
    for number in 0..3000 {
        for network in ["front", "back"] {
            rows.push((key(network, &format!("192.0.2.{number}")), 2));
        }
    }
    let mut page = [PEERS.rows(rows).exempt(|key| &*key.what == "zulu")];
    let health = limits.apply(&mut page, &HashMap::new(), false, now + SCRAPE);
    let rows = counts(&PEERS, &page);
    assert_eq!(rows.len(), 1 + 2 * MOST_STRANGERS + 2);
    let of = |network: &str, peer: &str| {
        let mut rows = rows.iter();
        rows.find(|(key, _)| &*key.network == network && &*key.what == peer)
            .map(|(_, packets)| *packets)
    };
    assert_eq!(of("front", "zulu"), Some(1000));
    assert_eq!(of("back", OVER), Some(2 * (3000 - MOST_STRANGERS as u64)));
    // Addresses are counted, and not their rows.
    assert_eq!(health.over[3], ("peers", 3000 - MOST_STRANGERS));
}

#[test]
fn current_values_are_added_up_and_facts_are_left_out() {
    let (mut limits, now) = (limits(3), Instant::now());
    let names = ["a", "b", "c"].map(|name| identity(name, "web"));
    let running = names.iter().map(|identity| (Arc::clone(identity), true)).collect();
    let sockets = names.iter().zip([1_u64, 2, 4]);
    let mut page = [
        SOCKETS.rows(sockets.map(|(identity, count)| (Key::of(identity).what("listen"), count))),
        FACTS.rows(names.iter().map(|identity| (Key::of(identity), ()))),
    ];
    let health = limits.apply(&mut page, &running, false, now);
    let sockets: Vec<_> = counts(&SOCKETS, &page)
        .into_iter()
        .map(|(key, count)| (key.identity.container.clone(), key.what.to_string(), count))
        .collect();
    let row = |container: &str, count| (container.to_owned(), "listen".to_owned(), count);
    assert_eq!(sockets, [row("a", 1), row(OVER, 6)]);
    assert_eq!(page[1].entries.len(), 1);
    assert_eq!(health.limited, BTreeMap::from([(Collector("test"), true)]));
}

#[test]
fn the_rest_of_the_page_is_for_what_wants_no_more() {
    let (mut limits, now) = (limits(1000), Instant::now());
    let room = limits.caps.series - OF_NETMON;
    for (rows, left, is_limited) in [(room, room, false), (room + 5, room, true)] {
        let key = |number: usize| Key::default().what(format!("{number:05}"));
        let mut page = [REMAINING.rows((0..rows).rev().map(|number| (key(number), ())))];
        let health = limits.apply(&mut page, &HashMap::new(), false, now);
        assert_eq!(page[0].entries.len(), left);
        assert_eq!(health.limited, BTreeMap::from([(Collector("test"), is_limited)]));
        let sorted = page[0].sorted();
        let first = sorted.of(0).next().map(|(labels, _)| labels.ends_with("\"00000\""));
        assert_eq!(first, Some(true));
    }
}

#[test]
fn the_log_hears_of_a_limit_once() {
    let (mut limits, now) = (limits(1), Instant::now());
    let mut said = 0;
    for round in 0..100 {
        let mut page = Page::default();
        for name in ["a", "b", "c"] {
            page.container(&identity(name, "web"), true, round);
        }
        let now = now + SCRAPE * u32::try_from(round).expect("small");
        let health = page.apply(&mut limits, now).1;
        said += limits.news(&health, now).len();
    }
    assert_eq!(said, 1);
}
