//! What a service's sums have of its containers' drops and connections, whatever becomes of the containers.

mod world;

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use self::world::{LINGER, SERVICES, World};
use crate::observe::state::ServiceKey;

#[derive(Clone, Copy, Debug)]
enum Step {
    Start(usize),
    Name,
    Lose(usize, usize, u32, u64),
    Connect(usize, usize, u64),
    Read,
    Join,
    Scrape,
    End(usize),
    Wait(u64),
    Expire(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..8_usize;
    let step = prop_oneof![
        3 => (0..2_usize).prop_map(Step::Start),
        2 => Just(Step::Name),
        6 => (which.clone(), 0..3_usize, 5..7_u32, 1..9_u64).prop_map(|(at, device, reason, packets)| Step::Lose(at, device, reason, packets)),
        6 => (which.clone(), 0..3_usize, 1..9_u64).prop_map(|(at, device, connects)| Step::Connect(at, device, connects)),
        1 => Just(Step::Read),
        1 => Just(Step::Join),
        3 => Just(Step::Scrape),
        4 => which.prop_map(Step::End),
        3 => prop_oneof![Just(1), Just(20), Just(61)].prop_map(Step::Wait),
        4 => prop::bool::weighted(0.7).prop_map(Step::Expire),
    ];
    prop::collection::vec(step, 0..60)
}

/// The kernel gives a part of what it has. The rest is not nobody's meanwhile, however long that takes.
#[test]
fn what_cannot_be_taken_out_of_the_kernel_yet_is_the_services_when_it_is() {
    let mut world = World::new();
    world.start(SERVICES[0]);
    world.name();
    world.end(2);
    world.lose(2, 0, 5, 2);
    world.now += LINGER;
    world.expire(false);
    for _ in 0..2 {
        world.join(&world.maps.clone());
        assert_eq!(world.unattributed, 0);
        world.now += LINGER;
    }
    world.expire(true);
    assert_eq!(World::sums(world.state.service_events()), World::sums(&world.truth));
}

proptest! {
    /// The sums of a service never fall. They are what all its containers ever counted, whether a scrape saw them or not,
    /// except for drops that were shown as nobody's before the engine said whose they were.
    #[test]
    fn a_services_sums_are_those_of_all_its_containers(steps in steps(), is_prompt in prop::bool::ANY) {
        let mut world = World::new();
        let mut shown = BTreeMap::new();
        let all = steps.into_iter().chain([Step::Name, Step::Wait(61), Step::Expire(true), Step::Scrape]);
        for step in all {
            match step {
                Step::Start(service) if world.lives.len() < 8 => {
                    world.start(SERVICES[service]);
                    if is_prompt {
                        world.name();
                    }
                }
                Step::Start(_) => {}
                Step::Name => world.name(),
                Step::Lose(at, device, reason, packets) => world.lose(at, device, reason, packets),
                Step::Connect(at, device, connects) => world.connect(at, device, connects),
                Step::Read => world.read = Some(world.maps.clone()),
                Step::Join => {
                    if let Some(read) = world.read.take() {
                        world.join(&read);
                    }
                }
                Step::Scrape => {
                    world.read = None;
                    world.join(&world.maps.clone());
                }
                Step::End(at) => {
                    world.end(at);
                    world.name();
                }
                Step::Wait(seconds) => world.now += Duration::from_secs(seconds),
                Step::Expire(works) => world.expire(works),
            }
            let now = World::sums(world.state.service_events());
            for (key, before) in &shown {
                prop_assert!(now.get(key) >= Some(before), "{key:?} fell from {before}: {now:?} after {step:?}");
            }
            shown = now;
            if is_prompt && matches!(step, Step::Scrape) && world.waiting.is_empty() {
                prop_assert_eq!(&shown, &World::sums(&world.truth));
            }
        }
        let (mut shown, mut truth) = (shown, World::sums(&world.truth));
        if !is_prompt {
            let is_drop = |(_, what): &(ServiceKey, String), _: &mut u64| what.starts_with("REASON");
            let lost: u64 = truth.extract_if(.., is_drop).map(|(_, count)| count).sum();
            let of_services: u64 = shown.extract_if(.., is_drop).map(|(_, count)| count).sum();
            prop_assert_eq!(of_services + world.unattributed, lost);
        }
        prop_assert_eq!(shown, truth);
    }
}
