//! The endpoints of containers whose descriptions are held back, from the engine's lists.
//!
//! The engine holds a description back while it starts or ends the container. On a busy node it arrives when the
//! container has ended, and engines from 26 on have then forgotten its endpoints. The engine's lists do not wait. They
//! have the endpoints from the container's start on (`CheckpointTo` in `containerStart`).
//!
//! One list serves all containers that wait. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::model::inventory::{ContainerId, Endpoint};

/// How long a description may take before the container's endpoints are looked up in a list. On an idle node it takes a
/// few milliseconds. A container with a single task may end within fifty.
pub(super) const HELD_BACK: Duration = Duration::from_millis(10);

/// Who waits, and when to look next.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    /// The containers that started and whose descriptions are awaited, with the endpoints that a list had.
    held: BTreeMap<ContainerId, Vec<Endpoint>>,
    next: Option<Instant>,
    /// The pause after the next list. Each is twice as long as the one before, until another container waits.
    pause: Duration,
    open: bool,
}

impl Lookup {
    /// Takes in the containers that started and whose descriptions are awaited now. Returns those to look for now.
    pub(super) fn look(&mut self, held: BTreeSet<ContainerId>, now: Instant) -> Option<BTreeSet<ContainerId>> {
        self.held.retain(|id, _| held.contains(id));
        for id in held {
            self.held.entry(id).or_insert_with(|| {
                let soon = now + HELD_BACK;
                self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
                self.pause = HELD_BACK * 2;
                Vec::new()
            });
        }
        let waiting: BTreeSet<_> = self
            .held
            .iter()
            .filter(|(_, endpoints)| endpoints.is_empty())
            .map(|(id, _)| ContainerId::clone(id))
            .collect();
        if waiting.is_empty() {
            self.next = None;
        }
        if self.open || self.next? > now {
            return None;
        }
        self.open = true;
        self.next = None;
        Some(waiting)
    }

    /// When to look next. `None` while a list is awaited.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next.filter(|_| !self.open)
    }

    /// Takes in what a list had.
    pub(super) fn found(&mut self, found: BTreeMap<ContainerId, Vec<Endpoint>>, now: Instant) {
        self.open = false;
        for (id, endpoints) in found {
            if let Some(held) = self.held.get_mut(&id) {
                *held = endpoints;
            }
        }
        let next = now + self.pause;
        self.next = Some(self.next.map_or(next, |sooner| sooner.min(next)));
        self.pause *= 2;
    }

    /// The endpoints that a list had of a container, whose description has arrived.
    pub(super) fn take(&mut self, id: &ContainerId) -> Vec<Endpoint> {
        self.held.remove(id).unwrap_or_default()
    }

    /// The connection was lost, and all open questions with it.
    pub(super) fn hang_up(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        time::{Duration, Instant},
    };

    use super::{ContainerId, HELD_BACK, Lookup};
    use crate::docker::roster::tests::place;

    fn ids<const N: usize>(ids: [&str; N]) -> BTreeSet<ContainerId> {
        ids.into_iter().map(ContainerId::from).collect()
    }

    /// When each list is asked for, in milliseconds, if `held` waits for so long and no list has it.
    fn asked(lookup: &mut Lookup, held: &BTreeSet<ContainerId>, from: Instant, for_so_long: u64) -> Vec<u64> {
        let mut all = Vec::new();
        for milliseconds in 0..for_so_long {
            let now = from + Duration::from_millis(milliseconds);
            if let Some(waiting) = lookup.look(held.clone(), now) {
                assert_eq!(waiting, *held);
                all.push(milliseconds);
                lookup.found(BTreeMap::new(), now);
            }
        }
        all
    }

    #[test]
    fn a_description_that_arrives_at_once_costs_no_list() {
        let (mut lookup, now) = (Lookup::default(), Instant::now());
        assert_eq!(lookup.look(ids(["a"]), now), None);
        assert_eq!(lookup.due(), Some(now + HELD_BACK));
        assert_eq!(lookup.look(ids([]), now + HELD_BACK), None);
        assert_eq!(lookup.due(), None);
    }

    #[test]
    fn whoever_waits_long_is_looked_for_ever_more_rarely_and_all_in_one_list() {
        let (mut lookup, now) = (Lookup::default(), Instant::now());
        let many = ids(["a", "b", "c", "d", "e"]);
        let lists = asked(&mut lookup, &many, now, 30_000);
        assert_eq!(lists[..4], [10, 30, 70, 150]);
        assert!(lists.len() <= 12, "{lists:?}");
    }

    #[test]
    fn whoever_comes_later_is_looked_for_soon() {
        let (mut lookup, now) = (Lookup::default(), Instant::now());
        asked(&mut lookup, &ids(["a"]), now, 1000);
        let later = now + Duration::from_secs(1);
        assert_eq!(asked(&mut lookup, &ids(["a", "b"]), later, 100), [10, 30, 70]);
    }

    #[test]
    fn what_a_list_had_is_kept_for_the_description_and_not_looked_for_again() {
        let (mut lookup, now) = (Lookup::default(), Instant::now());
        lookup.look(ids(["a", "b"]), now);
        let asked = lookup.look(ids(["a", "b"]), now + HELD_BACK);
        assert_eq!(asked, Some(ids(["a", "b"])));
        assert_eq!(
            lookup.look(ids(["a", "b"]), now + HELD_BACK),
            None,
            "it is asked for already"
        );
        assert_eq!(lookup.due(), None);
        let found = BTreeMap::from([("a".into(), vec![place(1)]), ("c".into(), vec![place(3)])]);
        lookup.found(found, now + HELD_BACK);
        let later = now + Duration::from_secs(1);
        assert_eq!(lookup.look(ids(["a", "b"]), later), Some(ids(["b"])));
        assert_eq!(lookup.take(&"a".into()), [place(1)]);
        assert_eq!(lookup.take(&"c".into()), [], "nobody waits for it");
    }
}
