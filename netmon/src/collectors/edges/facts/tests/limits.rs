//! What is over the limit, and what makes room.

use std::time::Duration;

use super::{
    party,
    sums::{World, reading, with},
};
use crate::collectors::edges::facts::{EdgeLedger, Naming, Near, OTHER, Party, Who};

/// So many of all edges as an end may have.
const LIMIT: usize = 24;

#[test]
fn what_is_over_the_limit_is_summed_up() {
    let mut world = World::new();
    world.limit = LIMIT;
    let edges: Vec<_> = (1..=9)
        .map(|last| (reading(last, 1, 1), with(&format!("db{last}"))))
        .collect();
    for _ in 0..2 {
        world.scrape(&edges);
        let wanted = [(OTHER, 6), ("db1", 1), ("db2", 1), ("db3", 1)].map(|(far, opened)| (far.to_owned(), opened));
        assert_eq!(world.opened(), wanted);
    }
    assert_eq!(world.ledger.over(), 6);
    let live: u64 = world.sums().iter().map(|(_, _, sum)| sum.live).sum();
    assert_eq!(live, 9);
    // There is room now, but what is in the sum stays in it.
    world.limit = 0;
    let edges: Vec<_> = (1..=9)
        .map(|last| (reading(last, 2, 1), with(&format!("db{last}"))))
        .collect();
    world.scrape(&edges);
    assert_eq!(world.opened()[0], (OTHER.to_owned(), 12));
}

#[test]
fn however_many_ends_there_are_on_this_node_sums_are_bounded() {
    let mut world = World::new();
    world.limit = 10;
    let edges: Vec<_> = (1..=90)
        .map(|last| {
            let near = Near {
                party: party(&format!("web{last}"), ""),
                network: "front".into(),
            };
            (reading(last, 1, 0), Who::Both(near, Naming::Certain(party("db", ""))))
        })
        .collect();
    world.scrape(&edges);
    let sums: Vec<_> = world.ledger.sums().collect();
    assert_eq!(sums.len(), 21);
    let all: u64 = sums.iter().map(|(_, _, sum)| sum.counts.opened).sum();
    assert_eq!(all, 90);
    assert!(sums.iter().any(|(_, key, _)| key.near == Party::word(OTHER)));
}

#[test]
fn an_end_with_very_many_edges_leaves_others_theirs() {
    let mut world = World::new();
    world.limit = LIMIT;
    let many: Vec<_> = (1..=200)
        .map(|last| (reading(last, 1, 1), with(&format!("db{last}"))))
        .collect();
    world.scrape(&many);
    let of = |name: &str| {
        let near = Near {
            party: party(name, ""),
            network: "front".into(),
        };
        Who::Both(near, Naming::Certain(party("db1", "")))
    };
    let other = reading(201, 1, 1);
    let mut all = many;
    all.push((other, of("other")));
    world.scrape(&all);
    let shown = world
        .ledger
        .sums()
        .find(|(_, key, _)| key.near == party("other", ""))
        .map(|(_, key, _)| key.far.clone());
    assert_eq!(shown, Some(party("db1", "")));
}

#[test]
fn edges_that_have_long_been_at_rest_make_room() {
    let mut world = World::new();
    world.limit = LIMIT;
    let old: Vec<_> = (1..=3)
        .map(|last| (reading(last, 1, 0), with(&format!("db{last}"))))
        .collect();
    world.scrape(&old);
    let mut all = old.clone();
    all.push((reading(4, 1, 1), with("new")));
    world.now += Duration::from_mins(59);
    world.scrape(&all);
    assert_eq!(world.opened()[0], (OTHER.to_owned(), 1), "there is no room");
    world.now += Duration::from_mins(2);
    all.push((reading(5, 1, 1), with("newer")));
    world.scrape(&all);
    let wanted = [(OTHER, 1), ("newer", 1)].map(|(far, opened)| (far.to_owned(), opened));
    assert_eq!(world.opened(), wanted);
    // One that changes again is shown again, from there on.
    all[0].0 = reading(1, 3, 0);
    world.scrape(&all);
    assert!(world.opened().contains(&("db1".to_owned(), 2)));
    // All end, and all make room at once.
    world.now += Duration::from_hours(3);
    for (reading, _) in &mut all {
        reading.live = 0;
    }
    all.push((reading(6, 1, 1), with("newest")));
    world.scrape(&all);
    world.now += Duration::from_hours(3);
    let more: Vec<_> = (7..=9)
        .map(|last| (reading(last, 1, 1), with(&format!("more{last}"))))
        .collect();
    all.extend(more);
    world.scrape(&all);
    let shown = world.opened();
    assert!(
        shown.iter().filter(|(far, _)| far != OTHER).count() <= LIMIT / 8,
        "{shown:?}"
    );
}

#[test]
fn edges_without_connections_make_room_in_the_kernels_map() {
    let mut world = World::new();
    let edges: Vec<_> = (1..=9)
        .map(|last| (reading(last, 2, u64::from(last % 3 == 0)), with("db")))
        .collect();
    world.scrape(&edges);
    let readings: Vec<_> = edges.iter().map(|(reading, _)| *reading).collect();
    let idle = |share, room| world.ledger.idle(&readings, share, room).len();
    assert_eq!(idle(100, 100), 0, "there is room");
    assert_eq!(idle(16, 100), 6, "the namespace has used up half of its share");
    assert_eq!(idle(100, 16), 6, "half of the map is used up");
    assert_eq!(
        EdgeLedger::default().idle(&readings, 16, 16).len(),
        0,
        "nobody knows whose they are"
    );
}
