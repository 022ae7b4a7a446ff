//! What happens when a namespace's share, or the map, has no room.

use netmon_common::{
    drops::{LOST_REASONS, lost_reason},
    refusal::{FULL, NO_MEMORY, SHARE},
    share::STRANGERS,
};

use super::{IPV4, OTHER, ROOM, UDP, World, key};
use crate::testing::HERE;

#[test]
fn beyond_its_share_a_namespaces_new_keys_have_no_device() {
    let world = World::new();
    world.drop(world.on(HERE, 5, world.packet(IPV4, UDP)), OTHER);
    world.shares.use_up(HERE);
    world.drop(world.on(HERE, 6, world.packet(IPV4, UDP)), OTHER);
    world.drop(world.on(HERE, 7, world.packet(IPV4, UDP)), OTHER);
    // A key that exists still counts.
    world.drop(world.on(HERE, 5, world.packet(IPV4, UDP)), OTHER);
    let expected = [(key(HERE, 0, OTHER), 2), (key(HERE, 5, OTHER), 2)];
    assert_eq!(world.drops.all(), expected);
    assert_eq!(world.lost.get(&OTHER), Some(0));
}

#[test]
fn what_finds_no_room_is_lost_by_its_reason_and_a_subsystems_reasons_are_one() {
    let world = World::new();
    world.shares.use_up(STRANGERS);
    let packet = world.packet(IPV4, UDP);
    world.drop(packet, OTHER);
    // The last one that the kernel may have for itself, and three of subsystems.
    world.drop(packet, LOST_REASONS - 1);
    for reason in [LOST_REASONS, OTHER + LOST_REASONS, 3 << 16 | OTHER] {
        world.drop(packet, reason);
    }
    // The map is full, or there is no memory, although the namespace has a share.
    world.drops.room.set(0);
    world.drop(world.on(HERE, 5, packet), OTHER);
    world.drops.cause.set(NO_MEMORY);
    world.drop(world.on(HERE, 5, packet), OTHER);
    assert!(world.drops.all().is_empty());
    assert_eq!(world.refused.counted(), [(FULL, 1), (NO_MEMORY, 1), (SHARE, 5)]);
    let lost = world.lost.counted();
    assert_eq!(lost, [(OTHER, 3), (LOST_REASONS - 1, 1), (LOST_REASONS, 3)]);
    let reasons: Vec<_> = lost.iter().map(|(index, _)| lost_reason(*index)).collect();
    assert_eq!(reasons, [Some(OTHER), Some(LOST_REASONS - 1), None]);
}

#[test]
fn a_key_that_found_no_room_uses_no_share() {
    let world = World::new();
    world.drops.room.set(0);
    for ifindex in 1..=ROOM + 100 {
        world.drop(world.on(HERE, ifindex, world.packet(IPV4, UDP)), OTHER);
    }
    assert_eq!(world.shares.keys(HERE), Some(0));
    // Others have left the map.
    world.drops.room.set(1);
    world.drop(world.on(HERE, 5, world.packet(IPV4, UDP)), OTHER);
    assert_eq!(world.drops.all(), [(key(HERE, 5, OTHER), 1)]);
    assert_eq!(world.shares.keys(HERE), Some(1));
}

#[test]
fn a_key_that_two_cpus_create_is_one() {
    let world = World::new();
    let packet = world.on(HERE, 5, world.packet(IPV4, UDP));
    world.drop(packet, OTHER);
    world.drops.misses.set(1);
    world.drop(packet, OTHER);
    assert_eq!(world.drops.all(), [(key(HERE, 5, OTHER), 2)]);
    assert_eq!(world.shares.keys(HERE), Some(1));
}
