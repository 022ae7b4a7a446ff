//! What is shown of edges that grow, whose ends change, and that are taken out of the kernel's map.

use std::time::{Duration, Instant};

use super::party;
use crate::{
    collectors::edges::facts::{EdgeLedger, EdgeSum, Naming, Near, Terms, UNKNOWN, Who},
    model::{
        edges::{EdgeCounts, EdgeId, EdgeReading, Far, RoundTrips, Side},
        interface::{InterfaceId, NetnsId},
    },
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A ledger, and the time.
pub(super) struct World {
    pub(super) ledger: EdgeLedger,
    pub(super) limit: usize,
    pub(super) now: Instant,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            ledger: EdgeLedger::default(),
            limit: 0,
            now: Instant::now(),
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            limit: self.limit,
            patience: PATIENCE,
            now: self.now,
            read: self.now,
        }
    }

    /// A scrape that finds these edges.
    pub(super) fn scrape(&mut self, edges: &[(EdgeReading, Who)]) {
        let terms = self.terms();
        self.ledger.begin(self.now);
        for (reading, who) in edges {
            self.ledger.observe(reading, &terms, || who.clone());
        }
        self.ledger.end(|_| true);
    }

    /// Each edge between services: the other end and the port, and what has happened.
    pub(super) fn sums(&self) -> Vec<(String, u16, EdgeSum)> {
        let sums = self.ledger.sums();
        sums.map(|(_, key, sum)| (key.far.name.to_string(), key.port, *sum))
            .collect()
    }

    /// The connections that were opened to each.
    pub(super) fn opened(&self) -> Vec<(String, u64)> {
        let sums = self.sums().into_iter();
        sums.map(|(far, _, sum)| (far, sum.counts.opened)).collect()
    }
}

fn id(last: u8) -> EdgeId {
    EdgeId {
        interface: InterfaceId {
            netns: NetnsId(1),
            ifindex: 2,
        },
        side: Side::Client,
        port: 80,
        far: Far::Address([10, 0, 1, last].into()),
    }
}

/// So many connections to an address, of which `live` are open.
pub(super) fn reading(last: u8, opened: u64, live: u64) -> EdgeReading {
    EdgeReading {
        id: id(last),
        counts: EdgeCounts {
            opened,
            closed: opened - live,
            sent_bytes: 100 * opened,
            ..EdgeCounts::default()
        },
        live,
        round_trips: RoundTrips {
            count: live,
            microseconds: 300 * live,
        },
    }
}

fn near() -> Near {
    Near {
        party: party("web", "shop"),
        network: "front".into(),
    }
}

pub(super) fn with(name: &str) -> Who {
    Who::Both(near(), Naming::Certain(party(name, "")))
}

fn changed(name: &str, until: Instant) -> Who {
    Who::Both(near(), Naming::Changed(party(name, ""), until))
}

fn former(name: &str, until: Instant) -> Who {
    let (party, late) = (party(name, ""), party(UNKNOWN, ""));
    Who::Both(near(), Naming::Former { party, until, late })
}

fn late(name: &str) -> Who {
    Who::Both(near(), Naming::Late(party(name, "")))
}

#[test]
fn the_kernels_edges_of_a_service_are_one() {
    let mut world = World::new();
    world.scrape(&[(reading(8, 3, 1), with("db")), (reading(9, 4, 2), with("db"))]);
    let sums = world.sums();
    assert_eq!(sums.len(), 1);
    let (far, port, sum) = &sums[0];
    assert_eq!((far.as_str(), *port, sum.live), ("db", 80, 3));
    assert_eq!(
        (sum.counts.opened, sum.counts.closed, sum.counts.sent_bytes),
        (7, 4, 700)
    );
    world.scrape(&[(reading(8, 5, 0), with("db")), (reading(9, 4, 2), with("db"))]);
    let (_, _, sum) = &world.sums()[0];
    assert_eq!((sum.counts.opened, sum.counts.sent_bytes, sum.live), (9, 900, 2));
}

#[test]
fn round_trip_times_are_those_of_ended_connections_and_of_open_ones_in_each_scrape() {
    let mut world = World::new();
    let mut edge = reading(8, 2, 1);
    edge.counts.round_trips = RoundTrips {
        count: 1,
        microseconds: 1000,
    };
    for (scrapes, wanted) in [(1, (2, 1300)), (2, (3, 1600))] {
        world.scrape(&[(edge, with("db"))]);
        let (_, _, sum) = &world.sums()[0];
        assert_eq!(
            (sum.round_trips.count, sum.round_trips.microseconds),
            wanted,
            "{scrapes}"
        );
    }
}

