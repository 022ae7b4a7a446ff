//! Totals of an interface, and the sum of its service, whatever happens to their readings.

use std::{sync::Arc, time::Instant};

use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{
    ETH0, LINGER, NSID, counters, device, hear, news, one_container,
    readings::{Counted, attach},
};
use crate::{
    model::{
        counters::{DeviceCounters, Directions, Totals},
        interface::{InterfaceId, NetnsId},
        netns::{Listing, NetnsFile},
    },
    observe::state::{Number, State},
};

/// What the container had when netmon came.
const BEFORE: u64 = 10;

/// A container, and what its device and programs have counted.
struct World {
    state: State,
    file: NetnsFile,
    netns: NetnsId,
    device: u64,
    programs: Option<Counted>,
    handle: u64,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let (mut state, file, netns) = one_container(now);
        state.numbered(netns, Number { nsid: NSID, since: now });
        Self {
            state,
            file,
            netns,
            device: BEFORE,
            programs: None,
            handle: 0,
            now,
        }
    }

    fn id(&self) -> InterfaceId {
        InterfaceId {
            netns: self.netns,
            ifindex: ETH0,
        }
    }

    fn is_watched(&self) -> bool {
        self.state.interface(self.id()).is_some()
    }

    fn attach(&mut self) {
        if self.is_watched() && self.programs.is_none() {
            self.handle += 1;
            self.programs = Some(attach(&mut self.state, self.netns, self.handle, 0));
        }
    }

    fn detach(&mut self) {
        if self.is_watched() && self.programs.take().is_some() {
            self.state.mark_detached(self.id());
        }
    }

    fn pass(&mut self, packets: u64) {
        self.device += packets;
        self.lose(packets);
    }

    /// Packets pass the programs, and the device does not get them.
    fn lose(&self, packets: u64) {
        if let Some(programs) = &self.programs {
            programs.count(packets);
        }
    }

    fn read(&mut self, is_there: bool) {
        if let Some(opening) = self.state.open_reading(self.netns) {
            let devices: Vec<_> = is_there.then(|| (ETH0, counters(self.device))).into_iter().collect();
            let counts = opening.read();
            self.state.close_reading(&opening, &counts, &devices, &counts);
        }
    }

    /// Its file is missing for a moment. Programs of the old entry are not those of the new one.
    fn vanish_and_return(&mut self) {
        self.state.listed(Listing::default(), self.now);
        self.programs = None;
        self.look();
    }

    fn look(&mut self) {
        let devices = vec![device(ETH0, "eth0")];
        self.state.looked(&self.file, self.netns, devices, self.now);
        self.state.name();
    }

    /// The device is found deleted.
    fn end(&mut self) {
        self.state.looked(&self.file, self.netns, Vec::new(), self.now);
    }

    /// The kernel's last message about it arrives.
    fn hear(&mut self) {
        hear(&mut self.state, &news(true, false, counters(self.device)));
    }

    fn service(&self) -> Directions<Totals> {
        self.state.services().into_values().next().unwrap_or_default()
    }

    /// What is shown of the interface.
    fn shown(&self) -> Totals {
        let living = self.state.interfaces().map(|it| it.ledger.totals().receive);
        let ended = self.state.ended().map(|it| it.totals().receive);
        living.chain(ended).next().expect("it lingers")
    }
}

#[test]
fn last_counters_that_come_late_are_added_once_though_an_estimate_was_shown() {
    let mut world = World::new();
    world.attach();
    world.read(true);
    world.pass(5);
    world.state.estimate(world.netns);
    world.pass(5);
    world.end();
    assert_eq!((world.shown().packets, world.service().receive.packets), (20, 10));
    world.device += 3;
    for _ in 0..2 {
        world.hear();
        assert_eq!((world.shown().packets, world.service().receive.packets), (23, 13));
    }
    world.state.expire(world.now + LINGER);
    assert_eq!(world.service().receive.packets, 13);
}

