//! Adds up the counters of a namespace's protocols. The programs are not attached: the daemon runs them, in the
//! namespace that it asks about.
//!
//! The kernel keeps the counters per CPU, as `/proc` adds them up: over all CPUs that there may be. A counter is
//! aligned and has 64 bits, so no copy sees half of a change.

mod conntrack;
mod sockets;
#[cfg(test)]
mod tests;

use core::ptr::{read_volatile, write_volatile};

use netmon_common::protocols::{
    COPIES, COUNTERS, COUNTERS_OF, CPUS_A_RUN, DEVICES, FIRST_OF_IPV6, MAX_CPUS, MAY_QUEUE, NO_CONNTRACK, NO_QUEUES,
    Row, SOCKETS_IPV4, SOCKETS_IPV6, TABLES, WIDEST,
};

pub use self::sockets::index;
use crate::{
    kernel::{Arguments, Memory, UNSET},
    maps::Array,
};

/// The names of disciplines that queue nothing. A name fills sixteen bytes.
const NO_QUEUE: u64 = u64::from_ne_bytes(*b"noqueue\0");
const NO_OPERATION: u64 = u64::from_ne_bytes(*b"noop\0\0\0\0");

/// A place to copy a window to.
pub type Scratch = [u64; WIDEST];
/// What the kernel adds to a per-CPU pointer, for each CPU.
pub type Shifts = [u64; MAX_CPUS];

/// What the programs' object has.
pub trait Object: Memory {
    /// The task that runs the program, as a pointer whose type the verifier knows.
    fn current_task(&self) -> u64;
    /// From a task to its namespaces.
    fn task_namespaces(&self) -> u32;
    /// From these to the network namespace.
    fn namespaces_net(&self) -> u32;
    /// A namespace's cookie.
    fn namespace_cookie(&self) -> u32;
    /// A namespace's limit for connections that wait to be accepted.
    fn namespace_somaxconn(&self) -> u32;
    /// A namespace's count of references to sockets in `TIME_WAIT`.
    fn namespace_time_wait(&self) -> u32;
    /// A namespace's list of devices.
    fn namespace_devices(&self) -> u32;
    /// A device's place in that list.
    fn device_listed(&self) -> u32;
    /// From a device to its root queueing discipline.
    fn device_qdisc(&self) -> u32;
    /// From a queueing discipline to its operations.
    fn qdisc_operations(&self) -> u32;
    /// The name of the discipline in its operations.
    fn operations_id(&self) -> u32;
    /// From a namespace to the pointers that modules have there.
    fn namespace_generic(&self) -> u32;
    /// From a registered table of settings to the table.
    fn settings_table(&self) -> u32;
    /// From a namespace to how many sockets each protocol has there.
    fn namespace_sockets(&self) -> u32;
    /// From a task to its files.
    fn task_files(&self) -> u32;
    /// From these to their table.
    fn files_table(&self) -> u32;
    /// From the table to the list of files.
    fn table_files(&self) -> u32;
    /// From a file to what it is of.
    fn file_data(&self) -> u32;
    /// From there, if it is a socket, to the protocol's part.
    fn socket_sock(&self) -> u32;
    /// From this to the protocol.
    fn sock_protocol(&self) -> u32;
    /// The index under which a protocol counts its sockets.
    fn protocol_index(&self) -> u32;
    /// From an array of values per CPU to the pointers to its values.
    fn array_pointers(&self) -> u32;
    /// From a namespace to a table. [`crate::kernel::UNSET`] if this kernel has no such table.
    fn table(&self, table: usize) -> u32;
    /// The first counter of a window.
    fn first(&self, window: usize) -> u32;
    /// How many counters a window has.
    fn words(&self, window: usize) -> u32;
    /// Where a counter is in its window.
    fn place(&self, counter: usize) -> u32;
    /// How many CPUs there may be.
    fn cpus(&self) -> u32;
    /// What the kernel adds to a per-CPU pointer.
    fn shifts(&self) -> &impl Array<Shifts>;
    /// What was read.
    fn row(&self) -> &impl Array<Row>;
    /// A place to copy a window to.
    fn scratch(&self) -> &impl Array<Scratch>;
    /// The address of the map of [`Self::scratch`].
    fn scratch_map(&self) -> u64;
    /// The address of the value of [`Self::scratch`] on this CPU; 0 if there is no such CPU.
    fn scratch_on(&self, cpu: u32) -> u64;
}

