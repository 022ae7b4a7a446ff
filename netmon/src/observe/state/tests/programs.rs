//! Which interfaces get programs, and when.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ETH0, LINGER, SCOPE, device, file, inventory, one_container, readings::attach};
use crate::{
    model::{
        interface::{InterfaceId, NetnsId},
        inventory::Inventory,
        netns::Listing,
    },
    observe::state::State,
};

/// How old an interface has to be to get programs.
const AGE: Duration = Duration::from_secs(1);

#[test]
fn an_interface_of_a_running_container_gets_programs_at_a_certain_age() {
    let now = Instant::now();
    let (mut state, ..) = one_container(now);
    let id = InterfaceId {
        netns: NetnsId(100),
        ifindex: ETH0,
    };
    let candidate = |state: &State, now| state.candidate(now, AGE).map(|candidate| candidate.id);
    assert_eq!(candidate(&state, now), None, "it is too young");
    assert_eq!(state.next_try(now, AGE), Some(now + AGE));
    assert_eq!(candidate(&state, now + AGE), Some(id));
    let mut starting = Arc::unwrap_or_clone(inventory("web.1", "aaaaaaaaaaaa"));
    for container in starting.containers.values_mut() {
        Arc::make_mut(container).running = false;
    }
    state.set_inventory(Arc::new(starting));
    assert_eq!(candidate(&state, now + AGE), None);
}

#[test]
fn an_interface_that_nobody_owns_gets_no_programs() {
    let now = Instant::now();
    let (mut state, ..) = one_container(now);
    state.looked(&file("cccccccccccc", 3), NetnsId(300), vec![device(ETH0, "eth0")], now);
    state.name();
    assert_eq!(
        state.candidate(now + AGE, AGE).map(|candidate| candidate.id.netns),
        Some(NetnsId(100))
    );
}

/// Twenty containers are there already. Three more start each second and live for ten. An attach takes a third of a
/// second.
#[test]
fn who_waits_longest_gets_programs_although_others_start_all_the_time() {
    const OLD: u64 = 20;
    const YOUNG: u64 = 30;
    let mut now = Instant::now();
    let mut state = State::new(SCOPE, LINGER);
    let mut all = Inventory::default();
    for step in 1..=OLD + 180 {
        let name = |number| format!("{number:012x}");
        let of_one = Arc::unwrap_or_clone(inventory("web.1", &name(step)));
        all.containers.extend(of_one.containers);
        all.networks = of_one.networks;
        state.set_inventory(Arc::new(all.clone()));
        let oldest = if step > OLD + YOUNG { step - YOUNG } else { OLD + 1 };
        let living = (1..=OLD.min(step)).chain(oldest..=step);
        let files = living.map(|number| file(&name(number), number)).collect();
        state.listed(
            Listing {
                files,
                ..Listing::default()
            },
            now,
        );
        state.looked(&file(&name(step), step), NetnsId(step), vec![device(ETH0, "eth0")], now);
        state.name();
        if step <= OLD {
            continue;
        }
        now += Duration::from_millis(333);
        if let Some(candidate) = state.candidate(now, AGE) {
            attach(&mut state, candidate.id.netns, step, 0);
        }
    }
    let old = (1..=OLD).map(|netns| InterfaceId {
        netns: NetnsId(netns),
        ifindex: ETH0,
    });
    let without: Vec<_> = old.filter(|id| state.handle(*id).is_none()).collect();
    assert!(without.is_empty(), "{without:?}");
    assert!(
        state.longest_wait(now) < Duration::from_secs(11),
        "{:?}",
        state.longest_wait(now)
    );
}
