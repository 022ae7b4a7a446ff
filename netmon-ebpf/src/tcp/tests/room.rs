//! What happens when a namespace's share, or the map, has no room.

use netmon_common::{
    notes::{NO_KEY, NO_SHARE},
    refusal::{FULL, NO_MEMORY, SHARE},
    share::STRANGERS,
};

use super::{OF_IPV4, ROOM, World, reset_received};
use crate::testing::{HERE, THERE};

#[test]
fn beyond_its_share_a_namespaces_new_keys_have_no_device() {
    let world = World::new();
    let socket = |ifindex| world.routed(HERE, world.kernel.device(HERE, ifindex));
    reset_received(&world, &[socket(5)]);
    world.shares.use_up(HERE);
    for ifindex in [6, 7, 5] {
        reset_received(&world, &[socket(ifindex)]);
    }
    assert_eq!(world.interfaces(), [(HERE, 0), (HERE, 5)]);
    let counted = [0, 5].map(|ifindex| world.of(HERE, ifindex).resets_received);
    assert_eq!((counted, world.lost.counted()), ([2, 2], vec![]));
    assert_eq!(world.kernel.notes.take(), [(NO_SHARE, HERE, 0)]);
}

#[test]
fn what_finds_no_room_is_lost_by_its_cause() {
    let world = World::new();
    world.shares.use_up(STRANGERS);
    reset_received(&world, &[world.socket(THERE)]);
    // The map is full, although the namespace has a share.
    world.counts.room.set(0);
    reset_received(&world, &[world.socket(HERE)]);
    world.counts.cause.set(NO_MEMORY);
    for _ in 0..2 {
        reset_received(&world, &[world.socket(HERE)]);
    }
    assert_eq!(world.interfaces(), []);
    assert_eq!(world.lost.counted(), [(FULL, 1), (NO_MEMORY, 2), (SHARE, 1)]);
    // Of each namespace once.
    let noted = [(NO_KEY, THERE, SHARE), (NO_KEY, HERE, FULL)];
    assert_eq!(world.kernel.notes.take(), noted);
}

#[test]
fn a_key_that_found_no_room_uses_no_share() {
    let world = World::new();
    world.counts.room.set(0);
    for ifindex in 1..=ROOM + 100 {
        reset_received(&world, &[world.routed(HERE, world.kernel.device(HERE, ifindex))]);
    }
    assert_eq!(world.shares.keys(HERE), Some(0));
    // Others have left the map.
    world.counts.room.set(1);
    reset_received(&world, &[world.routed(HERE, world.kernel.device(HERE, 5))]);
    assert_eq!(world.interfaces(), [(HERE, 5)]);
    assert_eq!(world.shares.keys(HERE), Some(1));
}

#[test]
fn a_key_that_two_cpus_create_is_one() {
    let world = World::new();
    reset_received(&world, &[world.socket(HERE)]);
    world.counts.misses.set(1);
    reset_received(&world, &[world.socket(HERE)]);
    assert_eq!(world.of(HERE, OF_IPV4).resets_received, 2);
    assert_eq!(world.shares.keys(HERE), Some(1));
}