#[test]
fn a_sum_never_falls() {
    let mut world = World::new();
    world.scrape(&[(reading(8, 5, 2), with("db"))]);
    // A connection ended between the two readings of the kernel: it is in neither.
    let mut fallen = reading(8, 5, 1);
    fallen.counts.sent_bytes = 350;
    world.scrape(&[(fallen, with("db"))]);
    assert_eq!(world.sums()[0].2.counts.sent_bytes, 500);
    let mut next = reading(8, 6, 1);
    next.counts.sent_bytes = 610;
    world.scrape(&[(next, with("db"))]);
    assert_eq!(world.sums()[0].2.counts.sent_bytes, 610, "nothing is counted twice");
}

#[test]
fn an_end_that_is_not_known_yet_is_waited_for() {
    let mut world = World::new();
    for who in [Who::Open, late(UNKNOWN)] {
        world.scrape(&[(reading(8, 1, 1), who)]);
        assert!(world.sums().is_empty());
    }
    world.now += PATIENCE / 2;
    world.scrape(&[(reading(8, 2, 1), with("db"))]);
    assert_eq!(world.opened(), [("db".to_owned(), 2)]);
    let mut world = World::new();
    world.scrape(&[(reading(8, 1, 1), late(UNKNOWN))]);
    world.now += PATIENCE;
    world.scrape(&[(reading(8, 1, 1), late(UNKNOWN))]);
    assert_eq!(world.opened(), [(UNKNOWN.to_owned(), 1)]);
    // Somebody says at last who it is. What was counted stays where it is.
    world.scrape(&[(reading(8, 4, 1), with("db"))]);
    assert_eq!(world.opened(), [(UNKNOWN.to_owned(), 1), ("db".to_owned(), 3)]);
}

#[test]
fn whoever_had_an_address_last_is_whose_it_is_until_somebody_has_it() {
    let mut world = World::new();
    world.scrape(&[(reading(8, 2, 1), with("db"))]);
    world.scrape(&[(reading(8, 3, 0), late(UNKNOWN))]);
    assert_eq!(world.opened(), [("db".to_owned(), 3)]);
}

#[test]
fn an_address_that_was_given_to_somebody_else_is_nobodys_for_one_scrape() {
    let mut world = World::new();
    world.scrape(&[(reading(8, 2, 0), with("db"))]);
    world.scrape(&[(reading(8, 5, 1), with("cache"))]);
    let wanted = [(UNKNOWN, 3), ("cache", 0), ("db", 2)].map(|(far, opened)| (far.to_owned(), opened));
    assert_eq!(world.opened(), wanted);
    world.scrape(&[(reading(8, 9, 1), with("cache"))]);
    let wanted = [(UNKNOWN, 3), ("cache", 4), ("db", 2)].map(|(far, opened)| (far.to_owned(), opened));
    assert_eq!(world.opened(), wanted);
}

#[test]
fn what_came_while_another_had_the_address_is_nobodys() {
    let mut world = World::new();
    world.scrape(&[]);
    let until = world.now + PATIENCE / 4;
    world.now += PATIENCE / 2;
    // The other one ended since the last scrape, and the kernel has the edge since then.
    world.scrape(&[(reading(8, 3, 1), changed("cache", until))]);
    let wanted = [(UNKNOWN, 3), ("cache", 0)].map(|(far, opened)| (far.to_owned(), opened));
    assert_eq!(world.opened(), wanted);
    // By now it had ended before that scrape.
    world.now += PATIENCE / 2;
    world.scrape(&[
        (reading(8, 5, 1), changed("cache", until)),
        (reading(9, 7, 0), changed("db", until)),
    ]);
    let wanted = [(UNKNOWN, 3), ("cache", 2), ("db", 7)].map(|(far, opened)| (far.to_owned(), opened));
    assert_eq!(world.opened(), wanted);
}

#[test]
fn who_has_ended_has_what_came_before_the_end() {
    let mut world = World::new();
    world.scrape(&[]);
    let until = world.now + PATIENCE / 4;
    world.now += PATIENCE / 2;
    world.scrape(&[(reading(8, 3, 0), former("job", until))]);
    assert_eq!(world.opened(), [("job".to_owned(), 3)]);
    // Somebody else has the address, and is not known yet.
    world.now += PATIENCE / 4;
    world.scrape(&[
        (reading(8, 3, 0), late(UNKNOWN)),
        (reading(9, 5, 1), former("job", until)),
    ]);
    assert_eq!(world.opened(), [("job".to_owned(), 3)]);
    world.now += PATIENCE / 4;
    world.scrape(&[(reading(9, 6, 1), with("cache"))]);
    let wanted = [("cache", 6), ("job", 3)].map(|(far, opened)| (far.to_owned(), opened));
    assert_eq!(world.opened(), wanted);
}

