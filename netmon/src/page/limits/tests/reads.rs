//! What could not be read in one scrape, what comes back, and what changes its place.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use super::{
    super::{CONTAINER, CONTAINER_TRAFFIC, Limits, OVER},
    DROPS, INTERFACES, Its, PEERS, Page, SCRAPE, counts, identity, limits,
};
use crate::{
    model::{collector::Collector, histogram::Histogram, inventory::Identity},
    page::{
        key::Key,
        rows::{Rows, schemas},
        value::Value,
    },
};

schemas! {
    families of Collector("test");
    "Tests" {
        /// The kernel's count, and one that programs count.
        NETWORKS(it in (u64, Option<u64>)) by Its, CONTAINER {
            SENT: Counter, "test_sent", it.0, "Sent.";
            RESETS: Counter, "test_resets", it.1, "Resets.";
        }
        /// Times, if any were observed.
        TIMES(it in Option<Histogram>) by Its, CONTAINER_TRAFFIC {
            ROUND_TRIPS: Histogram, "test_times", it.clone(), "Times.";
        }
    }
}

/// Limits with room for this many series of containers, and for that many of one.
fn limits_of(containers: usize, one: usize) -> Limits {
    let mut limits = limits(containers);
    limits.caps.container_series = one;
    limits
}

fn running<'a>(identities: impl IntoIterator<Item = &'a Arc<Identity>>) -> HashMap<Arc<Identity>, bool> {
    identities
        .into_iter()
        .map(|identity| (Arc::clone(identity), true))
        .collect()
}

fn all_lines(page: &[Rows]) -> usize {
    page.iter().map(Rows::lines).sum()
}

/// The values of a container's row, or of the sum's.
fn values_of(rows: &Rows, container: &str) -> Option<Vec<Value>> {
    let at = rows
        .entries
        .iter()
        .position(|row| row.key.identity.container == container)?;
    Some(rows.values(at).to_vec())
}

#[test]
fn a_row_that_moves_from_one_sum_to_another_is_in_each_with_its_part() {
    let (mut limits, now) = (limits_of(2, 1), Instant::now());
    Page::default().apply(&mut limits, now);
    let names = ["a", "aa", "b"].map(|name| identity(name, "web"));
    let [a, aa, b] = &names;
    let mut page = Page::default();
    page.container(a, true, 1);
    page.container(aa, true, 1);
    page.apply(&mut limits, now + SCRAPE);
    let mut page = Page::default();
    page.container(a, true, 1);
    page.container(aa, true, 1);
    page.container(b, true, 10);
    page.interfaces.push((Key::of(b).what("dummy0"), 100));
    page.apply(&mut limits, now + SCRAPE * 2);
    // There is room for the container now, but not for its own interface.
    let mut page = Page::default();
    page.container(a, true, 1);
    page.container(b, true, 10);
    page.interfaces.push((Key::of(b).what("dummy0"), 105));
    let rows = page.apply(&mut limits, now + SCRAPE * 3).0;
    let own: Vec<_> = counts(&INTERFACES, &rows)
        .into_iter()
        .filter(|(key, _)| key.network.is_empty())
        .map(|(key, packets)| (key.identity.container.clone(), packets))
        .collect();
    assert_eq!(own, [(OVER.to_owned(), 100), ("b".to_owned(), 5)]);
}

#[test]
fn an_interface_may_be_called_like_a_reason() {
    const MOST: usize = 12;
    let (mut limits, now) = (limits_of(1000, MOST), Instant::now());
    Page::default().apply(&mut limits, now);
    let a = identity("a", "web");
    let key = |number: usize| Key::of(&a).what(format!("R{number:02}"));
    for round in 1..4 {
        let mut page = Page::default();
        page.container(&a, true, 1);
        page.drops = (1..MOST).map(|number| (key(number), 1)).collect();
        if round > 1 {
            page.interfaces.extend((1..MOST).map(|number| (key(number), 1)));
        }
        let (rows, health) = page.apply(&mut limits, now + SCRAPE * round);
        let shown = counts(&INTERFACES, &rows).into_iter().chain(counts(&DROPS, &rows));
        assert_eq!(shown.filter(|(key, _)| &*key.what != OVER).count(), MOST);
        let over = if round > 1 { MOST - 1 } else { 0 };
        assert_eq!(health.over[1], ("container_series", over));
    }
}

