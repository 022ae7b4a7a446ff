//! Slots and queries that wait. The arrays are files in memory instead of the kernel's.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Arc, atomic::Ordering},
};

use netmon_common::dns::{Asked, DOCKER, Dns, OUTSIDE, PATIENCE, Query, RESOLVERS, SETS, UNIT, WORDS, Ways, index};
use rustix::fs::{MemfdFlags, memfd_create};

use super::{DnsMap, DnsSlot, ENTRIES, WAITING_ENTRIES, monotonic, slots_for};
use crate::{
    datapath::{DatapathError, slots::SLOTS},
    model::{dns::DnsCounts as _, interface::NetnsId},
};

fn file(bytes: usize) -> Result<File, DatapathError> {
    let failed = |error| DatapathError::of("make an array", error);
    let file = File::from(memfd_create("array", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?);
    file.set_len(bytes as u64).map_err(failed)?;
    Ok(file)
}

fn arrays(_: u32) -> Result<(File, File), DatapathError> {
    Ok((
        file(ENTRIES as usize * size_of::<Dns>())?,
        file(WAITING_ENTRIES as usize * size_of::<Ways>())?,
    ))
}

fn slot(map: &mut DnsMap, netns: u64) -> Arc<DnsSlot> {
    let slot = map.slot_of(NetnsId(netns), arrays).expect("there is memory");
    slot.expect("a slot is free")
}

/// A program counts a query for A, which begins to wait now.
fn ask(slot: &DnsSlot, resolver: u32, port: u16, nanoseconds: u64) {
    slot.counts(resolver)[0].fetch_add(1, Ordering::Relaxed);
    let asked = Asked {
        port,
        id: 7,
        resolver,
        server: 0,
    };
    let query = Query::new(asked, nanoseconds).waiting();
    let free = slot.waiting().iter().find(|word| word.load(Ordering::Relaxed) == 0);
    free.expect("a way is free").store(query.word(), Ordering::Relaxed);
}

#[test]
fn all_programs_of_a_namespace_share_its_slot() {
    let mut map = DnsMap::new(2);
    let (one, same, other) = (slot(&mut map, 1), slot(&mut map, 1), slot(&mut map, 2));
    assert_eq!([one.number(), same.number(), other.number()], [0, 0, 1]);
    assert!(
        map.slot_of(NetnsId(3), arrays).is_ok_and(|slot| slot.is_none()),
        "all are taken"
    );
    drop(one);
    assert!(
        map.slot_of(NetnsId(3), arrays).is_ok_and(|slot| slot.is_none()),
        "one still has it"
    );
    drop(same);
    assert_eq!(slot(&mut map, 3).number(), 0);
}

#[test]
fn whoever_gets_a_slot_next_has_asked_nothing() {
    let mut map = DnsMap::new(1);
    let first = slot(&mut map, 1);
    for resolver in [DOCKER, OUTSIDE] {
        ask(&first, resolver, 5000, monotonic());
    }
    assert_eq!(
        (first.read().docker.queries[0], first.read().outside.queries[0]),
        (1, 1)
    );
    drop(first);
    let next = slot(&mut map, 2);
    assert_eq!(next.read(), crate::model::dns::DnsReading::default());
    assert!(next.waiting().iter().all(|word| word.load(Ordering::Relaxed) == 0));
}

#[test]
fn a_query_that_waits_for_too_long_is_unanswered_once() {
    let mut map = DnsMap::new(1);
    let slot = slot(&mut map, 1);
    let now = monotonic();
    let (patience, second) = (u64::from(PATIENCE) * UNIT, 1_000_000_000);
    ask(&slot, OUTSIDE, 5000, now - patience - second);
    ask(&slot, DOCKER, 5001, now - patience - second);
    ask(&slot, DOCKER, 5002, now - patience + 60 * second);
    // Another CPU's clock may be a moment ahead.
    ask(&slot, DOCKER, 5003, now + second);
    for _ in 0..2 {
        slot.sweep(now);
        assert_eq!((slot.read().docker.unanswered, slot.read().outside.unanswered), (1, 1));
    }
    let waiting = slot.waiting().iter().filter(|word| word.load(Ordering::Relaxed) != 0);
    assert_eq!(waiting.count(), 2);
}

#[test]
fn a_slot_is_read_from_its_own_place_in_its_own_arrays() {
    let mut map = DnsMap::new(2 * SLOTS);
    let mut made = Vec::new();
    let slots: Vec<_> = (0..2 * u64::from(SLOTS))
        .map(|netns| {
            let create = |number| {
                assert_eq!(number as usize, made.len(), "arrays are made in order");
                let (counts, waiting) = arrays(number)?;
                made.push(
                    counts
                        .try_clone()
                        .map_err(|error| DatapathError::of("copy it", error))?,
                );
                Ok((counts, waiting))
            };
            let slot = map.slot_of(NetnsId(netns), create).expect("there is memory");
            slot.expect("a slot is free")
        })
        .collect();
    // The words of the second slot in the second array, each with its own number.
    let words: Vec<u8> = (1..=WORDS as u64).flat_map(u64::to_ne_bytes).collect();
    let at = index(1, OUTSIDE) as usize * size_of::<Dns>();
    made[1]
        .write_all_at(&words, at as u64)
        .expect("the file is large enough");
    let read = slots[SLOTS as usize + 1].read();
    assert_eq!(read.docker, Dns::default());
    let expected = Dns {
        queries: [1, 2, 3, 4, 5],
        retries: 6,
        untracked: 7,
        unanswered: 8,
        responses: [9, 10, 11, 12, 13],
        truncated: 14,
        unmatched: 15,
        duration: 16,
        durations: std::array::from_fn(|bucket| 17 + bucket as u64),
    };
    assert_eq!(read.outside, expected);
    let others = slots.iter().filter(|slot| slot.number() != SLOTS + 1);
    assert!(
        others
            .into_iter()
            .all(|slot| slot.read() == crate::model::dns::DnsReading::default())
    );
    assert_eq!((RESOLVERS, SETS.count_ones()), (2, 1));
}

#[test]
fn each_interface_may_have_a_slot_unless_they_are_thousands() {
    assert_eq!([1, 100, 2_048].map(slots_for), [1, 100, 2_048]);
    assert_eq!([2_049, 4_096, 10_000].map(slots_for), [2_048, 2_048, 5_000]);
}

#[test]
fn a_slot_without_memory_stays_free() {
    let mut map = DnsMap::new(9);
    let refuse = |_| Err::<(File, File), _>(DatapathError::of("make arrays", io::ErrorKind::OutOfMemory.into()));
    assert!(map.slot_of(NetnsId(1), refuse).is_err());
    assert_eq!(map.room().row().entries, 0);
    assert_eq!(slot(&mut map, 1).number(), 0);
}