/// Finds out what the kernel adds to a per-CPU pointer for the CPU with the number of the second argument, and enters it at
/// the index of the first one. The third one is a ticket, which the row gets only then: without its shift a pointer may
/// lead to something else.
///
/// The value of a map per CPU is per-CPU memory. The map has the pointer, and a helper says where it leads on a CPU.
#[inline(always)]
pub fn locate(object: &impl Object, ctx: impl Arguments) {
    let (Some(row), Some(shifts)) = (object.row().at(0), object.shifts().at(0)) else {
        return;
    };
    let place = object.scratch_on(ctx.number(1));
    if place != 0
        && let Some(pointer) = object.probe::<u64>(object.scratch_map(), object.array_pointers())
    {
        // SAFETY: both exist while the program runs. Only these programs write them, one run after the other.
        unsafe {
            write_volatile(shift(shifts, ctx.number(0)), place.wrapping_sub(pointer));
            write_volatile(&raw mut (*row).ticket, ctx.pointer(2));
        }
    }
}

/// Reads the namespace of the thread that runs the program.
#[inline(always)]
pub fn read(object: &impl Object, ctx: impl Arguments) {
    let (Some(row), Some(scratch), Some(shifts)) = (object.row().at(0), object.scratch().at(0), object.shifts().at(0))
    else {
        return;
    };
    // SAFETY: the task is a pointer whose type the verifier knows, and so is each pointer that is read from the one before.
    // The row exists while the program runs, and one run writes it at a time.
    unsafe {
        let namespaces: u64 = object.field(object.current_task(), object.task_namespaces());
        if namespaces == 0 {
            return;
        }
        let net: u64 = object.field(namespaces, object.namespaces_net());
        if net == 0 {
            return;
        }
        write_volatile(&raw mut (*row).cookie, object.field(net, object.namespace_cookie()));
        let word = |offset| u64::from(object.field::<u32>(net, offset));
        write_volatile(&raw mut (*row).somaxconn, word(object.namespace_somaxconn()));
        write_volatile(&raw mut (*row).time_wait, word(object.namespace_time_wait()));
        for counter in 0..COUNTERS {
            write_volatile(count(row, counter), 0);
        }
        // The pointers are per-CPU pointers, which are no addresses yet, and the verifier must not take them for such. By
        // way of the map it knows nothing of them, not even that one is 0: it would walk the loop for each case.
        let failures = &raw mut (*row).failures;
        write_volatile(failures, 0);
        let fail = |failed| write_volatile(failures, read_volatile(failures) | failed);
        let table = |table| {
            write_volatile(scratch.cast::<u64>(), 0);
            if object.table(table) != UNSET {
                fail(object.copy(scratch.cast(), 1, net.wrapping_add(u64::from(object.table(table)))));
            }
            let pointer = read_volatile(scratch.cast::<u64>());
            // Every namespace has the others.
            if table < FIRST_OF_IPV6 {
                fail(!ones_unless_zero(pointer));
            }
            pointer
        };
        let tables: [u64; TABLES] = [table(0), table(1), table(2), table(3), table(4), table(5)];
        // By way of the map the verifier lets it be compared with other numbers.
        write_volatile(scratch.cast::<u64>(), net);
        let address = read_volatile(scratch.cast::<u64>());
        write_volatile(&raw mut (*row).queues, queues(object, scratch, address));
        let tracked = conntrack::entries(object, address, &ctx).unwrap_or(NO_CONNTRACK);
        write_volatile(&raw mut (*row).conntrack_entries, tracked);
        write_volatile(&raw mut (*row).sockets, 0);
        for at in 0..CPUS_A_RUN {
            let cpu = ctx.number(0).wrapping_add(at);
            if is_beyond(object, at, cpu) {
                break;
            }
            let shift = read_volatile(shift(shifts, cpu));
            let add = |copy: usize| {
                let (table, window) = COPIES[copy];
                let pointer = tables[table];
                let mask = if table < FIRST_OF_IPV6 {
                    u64::MAX
                } else {
                    ones_unless_zero(pointer)
                };
                let failed = add(object, row, scratch, pointer.wrapping_add(shift) & mask, window);
                fail(failed & mask);
            };
            add(0);
            add(1);
            add(2);
            add(3);
            add(4);
            add(5);
            add(6);
            add(7);
        }
        let [ipv4, ipv6] = [SOCKETS_IPV4, SOCKETS_IPV6].map(|argument| ctx.number(argument));
        if ipv4 & ipv6 != UNSET {
            fail(object.copy(scratch.cast(), 1, net.wrapping_add(object.namespace_sockets().into())));
            let pointer = read_volatile(scratch.cast::<u64>());
            fail(!ones_unless_zero(pointer));
            for at in 0..CPUS_A_RUN {
                let cpu = ctx.number(0).wrapping_add(at);
                if is_beyond(object, at, cpu) {
                    break;
                }
                let its = pointer.wrapping_add(read_volatile(shift(shifts, cpu)));
                fail(sockets::add(object, row, scratch, its, ipv4));
                fail(sockets::add(object, row, scratch, its, ipv6));
            }
        }
        write_volatile(&raw mut (*row).ticket, ctx.pointer(1));
    }
}

