//! Limits, applied to made-up pages one after the other, as scrapes do. Here: containers and their sums.

mod others;
mod property;
mod reads;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    CAUSED, CONTAINER_FACTS, CONTAINER_NOW, Caps, INTERFACE, Limits, OF_NETMON, OVER, PEER, REST, SERVICE,
    SERVICE_CAUSED, SHARE,
};
use crate::{
    model::{collector::Collector, health::LimitHealth, inventory::Identity},
    page::{
        key::Key,
        labels::key_labels,
        rows::{Rows, Schema, schemas},
        value::Value,
    },
};

const SCRAPE: Duration = Duration::from_secs(15);

key_labels! {
    /// A row of a container.
    Its { container, service, stack, network, what = what }
}

schemas! {
    families of Collector("test");
    "Tests" {
        /// Interfaces.
        INTERFACES(it in u64) by Its, INTERFACE {
            PACKETS: Counter, "test_packets", *it, "Packets.";
        }
        /// Drops.
        DROPS(it in u64) by Its, CAUSED {
            DROPPED: Counter, "test_drops", *it, "Drops.";
        }
        /// Current values.
        SOCKETS(it in u64) by Its, CONTAINER_NOW {
            OPEN: Gauge, "test_sockets", *it, "Sockets.";
        }
        /// Facts.
        FACTS(it in ()) by Its, CONTAINER_FACTS {
            INFO: Info, "test_facts", *it, "Facts.";
        }
        /// Services.
        SERVICES(it in u64) by Its, SERVICE {
            SERVED: Counter, "test_services", *it, "Packets.";
        }
        /// Losses of services.
        LOSSES(it in u64) by Its, SERVICE_CAUSED {
            LOST: Counter, "test_losses", *it, "Losses.";
        }
        /// Other nodes.
        PEERS(it in u64) by Its, PEER {
            SENT: Counter, "test_peers", *it, "Packets.";
        }
        /// What gets the rest.
        REMAINING(it in ()) by Its, REST {
            MEMBERS: Info, "test_members", *it, "Members.";
        }
    }
}

fn identity(container: &str, service: &str) -> Arc<Identity> {
    Arc::new(Identity {
        container: container.to_owned(),
        service: service.to_owned(),
        stack: "stack".to_owned(),
    })
}

/// How long a sum remains without any row.
const KEPT: Duration = Duration::from_mins(10);

/// Limits with room for this many series of containers.
fn limits(containers: usize) -> Limits {
    let has_room = |series: &usize| series - series / SHARE == containers + OF_NETMON;
    Limits::new(Caps {
        series: (0..1_000_000).find(has_room).expect("a number"),
        container_series: 60,
    })
}

/// One page.
#[derive(Default)]
struct Page {
    running: HashMap<Arc<Identity>, bool>,
    interfaces: Vec<(Key, u64)>,
    drops: Vec<(Key, u64)>,
    services: Vec<(Key, u64)>,
    is_partial: bool,
}

impl Page {
    /// Adds a container with an interface.
    fn container(&mut self, identity: &Arc<Identity>, is_running: bool, packets: u64) {
        self.running.insert(Arc::clone(identity), is_running);
        let key = Key::of(identity).on(&"front".into()).what("eth0");
        self.interfaces.push((key, packets));
    }

    fn apply(self, limits: &mut Limits, now: Instant) -> (Vec<Rows>, LimitHealth) {
        let mut rows = vec![
            INTERFACES.rows(self.interfaces),
            DROPS.rows(self.drops),
            SERVICES.rows(self.services),
        ];
        let health = limits.apply(&mut rows, &self.running, self.is_partial, now);
        (rows, health)
    }
}

/// The counts of a schema's rows.
fn counts<L>(schema: &'static Schema<u64, L>, page: &[Rows]) -> Vec<(Key, u64)>
where
    L: crate::page::labels::LabelSet,
{
    let rows = page.iter().find(|rows| std::ptr::eq(rows.group, schema.group()));
    let rows = rows.expect("rows of that schema");
    let values = rows.values.iter().map(|value| match value {
        Value::Whole(count) => *count,
        other @ (Value::Absent | Value::Real(_) | Value::Observed(_)) => panic!("{other:?}"),
    });
    rows.entries.iter().map(|row| row.key.clone()).zip(values).collect()
}

/// The packets of each interface, by container.
fn shown(page: &[Rows]) -> BTreeMap<String, u64> {
    let rows = counts(&INTERFACES, page).into_iter();
    rows.map(|(key, packets)| (key.identity.container.clone(), packets))
        .collect()
}

fn scrape(limits: &mut Limits, now: Instant, containers: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let mut page = Page::default();
    for (name, packets) in containers {
        page.container(&identity(name, "web"), true, *packets);
    }
    shown(&page.apply(limits, now).0)
}

fn expected(rows: &[(&str, u64)]) -> BTreeMap<String, u64> {
    rows.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn who_is_shown_stays_and_the_rest_is_one_sum_that_never_falls() {
    let (mut limits, now) = (limits(2), Instant::now());
    assert_eq!(scrape(&mut limits, now, &[("m", 10)]), expected(&[("m", 10)]));
    // `a` sorts before `m`, but is newer.
    assert_eq!(
        scrape(&mut limits, now + SCRAPE, &[("a", 1), ("b", 2), ("c", 4), ("m", 20)]),
        expected(&[("a", 1), ("m", 20), (OVER, 6)])
    );
    // A container in the sum ends. Its counts remain.
    assert_eq!(
        scrape(&mut limits, now + SCRAPE * 2, &[("a", 1), ("c", 5), ("m", 20)]),
        expected(&[("a", 1), ("m", 20), (OVER, 7)])
    );
    // A shown container ends. That makes room for one from the sum, which starts at 0.
    assert_eq!(
        scrape(&mut limits, now + SCRAPE * 3, &[("c", 8), ("m", 20)]),
        expected(&[("c", 3), ("m", 20), (OVER, 7)])
    );
    assert_eq!(
        scrape(&mut limits, now + SCRAPE * 4, &[("c", 9), ("m", 21)]),
        expected(&[("c", 4), ("m", 21), (OVER, 7)])
    );
    // The sum ends, too, after a while.
    assert_eq!(
        scrape(&mut limits, now + KEPT * 2, &[("c", 9), ("m", 21)]),
        expected(&[("c", 4), ("m", 21)])
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
    let partial = Page {
        is_partial: true,
        ..Page::default()
    };
    partial.apply(&mut limits, now);
    assert_eq!(scrape(&mut limits, now + SCRAPE, &[("a", 1), ("b", 1000)])[OVER], 0);
    let third = scrape(&mut limits, now + 2 * SCRAPE, &[("a", 1), ("b", 1007), ("c", 5)]);
    assert_eq!(third[OVER], 7 + 5);
}
