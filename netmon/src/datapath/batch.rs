//! Reads a hash map, many entries at a time, and takes entries out.
//!
//! aya reads entry by entry, with two system calls each: 22 ms for 10,000 entries, against 2 ms in batches.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::Pod;

/// How many bytes of keys and values are requested at once, at most. The kernel needs as much for the time of the call.
const BATCH_BYTES: usize = 256 * 1024;
/// How many entries are requested at once, at most. More of them make nothing faster.
const BATCH: usize = 512;
/// How many are requested at once at least, however large they are. A bucket has to fit, and has two or three.
const BATCH_LEAST: usize = 16;
/// The number of values of an entry in a map whose values all CPUs share.
pub(super) const ONE: usize = 1;
/// `BPF_MAP_LOOKUP_BATCH` (`enum bpf_cmd`), since 5.6.
const LOOKUP_BATCH: libc::c_long = 24;
/// `BPF_MAP_LOOKUP_AND_DELETE_BATCH` (`enum bpf_cmd`), since 5.6.
const DRAIN_BATCH: libc::c_long = 25;
/// `BPF_MAP_LOOKUP_AND_DELETE_ELEM` (`enum bpf_cmd`), for hash maps since 5.14.
const TAKE: libc::c_long = 21;

/// The part of `union bpf_attr` that batch commands use.
#[repr(C)]
#[derive(Default)]
struct Request {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The part of `union bpf_attr` that commands for one entry use.
#[repr(C)]
#[derive(Default)]
struct EntryRequest {
    map_fd: u32,
    /// The kernel aligns what follows.
    zero: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Reads a whole hash map of per-CPU values, and calls `each` with every key and the values of all CPUs. A map with one
/// value for each key is read like one of a single CPU ([`ONE`]), and an array like a hash map by its index (since 5.13). An entry that is created or deleted meanwhile may or may not be
/// included.
///
/// # Errors
/// The kernel refuses.
pub(super) fn read<K: Pod, V: Pod>(map: BorrowedFd<'_>, cpus: usize, each: impl FnMut(K, &[V])) -> io::Result<()> {
    all(LOOKUP_BATCH, map, cpus, each)
}

/// Empties a hash map with one value for each key, and calls `each` with every key and its value.
///
/// # Errors
/// The kernel refuses. A part may have been taken out.
pub(super) fn drain<K: Pod, V: Pod>(map: BorrowedFd<'_>, mut each: impl FnMut(K, &V)) -> io::Result<()> {
    all(DRAIN_BATCH, map, ONE, |key: K, values: &[V]| {
        for value in values {
            each(key, value);
        }
    })
}

/// Gives a batch command until the end of the map.
fn all<K: Pod, V: Pod>(
    batch_command: libc::c_long,
    map: BorrowedFd<'_>,
    cpus: usize,
    mut each: impl FnMut(K, &[V]),
) -> io::Result<()> {
    // The kernel rounds the size of each CPU's value up to a multiple of eight bytes.
    const {
        assert!(
            size_of::<V>().is_multiple_of(8),
            "a CPU's value would not be followed by the next"
        );
    };
    let mut batch = entries(size_of::<K>(), size_of::<V>(), cpus);
    // Where the next batch starts. For a hash map this is the number of a bucket, but the kernel only promises that
    // it is no longer than a key.
    let mut position = [0_u64; 4];
    const { assert!(size_of::<K>() <= 32, "the position is as long as a key") };
    let mut begun = false;
    loop {
        let mut keys: Vec<K> = Vec::with_capacity(batch);
        let mut values: Vec<V> = Vec::with_capacity(batch * cpus);
        let mut next = [0_u64; 4];
        let mut request = Request {
            in_batch: if begun { position.as_ptr().addr() as u64 } else { 0 },
            out_batch: next.as_mut_ptr().addr() as u64,
            keys: keys.as_mut_ptr().addr() as u64,
            values: values.as_mut_ptr().addr() as u64,
            count: u32::try_from(batch).unwrap_or(u32::MAX),
            map_fd: map.as_raw_fd().cast_unsigned(),
            ..Request::default()
        };
        let result = command(batch_command, &mut request);
        let end = match &result {
            Ok(()) => false,
            // The end of the map. The remaining entries were returned.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            // One bucket has more entries than the batch has room for.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                batch *= 2;
                continue;
            }
            Err(_) => return result,
        };
        let count = usize::try_from(request.count).unwrap_or(0).min(batch);
        fill(&mut keys, count);
        fill(&mut values, count * cpus);
        for (key, values) in keys.iter().zip(values.chunks_exact(cpus.max(1))) {
            each(*key, values);
        }
        if end {
            return Ok(());
        }
        position = next;
        begun = true;
    }
}

/// How many entries of this size are requested at once.
fn entries(key: usize, value: usize, cpus: usize) -> usize {
    let entry = value.saturating_mul(cpus).saturating_add(key);
    (BATCH_BYTES / entry.max(1)).clamp(BATCH_LEAST, BATCH)
}

/// Takes an entry out of a hash map of per-CPU values, and returns the values of all CPUs. The kernel reads and deletes
/// in one step, so no program creates or finds the entry in between. `None` if there is no such entry.
///
/// # Errors
/// The kernel refuses, and the entry stays.
pub(super) fn take<K: Pod, V: Pod>(map: BorrowedFd<'_>, cpus: usize, key: &K) -> io::Result<Option<Vec<V>>> {
    const {
        assert!(
            size_of::<V>().is_multiple_of(8),
            "a CPU's value would not be followed by the next"
        );
    };
    let mut values: Vec<V> = Vec::with_capacity(cpus);
    let mut request = EntryRequest {
        map_fd: map.as_raw_fd().cast_unsigned(),
        key: std::ptr::from_ref(key).addr() as u64,
        value: values.as_mut_ptr().addr() as u64,
        ..EntryRequest::default()
    };
    match command(TAKE, &mut request) {
        Ok(()) => {
            fill(&mut values, cpus);
            Ok(Some(values))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets the length of a vector that the kernel has written into.
#[expect(unsafe_code, reason = "memory that the kernel filled")]
fn fill<T: Pod>(vector: &mut Vec<T>, length: usize) {
    let length = length.min(vector.capacity());
    // SAFETY: `length` is within the capacity. The kernel has written that many: as its answer counts, or one for every
    // CPU. Any bytes are a valid value of a `Pod` type.
    unsafe { vector.set_len(length) };
}

#[expect(unsafe_code, reason = "no library offers these commands")]
fn command<R>(command: libc::c_long, request: &mut R) -> io::Result<()> {
    // SAFETY: `request` has the layout and the size that the command expects: both callers pass the type of theirs. Its
    // pointers refer to memory that lives through the call. For a batch, that memory has room for `count` keys, for as
    // many values of every CPU, and for a position. For one entry, it is a key, and has room for a value of every CPU.
    let status = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(request), size_of::<R>()) };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH, BATCH_BYTES, entries};

    #[test]
    fn a_batch_takes_no_more_memory_on_a_machine_with_many_processors() {
        // The largest entry that there is for every CPU: a tunnel's.
        let (key, value) = (24, 16);
        for cpus in [1, 2, 64, 256, 512] {
            let batch = entries(key, value, cpus);
            assert!(
                batch * (key + value * cpus) <= BATCH_BYTES,
                "{batch} entries for {cpus}"
            );
        }
        assert_eq!(entries(key, value, 2), BATCH);
        assert!(entries(key, value, usize::MAX) > 1, "a bucket still fits");
    }
}
