//! Numbers that several programs add to at once: on several CPUs, and on one CPU, where one program may interrupt another
//! between the load and the store of a number.
//!
//! Kernel facts relied on: `BPF_ATOMIC` with `BPF_ADD`, which every kernel has for 32 and 64 bits
//! (Documentation/bpf/standardization/instruction-set.rst). It orders nothing else.

use core::cell::UnsafeCell;

/// A count in a map, which can only be added to. Wraps.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Counter(UnsafeCell<u64>);

impl Counter {
    /// The counter at this place.
    ///
    /// # Safety
    /// The place is a map's value, or a part of it, and stays valid while the program runs. No program writes it but
    /// through this type.
    #[inline(always)]
    pub(crate) const unsafe fn at<'a>(place: *mut u64) -> &'a Self {
        // SAFETY: the layout is that of a `u64`, and what may change while it is borrowed is in an `UnsafeCell`. The rest
        // is as promised by the caller.
        unsafe { &*place.cast() }
    }

    /// Adds to the count. What others add meanwhile counts, too.
    #[inline(always)]
    pub(crate) fn add(&self, more: u64) {
        // SAFETY: the place is valid, as whoever made the reference promised, and aligned as a `u64` is.
        unsafe { add(self.0.get(), more) }
    }
}

/// Adds to a number in a map. What others add meanwhile counts, too.
///
/// # Safety
/// `number` is valid and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
unsafe fn add(number: *mut u64, more: u64) {
    // This target has no atomic types in Rust.
    // SAFETY: one instruction, which changes this number and nothing else.
    unsafe { core::arch::asm!("lock *(u64 *)({number} + 0) += {more}", number = in(reg) number, more = in(reg) more) };
}

/// The same on the host.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "bpf"))]
unsafe fn add(number: *mut u64, more: u64) {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: as promised by the caller.
    unsafe { AtomicU64::from_ptr(number) }.fetch_add(more, Ordering::Relaxed);
}

/// The same for a number of 32 bits.
///
/// # Safety
/// As above.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn add_small(number: *mut u32, more: u32) {
    // SAFETY: one instruction, which changes this number and nothing else. It uses the lower half of the register.
    unsafe {
        core::arch::asm!("lock *(u32 *)({number} + 0) += {more}", number = in(reg) number, more = in(reg) u64::from(more));
    };
}

/// The same on the host.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn add_small(number: *mut u32, more: u32) {
    use core::sync::atomic::{AtomicU32, Ordering};
    // SAFETY: as promised by the caller.
    unsafe { AtomicU32::from_ptr(number) }.fetch_add(more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{Counter, add_small};

    /// How often each of two threads adds.
    const TIMES: u32 = 200_000;

    /// A place that two threads write.
    struct Place<T>(*mut T);

    // SAFETY: the tests use it for as long as it exists, and only through atomic additions.
    unsafe impl<T> Sync for Place<T> {}

    /// Calls `add` with a place that begins at 0, on two threads at once. What is there then.
    fn of_two<T: Default + Copy>(add: impl Fn(*mut T) + Sync) -> T {
        let mut number = T::default();
        let place = &Place(&raw mut number);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..TIMES).for_each(|_| add(place.0)));
            }
        });
        number
    }

    #[test]
    fn what_two_cpus_add_at_once_is_all_counted() {
        let counted = of_two(|place: *mut u64| {
            // SAFETY: the place exists, and nobody else writes it.
            unsafe { Counter::at(place) }.add(3);
        });
        assert_eq!(counted, 6 * u64::from(TIMES));
        // SAFETY: as above.
        let counted = of_two(|place: *mut u32| unsafe { add_small(place, 3) });
        assert_eq!(counted, 6 * TIMES);
    }

    #[test]
    fn a_count_wraps() {
        let mut number = 1_u64;
        // SAFETY: the place exists, and nobody else writes it.
        unsafe { Counter::at(&raw mut number) }.add(u64::MAX);
        assert_eq!(number, 0);
    }
}