/// Whether a loop over CPUs is at its end. It has no more rounds than there are CPUs, wherever it begins. The verifier knows
/// how many there are and in which round it is, so it need not walk the others.
#[inline(always)]
fn is_beyond(object: &impl Object, round: u32, cpu: u32) -> bool {
    round >= object.cpus() || cpu >= object.cpus()
}

/// Whether a device of the namespace at this address may have a queueing discipline that queues.
///
/// Devices have `noqueue` if they need no queue, and `noop` while they are down (`attach_default_qdiscs` in
/// `net/sched/sch_generic.c`). The program runs under RCU, which holds the list and the disciplines.
///
/// What cannot be read is 0, and leads to nothing. There is no branch for it: the verifier would walk the rest of the list
/// for each.
///
/// # Safety
/// The place is a value of the object's maps, which nobody else writes meanwhile.
#[inline(always)]
unsafe fn queues(object: &impl Object, scratch: *mut Scratch, net: u64) -> u64 {
    let word = |address: u64, offset: u32| {
        let place = scratch.cast::<u64>();
        // SAFETY: one word is within the place.
        unsafe {
            object.copy(place, 1, address.wrapping_add(offset.into()));
            read_volatile(place)
        }
    };
    let head = net.wrapping_add(object.namespace_devices().into());
    let mut place = word(head, 0);
    for _ in 0..DEVICES {
        if place == head {
            return NO_QUEUES;
        }
        let device = place.wrapping_sub(object.device_listed().into());
        let discipline = word(device, object.device_qdisc());
        let operations = word(discipline, object.qdisc_operations());
        if !matches!(word(operations, object.operations_id()), NO_QUEUE | NO_OPERATION) {
            return MAY_QUEUE;
        }
        place = word(place, 0);
    }
    MAY_QUEUE
}

/// All bits, or none if this is 0: without IPv6 there are no tables, and nothing can be read there. It is calculated,
/// because the verifier would walk a loop for either side of a branch.
#[inline(always)]
const fn ones_unless_zero(pointer: u64) -> u64 {
    0_u64.wrapping_sub((pointer | 0_u64.wrapping_sub(pointer)) >> 63)
}

/// An element of the list of shifts.
///
/// # Safety
/// The list exists.
#[inline(always)]
unsafe fn shift(shifts: *mut Shifts, index: u32) -> *mut u64 {
    // SAFETY: as promised by the caller. The length is a power of 2.
    unsafe { shifts.cast::<u64>().add(index as usize & (MAX_CPUS - 1)) }
}

/// Adds the counters of a window of a CPU's table to the row. Does not return 0 if they cannot be read.
///
/// There is no branch, and nothing is kept where the verifier follows its value: it would walk both ways, for each CPU
/// and table anew.
///
/// # Safety
/// The row and the place are values of the object's maps, which nobody else writes meanwhile.
#[inline(always)]
unsafe fn add(object: &impl Object, row: *mut Row, scratch: *mut Scratch, table: u64, window: usize) -> u64 {
    let scratch = scratch.cast::<u64>();
    let from = table.wrapping_add(u64::from(object.first(window)) * 8);
    // SAFETY: the verifier proves that so many words are within the place, and so is each counter. The row is as the
    // caller promises.
    unsafe {
        let failed = object.copy(scratch, object.words(window), from);
        for counter in COUNTERS_OF[window].clone() {
            let value = read_volatile(scratch.add(object.place(counter) as usize));
            let sum = count(row, counter);
            write_volatile(sum, read_volatile(sum).wrapping_add(value));
        }
        failed
    }
}

/// A counter of the row.
///
/// # Safety
/// The row exists, and the counter is one of [`COUNTERS`].
#[inline(always)]
unsafe fn count(row: *mut Row, counter: usize) -> *mut u64 {
    // SAFETY: as promised by the caller.
    unsafe { (&raw mut (*row).counts).cast::<u64>().add(counter) }
}