#[test]
fn what_was_not_read_once_goes_on_where_it_was() {
    let now = Instant::now();
    let (a, b) = (identity("a", "web"), identity("b", "web"));
    let key = |identity| Key::of(identity).on(&"front".into());
    // `b` is part of the sum all the time.
    let mut limits = limits_of(2, 60);
    let mut last = None;
    let facts = [
        (100, Some(5)),
        (110, Some(5)),
        (120, None),
        (130, Some(5)),
        (140, Some(6)),
    ];
    for (round, fact) in (0..).zip(facts) {
        let here: &[_] = if round == 0 { &[&a] } else { &[&a, &b] };
        let mut page = [NETWORKS.rows(here.iter().map(|identity| (key(identity), fact)))];
        limits.apply(&mut page, &running([&a, &b]), false, now + SCRAPE * round);
        last = values_of(&page[0], OVER);
    }
    assert_eq!(last, Some(vec![Value::Whole(140), Value::Whole(6)]));

    // `b` was part of the sum once, and is shown now.
    let mut limits = limits_of(2, 60);
    let mut last = None;
    let facts = [
        (100, Some(0)),
        (110, Some(0)),
        (120, Some(0)),
        (130, None),
        (140, Some(0)),
    ];
    for (round, fact) in (0..).zip(facts) {
        let here: &[_] = match round {
            0 => &[&a],
            1 => &[&a, &b],
            _ => &[&b],
        };
        let mut page = [NETWORKS.rows(here.iter().map(|identity| (key(identity), fact)))];
        limits.apply(&mut page, &running([&a, &b]), false, now + SCRAPE * round);
        last = values_of(&page[0], "b");
    }
    assert_eq!(last, Some(vec![Value::Whole(30), Value::Whole(0)]));
}

#[test]
fn a_group_that_was_not_read_once_changes_no_place_and_no_sum() {
    let (mut limits, now) = (limits_of(1000, 6), Instant::now());
    Page::default().apply(&mut limits, now);
    let a = identity("a", "web");
    let mut last = BTreeMap::new();
    for round in 1..5 {
        // The reasons that sort last are the oldest, and shown.
        let names = (0..5).flat_map(|number| match round {
            1 => vec![format!("Z{number}")],
            _ => vec![format!("A{number}"), format!("Z{number}")],
        });
        let key = |name: String| Key::of(&a).what(name);
        let mut page = vec![INTERFACES.rows([(Key::of(&a).on(&"front".into()).what("eth0"), 1)])];
        if round != 3 {
            page.push(DROPS.rows(names.map(|name| (key(name), 100))));
        }
        limits.apply(&mut page, &running([&a]), false, now + SCRAPE * round);
        if round == 3 {
            continue;
        }
        let drops: BTreeMap<_, _> = counts(&DROPS, &page)
            .into_iter()
            .map(|(key, packets)| (key.what, packets))
            .collect();
        if round == 4 {
            assert_eq!(drops, last);
        }
        last = drops;
    }
}

#[test]
fn strangers_that_were_not_read_once_are_not_counted_twice() {
    let (mut limits, now) = (limits(300), Instant::now());
    Page::default().apply(&mut limits, now);
    let mut total = |round: u32, packets: Option<u64>| {
        let key = |number: usize| Key::default().on(&"front".into()).what(format!("192.0.2.{number:03}"));
        let rows = packets.map(|packets| PEERS.rows((0..100).map(|number| (key(number), packets))));
        let mut page: Vec<_> = rows.into_iter().collect();
        limits.apply(&mut page, &HashMap::new(), false, now + SCRAPE * round);
        if page.is_empty() {
            return 0;
        }
        counts(&PEERS, &page).into_iter().map(|(_, packets)| packets).sum()
    };
    assert_eq!([total(1, Some(2)), total(2, None), total(3, Some(3))], [200, 0, 300]);
}