#[test]
fn what_waits_for_a_name_since_another_had_the_address_is_nobodys() {
    let mut world = World::new();
    world.scrape(&[(reading(8, 3, 1), late(UNKNOWN))]);
    let until = world.now + PATIENCE / 4;
    world.now += PATIENCE / 2;
    world.scrape(&[(reading(8, 3, 1), late(UNKNOWN))]);
    world.now += PATIENCE / 4;
    world.scrape(&[(reading(8, 4, 1), changed("cache", until))]);
    let wanted = [(UNKNOWN, 4), ("cache", 0)].map(|(far, opened)| (far.to_owned(), opened));
    assert_eq!(world.opened(), wanted);
}

#[test]
fn an_edge_of_no_interest_is_in_no_sum() {
    let mut world = World::new();
    world.scrape(&[(reading(8, 2, 1), Who::Nobody)]);
    assert!(world.sums().is_empty());
}

#[test]
fn what_is_taken_out_of_the_kernels_map_is_counted_once() {
    let mut world = World::new();
    world.scrape(&[(reading(8, 5, 0), with("db"))]);
    // Two more connections came between the reading and the taking.
    let taken = reading(8, 7, 0).counts;
    let terms = world.terms();
    world.ledger.begin(world.now);
    world.ledger.taken(id(8), &taken, &terms, || panic!("it is known"));
    world.ledger.observe(&reading(8, 1, 1), &terms, || with("db"));
    world.ledger.end(|_| true);
    assert_eq!(world.opened(), [("db".to_owned(), 8)]);
    world.scrape(&[]);
    assert_eq!(world.opened(), [("db".to_owned(), 8)], "the kernel has no more of it");
}

#[test]
fn a_namespace_that_is_gone_leaves_its_last_counts() {
    let mut world = World::new();
    world.scrape(&[(reading(8, 5, 2), with("db"))]);
    let terms = world.terms();
    let last = reading(8, 6, 0).counts;
    world.ledger.begin(world.now);
    world.ledger.taken(id(8), &last, &terms, || panic!("it is known"));
    // No scrape saw this one. Nobody is waited for.
    world.ledger.taken(id(9), &last, &terms, || late(UNKNOWN));
    world.ledger.end(|_| true);
    let wanted = [(UNKNOWN, 6), ("db", 6)].map(|(far, opened)| (far.to_owned(), opened));
    assert_eq!(world.opened(), wanted);
}

#[test]
fn the_sums_of_a_service_that_is_gone_end() {
    let mut world = World::new();
    world.scrape(&[(reading(8, 5, 0), with("db"))]);
    world.ledger.begin(world.now);
    let terms = world.terms();
    world.ledger.observe(&reading(8, 5, 0), &terms, || with("db"));
    world.ledger.end(|party| *party != near().party);
    assert!(world.sums().is_empty());
    // It is back, and its sums begin again.
    world.scrape(&[(reading(8, 6, 0), with("db"))]);
    assert_eq!(world.opened(), [("db".to_owned(), 1)]);
}

#[test]
fn an_edge_that_is_missing_in_one_scrape_is_not_counted_again() {
    let mut world = World::new();
    world.scrape(&[(reading(8, 5, 0), with("db"))]);
    world.scrape(&[]);
    world.scrape(&[(reading(8, 6, 0), with("db"))]);
    assert_eq!(world.opened(), [("db".to_owned(), 6)]);
}

#[test]
fn a_stack_that_becomes_known_or_unknown_gives_nothing_to_nobody() {
    let mut world = World::new();
    let with = |stack: &str| Who::Both(near(), Naming::Certain(party("shop_db", stack)));
    world.scrape(&[(reading(8, 5, 0), with("shop"))]);
    world.scrape(&[(reading(8, 6, 0), with(""))]);
    assert_eq!(world.opened(), [("shop_db".to_owned(), 6)]);
    let mut world = World::new();
    world.scrape(&[(reading(8, 5, 0), with(""))]);
    world.scrape(&[(reading(8, 6, 0), with("shop"))]);
    let wanted = [("shop_db", 5), ("shop_db", 1)].map(|(far, opened)| (far.to_owned(), opened));
    assert_eq!(world.opened(), wanted);
}
