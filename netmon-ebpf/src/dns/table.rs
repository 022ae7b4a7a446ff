//! The counts of a slot, and its table of queries that wait. Must not know packets.

use core::ptr::read_volatile;

use netmon_common::dns::{
    CODE_NOERROR, CODE_NXDOMAIN, CODE_OTHER, CODE_REFUSED, CODE_SERVFAIL, DURATION_BOUNDS, Dns, PATIENCE, Query, UNIT,
    WAYS, Waiting, index, set,
};

use super::Object;
use crate::{counter::Counter, maps::Array as _, word};

/// Flags of a response: it was cut, and its code.
const TRUNCATED: u16 = 0x0200;
const CODE: u16 = 0x000f;

/// Counts a query of this kind, and lets it wait.
#[inline(always)]
pub(super) fn sent(object: &impl Object, slot: u32, query: Query, kind: usize) {
    let Some(ways) = object.dns_waiting().at(set(slot, query.set())) else {
        return;
    };
    let (ways, query) = (ways.cast::<u64>(), query.waiting());
    // A free way, or else the one that has waited longest.
    let (mut at, mut longest) = (0, 0);
    for way in 0..WAYS {
        // SAFETY: the way is one of the set's, which exists while the program runs. Others change it meanwhile.
        let word = unsafe { read_volatile(ways.add(way)) };
        let waited = match Waiting::of_word(word) {
            Some(waiting) if waiting.is(query) => {
                if waiting.before(query) < PATIENCE {
                    with(object, slot, query.resolver(), |counts| counts.retries.add(1));
                    return;
                }
                // Its client has given up, and asks anew.
                at = way;
                break;
            }
            Some(waiting) => waiting.before(query),
            None => u32::MAX,
        };
        if waited >= longest {
            (at, longest) = (way, waited);
        }
    }
    with(object, slot, query.resolver(), |counts| {
        // It is one of the types, which the compiler does not know here.
        if let Some(queries) = counts.queries.get(kind) {
            queries.add(1);
        }
    });
    // SAFETY: as above.
    let before = unsafe { word::swap(ways.add(at), query.word()) };
    if let Some(before) = Waiting::of_word(before) {
        with(object, slot, before.resolver(), |counts| {
            if before.before(query) < PATIENCE {
                counts.untracked.add(1);
            } else {
                counts.unanswered.add(1);
            }
        });
    }
}

/// Counts the response to a query that waits. `query` is that query, as if it were sent now.
#[inline(always)]
pub(super) fn answered(object: &impl Object, slot: u32, query: Query, flags: u16, is_datagram: bool) {
    let Some(ways) = object.dns_waiting().at(set(slot, query.set())) else {
        return;
    };
    let (ways, query) = (ways.cast::<u64>(), query.waiting());
    let mut found = None;
    for way in 0..WAYS {
        // SAFETY: the way is one of the set's, which exists while the program runs. Others change it meanwhile.
        let word = unsafe { read_volatile(ways.add(way)) };
        if let Some(waiting) = Waiting::of_word(word)
            && waiting.is(query)
        {
            found = Some((way, waiting));
        }
    }
    let waited = found
        .filter(|(way, waiting)| {
            // SAFETY: as above.
            unsafe { word::replace(ways.add(*way), waiting.word(), 0) }
        })
        .map(|(_, waiting)| waiting.before(query));
    with(object, slot, query.resolver(), |counts| {
        let Some(waited) = waited else {
            // In a segment, it may be in the middle of a message.
            if is_datagram {
                counts.unmatched.add(1);
            }
            return;
        };
        if waited >= PATIENCE {
            // Whoever asked has given up.
            counts.unanswered.add(1);
            counts.unmatched.add(1);
            return;
        }
        let code = match flags & CODE {
            0 => CODE_NOERROR,
            2 => CODE_SERVFAIL,
            3 => CODE_NXDOMAIN,
            5 => CODE_REFUSED,
            _ => CODE_OTHER,
        };
        counts.responses[code].add(1);
        if flags & TRUNCATED != 0 {
            counts.truncated.add(1);
        }
        counts.duration.add(waited.into());
        if let Some(bucket) = counts.durations.get(bucket(waited)) {
            bucket.add(1);
        }
    });
}

/// Calls `change` with a slot's counts for a resolver.
#[inline(always)]
fn with(object: &impl Object, slot: u32, resolver: u32, change: impl FnOnce(&Dns<Counter>)) {
    if let Some(counts) = object.dns().at(index(slot, resolver)) {
        // SAFETY: the value exists while the program runs, and whoever writes it adds to it, a word at a time. A counter
        // has the layout of a `u64`.
        change(unsafe { &*counts.cast() });
    }
}

/// The bucket of a duration.
#[inline(always)]
pub(super) fn bucket(duration: u32) -> usize {
    let mut bucket = 0;
    for bound in DURATION_BOUNDS {
        bucket += usize::from(u64::from(duration) > u64::from(bound) * 1_000 / UNIT);
    }
    bucket
}