#[test]
fn a_name_that_is_used_again_after_its_sum_was_left_starts_with_its_own_counts() {
    let (mut limits, now) = (limits(1), Instant::now());
    Page::default().apply(&mut limits, now);
    let mut shown = Vec::new();
    let rounds = [
        (true, None),
        (true, Some(110)),
        (false, Some(50)),
        (false, Some(115)),
        (false, Some(120)),
    ];
    for (round, (a, b)) in (1..).zip(rounds) {
        let mut page = Page::default();
        if a {
            page.container(&identity("a", "web"), true, 1);
        }
        if let Some(packets) = b {
            page.container(&identity("b", "web"), true, packets);
        }
        let rows = page.apply(&mut limits, now + SCRAPE * round).0;
        let of_b = counts(&INTERFACES, &rows)
            .into_iter()
            .filter(|(key, _)| key.identity.container == "b");
        shown.extend(of_b.map(|(_, packets)| packets));
    }
    assert_eq!(shown, [50, 115, 120]);
}

fn observed(count: u64) -> Histogram {
    let mut times = Histogram::new(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]);
    times.buckets[0].1 = count;
    times
}

/// Histograms appear when containers were found room long ago.
#[test]
fn what_comes_with_traffic_is_shown_as_far_as_there_is_room() {
    let (mut limits, now) = (limits_of(300, 400), Instant::now());
    let names: Vec<_> = (0..100)
        .map(|number| identity(&format!("c{number:03}"), "web"))
        .collect();
    for round in 0..3_u32 {
        let times = (round > 0).then(|| observed(round.into()));
        let mut page = [
            NETWORKS.rows(names.iter().map(|name| (Key::of(name), (1, Some(1))))),
            TIMES.rows(names.iter().map(|name| (Key::of(name), times.clone()))),
        ];
        let health = limits.apply(&mut page, &running(&names), false, now + SCRAPE * round);
        let lines = all_lines(&page);
        assert!(lines <= limits.caps.series, "{lines} of {}", limits.caps.series);
        assert_eq!(page[0].entries.len(), names.len(), "all containers are shown");
        // 100 of the 300 series are left, and a histogram takes 13.
        let shown = if round > 0 { 7 * 13 } else { 0 };
        assert_eq!(page[1].lines(), shown);
        assert_eq!(health.limited[&Collector("test")], round > 0);
        assert_eq!(health.over[1], ("container_series", 0));
    }
}

#[test]
fn a_reading_that_fails_makes_no_room_for_others() {
    let (mut limits, now) = (limits_of(300, 400), Instant::now());
    let names: Vec<_> = (0..500)
        .map(|number| identity(&format!("c{number:03}"), "web"))
        .collect();
    let mut shown = 0;
    for round in 0..3_u32 {
        let fails = round == 1;
        let interface = |name| (Key::of(name).on(&"net".into()).what("eth0"), 1);
        let mut page = vec![
            INTERFACES.rows(names.iter().map(interface)),
            NETWORKS.rows(names.iter().map(|name| (Key::of(name), (1, (!fails).then_some(1))))),
        ];
        if !fails {
            page.push(TIMES.rows(names.iter().map(|name| (Key::of(name), Some(observed(1))))));
        }
        limits.apply(&mut page, &running(&names), false, now + SCRAPE * round);
        let lines = all_lines(&page);
        assert!(lines <= limits.caps.series, "{lines} of {}", limits.caps.series);
        let now = page[0].entries.len();
        assert!(round == 0 || now == shown, "{now} containers, {shown} before");
        shown = now;
    }
}

#[test]
fn sums_are_part_of_the_page_too() {
    let (mut limits, now) = (limits_of(10, 60), Instant::now());
    let names: Vec<_> = (0..300)
        .map(|number| identity(&format!("c{number:03}"), &format!("s{number}")))
        .collect();
    for round in 0..3 {
        let interface = |name| (Key::of(name).on(&"net".into()).what("eth0"), 1);
        let mut page = [
            INTERFACES.rows(names.iter().map(interface)),
            NETWORKS.rows(names.iter().map(|name| (Key::of(name), (1, Some(1))))),
        ];
        limits.apply(&mut page, &running(&names), false, now + SCRAPE * round);
        let lines = all_lines(&page);
        assert!(lines <= limits.caps.series, "{lines} of {}", limits.caps.series);
    }
}