#[test]
fn a_services_sum_stays_while_the_engine_has_a_container_of_it_and_no_longer() {
    let mut world = World::new();
    world.pass(5);
    world.hear();
    world.end();
    let later = world.now + LINGER;
    // The first call finds that the interface lingered long enough. The others find nothing.
    for _ in 0..3 {
        world.state.expire(later);
        assert_eq!(world.service().receive.packets, 5);
    }
    world.state.set_inventory(Arc::default());
    world.state.expire(later);
    assert_eq!(world.service().receive.packets, 5, "its namespace is still there");
    world.state.listed(Listing::default(), later);
    world.state.expire(later + LINGER);
    assert!(world.state.services().is_empty());
}

#[test]
fn last_counters_are_not_refused_for_an_estimate_that_was_too_high() {
    let mut world = World::new();
    world.attach();
    world.read(true);
    world.pass(5);
    world.lose(1);
    world.state.estimate(world.netns);
    assert_eq!(world.shown().packets, 16);
    world.end();
    let mut change = news(true, false, counters(15));
    change.counters = change
        .counters
        .map(|it| it.map(|it| DeviceCounters { dropped: 1, ..it }));
    hear(&mut world.state, &change);
    assert_eq!((world.shown().packets, world.shown().dropped), (16, 1));
}

#[test]
fn a_device_that_is_not_among_those_that_were_read_is_not_estimated() {
    let mut world = World::new();
    world.attach();
    world.read(true);
    world.pass(5);
    world.lose(1);
    world.read(false);
    let shown = world.shown();
    assert_eq!((shown.packets, shown.segments, shown.tcp_segments), (10, 6, 6));
    world.hear();
    world.end();
    assert_eq!(world.shown().packets, 15, "its own last counters");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Lose,
    Hide,
    Read,
    Fail,
    Miss,
    Attach,
    Detach,
    Return,
    Overrun,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..20_u64).prop_map(Step::Pass),
        1 => Just(Step::Lose),
        1 => Just(Step::Hide),
        4 => Just(Step::Read),
        2 => Just(Step::Fail),
        1 => Just(Step::Miss),
        2 => Just(Step::Attach),
        1 => Just(Step::Detach),
        1 => Just(Step::Return),
        1 => Just(Step::Overrun),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// The totals of an interface and the sum of its service never fall. The sum rises by what the interface's totals
    /// rise by. In the end both are the device's own, or an estimate that was shown and was higher.
    #[test]
    fn totals_and_sums_never_fall_or_jump(steps in steps(), heard in 0..3_u8, has_estimates in prop::bool::ANY) {
        let mut world = World::new();
        let (mut shown, mut sum) = (world.shown(), world.service());
        for step in steps {
            match step {
                Step::Pass(packets) => world.pass(packets),
                Step::Lose => world.lose(1),
                Step::Hide => world.device += 1,
                Step::Read => world.read(true),
                Step::Fail if has_estimates => world.state.estimate(world.netns),
                Step::Miss | Step::Fail => world.read(false),
                Step::Attach => world.attach(),
                Step::Detach => world.detach(),
                Step::Return => world.vanish_and_return(),
                Step::Overrun => world.state.on_overrun(),
            }
            let (now, service) = (world.shown(), world.service());
            prop_assert!(now.packets >= shown.packets && now.bytes >= shown.bytes, "{now:?} after {shown:?}");
            prop_assert_eq!(service.zip(sum, Totals::highest), service);
            prop_assert_eq!(service.receive.packets, now.packets - BEFORE);
            prop_assert_eq!(service.receive.bytes, now.bytes - BEFORE * 100);
            prop_assert!(service.receive.tcp_segments >= sum.receive.tcp_segments);
            (shown, sum) = (now, service);
        }
        // Its last counters arrive in time, late, or twice.
        if heard > 0 {
            world.hear();
        }
        world.end();
        if heard == 0 {
            // Without them, the map tells the last packets.
            shown = world.shown();
        }
        world.hear();
        if heard > 1 {
            world.hear();
        }
        let last = world.shown();
        prop_assert_eq!(last.packets, world.device.max(shown.packets));
        prop_assert_eq!(last.bytes, (world.device * 100).max(shown.bytes));
        world.state.expire(world.now + LINGER);
        prop_assert_eq!(world.service().receive.packets, last.packets - BEFORE);
        prop_assert!(world.service().receive.segments >= sum.receive.segments);
    }
}
