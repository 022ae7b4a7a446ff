//! The storage of sockets: who gets some, and how many have it.

use netmon_common::{
    edges::{Connection, SOCKETS, SOCKETS_OF_NAMESPACE},
    share::STRANGERS,
};

use super::Object;
use crate::{
    counter::Counter,
    kernel::Arguments,
    maps::{Array as _, Map as _, Storage as _},
};

/// What is added for one less: the counts wrap.
const LESS: u64 = u64::MAX;

/// The storage of a socket, which is created if there is room. A socket that was closed and connects again has it.
#[inline(always)]
pub(super) fn track(object: &impl Object, socket: u64, netns: u64) -> Option<*mut Connection> {
    let connections = object.connections();
    if let Some(connection) = connections.of(socket) {
        return Some(connection);
    }
    let strangers = STRANGERS;
    let (sockets, counted_under) = match object.sockets().find(&netns) {
        Some(sockets) => (sockets, netns),
        None => (object.sockets().find(&strangers)?, strangers),
    };
    let tracked = object.tracked().at(0)?;
    // SAFETY: the values exist while the program runs. Others may write meanwhile: then there are a few more.
    let (its, all) = unsafe { ((*sockets).cast_signed(), (*tracked).cast_signed()) };
    // Sockets from before a namespace was watched may go under its count later: then it is below 0.
    if its >= SOCKETS_OF_NAMESPACE || all >= SOCKETS.into() {
        return None;
    }
    let connection = connections.create(socket)?;
    // SAFETY: as above, and only these programs write them.
    unsafe {
        (*connection).counted_under = counted_under;
        Counter::at(sockets).add(1);
        Counter::at(tracked).add(1);
    }
    Some(connection)
}

/// A socket goes (`tcp_destroy_sock`), and its storage a moment later.
#[inline(always)]
pub fn destroyed(object: &impl Object, arguments: impl Arguments) {
    let socket = arguments.pointer(0);
    let Some(connection) = object.connections().of(socket) else {
        return;
    };
    // SAFETY: the value exists while the program runs.
    let netns = unsafe { (*connection).counted_under };
    for count in [object.sockets().find(&netns), object.tracked().at(0)]
        .into_iter()
        .flatten()
    {
        // SAFETY: the value exists while the program runs, and only these programs write it.
        unsafe { Counter::at(count) }.add(LESS);
    }
}

/// Counts a socket that has storage, whatever became of its connection.
#[inline(always)]
pub(super) fn see(object: &impl Object, counted_under: u64) {
    let all = object.seen();
    let mut found = all.find(&counted_under);
    if found.is_none() {
        // A variable, because a reference to a constant would become one more section of read-only data, and so a map.
        let none = 0;
        // Without room the daemon corrects nothing.
        let _added = all.add(&counted_under, &none);
        found = all.find(&counted_under);
    }
    if let Some(seen) = found {
        // SAFETY: the value exists while the program runs, and only this program writes it, in one pass after the other.
        unsafe { *seen += 1 };
    }
}
