//! How many sockets TCP has in a namespace. Knows how the kernel counts them, per CPU and under a protocol's index.

use core::ptr::{read_volatile, write_volatile};

use netmon_common::protocols::Row;

use super::{Object, Scratch};
use crate::{
    kernel::{Arguments, UNSET},
    maps::Array,
};

/// Finds out the index of the protocol of a socket that the running task has open. The first argument is its descriptor,
/// the second one a ticket, which the row gets only then.
#[inline(always)]
pub fn index(object: &impl Object, ctx: impl Arguments) {
    let Some(row) = object.row().at(0) else { return };
    if let Some(index) = find(object, ctx.number(0)) {
        // SAFETY: the row exists while the program runs. Only these programs write it, one run after the other.
        unsafe {
            write_volatile(&raw mut (*row).failures, 0);
            write_volatile(&raw mut (*row).sockets, index.into());
            write_volatile(&raw mut (*row).ticket, ctx.pointer(1));
        }
    }
}

#[inline(always)]
fn find(object: &impl Object, descriptor: u32) -> Option<u32> {
    let files: u64 = object.probe(object.current_task(), object.task_files())?;
    let table: u64 = object.probe(files, object.files_table())?;
    let list: u64 = object.probe(table, object.table_files())?;
    let file: u64 = object.probe(list.wrapping_add(u64::from(descriptor) * 8), 0)?;
    let socket: u64 = object.probe(file, object.file_data())?;
    let sock: u64 = object.probe(socket, object.socket_sock())?;
    let protocol: u64 = object.probe(sock, object.sock_protocol())?;
    object.probe(protocol, object.protocol_index())
}

/// Adds a protocol's count of a CPU, at this offset from the CPU's counts, to the row; nothing if the offset is unset. Does
/// not return 0 if it cannot be read. There is no branch, as in [`super::add`].
///
/// # Safety
/// The row and the place are values of the object's maps, which nobody else writes meanwhile.
#[inline(always)]
pub(super) unsafe fn add(object: &impl Object, row: *mut Row, scratch: *mut Scratch, counts: u64, offset: u32) -> u64 {
    let mask = super::ones_unless_zero(u64::from(offset ^ UNSET));
    // Eight bytes, of which the count is one half. The kernel aligns them to four bytes, as the count.
    let word = counts.wrapping_add(u64::from(offset & !7)) & mask;
    let half = (offset >> 2 & 1) as usize;
    // SAFETY: one word is within the place, and so is either half. The row is as the caller promises.
    unsafe {
        let failed = object.copy(scratch.cast(), 1, word);
        let count = read_volatile(scratch.cast::<i32>().add(half));
        let count = i64::from(count).cast_unsigned() & mask;
        let sum = &raw mut (*row).sockets;
        write_volatile(sum, read_volatile(sum).wrapping_add(count));
        failed & mask
    }
}
