//! Slots and arrays. The arrays are files in memory instead of the kernel's.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use netmon_common::traffic::{TRANSMIT, Traffic, index};
use rustix::fs::{MemfdFlags, memfd_create};

use super::{Array, SLOTS, Slot, TrafficMap};
use crate::{
    datapath::{DatapathError, host::Host},
    model::programs::Counts as _,
};

const CPUS: u32 = 3;

const HOST: Host = Host {
    tcx: true,
    cpus: CPUS,
    cpu_ids: CPUS,
    possible: Vec::new(),
};

fn array(_: u32) -> Result<File, DatapathError> {
    let failed = |error| DatapathError::of("make an array", error);
    let file = File::from(memfd_create("array", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?);
    file.set_len(u64::from(Array::entries(CPUS)) * size_of::<Traffic>() as u64)
        .map_err(failed)?;
    Ok(file)
}

/// Allocates a slot, and keeps the array if one is made for it.
fn allocate(map: &TrafficMap, arrays: &mut Vec<File>) -> Option<Slot> {
    let made = |number| {
        assert_eq!(number as usize, arrays.len(), "arrays are made in order");
        let file = array(number)?;
        arrays.push(
            file.try_clone()
                .map_err(|error| DatapathError::of("copy a descriptor", error))?,
        );
        Ok(file)
    };
    map.allocate(made).expect("there is memory")
}

#[test]
fn an_array_is_made_when_the_first_slot_in_it_is_taken() {
    let map = TrafficMap::new(&HOST, 2 * SLOTS + 1);
    let mut arrays = Vec::new();
    let mut slots = Vec::new();
    for slot in 0..=2 * SLOTS {
        assert_eq!(arrays.len(), slot.div_ceil(SLOTS) as usize, "before slot {slot}");
        slots.push(allocate(&map, &mut arrays).expect("a slot is free"));
    }
    assert!(allocate(&map, &mut arrays).is_none(), "all are taken");
    let row = map.row();
    assert_eq!(
        (row.entries, row.max_entries),
        ((2 * SLOTS + 1).into(), (2 * SLOTS + 1).into())
    );
    // A slot that was freed is used again, and needs no new array.
    drop(slots.remove(5));
    let again = allocate(&map, &mut arrays).expect("a slot is free");
    assert_eq!((again.number(), arrays.len()), (5, 3));
}

#[test]
fn a_slot_is_read_from_its_own_place_in_its_own_array() {
    let map = TrafficMap::new(&HOST, 4 * SLOTS);
    let mut arrays = Vec::new();
    let slots: Vec<Slot> = (0..2 * SLOTS).filter_map(|_| allocate(&map, &mut arrays)).collect();
    // One CPU sends a packet on the second interface of the second array.
    let at = index(CPUS - 1, SLOTS, 1, TRANSMIT) as usize * size_of::<Traffic>();
    arrays[1]
        .write_all_at(&1_u64.to_ne_bytes(), at as u64)
        .expect("the file is large enough");
    let sent: Vec<u32> = slots
        .iter()
        .filter(|slot| slot.counters().read().transmit.packets == 1)
        .map(Slot::number)
        .collect();
    assert_eq!(sent, [SLOTS + 1]);
    let nothing = slots.iter().all(|slot| slot.counters().read().receive.packets == 0);
    assert!(nothing);
    // Whoever gets the slot next begins at 0.
    let mut slots = slots;
    drop(slots.remove(SLOTS as usize + 1));
    let next = allocate(&map, &mut arrays).expect("a slot is free");
    assert_eq!((next.number(), next.counters().read().transmit.packets), (SLOTS + 1, 0));
}

#[test]
fn a_slot_without_memory_stays_free() {
    let map = TrafficMap::new(&HOST, 9);
    let refuse = |_| Err::<File, _>(DatapathError::of("make an array", io::ErrorKind::OutOfMemory.into()));
    assert!(map.allocate(refuse).is_err());
    assert_eq!(map.row().entries, 0);
    let mut arrays = Vec::new();
    assert_eq!(allocate(&map, &mut arrays).map(|slot| slot.number()), Some(0));
}
